"""Read a request's body within limits, and stop the work for a client that has left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import starlette.types as asgi

from taleward.serving.operations.error_responses import Rejection
from taleward.serving.operations.request_record import record_of

_SLOW_BODY = Rejection(
    status=408,
    message="The request's body did not arrive in time.",
    code="request_timeout",
    headers={"connection": "close"},
)


class _ClientLeft(Exception):
    """Raised when the client closes the connection before its request is complete."""


class ConnectionMiddleware:
    """Reads the whole body before anything else runs, and cancels what runs for a client that leaves.

    The application gets the body in one piece. A body that is longer than allowed is turned down without being read,
    if its length is announced, or else once it grows too long.

    Args:
        app: The application.
        max_body_bytes: Bytes in a body.
        body_timeout_s: Seconds for a body.
        body_limits: Bytes in a body, for paths that take more.
    """

    def __init__(
        self,
        app: asgi.ASGIApp,
        max_body_bytes: int,
        body_timeout_s: float,
        body_limits: Mapping[str, int] | None = None,
    ) -> None:
        self.app, self._max_body_bytes, self._body_timeout_s = app, max_body_bytes, body_timeout_s
        self._body_limits = dict(body_limits or {})

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = record_of(scope)
        try:
            async with asyncio.timeout(self._body_timeout_s):
                body = await self._read(scope, receive)
        except TimeoutError:
            body = _SLOW_BODY
        except _ClientLeft:
            record.client_left = True
            return
        if isinstance(body, Rejection):
            record.rejection = body.code
            await body.send(send)
            return
        await self._run(scope, receive, send, body)

    async def _read(self, scope: asgi.Scope, receive: asgi.Receive) -> bytes | Rejection:
        limit = self._body_limits.get(scope["path"], self._max_body_bytes)
        for name, value in scope["headers"]:
            # A value that is no number is the server's to reject.
            if name.lower() == b"content-length" and value.isdigit() and int(value) > limit:
                return _too_long(limit)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientLeft
            body += message.get("body", b"")
            if len(body) > limit:
                return _too_long(limit)
            if not message.get("more_body", False):
                return bytes(body)

    async def _run(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send, body: bytes) -> None:
        record, left, is_read = record_of(scope), asyncio.Event(), False

        async def receive_again() -> asgi.Message:
            nonlocal is_read
            if not is_read:
                is_read = True
                return {"type": "http.request", "body": body, "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            left.set()

        work = asyncio.ensure_future(self.app(scope, receive_again, send))
        watcher = asyncio.ensure_future(watch())
        try:
            await asyncio.wait({work, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not record.ended:
                # An answer that is complete may still have work to do in the background.
                record.client_left = True
                work.cancel()
            await asyncio.wait({work})
            if not work.cancelled():
                work.result()
        finally:
            watcher.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work})


def _too_long(limit: int) -> Rejection:
    return Rejection(
        status=413,
        message=f"The request's body is longer than {limit:,} bytes.",
        code="request_too_large",
        headers={"connection": "close"},
    )
