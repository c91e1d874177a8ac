"""Asynchronous iterators for callers that are not asynchronous."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
_PATIENCE_S = 5.0


def iterate(make: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
    """The items of an asynchronous generator, which goes on working between them on an event loop of its own.

    When the caller stops early the generator is closed, and waited for up to five seconds: what hangs stays behind in a
    daemon thread.

    Args:
        make: Makes the generator; called where its event loop runs.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_run, args=(loop,), daemon=True, name="taleward-stream")
    thread.start()

    async def begin() -> AsyncGenerator[T, None]:
        return make()

    async def following() -> tuple[T] | None:
        async for item in items:
            return (item,)
        return None

    async def end() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await items.aclose()

    items = asyncio.run_coroutine_threadsafe(begin(), loop).result()
    try:
        while (item := asyncio.run_coroutine_threadsafe(following(), loop).result()) is not None:
            yield item[0]
    finally:
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(end(), loop).result(_PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
