"""Stop the work of a client that has left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from fastapi import Request

from taleward.serving.errors import ApiError

T = TypeVar("T")


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await the work; cancel it if the client leaves, so that no model writes for nobody.

    A server notices by itself that nobody reads a stream, but not that nobody waits for a whole answer.

    Args:
        request: The request, whose body has been read.
        work: What answers it.

    Raises:
        ApiError: If the client has left; nobody reads it.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ApiError(499, "The client has left.", code="client_closed_request")
        return await task
    finally:
        await _cancel(task)
        await _cancel(gone)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _cancel(task: Awaitable[Any]) -> None:
    future = asyncio.ensure_future(task)
    if not future.done():
        future.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await future
