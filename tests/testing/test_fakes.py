"""The public fakes: a judge with scripted outcomes, and a writer with scripted drafts."""

from __future__ import annotations

from typing import Any

import pytest

import taleward as tw
from taleward.core.errors import ConfigurationError
from taleward.events import DoneEvent
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge, FakeWriter

BIT, GREETED = "The wolf bit the fox.", "The wolf greeted the fox."


NAMES = """
    FakeImages FakeJudge FakeOpenAI FakeWriter Fault ImageFault KillReport StoreConformance WordEmbeddings
    assert_tale_passes assert_tale_refused kill_store
"""
"""What users' tests import. A name that goes breaks their tests."""


def test_public_names_are_exactly_these() -> None:
    import taleward.testing.store_kills

    assert taleward.testing.__all__ == NAMES.split()
    for name in taleward.testing.__all__:
        assert getattr(taleward.testing, name) is not None
    assert callable(taleward.testing.kill_store)


def test_a_judge_with_a_list_of_outcomes() -> None:
    writer, judge = FakeWriter(BIT, GREETED), FakeJudge(["fail", "pass"])
    tale = tw.Guard(writer, judge).invoke({})
    assert tale.text == GREETED
    assert judge.judged_texts == [BIT, GREETED]
    assert [revision.attempt for revision in writer.revisions] == [1, 2]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (None, ["pass", "fail", "pass"]),
        ("abstain", ["abstain"] * 3),
        (["fail", Assessment(outcome="unparsable"), ValueError("down")], ["fail", "unparsable", "error"]),
        (["fail", "pass"], ["fail", "pass", "pass"]),
        (lambda passage: "fail" if "fox" in passage.text else "pass", ["fail", "pass", "pass"]),
    ],
)
def test_outcomes(outcomes: Any, expected: list[str]) -> None:
    judge = FakeJudge(outcomes)
    assert [judge.invoke(text).outcome for text in ("A fox.", "A bad owl.", "A hen.")] == expected


@pytest.mark.parametrize(
    ("outcomes", "message"), [(["maybe"], "unknown outcome 'maybe'; accepted: pass, fail"), ([], "got an empty list")]
)
def test_invalid_outcomes_are_rejected(outcomes: list[Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FakeJudge(outcomes)


def test_failing_words_give_a_finding_wherever_they_stand() -> None:
    judge = FakeJudge(failing_words={"wolf": "frightening", "gin": "drugs"}, band="3-5")
    verdict = judge.invoke("A wolf and a wolf.")
    assert [(f.category, f.quote, f.start, f.end) for f in verdict.findings] == [
        ("frightening", "wolf", 2, 6),
        ("frightening", "wolf", 13, 17),
    ]
    assert (verdict.outcome, dict(verdict.scores)) == ("fail", {"frightening": 1.0, "drugs": 0.0})
    assert judge.invoke("A bad hen.").passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"failing_words": {"wolf": "scary"}}, "unknown category of policy 'kids' 'scary'"),
        ({"failing_words": {"": "violence"}}, "every text contains it"),
        ({"failing_words": {"wolf": "violence"}, "outcomes": ["pass"]}, "got both"),
        ({"delay_s": -1}, "delay_s must be 0 or more; got -1"),
    ],
)
def test_invalid_options_of_a_judge_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FakeJudge(**options)


async def test_a_slow_judge_or_writer_runs_into_the_time_limit() -> None:
    guards = [
        tw.Guard(FakeWriter("A fox."), FakeJudge(delay_s=2), timeout_s=0.2),
        tw.Guard(FakeWriter("A fox.", pause_s=2), FakeJudge(), timeout_s=0.2),
    ]
    for guard in guards:
        for tale in (guard.invoke({}), await guard.ainvoke({})):
            assert tale.refusal is not None
            assert tale.refusal.reason == "timeout"


async def test_a_connection_that_breaks_within_a_draft() -> None:
    writer = FakeWriter(["One. ", ConnectionError("reset"), "Two."])
    chunks = writer.stream("a")
    assert next(chunks) == "One. "
    with pytest.raises(ConnectionError, match="reset"):
        next(chunks)
    async_chunks = writer.astream("a")
    assert await anext(async_chunks) == "One. "
    with pytest.raises(ConnectionError, match="reset"):
        await anext(async_chunks)
    assert writer.chunks_yielded == 2
    with pytest.raises(ConnectionError, match="reset"):
        writer.invoke("a")
    with pytest.raises(ConnectionError, match="reset"):
        await writer.ainvoke("a")


def test_a_writer_continues_released_text_in_a_stream() -> None:
    writer = FakeWriter(["A fox ran. ", "It was bad. "], "It slept.")
    *_, done = tw.Guard(writer, FakeJudge()).stream({"hero": "fox"})
    assert isinstance(done, DoneEvent)
    assert done.tale.text == "A fox ran. It slept."
    assert writer.inputs == [{"hero": "fox"}] * 2
    assert [revision.released for revision in writer.revisions] == ["", "A fox ran. "]


async def test_a_writer_outside_of_a_guard() -> None:
    writer = FakeWriter(["One. ", "Two."], ValueError("the model is down"))
    assert list(writer.stream("a")) == ["One. ", "Two."]
    with pytest.raises(ValueError, match="the model is down"):
        [chunk async for chunk in writer.astream("b")]
    assert (writer.inputs, writer.revisions, writer.chunks_yielded) == (["a", "b"], [], 2)
    with pytest.raises(ConfigurationError, match="at least one draft"):
        FakeWriter()
    with pytest.raises(ConfigurationError, match="pause_s must be 0 or more; got -1"):
        FakeWriter("One.", pause_s=-1)
