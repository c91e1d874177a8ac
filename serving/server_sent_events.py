"""Server-sent events: a stream that stays alive while a judge thinks, and stops its model if the client leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from fastapi.responses import StreamingResponse

KEEP_ALIVE = ": judging\n\n"
"""A comment, which clients ignore."""
DONE = "data: [DONE]\n\n"
"""OpenAI's last event."""


def format_event(data: Mapping[str, Any], event: str | None = None) -> str:
    """Return one event.

    Args:
        data: An object.
        event: The event's type; OpenAI's chat streams have none.
    """
    # ASCII, since a lone surrogate has a form in JSON and none in UTF-8.
    text = json.dumps(data, separators=(",", ":"))
    return f"event: {event}\ndata: {text}\n\n" if event else f"data: {text}\n\n"


def event_stream(events: AsyncGenerator[str, None], keep_alive_s: float) -> StreamingResponse:
    """Return the response that sends events.

    Args:
        events: Formatted events; closed when the client leaves.
        keep_alive_s: Seconds without an event after which a comment is sent.
    """
    return StreamingResponse(
        keep_alive(events, keep_alive_s),
        media_type="text/event-stream",
        # nginx holds back what it proxies unless it is told not to.
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def keep_alive(events: AsyncGenerator[str, None], interval_s: float) -> AsyncIterator[str]:
    """Yield events, and a comment whenever none came for a while; closing it closes the events.

    Args:
        events: Formatted events.
        interval_s: Seconds to wait for an event before a comment is sent.
    """
    # The generator runs in one task from its first event to its end, as its timeouts and context variables need it.
    queue: asyncio.Queue[str | BaseException | None] = asyncio.Queue(maxsize=1)

    async def pump() -> None:
        try:
            async with aclosing(events) as all_events:
                async for event in all_events:
                    await queue.put(event)
        except Exception as error:  # noqa: BLE001  raised where the events are read
            await queue.put(error)
        else:
            await queue.put(None)

    task = asyncio.create_task(pump())
    try:
        while True:
            try:
                event = await asyncio.wait_for(queue.get(), interval_s)
            except TimeoutError:
                yield KEEP_ALIVE
                continue
            if event is None:
                return
            if isinstance(event, BaseException):
                raise event
            yield event
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
