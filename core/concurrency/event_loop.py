"""Event loops in background threads, for callers that are not asynchronous or run on another loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Generic, TypeVar
from weakref import WeakSet

T = TypeVar("T")
_CLOSE_TIMEOUT_S = 5.0
_loop_threads: WeakSet[EventLoopThread] = WeakSet()


class EventLoopThread:
    """An event loop in a daemon thread, started on first use.

    Clients of hosted models keep connections that belong to the loop on which they were opened. All calls through one
    `EventLoopThread` share that loop, whatever thread they come from. Every method takes a function that creates the
    awaitable; it is called on the loop, with the caller's context variables.

    Args:
        name: The thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name, self._lock = name, threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        _loop_threads.add(self)

    def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """Run an asynchronous call and wait for its result; canceled if the caller is interrupted."""
        future = asyncio.run_coroutine_threadsafe(_await_on_loop(make), self._running_loop())
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
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_await_on_loop(make), loop))

    def iterate(self, make: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
        """Iterate over an asynchronous generator, which keeps working between items.

        If the caller stops early, the generator is closed and given five seconds to end.
        """
        loop, stepper = self._running_loop(), _GeneratorStepper(make)
        try:
            while (item := asyncio.run_coroutine_threadsafe(stepper.next_item(), loop).result()) is not None:
                yield item[0]
        finally:
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(stepper.close(), loop).result(_CLOSE_TIMEOUT_S)

    def aiterate(self, make: Callable[[], AsyncGenerator[T, None]]) -> LoopIterator[T]:
        """Like `iterate`, for a caller on any event loop; close the iterator with `aclose`."""
        return LoopIterator(self, _GeneratorStepper(make))

    def submit(self, make: Callable[[], Awaitable[object]]) -> None:
        """Start an asynchronous call without waiting for it."""
        asyncio.run_coroutine_threadsafe(_await_on_loop(make), self._running_loop())

    def reset(self) -> None:
        """Drop the loop, so that the next call starts a new one; a forked child has no thread of its parent."""
        # A new lock too: a thread that does not exist in the child may have held the old one.
        self._loop, self._lock = None, threading.Lock()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, daemon=True, name=self._name).start()
            return self._loop


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

    def __init__(self, make: Callable[[], AsyncGenerator[T, None]]) -> None:
        self._make = make
        self._generator: AsyncGenerator[T, None] | None = None
        self._task: asyncio.Task[object] | None = None

    async def next_item(self) -> tuple[T] | None:
        """Return the next item in a tuple, or `None` at the end."""
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


async def _await_on_loop(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


def _reset_all() -> None:
    for loop_thread in list(_loop_threads):
        loop_thread.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)

_STREAMS = EventLoopThread("taleward-stream")
iterate_async = _STREAMS.iterate
"""Iterate over an asynchronous generator from synchronous code, on the event loop that all guards and routers share."""
