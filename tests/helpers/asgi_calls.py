"""Talk to an ASGI app message by message: for clients that leave, bodies that stall, and streams read as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.types import ASGIApp, Message


class AsgiCall:
    """A request whose client can send its body in pieces, and leave.

    Attributes:
        messages: What the app sent.
    """

    def __init__(
        self,
        app: ASGIApp,
        path: str,
        *,
        method: str = "POST",
        body: Iterable[bytes] | None = (b"{}",),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        pieces = None if body is None else list(body)
        for number, piece in enumerate(pieces or ()):
            more = number + 1 < len(pieces or ())
            self._incoming.put_nowait({"type": "http.request", "body": piece, "more_body": more})
        self.messages: list[Message] = []
        self._ended = asyncio.Event()
        all_headers = {"host": "localhost", "content-type": "application/json", **(headers or {})}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in all_headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
            "state": {},
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        if self._incoming.empty() and self._ended.is_set():
            return {"type": "http.disconnect"}
        return await self._incoming.get()

    async def _send(self, message: Message) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._ended.set()
            self._incoming.put_nowait({"type": "http.disconnect"})

    def leave(self) -> None:
        """Close the connection."""
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def done(self) -> AsgiCall:
        """Wait until the app has finished."""
        await self.task
        return self

    @property
    def status(self) -> int:
        """The status; 0 if there is no answer yet."""
        return next((int(m["status"]) for m in self.messages if m["type"] == "http.response.start"), 0)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        start = next(m for m in self.messages if m["type"] == "http.response.start")
        return {name.decode().lower(): value.decode() for name, value in start["headers"]}

    @property
    def body(self) -> bytes:
        """What came of the body so far."""
        return b"".join(m.get("body", b"") for m in self.messages if m["type"] == "http.response.body")

    @property
    def error(self) -> dict[str, Any]:
        """The error in an answer in OpenAI's shape."""
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error
