"""The shared event loop survives exits, nested calls and blocking code, and every time limit holds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from taleward.core.concurrency.event_loop import EventLoopThread
from taleward.core.concurrency.sync_async import run_sync
from taleward.core.events import DoneEvent, RetractionEvent
from taleward.moderation.chat.guarded_chat import GuardedChat
from taleward.moderation.guard.guard import Guard
from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.scripted_chat import says


def result_of(work: Callable[[], Any], limit_s: float = 20.0) -> Any:
    """What a call returns or raises, in a thread, since it might hang."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  the test looks at it
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit_s)
    assert results, "the call hangs"
    return results[0]


def streams_again() -> bool:
    done = result_of(lambda: list(Guard(FakeWriter("A fox."), FakeJudge()).stream({}))[-1])
    return bool(done.tale.released)


async def exits(inputs: Any) -> AsyncIterator[str]:
    yield "A fox ran. "
    raise SystemExit(3)


def interrupted(passage: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("guard", "expected"),
    [
        (lambda: Guard(exits, FakeJudge()), SystemExit),
        (lambda: Guard(FakeWriter("A fox."), FakeJudge(interrupted)), KeyboardInterrupt),
    ],
)
@pytest.mark.parametrize("path", [lambda g: list(g.stream({})), lambda g: g.invoke({})], ids=["stream", "invoke"])
def test_an_exit_reaches_its_caller_and_ends_nobody_elses_stream(guard: Any, expected: Any, path: Any) -> None:
    slow = Guard(FakeWriter(["A fox. ", "It slept."], pause_s=0.3), FakeJudge())
    others: list[Any] = []
    other = threading.Thread(target=lambda: others.append(list(slow.stream({}))[-1]), daemon=True)
    other.start()
    assert isinstance(result_of(lambda: path(guard())), expected)
    assert streams_again()
    other.join(20)
    assert others[0].tale.released


async def sync_call_in_async_code(inputs: Any) -> AsyncIterator[str]:
    yield GuardedChat(says("A fox ran."), FakeJudge()).invoke("hi").text


async def deep_sync_calls(inputs: Any) -> str:
    return Guard(sync_call_in_async_code, FakeJudge(), timeout_s=10).invoke({}).text


@pytest.mark.parametrize("writer", [sync_call_in_async_code, deep_sync_calls])
@pytest.mark.parametrize("path", [lambda g: list(g.stream({}))[-1].tale, lambda g: g.invoke({})])
def test_sync_calls_within_async_code_do_not_wait_for_themselves(writer: Any, path: Any) -> None:
    started_s = time.monotonic()
    tale = result_of(lambda: path(Guard(writer, FakeJudge(), timeout_s=10)))
    assert tale.text == "A fox ran."
    assert time.monotonic() - started_s < 9


def test_a_writer_that_blocks_the_loop_is_refused_in_time_and_blocks_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taleward.moderation.guard.streaming.CLOSING_S", 0.2)
    released = threading.Event()

    async def blocking(inputs: Any) -> AsyncIterator[str]:
        yield "A fox ran. "
        yield "It"
        await asyncio.sleep(0.1)  # the first sentence is released
        released.wait(20)
        yield " slept."

    events = result_of(lambda: list(Guard(blocking, FakeJudge(), timeout_s=0.5).stream({})))
    assert isinstance(events[-1], DoneEvent)
    assert events[-1].tale.refusal
    assert events[-1].tale.refusal.reason == "timeout"
    assert any(isinstance(event, RetractionEvent) for event in events)
    assert streams_again()
    released.set()


def test_a_blocked_loop_is_replaced_if_that_is_allowed() -> None:
    for replaceable in (True, False):
        loop_thread, release = EventLoopThread("test", replaceable=replaceable), threading.Event()

        async def block(release: threading.Event = release) -> None:
            release.wait(10)

        async def loop_id() -> int:
            return id(asyncio.get_running_loop())

        first = loop_thread.call(loop_id)
        loop_thread.submit(block)
        time.sleep(1.2)
        threading.Timer(3, release.set).start()
        assert (loop_thread.call(loop_id) == first) == (not replaceable)


def test_a_nested_call_has_a_loop_of_its_own() -> None:
    async def loops() -> tuple[int, int]:
        async def inner() -> int:
            return id(asyncio.get_running_loop())

        return id(asyncio.get_running_loop()), run_sync(inner)

    outer, nested = result_of(lambda: run_sync(loops))
    assert outer != nested
