"""Call blocking code from an event loop, and asynchronous code from blocking code."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from taleward.core.concurrency.abandoned_calls import LeftBehind
from taleward.core.concurrency.event_loop import iterate_async

T = TypeVar("T")


async def run_in_thread(work: Callable[[], T], left_behind: LeftBehind | None = None) -> T:
    """Run a blocking call in a thread of its own and await its result.

    `asyncio.to_thread` uses a shared pool, where a call that hangs blocks others and the end of the process. Here a
    call that hangs is left behind in a daemon thread when the caller is canceled.

    Args:
        work: The call to run. It sees the caller's context variables.
        left_behind: Bounds the calls that hang; `None` for no bound.

    Raises:
        DeadlineExceeded: If too many earlier calls hang.
        RuntimeError: If `work` raised `StopIteration`, which a future cannot hold.
    """
    call = left_behind.start() if left_behind else None
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(resolve: Callable[[], None]) -> None:
        if not future.cancelled():
            resolve()

    def run() -> None:
        try:
            resolve = partial(future.set_result, context.run(work))
        except StopIteration as error:
            resolve = partial(future.set_exception, RuntimeError(f"the call raised StopIteration: {error}"))
        except BaseException as error:  # noqa: BLE001  re-raised in the awaiting task
            resolve = partial(future.set_exception, error)
        if call:
            call.end()
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody is waiting
            loop.call_soon_threadsafe(settle, resolve)

    threading.Thread(target=run, daemon=True, name="taleward-call").start()
    try:
        return await future
    except asyncio.CancelledError:
        if call:
            call.give_up()
        raise


async def iterate_in_thread(items: Iterator[T], left_behind: LeftBehind | None = None) -> AsyncGenerator[T, None]:
    """Iterate over a blocking iterator, awaiting each item in a thread.

    Closing this generator closes the iterator. If the iterator is blocked at that moment it is left behind, and ends
    when it produces its next item; `left_behind` bounds how many may hang there.
    """
    exhausted, waiting = object(), True
    try:
        while True:
            waiting = True
            item: Any = await run_in_thread(partial(next, items, exhausted), left_behind)
            waiting = False
            if item is exhausted:
                return
            yield item
    finally:
        close = getattr(items, "close", None)
        if close is not None and not waiting:
            await run_in_thread(close)


def run_sync(make: Callable[[], Awaitable[T]]) -> T:
    """Run an asynchronous call from synchronous code and return its result.

    Args:
        make: Creates the awaitable; called on the event loop that runs it.
    """

    async def single_result() -> AsyncGenerator[T, None]:
        yield await make()

    results: Iterator[T] = iterate_async(single_result)
    [result] = results
    return result
