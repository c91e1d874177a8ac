"""Sizes: of inputs, drafts, chunks and judged texts; threads that hang; characters that cannot be encoded."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from taleward.core.concurrency import abandoned_calls
from taleward.core.errors import ConfigurationError
from taleward.core.events import DoneEvent, Event, RefusalEvent, TextEvent
from taleward.core.tale import Tale
from taleward.moderation.chat.guarded_chat import GuardedChat
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges import judge as make_judge
from taleward.moderation.judges.base import Assessment, Judge
from taleward.testing import FakeJudge, FakeWriter

LIMIT = 5_000


class Endless:
    """Writers that never end, and whether they were closed."""

    def __init__(self, piece: str, pause_s: float = 0.0) -> None:
        self.piece, self.pause_s, self.closed = piece, pause_s, threading.Event()

    def sync(self, inputs: Any) -> Iterator[str]:
        try:
            for number in itertools.count():
                time.sleep(self.pause_s)
                yield self.piece.format(number)
        finally:
            self.closed.set()

    async def asynchronous(self, inputs: Any) -> AsyncIterator[str]:
        try:
            for number in itertools.count():
                await asyncio.sleep(self.pause_s)
                yield self.piece.format(number)
        finally:
            self.closed.set()


def from_stream(guard: Guard) -> Tale:
    *_, done = guard.stream({"hero": "fox"})
    assert isinstance(done, DoneEvent)
    return done.tale


def from_astream(guard: Guard) -> Tale:
    async def run() -> list[Event]:
        return [event async for event in guard.astream({"hero": "fox"})]

    *_, done = asyncio.run(run())
    assert isinstance(done, DoneEvent)
    return done.tale


def from_invoke(guard: Guard) -> Tale:
    return guard.invoke({"hero": "fox"})


def from_ainvoke(guard: Guard) -> Tale:
    return asyncio.run(guard.ainvoke({"hero": "fox"}))


PATHS = [from_invoke, from_ainvoke, from_stream, from_astream]


@pytest.mark.parametrize("kind", ["sync", "asynchronous"])
@pytest.mark.parametrize("tell", PATHS)
@pytest.mark.parametrize("piece", ["Fox number {} ran. ", "x" * 300 + "{}", " "])
def test_a_writer_that_never_ends_is_stopped_and_closed(tell: Callable[[Guard], Tale], kind: str, piece: str) -> None:
    writer = Endless(piece)
    tale = tell(Guard(getattr(writer, kind), FakeJudge(), attempts=1, max_draft_chars=LIMIT, timeout_s=30))
    assert writer.closed.wait(5)
    assert not tale.released or (tale.lineage.closed_by and len(tale.text) < LIMIT + 500)
    details = [attempt.verdict.detail for attempt in tale.attempts]
    assert any("max_draft_chars" in detail or "blank" in detail for detail in details)


@pytest.mark.parametrize("kind", ["sync", "asynchronous"])
@pytest.mark.parametrize("tell", PATHS)
def test_a_writer_that_nobody_waits_for_any_more_is_closed(tell: Callable[[Guard], Tale], kind: str) -> None:
    writer = Endless("x", pause_s=0.01)
    tale = tell(Guard(getattr(writer, kind), FakeJudge(), timeout_s=0.3))
    assert tale.refusal is not None
    assert tale.refusal.reason == "timeout"
    assert writer.closed.wait(2)


@pytest.mark.parametrize("tell", PATHS)
@pytest.mark.parametrize("continues", [False, True])
def test_a_draft_that_is_too_long_ends_in_a_refusal_that_names_the_option(
    tell: Callable[[Guard], Tale], continues: bool
) -> None:
    tale = tell(Guard(FakeWriter("x" * 101, continues=continues), FakeJudge(), max_draft_chars=100))
    assert tale.refusal is not None
    assert "more than 100 characters" in tale.refusal.message
    assert "max_draft_chars" in tale.refusal.message


@pytest.mark.parametrize("tell", PATHS)
def test_a_draft_as_long_as_the_limit_is_released(tell: Callable[[Guard], Tale]) -> None:
    assert tell(Guard(FakeWriter("x" * 99 + "."), FakeJudge(), max_draft_chars=100)).released


@pytest.mark.parametrize("tell", PATHS)
@pytest.mark.parametrize("options", [{}, {"judge_inputs": False}, {"mask_personal_data": True}])
def test_an_input_that_is_too_long_ends_in_a_refusal(tell: Callable[[Guard], Tale], options: dict[str, Any]) -> None:
    writer = FakeWriter("A fox ran.")
    tale = tell(Guard(writer, FakeJudge(), max_input_chars=2, **options))
    assert tale.refusal is not None
    assert tale.refusal.reason == "input"
    assert "max_input_chars" in tale.refusal.message
    assert writer.inputs == []


def test_nested_inputs_count_and_may_contain_themselves() -> None:
    nested: list[Any] = ["x" * 200]
    nested.append(nested)
    guard = Guard(FakeWriter("A fox ran."), FakeJudge(), max_input_chars=100)
    assert not guard.invoke({"hero": {"notes": nested}}).released


@pytest.mark.parametrize("options", [{"max_input_chars": 0}, {"max_draft_chars": 0}])
def test_limits_are_at_least_one_character(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Guard(FakeWriter("x"), FakeJudge(), **options)


def test_a_judge_abstains_from_a_text_that_is_longer_than_it_reads() -> None:
    judge = FakeJudge()
    judge.max_chars = 10
    verdict = judge.invoke("x" * 11)
    assert verdict.outcome == "abstain"
    assert "max_chars" in verdict.detail
    assert judge.judged_texts == []
    assert judge.invoke("x" * 10).passed


def test_a_long_json_answer_of_a_chat_model_is_refused_by_its_option() -> None:
    text = '{"story": "' + "a fox " * 50 + '"}'
    chat = GuardedChat(GenericFakeChatModel(messages=itertools.repeat(AIMessage(text))), FakeJudge(), max_chars=100)
    for message in (chat.invoke("hi"), *list(chat.stream("hi"))[-1:]):
        assert message.response_metadata["taleward"]["released"] is False
    assert "fox" not in "".join(str(chunk.content) for chunk in chat.stream("hi"))


def test_a_chunk_of_megabytes_does_not_block_another_stream() -> None:
    writer = FakeWriter("A fox ran over the hill. " * 200_000)
    long_chunk = Guard(writer, FakeJudge(), max_draft_chars=10**7, timeout_s=3)
    other = Guard(FakeWriter(["A fox ran. ", "It slept."]), FakeJudge(), timeout_s=3)
    thread = threading.Thread(target=lambda: list(long_chunk.stream("go")), daemon=True)
    thread.start()
    started_s = time.monotonic()
    while time.monotonic() < started_s + 1.5:
        begun_s = time.monotonic()
        *_, done = other.stream("go")
        assert isinstance(done, DoneEvent)
        assert done.tale.released
        assert time.monotonic() - begun_s < 1.5
    thread.join(10)
    assert not thread.is_alive()


class HangingJudge(Judge):
    def __init__(self) -> None:
        super().__init__("hanging", policy="kids", band="6-8")
        self.release = threading.Event()

    def assess(self, passage: Any) -> Assessment:
        self.release.wait(20)
        return Assessment()


@pytest.mark.parametrize("tell", PATHS)
def test_a_judge_that_hangs_leaves_a_bounded_number_of_threads(
    tell: Callable[[Guard], Tale], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abandoned_calls, "HANGING_AFTER_S", 0.0)
    monkeypatch.setattr(abandoned_calls, "MAX_HANGING", 5)
    judge = HangingJudge()
    guard = Guard(FakeWriter("A fox ran."), judge, timeout_s=0.02, judge_inputs=False)
    before = threading.active_count()
    tales = [tell(guard) for _ in range(15)]
    try:
        assert threading.active_count() - before < 12
        assert not any(tale.released for tale in tales)
        assert "earlier calls were given up" in tales[-1].attempts[-1].verdict.detail
    finally:
        judge.release.set()


@pytest.mark.parametrize("tell", PATHS)
@pytest.mark.parametrize("judge", ["fake", "lexicon", "embedded:judge"])
def test_lone_surrogates_are_replaced_and_pairs_joined(tell: Callable[[Guard], Tale], judge: str) -> None:
    made = FakeJudge() if judge == "fake" else make_judge(judge, policy="kids", band="6-8")
    writer = FakeWriter(["A fox \ud800 ran \ud83e\udd8a. ", "Then it slept."])
    tale = tell(Guard(writer, made, attempts=1))
    assert tale.text == "A fox \ufffd ran 🦊. Then it slept."
    assert tale.model_dump_json()


def test_surrogates_in_inputs_reach_neither_judge_nor_writer() -> None:
    writer, judge = FakeWriter("A fox ran."), FakeJudge()
    Guard(writer, judge).invoke({"hero": "fox\ud800"})
    assert writer.inputs == [{"hero": "fox\ufffd"}]
    assert judge.judged_texts[0] == "fox\ufffd"


@given(st.lists(st.text(st.characters(), max_size=20), max_size=6), st.booleans())
@settings(max_examples=60)
def test_no_text_ends_a_stream_without_done(chunks: list[str], sync: bool) -> None:
    guard = Guard(FakeWriter(chunks or [""]), FakeJudge(), attempts=1)
    if sync:
        events = list(guard.stream({"hero": "fox"}))
    else:

        async def run() -> list[Event]:
            return [event async for event in guard.astream({"hero": "fox"})]

        events = asyncio.run(run())
    assert isinstance(events[-1], DoneEvent)
    "".join(e.text for e in events if isinstance(e, TextEvent)).encode()
    assert events[-1].tale.released or any(isinstance(e, RefusalEvent) for e in events)


@given(st.text(st.characters(), min_size=1, max_size=60))
@settings(max_examples=60)
def test_no_text_makes_a_judge_or_a_chat_raise(text: str) -> None:
    assert make_judge("lexicon", policy="kids", band="6-8").invoke(text).outcome != "error"
    chat = GuardedChat(GenericFakeChatModel(messages=itertools.repeat(AIMessage(text))), FakeJudge())
    str(chat.invoke("hi").content).encode()
    "".join(str(chunk.content) for chunk in chat.stream("hi")).encode()
