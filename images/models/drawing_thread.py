"""Run a drawing in a thread of its own, with a time limit, for synchronous and asynchronous callers."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from typing import TypeVar

from taleward.core.concurrency.abandoned_calls import LeftBehind, LeftBehindCall
from taleward.core.errors import DeadlineExceeded

T = TypeVar("T")
Emit = Callable[[T], None]
Work = Callable[[Emit[T]], Iterator[T]]
"""Makes the iterator to run; what it emits on the way comes between its items."""
_IDLE_S = 10.0
"""How long a thread waits for the next drawing."""
_waiting: list[queue.SimpleQueue[Callable[[], None]]] = []
"""Where the threads that have nothing to do get their next job; the last one is the warmest."""
_lock = threading.Lock()
_Item = tuple[T | None, BaseException | None]
"""A value, an exception, or twice `None` at the end."""


def iterate_in_thread(
    work: Work[T], canceled: threading.Event, timeout_s: float | None, left_behind: LeftBehind
) -> Iterator[T]:
    """Iterate over `work` in a thread; when the caller stops early or time runs out, `canceled` is set.

    Args:
        work: What to iterate over; it looks at `canceled` now and then.
        canceled: Set when nobody waits any more.
        timeout_s: Seconds for everything; `None` for no limit.
        left_behind: Bounds the calls that hang.

    Raises:
        DeadlineExceeded: If it did not end in time.
    """
    items: queue.SimpleQueue[_Item[T]] = queue.SimpleQueue()
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    call = _start(work, canceled, items.put, left_behind)
    try:
        while True:
            remaining_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            try:
                value, error = items.get(timeout=remaining_s)
            except queue.Empty:
                raise _late(left_behind, timeout_s) from None
            if error is not None:
                raise error
            if value is None:
                return
            yield value
    finally:
        canceled.set()
        if not call.ended:
            call.give_up()


async def aiterate_in_thread(
    work: Work[T], canceled: threading.Event, timeout_s: float | None, left_behind: LeftBehind
) -> AsyncGenerator[T, None]:
    """Async version of `iterate_in_thread`."""
    loop, items = asyncio.get_running_loop(), asyncio.Queue[_Item[T]]()

    def put(item: _Item[T]) -> None:
        # The loop may have ended, and with it everybody who could wait for the item.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(items.put_nowait, item)

    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    call = _start(work, canceled, put, left_behind)
    try:
        while True:
            remaining_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            try:
                value, error = await asyncio.wait_for(items.get(), remaining_s)
            except TimeoutError:
                raise _late(left_behind, timeout_s) from None
            if error is not None:
                raise error
            if value is None:
                return
            yield value
    finally:
        canceled.set()
        if not call.ended:
            call.give_up()


def _start(
    work: Work[T], canceled: threading.Event, put: Callable[[_Item[T]], None], left_behind: LeftBehind
) -> LeftBehindCall:
    call, context = left_behind.start(), contextvars.copy_context()

    def run() -> None:
        try:
            for value in work(lambda value: put((value, None))):
                if canceled.is_set():
                    break
                put((value, None))
            put((None, None))
        except BaseException as error:  # noqa: BLE001  raised again where the caller waits
            put((None, error))
        finally:
            call.end()

    # LangChain keeps the callbacks and traces of a run in context variables, which new threads do not inherit.
    _run_in_worker(partial(context.run, run))
    return call


def _run_in_worker(job: Callable[[], None]) -> None:
    """Run a job in a thread that waits for one, or in a new one: a new thread fetches all its memory anew."""
    with _lock:
        jobs = _waiting.pop() if _waiting else None
    if jobs is None:
        jobs = queue.SimpleQueue()
        threading.Thread(target=_work_off, args=(jobs,), daemon=True, name="taleward-draw").start()
    jobs.put(job)


def _work_off(jobs: queue.SimpleQueue[Callable[[], None]]) -> None:
    while True:
        try:
            job = jobs.get(timeout=_IDLE_S)
        except queue.Empty:
            with _lock:
                if jobs not in _waiting:
                    continue  # somebody has just taken this thread, and its job is on the way
                _waiting.remove(jobs)
                return
        job()
        del job  # it holds pictures
        with _lock:
            _waiting.append(jobs)


def _late(left_behind: LeftBehind, timeout_s: float | None) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"{left_behind.what} did not finish within {timeout_s:g} s.",
        hint="Ask for fewer or smaller pictures or fewer steps, or increase timeout_s.",
    )


def _forget_threads() -> None:
    """Start anew in a forked process, which has none of these threads, and in which the lock may be held for ever."""
    global _lock
    _lock = threading.Lock()
    _waiting.clear()


os.register_at_fork(after_in_child=_forget_threads)
