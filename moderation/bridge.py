"""Asynchronous iterators for callers that are not asynchronous."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
_PATIENCE_S = 5.0
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def iterate(make: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
    """The items of an asynchronous generator, which goes on working between them.

    All generators run on one event loop in a daemon thread, which stays: clients of hosted models keep connections that
    belong to the loop they were opened on. When the caller stops early the generator is closed, and waited for up to
    five seconds.

    Args:
        make: Makes the generator; called where its event loop runs.
    """
    loop = _running_loop()
    task: asyncio.Task[object] | None = None

    async def begin() -> AsyncGenerator[T, None]:
        return make()

    async def following() -> tuple[T] | None:
        nonlocal task
        task = asyncio.current_task()
        async for item in items:
            return (item,)
        return None

    async def end() -> None:
        if task is not None and not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await items.aclose()

    items = asyncio.run_coroutine_threadsafe(begin(), loop).result()
    try:
        while (item := asyncio.run_coroutine_threadsafe(following(), loop).result()) is not None:
            yield item[0]
    finally:
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(end(), loop).result(_PATIENCE_S)


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, daemon=True, name="taleward-stream").start()
        return _loop


def _forget() -> None:
    """A child process has no thread of its parent."""
    global _loop, _lock
    _loop, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
