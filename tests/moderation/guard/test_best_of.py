"""Best of n: drafts that pass compete, and the best one is released."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import RunnableConfig

from taleward.chains.story import StoryChain
from taleward.core.errors import ConfigurationError
from taleward.core.events import DoneEvent, TextEvent
from taleward.core.tale import Tale
from taleward.core.verdict import Passage
from taleward.moderation.guard.best_of import BestOf
from taleward.moderation.guard.revision_context import revision_of
from taleward.moderation.judges import judge
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge, FakeWriter

WORDS = ("fox", "owl", "bear", "sea")
Tell = Callable[[BestOf, dict[str, Any]], Tale]


class WordCounts(Embeddings):
    """A vector of how often each of a few words occurs."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[float(t.count(w)) for w in WORDS] for t in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


@pytest.fixture(params=["sync", "async"])
def tell(request: pytest.FixtureRequest) -> Tell:
    if request.param == "sync":
        return lambda guard, inputs: guard.invoke(inputs)
    return lambda guard, inputs: asyncio.run(guard.ainvoke(inputs))


def best(*drafts: str, **settings: Any) -> tuple[FakeWriter, BestOf]:
    writer = FakeWriter(*drafts)
    # One after the other, so that the drafts come in order.
    settings = {"candidates": len(drafts), "embeddings": WordCounts(), "concurrency": 1, **settings}
    return writer, BestOf(writer, FakeJudge(), **settings)


def test_the_most_relevant_draft_that_passed_is_released(tell: Tell) -> None:
    writer, guard = best("an owl", "a bad fox fox", "a fox", "the sea")
    tale = tell(guard, {"hero": "a fox"})
    assert tale.text == "a fox"
    assert [a.number for a in tale.attempts] == [1, 2, 4, 3]
    assert tale.attempts[-1].ranks["relevance"] == pytest.approx(1.0)
    assert tale.attempts[0].ranks["relevance"] == 0.0
    assert tale.attempts[1].ranks == {}
    assert [revision.attempt for revision in writer.revisions] == [1, 2, 3, 4]


def test_a_draft_with_the_accepted_score_ends_the_run(tell: Tell) -> None:
    writer, guard = best("a fox", "an owl", "the sea", accept_score=0.9, weights=(1, 1, 1, 0))
    assert tell(guard, {"hero": "a fox"}).text == "a fox"
    assert len(writer.revisions) == 1


def test_previous_tales_are_not_repeated(tell: Tell) -> None:
    _, guard = best("a fox and a fox", "a fox and an owl", previous_texts=["fox"], weights=(0, 0, 1, 0))
    assert tell(guard, {}).text == "a fox and an owl"
    _, guard = best("a fox", "an owl", "a fox", "a bear", candidates=2, weights=(0, 0, 1, 0))
    assert tell(guard, {}).text == "a fox"
    assert tell(guard, {}).text == "a bear"


def test_the_safer_draft_wins(tell: Tell) -> None:
    def scored(passage: Passage) -> Assessment:
        return Assessment(scores={"violence": 0.4 if "fox" in passage.text else 0.1})

    guard = BestOf(FakeWriter("fox", "owl"), FakeJudge(scored), candidates=2, embeddings=WordCounts())
    tale = tell(guard, {})
    assert tale.text == "owl"
    assert tale.attempts[-1].ranks["safety"] == pytest.approx(0.8)


def test_a_draft_that_breaks_off_or_loops_loses(tell: Tell) -> None:
    loop = "The fox ran to the old well again. " * 6
    for worse in ("A fox ran home and", loop):
        _, guard = best(worse, "A fox ran home and ate a pear.", weights=(0, 0, 0, 1))
        tale = tell(guard, {"hero": "a fox"})
        assert tale.text == "A fox ran home and ate a pear."
        assert tale.attempts[-1].ranks["form"] == 1.0
        assert tale.attempts[0].ranks["form"] == 0.0


def test_the_shorter_of_two_equals_wins_if_brevity_counts(tell: Tell) -> None:
    long, short = "A fox ran home over the hill and ate a ripe pear.", "A fox ran home and ate a pear."
    _, guard = best(long, short, weights=(0, 0, 0, 1))
    assert tell(guard, {"hero": "a fox"}).text == long
    _, guard = best(long, short, weights=(0, 0, 0, 1), brevity=0.1)
    assert tell(guard, {"hero": "a fox"}).text == short


def test_without_a_draft_that_passes_there_is_a_refusal(tell: Tell) -> None:
    _, guard = best("bad", "bad too")
    tale = tell(guard, {})
    assert tale.refusal is not None
    assert tale.refusal.reason == "failed"
    assert tell(guard, {"hero": "bad"}).refusal.reason == "input"  # type: ignore[union-attr]


def test_a_stream_is_the_released_text_alone() -> None:
    story = "An owl woke. It flew."
    _, guard = best("bad", story)
    *texts, done = list(guard.stream({}))
    assert [(event.text, event.start) for event in texts if isinstance(event, TextEvent)] == [
        ("An owl woke. ", 0),
        ("It flew.", 13),
    ]
    assert len(texts) == 2
    assert isinstance(done, DoneEvent)
    assert done.tale.text == story


def test_drafts_are_written_at_once_and_keep_their_own_calls(tell: Tell) -> None:
    together = threading.Barrier(3, timeout=10)

    def write(inputs: dict[str, Any], config: RunnableConfig) -> str:
        together.wait()
        number = int(getattr(revision_of(config), "attempt", 0))
        message = FakeListChatModel(responses=[WORDS[number] * number]).invoke("write", config)
        return str(message.text)

    tale = tell(BestOf(write, FakeJudge(), candidates=3, embeddings=WordCounts()), {"hero": "a bear"})
    assert tale.text == "bearbear"
    assert [a.number for a in tale.attempts] == [1, 3, 2]
    assert [len(a.calls) for a in tale.attempts] == [1, 1, 1]


def test_drafts_that_are_finished_in_time_compete_without_the_others(tell: Tell) -> None:
    hang = threading.Event()

    def write(inputs: dict[str, Any], config: RunnableConfig) -> str:
        number = int(getattr(revision_of(config), "attempt", 0))
        if number == 2:
            hang.wait(10)
        return WORDS[number]

    guard = BestOf(write, FakeJudge(), candidates=3, embeddings=WordCounts(), timeout_s=0.5)
    tale = tell(guard, {"hero": "a sea"})
    hang.set()
    assert tale.text == "sea"
    assert [a.number for a in tale.attempts] == [1, 3]


def test_an_error_of_one_draft_reaches_the_caller(tell: Tell) -> None:
    def write(inputs: dict[str, Any], config: RunnableConfig) -> str:
        if getattr(revision_of(config), "attempt", 0) == 2:
            raise ValueError("no ink")
        return "fox"

    with pytest.raises(ValueError, match="no ink"):
        tell(BestOf(write, FakeJudge(), candidates=3, embeddings=WordCounts()), {})


def test_with_the_embedded_models(values: dict[str, str]) -> None:
    writer = StoryChain("embedded:storyteller-mini", seed=1, max_tokens=60)
    tale = BestOf(writer, judge("embedded:judge"), candidates=3).invoke(values)
    assert tale.released
    assert len({a.draft_sha256 for a in tale.attempts}) == 3
    ranked = [a.ranks["total"] for a in tale.attempts if a.ranks]
    assert ranked[-1] == max(ranked)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"brevity": -1.0}, "brevity must not be negative; got -1.0"),
        ({"concurrency": 0}, "concurrency must be 1 or more; got 0"),
        ({"candidates": 1}, "candidates must be 2 or more; got 1"),
        ({"accept_score": 1.5}, "accept_score must be from 0 to 1, or None; got 1.5"),
        ({"weights": (0, 0, 0, 0)}, "weights must not be negative, nor all 0"),
    ],
)
def test_invalid_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        BestOf(FakeWriter("x"), FakeJudge(), embeddings=WordCounts(), **settings)
