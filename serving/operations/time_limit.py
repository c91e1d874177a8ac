"""End answers that take too long, and those that are cut off by a shutdown, with an error that clients understand."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import starlette.types as asgi

from taleward.serving.operations.error_responses import Rejection
from taleward.serving.operations.generation_queue import SHUTTING_DOWN
from taleward.serving.operations.request_record import RequestRecord, record_of

_LAST_WORD_S = 2.0


class TimeLimitMiddleware:
    """Bounds the time of an answer.

    An answer that has not begun becomes an error; a stream ends with an error event and without `[DONE]`.

    Args:
        app: The application.
        timeout_s: Seconds for an answer.
    """

    def __init__(self, app: asgi.ASGIApp, timeout_s: float) -> None:
        self.app, self._timeout_s = app, timeout_s
        self._overdue = Rejection(
            status=504,
            message=f"The answer took longer than {timeout_s:g} s.",
            code="request_timeout",
            headers={"x-should-retry": "false"},
        )

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = record_of(scope)
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                await self.app(scope, receive, send)
        except TimeoutError:
            if not deadline.expired():
                raise  # the application's own
            await _end_early(self._overdue, record, send)
        except asyncio.CancelledError:
            if not record.client_left:
                await _end_early(SHUTTING_DOWN, record, send)
            raise


async def _end_early(rejection: Rejection, record: RequestRecord, send: asgi.Send) -> None:
    if record.ended:
        return
    record.rejection = rejection.code
    # A client that does not read must not hold up the end. What is not a stream breaks off, as its length is wrong.
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORD_S):
            if not record.status:
                await rejection.send(send)
            elif record.streams:
                await rejection.send_in_stream(send)
