"""Answers to requests that are turned down, in the shape of OpenAI's errors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from starlette.types import Message, Send

from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.serving.errors import error_body


class Rejection(FrozenModel):
    """Why a request is turned down, without any of its words.

    Attributes:
        status: The HTTP status.
        message: What happened, and what to do.
        code: OpenAI's error code, or one of ours.
        retry_after_s: Seconds after which another try can succeed; `None` if waiting does not help.
        headers: Further headers.
    """

    status: int
    message: str
    code: str
    retry_after_s: float | None = None
    headers: FrozenMapping[str, str] = FrozenDict()

    def body(self) -> bytes:
        """Return the body of the answer as JSON."""
        return json.dumps(error_body(self.status, self.message, code=self.code)).encode()

    async def send(self, send: Send) -> None:
        """Send the whole answer."""
        body = self.body()
        headers: dict[str, str] = {"content-type": "application/json", "content-length": str(len(body))}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after_s)))
        elif self.status == 429:
            # openai-python repeats any other 429 by itself.
            headers["x-should-retry"] = "false"
        start = {
            "type": "http.response.start",
            "status": self.status,
            "headers": raw_headers(headers | dict(self.headers)),
        }
        await send(start)
        await send({"type": "http.response.body", "body": body})

    async def send_in_stream(self, send: Send) -> None:
        """End a stream of server-sent events with an error event; clients miss `[DONE]` and raise an error."""
        await send({"type": "http.response.body", "body": b"data: " + self.body() + b"\n\n"})


def raw_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI wants them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def with_headers(message: Message, headers: Mapping[str, str]) -> Message:
    """Return the start of a response with headers set, in place of those of the same names."""
    names = {name.encode("latin-1") for name in headers}
    kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in names]
    return {**message, "headers": [*kept, *raw_headers(headers)]}
