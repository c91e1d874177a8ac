"""A guarded stream releases each sentence after its verdict, revises, and judges the whole at the end."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda

from taleward.core.errors import ConfigurationError
from taleward.core.events import DoneEvent, Event, RefusalEvent, RetractionEvent, RevisionEvent, TextEvent, VerdictEvent
from taleward.core.tale import Tale
from taleward.core.verdict import Passage, Verdict
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges.base import Assessment
from taleward.moderation.policies.load import load_policy
from taleward.testing import FakeJudge, FakeWriter

GOOD = ["A fox ra", "n home. He ", "met an owl. ", "They sang."]
STORY = "A fox ran home. He met an owl. They sang."
CLOSING = load_policy("kids").band("6-8").closing

Stream = Callable[..., list[Event]]


@pytest.fixture(params=["sync", "async"])
def stream(request: pytest.FixtureRequest) -> Stream:
    if request.param == "sync":
        return lambda guard, inputs=None: list(guard.stream(inputs or {}))

    def run(guard: Guard, inputs: dict[str, Any] | None = None) -> list[Event]:
        async def collect() -> list[Event]:
            return [event async for event in guard.astream(inputs or {})]

        return asyncio.run(collect())

    return run


def released_text(events: Sequence[Event]) -> str:
    return "".join(e.text for e in events if isinstance(e, TextEvent))


def tale_of(events: Sequence[Event]) -> Tale:
    assert isinstance(events[-1], DoneEvent)
    return events[-1].tale


def kinds(events: Sequence[Event]) -> list[str]:
    return [e.type for e in events]


def test_the_released_text_is_what_was_written(stream: Stream) -> None:
    events = stream(Guard(FakeWriter(GOOD), FakeJudge()))
    assert kinds(events) == ["verdict", "text"] * 3 + ["verdict", "done"]
    assert released_text(events) == STORY == tale_of(events).text
    assert [e.start for e in events if isinstance(e, TextEvent)] == [0, 16, 31]
    final_check = events[-2]
    assert isinstance(final_check, VerdictEvent)
    assert (final_check.whole, final_check.start, final_check.end) == (True, 0, len(STORY))
    [attempt] = tale_of(events).attempts
    assert [(d.start, d.end, d.outcome) for d in attempt.decisions] == [
        (0, 16, "pass"),
        (16, 31, "pass"),
        (31, 41, "pass"),
    ]


def test_each_sentence_is_judged_in_context_and_the_whole_at_the_end() -> None:
    passages: list[Passage] = []

    def note(passage: Passage) -> Assessment:
        passages.append(passage)
        return Assessment()

    list(Guard(FakeWriter(GOOD), FakeJudge(note)).stream({}))
    assert sorted((p.context, p.text) for p in passages) == [
        ("", "A fox ran home. "),
        ("", STORY),
        ("A fox ran home. ", "He met an owl. "),
        ("A fox ran home. He met an owl. ", "They sang."),
    ]


def test_a_sentence_that_fails_is_dropped_and_the_writer_continues_the_released_text(stream: Stream) -> None:
    writer = FakeWriter(["A fox ran home. He was bad. Then ", "more bad came."], ["He was ", "good. The end."])
    events = stream(Guard(writer, FakeJudge(), keep_drafts=True))
    assert released_text(events) == "A fox ran home. He was good. The end." == tale_of(events).text
    assert [(r.attempt, r.released) for r in writer.revisions] == [(1, ""), (2, "A fox ran home. ")]
    assert [f.category for f in writer.revisions[1].findings] == ["violence"]
    [revision] = [e for e in events if isinstance(e, RevisionEvent)]
    assert (revision.attempt, revision.start, revision.categories) == (2, 16, ("violence",))
    first, last = tale_of(events).attempts
    assert (first.verdict.outcome, last.verdict.outcome) == ("fail", "pass")
    assert [(f.start, f.end) for f in first.verdict.findings] == [(23, 26)]


def test_words_that_failed_are_only_in_the_events_of_a_guard_that_keeps_drafts(stream: Stream) -> None:
    writer = FakeWriter(["A fox ran. The bad wolf came. "], ["All was well."])
    events = stream(Guard(writer, FakeJudge()))
    assert "bad" not in "".join(e.model_dump_json() for e in events[:-1])
    events = stream(
        Guard(FakeWriter(["A fox ran. The bad wolf came. "], ["All was well."]), FakeJudge(), keep_drafts=True)
    )
    assert "bad" in "".join(e.model_dump_json() for e in events[:-1])


def test_a_writer_that_cannot_continue_starts_again_while_nothing_is_released(stream: Stream) -> None:
    events = stream(Guard(FakeWriter(["It was bad. Then"], GOOD, continues=False), FakeJudge()))
    assert tale_of(events).text == STORY


def test_after_the_last_attempt_the_writer_closes_the_story(stream: Stream) -> None:
    writer = FakeWriter(["A fox ran. Then bad. "], ["And bad again. "], ["So they slept. The end."])
    events = stream(Guard(writer, FakeJudge(), attempts=2))
    assert tale_of(events).text == "A fox ran. So they slept. The end."
    assert tale_of(events).lineage.closed_by == "writer"
    assert {event.source for event in events if isinstance(event, TextEvent)} == {"writer"}
    assert writer.revisions[-1].closing
    assert [e.closing for e in events if isinstance(e, RevisionEvent)] == [False, True]


@pytest.mark.parametrize("continues", [True, False])
def test_a_writer_that_cannot_close_gets_the_policys_closing_words(stream: Stream, continues: bool) -> None:
    events = stream(Guard(FakeWriter(["A fox ran. Then bad. "], continues=continues), FakeJudge(), attempts=1))
    if continues:  # each run yields the good sentence again before it fails
        assert tale_of(events).text.startswith("A fox ran. ")
    assert tale_of(events).text.endswith(CLOSING)
    assert released_text(events) == tale_of(events).text


def test_a_policy_may_refuse_instead_of_closing(stream: Stream) -> None:
    policy = load_policy("kids").model_copy(update={"ending": "refuse"})
    judge = FakeJudge()
    judge.policy = policy
    events = stream(Guard(FakeWriter(["A fox ran. Then bad. "]), judge, attempts=1))
    assert kinds(events) == ["verdict", "text", "verdict", "retraction", "refusal", "done"]
    retraction, refusal = events[-3:-1]
    assert isinstance(retraction, RetractionEvent)
    assert (retraction.start, retraction.end, retraction.categories) == (0, 11, ("violence",))
    assert isinstance(refusal, RefusalEvent)
    assert refusal.refusal.reason == "failed"
    assert not tale_of(events).released


def test_harm_that_builds_up_is_retracted_at_the_end(stream: Stream) -> None:
    def only_whole(passage: Passage) -> Assessment:
        return Assessment(scores={"frightening": 0.9 if passage.text == STORY else 0.0})

    events = stream(Guard(FakeWriter(GOOD), FakeJudge(only_whole)))
    assert kinds(events)[-4:] == ["verdict", "retraction", "refusal", "done"]
    assert not tale_of(events).released


def raises(passage: Passage) -> Assessment:
    raise RuntimeError("judge is down")


def nonsense(passage: Passage) -> Any:
    return "perhaps"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (raises, "error"),
        (nonsense, "error"),
        (lambda _: None, "error"),
        (lambda _: Assessment(outcome="abstain"), "abstain"),
        (lambda _: Assessment(outcome="unparsable"), "unparsable"),
    ],
)
def test_without_a_clear_verdict_nothing_is_released(
    stream: Stream, answer: Callable[[Passage], Any], outcome: str
) -> None:
    events = stream(Guard(FakeWriter(GOOD), FakeJudge(answer), attempts=2))
    assert released_text(events) == ""
    tale = tale_of(events)
    assert tale.refusal is not None
    assert tale.refusal.reason == "unjudged"
    assert tale.attempts[-1].verdict.outcome == outcome


def test_a_judge_that_fails_once_is_asked_again(stream: Stream) -> None:
    answers = [Assessment(outcome="unparsable")]
    judge = FakeJudge(lambda _: answers.pop() if answers else Assessment())
    writer = FakeWriter(["One sentence."])
    events = stream(Guard(writer, judge))
    assert tale_of(events).text == "One sentence."
    assert len(writer.revisions) == 1


def test_a_judge_that_hangs_times_out(stream: Stream) -> None:
    free = threading.Event()
    threading.Timer(1.5, free.set).start()
    started = time.monotonic()
    events = stream(Guard(FakeWriter(GOOD), FakeJudge(lambda _: Assessment(detail=str(free.wait(5)))), timeout_s=0.2))
    assert time.monotonic() - started < 3
    assert released_text(events) == ""
    refusal = tale_of(events).refusal
    assert refusal is not None
    assert refusal.reason == "timeout"


def test_text_stays_in_order_when_verdicts_do_not(stream: Stream) -> None:
    class Slowest(FakeJudge):
        async def aassess(self, passage: Passage) -> Assessment:
            await asyncio.sleep(0.05 if passage.text.startswith("A fox") else 0.0)
            return Assessment()

    assert released_text(stream(Guard(FakeWriter(GOOD), Slowest()))) == STORY


def test_a_slow_story_is_closed_at_the_time_limit(stream: Stream) -> None:
    events = stream(Guard(FakeWriter(["A fox ran. ", "H", "e", "."], pause_s=0.15), FakeJudge(), timeout_s=0.4))
    assert tale_of(events).text == f"A fox ran. {CLOSING}"
    assert tale_of(events).lineage.closed_by == "policy"
    sources = [(event.text, event.source) for event in events if isinstance(event, TextEvent)]
    assert sources == [("A fox ran. ", "writer"), (CLOSING, "policy")]


@pytest.mark.parametrize("pieces", [[], [""], [" \n"]])
def test_a_writer_that_writes_nothing_is_refused(stream: Stream, pieces: list[str]) -> None:
    events = stream(Guard(FakeWriter(pieces), FakeJudge(), attempts=2))
    assert released_text(events) == ""
    assert not tale_of(events).released


def test_a_writer_that_repeats_itself_is_stopped(stream: Stream) -> None:
    writer = FakeWriter(["He ran and he ran. She sat down. "] * 50)
    events = stream(Guard(writer, FakeJudge(), attempts=1))
    assert writer.chunks_yielded < 40
    assert "the writer repeats itself" in tale_of(events).attempts[0].verdict.detail


def test_a_writers_error_reaches_the_caller(stream: Stream) -> None:
    def fails(inputs: Any) -> str:
        raise ConnectionError("no model there")

    with pytest.raises(ConnectionError, match="no model there"):
        stream(Guard(RunnableLambda(fails), FakeJudge()))
    with pytest.raises(ConfigurationError, match="RunnableLambda gave int"):
        stream(Guard(RunnableLambda(lambda _: 7), FakeJudge()))


def test_inputs_are_judged_before_the_writer_runs(stream: Stream) -> None:
    writer = FakeWriter(GOOD)
    events = stream(Guard(writer, FakeJudge()), {"hero": "a bad wolf"})
    assert kinds(events) == ["refusal", "done"]
    refusal = tale_of(events).refusal
    assert refusal is not None
    assert (refusal.reason, refusal.categories) == ("input", ("violence",))
    assert "something else" in refusal.child_message
    assert writer.revisions == []
    assert tale_of(stream(Guard(FakeWriter(GOOD), FakeJudge(), judge_inputs=False), {"hero": "a bad wolf"})).released


@pytest.mark.parametrize("answer", [raises, nonsense])
def test_inputs_without_a_verdict_are_refused(stream: Stream, answer: Callable[[Passage], Any]) -> None:
    writer = FakeWriter(GOOD)
    events = stream(Guard(writer, FakeJudge(answer)), {"hero": "a wolf"})
    refusal = tale_of(events).refusal
    assert refusal is not None
    assert refusal.reason == "unjudged"
    assert writer.revisions == []


def test_personal_data_is_masked_before_anything_reads_it(stream: Stream) -> None:
    inputs_seen: list[Any] = []
    judge = FakeJudge()

    def write(inputs: Any) -> str:
        inputs_seen.append(inputs)
        return "ok."

    stream(
        Guard(RunnableLambda(write), judge, mask_personal_data=True), {"hero": "mia@school.org, 555-201-3344", "age": 7}
    )
    assert inputs_seen == [{"hero": "[e-mail address], [telephone number]", "age": 7}]
    assert "mia" not in "".join(judge.judged_texts)


async def test_a_reader_who_leaves_stops_the_writer_and_the_judges() -> None:
    judging = asyncio.Event()
    canceled = asyncio.Event()

    class Slow(FakeJudge):
        async def aassess(self, passage: Passage) -> Assessment:
            if passage.context:
                judging.set()
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    canceled.set()
                    raise
            return Assessment()

    writer = FakeWriter(["One ran. ", "Two ran. ", *["More ran. "] * 1000], pause_s=0.001)
    events = Guard(writer, Slow()).astream({})
    async for event in events:
        if isinstance(event, TextEvent):
            break
    await judging.wait()
    await events.aclose()  # type: ignore[attr-defined]
    assert canceled.is_set()
    chunks = writer.chunks_yielded
    assert writer.streams_stopped == 1
    await asyncio.sleep(0.05)
    assert writer.chunks_yielded == chunks < 20


def test_a_reader_who_leaves_a_plain_stream_stops_the_writer_too() -> None:
    writer = FakeWriter(["One ran. ", *["More ran. "] * 1000], pause_s=0.001)
    for event in Guard(writer, FakeJudge()).stream({}):
        if isinstance(event, TextEvent):
            break
    chunks = writer.chunks_yielded
    time.sleep(0.05)
    assert writer.streams_stopped == 1
    assert writer.chunks_yielded == chunks < 20


async def test_the_writer_waits_for_the_judge() -> None:
    """The text that is written ahead of the verdicts is bounded."""
    free = asyncio.Event()

    class Waits(FakeJudge):
        async def aassess(self, passage: Passage) -> Assessment:
            await free.wait()
            return Assessment()

    writer = FakeWriter([f"Number {n} ran. " for n in range(100)])
    events = Guard(writer, Waits()).astream({})
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0.1)
    assert writer.chunks_yielded < 10
    free.set()
    await first
    assert len([e async for e in events if isinstance(e, TextEvent)]) == 100


def model_chain(words: str) -> Runnable[Any, str]:
    model = GenericFakeChatModel(messages=iter([AIMessage(words)] * 9))
    return RunnableLambda(lambda _: "Tell.") | model | StrOutputParser()


class Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.events = ""

    def on_llm_new_token(self, token: str | list[str | dict[str, Any]], **kwargs: Any) -> None:
        assert isinstance(token, str)
        self.events += token


UNSAFE = "A fox ran home. Then a bad wolf came. The end."


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.filterwarnings("ignore::langchain_core._api.deprecation.LangChainDeprecationWarning")
async def test_no_langchain_event_has_text_that_did_not_pass(version: Any) -> None:
    writer = model_chain(UNSAFE)
    leaking = [e async for e in writer.astream_events("x", version=version)]
    assert "bad" in str(leaking)
    seen = [e async for e in Guard(writer, FakeJudge(), attempts=1).astream_events({}, version=version)]
    assert "A fox ran home." in str(seen)
    done = [e for e in seen if isinstance(e["data"].get("chunk", e["data"].get("output")), DoneEvent)]
    others = [e for e in seen if e not in done]
    assert "wolf" not in str(others)


def test_no_token_callback_gets_text_that_did_not_pass() -> None:
    listener = Listener()
    guard = Guard(model_chain(UNSAFE), FakeJudge(), attempts=1)
    for _ in guard.stream({}, config={"callbacks": [listener]}):
        pass
    guard.invoke({}, config={"callbacks": [listener]})
    assert listener.events == ""


def test_as_a_step_of_a_chain_a_guard_passes_on_the_tale() -> None:
    chain = Guard(FakeWriter("good"), FakeJudge()) | RunnableLambda(lambda tale: tale.text.upper())
    assert list(chain.stream({})) == ["GOOD"] == [chain.invoke({})]


def test_batch_overlaps() -> None:
    class Slow(FakeJudge):
        def assess(self, passage: Passage) -> Assessment:
            time.sleep(0.1)
            return Assessment()

    started = time.monotonic()
    tales = Guard(FakeWriter("good"), Slow()).batch([{}] * 8, config={"max_concurrency": 8})
    assert all(t.released for t in tales)
    assert time.monotonic() - started < 0.7


class Moody(FakeJudge):
    """Fails texts with `bad` in them and a fixed part of the rest; waits, raises or gives no verdict at random."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.chance = random.Random(seed)
        self.failed: list[Passage] = []

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Verdict:
        await asyncio.sleep(self.chance.choice([0, 0, 0, 0.001, 0.002]))
        mood = self.chance.random()
        if mood < 0.05:
            raise RuntimeError("moody")
        if mood < 0.1:
            return None  # type: ignore[return-value]
        fails = "bad" in input.text or random.Random(f"{self.seed} {input}").random() < 0.05
        verdict = self._verdict(Assessment(outcome="fail" if fails else None), time.perf_counter())
        if not verdict.passed:
            self.failed.append(input)
        return verdict


WORDS = st.lists(st.sampled_from(["fox ", "ran. ", "bad ", '"Owl" ', "sang! ", "\n\n", "é… "]), min_size=1, max_size=25)


@settings(max_examples=300)
@given(st.lists(WORDS, min_size=1, max_size=4), st.integers(0, 10**6))
def test_no_character_is_released_that_a_judge_failed(scripts: list[list[str]], seed: int) -> None:
    chance = random.Random(seed)

    def cut(text: str) -> list[str]:
        pieces = []
        while text:
            size = chance.randint(1, 12)
            pieces.append(text[:size])
            text = text[size:]
        return pieces

    judge = Moody(seed)
    guard = Guard(FakeWriter(*(cut("".join(s)) for s in scripts), continues=chance.random() < 0.7), judge, timeout_s=5)

    async def read() -> list[Event]:
        events: list[Event] = []
        reader = guard.astream({})
        async for event in reader:
            events.append(event)
            if chance.random() < 0.02:
                await reader.aclose()  # type: ignore[attr-defined]
        return events

    events = asyncio.run(read())
    text = released_text(events)
    assert "bad" not in text
    for event in events:
        if isinstance(event, TextEvent):
            assert Passage(text=event.text, context=text[: event.start]) not in judge.failed
    if events and isinstance(events[-1], DoneEvent):
        assert events[-1].tale.released_text in (text, None)
