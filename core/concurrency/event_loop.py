"""Event loops in background threads, for callers that are not asynchronous or run on another loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Generic, TypeVar
from weakref import WeakSet

T = TypeVar("T")
_CLOSE_TIMEOUT_S = 5.0
_BLOCKED_S = 1.0
_loop_threads: WeakSet[EventLoopThread] = WeakSet()
_waiting: contextvars.ContextVar[tuple[EventLoopThread, ...]] = contextvars.ContextVar("waiting", default=())
"""The loops on which the current code was called."""


class EventLoopThread:
    """An event loop in a daemon thread, started on first use.

    Clients of hosted models keep connections that belong to the loop on which they were opened. All calls through one
    `EventLoopThread` share that loop, whatever thread they come from. Every method takes a function that creates the
    awaitable; it is called on the loop, with the caller's context variables.

    Code on the loop may call synchronous code that waits for the loop: such calls get a loop of their own. A
    `SystemExit` or `KeyboardInterrupt` on the loop reaches the caller whose call raised it, and nobody else.

    Args:
        name: The thread's name.
        replaceable: Whether new calls get a new loop once this one has been blocked for a second, as by code that
            sleeps in an `async` function. Not for clients whose connections belong to the loop.
    """

    def __init__(self, name: str, *, replaceable: bool = False) -> None:
        self._name, self._replaceable, self._lock = name, replaceable, threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._nested: EventLoopThread | None = None
        # When the loop last gave a sign of life, on the monotonic clock.
        self._answered_s = 0.0
        _loop_threads.add(self)

    def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """Run an asynchronous call and wait for its result; canceled if the caller is interrupted."""
        if self._waits_for_this_call():
            return self._for_nested_calls().call(make)
        future = asyncio.run_coroutine_threadsafe(self._await(make), self._running_loop())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def acall(self, make: Callable[[], Awaitable[T]]) -> T:
        """Like `call`, for a caller on any event loop."""
        loop = self._running_loop()
        if asyncio.get_running_loop() is loop:
            return await make()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._await(make), loop))

    def iterate(
        self, make: Callable[[], AsyncGenerator[T, None]], is_overdue: Callable[[], bool] = lambda: False
    ) -> Iterator[T]:
        """Iterate over an asynchronous generator, which keeps working between items.

        If the caller stops early, the generator is closed and given five seconds to end.

        Args:
            make: Creates the generator.
            is_overdue: Whether to give up waiting for the next item if the generator blocks the loop, so that no time
                limit of its own can end it; asked once a second.

        Raises:
            TimeoutError: If the next item is overdue and the loop is blocked.
        """
        if self._waits_for_this_call():
            yield from self._for_nested_calls().iterate(make, is_overdue)
            return
        loop, stepper = self._running_loop(), _GeneratorStepper(make, self)
        try:
            while True:
                step = asyncio.run_coroutine_threadsafe(stepper.next_item(), loop)
                while True:
                    try:
                        item = step.result(_BLOCKED_S)
                        break
                    except TimeoutError:
                        if step.done() or (is_overdue() and not _answers(loop)):
                            raise
                if item is None:
                    return
                yield item[0]
        finally:
            closing = asyncio.run_coroutine_threadsafe(stepper.close(), loop)
            # A blocked loop closes the generator once it goes on.
            with contextlib.suppress(TimeoutError):
                closing.result(_CLOSE_TIMEOUT_S if not is_overdue() else _BLOCKED_S)

    def aiterate(self, make: Callable[[], AsyncGenerator[T, None]]) -> LoopIterator[T]:
        """Like `iterate`, for a caller on any event loop; close the iterator with `aclose`."""
        return LoopIterator(self, _GeneratorStepper(make, self))

    def submit(self, make: Callable[[], Awaitable[object]]) -> None:
        """Start an asynchronous call without waiting for it."""
        asyncio.run_coroutine_threadsafe(self._await(make), self._running_loop())

    def reset(self) -> None:
        """Drop the loop, so that the next call starts a new one; a forked child has no thread of its parent."""
        # A new lock too: a thread that does not exist in the child may have held the old one.
        self._loop, self._nested, self._lock = None, None, threading.Lock()

    def _waits_for_this_call(self) -> bool:
        """Whether the caller runs on the loop, or in a thread that code on the loop may be waiting for."""
        return self in _waiting.get()

    async def _await(self, make: Callable[[], Awaitable[T]]) -> T:
        _waiting.set((*_waiting.get(), self))
        return await make()

    def _for_nested_calls(self) -> EventLoopThread:
        with self._lock:
            if self._nested is None:
                self._nested = EventLoopThread(self._name, replaceable=self._replaceable)
            return self._nested

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or (self._replaceable and self._is_blocked(self._loop)):
                self._loop, self._answered_s = asyncio.new_event_loop(), time.monotonic()
                threading.Thread(target=_run_loop, args=(self._loop,), daemon=True, name=self._name).start()
            return self._loop

    def _is_blocked(self, loop: asyncio.AbstractEventLoop) -> bool:
        if time.monotonic() - self._answered_s < _BLOCKED_S:
            return False
        if not _answers(loop):
            return True
        self._answered_s = time.monotonic()
        return False


class LoopIterator(Generic[T]):
    """The asynchronous iterator that `EventLoopThread.aiterate` returns."""

    # Not a generator: an event loop that ends closes all of its generators at once, even those another one is using.

    def __init__(self, loop_thread: EventLoopThread, stepper: _GeneratorStepper[T]) -> None:
        self._loop_thread, self._stepper = loop_thread, stepper

    def __aiter__(self) -> LoopIterator[T]:
        return self

    async def __anext__(self) -> T:
        if (item := await self._loop_thread.acall(self._stepper.next_item)) is None:
            raise StopAsyncIteration
        return item[0]

    async def aclose(self) -> None:
        """Start closing the generator, without waiting: the caller's own event loop may be about to end."""
        self._loop_thread.submit(self._stepper.close)


class _GeneratorStepper(Generic[T]):
    """Advance an asynchronous generator from another thread or loop, one item at a time."""

    def __init__(self, make: Callable[[], AsyncGenerator[T, None]], loop_thread: EventLoopThread) -> None:
        self._make, self._loop_thread = make, loop_thread
        self._generator: AsyncGenerator[T, None] | None = None
        self._task: asyncio.Task[object] | None = None

    async def next_item(self) -> tuple[T] | None:
        """Return the next item in a tuple, or `None` at the end."""
        _waiting.set((*_waiting.get(), self._loop_thread))
        if self._generator is None:
            self._generator = self._make()
        self._task = asyncio.current_task()
        async for item in self._generator:
            return (item,)
        return None

    async def close(self) -> None:
        """Cancel the step in progress, if any, and close the generator."""
        if self._task is not None and self._task is not asyncio.current_task() and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._generator is not None:
            await self._generator.aclose()


def _answers(loop: asyncio.AbstractEventLoop) -> bool:
    answered = threading.Event()
    loop.call_soon_threadsafe(answered.set)
    return answered.wait(_BLOCKED_S)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        # asyncio hands these two to the awaiting task, and then lets them stop the loop, with all calls of others.
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            loop.run_forever()
            return


def _reset_all() -> None:
    for loop_thread in list(_loop_threads):
        loop_thread.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)

_STREAMS = EventLoopThread("taleward-stream", replaceable=True)
iterate_async = _STREAMS.iterate
"""Iterate over an asynchronous generator from synchronous code, on the event loop that all guards and routers share."""
