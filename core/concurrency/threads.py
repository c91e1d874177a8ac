"""Calls that block, for an event loop; and an asynchronous call, for a caller that is not asynchronous."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from taleward.core.concurrency.event_loop import iterate_async

T = TypeVar("T")


async def run_in_thread(work: Callable[[], T]) -> T:
    """What a call that blocks gives, waited for in a thread of its own.

    Unlike the threads of an event loop's pool it is no other call's: one that hangs, and is left behind when this is
    cancelled, holds up nobody, nor the end of the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(set_it: Callable[[], None]) -> None:
        if not done.cancelled():
            set_it()

    def run() -> None:
        try:
            set_it = partial(done.set_result, context.run(work))
        except StopIteration as error:  # no future takes one
            set_it = partial(done.set_exception, RuntimeError(f"the call raised StopIteration: {error}"))
        except BaseException as error:  # noqa: BLE001  handed over to the caller
            set_it = partial(done.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, set_it)

    threading.Thread(target=run, daemon=True, name="taleward-call").start()
    return await done


async def run_in_threads(items: Iterator[T]) -> AsyncGenerator[T, None]:
    """The items of an iterator that blocks, each waited for in a thread.

    Closing it closes the iterator; one that blocks just then is left behind, and ends when it gives its next item.
    """
    end, waiting = object(), True
    try:
        while True:
            waiting = True
            item: Any = await run_in_thread(partial(next, items, end))
            waiting = False
            if item is end:
                return
            yield item
    finally:
        close = getattr(items, "close", None)
        if close is not None and not waiting:
            await run_in_thread(close)


def run_sync(make: Callable[[], Awaitable[T]]) -> T:
    """What an asynchronous call gives, for a caller that is not asynchronous.

    Args:
        make: Makes the call; called where its event loop runs.
    """

    async def one() -> AsyncGenerator[T, None]:
        yield await make()

    answers: Iterator[T] = iterate_async(one)
    [answer] = answers
    return answer
