"""Event loops in threads of their own, for callers that are elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Generic, TypeVar
from weakref import WeakSet

T = TypeVar("T")
_PATIENCE_S = 5.0
_all: WeakSet[EventLoopThread] = WeakSet()


class EventLoopThread:
    """An event loop in a daemon thread, which is started when it is first needed and stays.

    Clients of hosted models keep connections that belong to the loop they were opened on: what goes over one bridge
    shares them, whoever calls. What is given is a function that makes the work, and it is called on the bridge's loop
    with the caller's context variables.

    Args:
        name: The thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name, self._lock = name, threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        _all.add(self)

    def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """What an asynchronous call gives, for a caller that is not asynchronous; it is cancelled when he leaves."""
        future = asyncio.run_coroutine_threadsafe(_awaited(make), self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def acall(self, make: Callable[[], Awaitable[T]]) -> T:
        """As `call`, for a caller on any event loop."""
        loop = self._running()
        if asyncio.get_running_loop() is loop:
            return await make()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_awaited(make), loop))

    def iterate(self, make: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
        """The items of an asynchronous generator, which goes on working between them.

        When the caller stops early the generator is closed, and waited for up to five seconds.
        """
        loop, steps = self._running(), _Steps(make)
        try:
            while (item := asyncio.run_coroutine_threadsafe(steps.following(), loop).result()) is not None:
                yield item[0]
        finally:
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(steps.end(), loop).result(_PATIENCE_S)

    def aiterate(self, make: Callable[[], AsyncGenerator[T, None]]) -> Items[T]:
        """As `iterate`, for a caller on any event loop; close it with `aclose`."""
        return Items(self, _Steps(make))

    def begin(self, make: Callable[[], Awaitable[object]]) -> None:
        """Have something done, without waiting for it."""
        asyncio.run_coroutine_threadsafe(_awaited(make), self._running())

    def forget(self) -> None:
        """Start anew: a child process has no thread of its parent."""
        self._loop, self._lock = None, threading.Lock()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, daemon=True, name=self._name).start()
            return self._loop


class Items(Generic[T]):
    """What `EventLoopThread.aiterate` gives.

    It is no generator: an event loop that ends closes all of its generators at once, those inside of others too.
    """

    def __init__(self, bridge: EventLoopThread, steps: _Steps[T]) -> None:
        self._bridge, self._steps = bridge, steps

    def __aiter__(self) -> Items[T]:
        return self

    async def __anext__(self) -> T:
        if (item := await self._bridge.acall(self._steps.following)) is None:
            raise StopAsyncIteration
        return item[0]

    async def aclose(self) -> None:
        """Have the generator closed; it is not waited for, since the caller's event loop may be about to end."""
        self._bridge.begin(self._steps.end)


class _Steps(Generic[T]):
    """An asynchronous generator, advanced from elsewhere one item at a time."""

    def __init__(self, make: Callable[[], AsyncGenerator[T, None]]) -> None:
        self._make = make
        self._items: AsyncGenerator[T, None] | None = None
        self._task: asyncio.Task[object] | None = None

    async def following(self) -> tuple[T] | None:
        """The next item, in a tuple; `None` at the end."""
        if self._items is None:
            self._items = self._make()
        self._task = asyncio.current_task()
        async for item in self._items:
            return (item,)
        return None

    async def end(self) -> None:
        """Close the generator, whatever it is at."""
        if self._task is not None and self._task is not asyncio.current_task() and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._items is not None:
            await self._items.aclose()


async def _awaited(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


def _forget() -> None:
    for bridge in list(_all):
        bridge.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

_STREAMS = EventLoopThread("taleward-stream")
iterate_async = _STREAMS.iterate
"""What a guard, a router or a chat does for callers that are not asynchronous runs over this bridge."""
