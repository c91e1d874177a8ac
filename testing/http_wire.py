"""HTTP responses written by hand, because no server library sends responses as broken as the fake servers'."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping


async def send_response(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    content_type: str = "application/json",
) -> bool:
    """Send a complete response; return True, because the connection stays open."""
    writer.write(response_head(status, headers, content_type, len(body)) + body)
    await writer.drain()
    return True


def response_head(status: int, headers: Mapping[str, str], content_type: str, length: int | None) -> bytes:
    """Return the status line and headers; `None` as length announces a chunked body."""
    size = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
    all_headers = {"content-type": content_type, **size, **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
    return f"HTTP/1.1 {status} Fake\r\n{lines}\r\n".encode("latin-1")


def stream_event(data: str) -> bytes:
    """Return a server-sent event as a chunk of the body."""
    return chunk(f"data: {data}\n\n".encode())


def chunk(data: bytes) -> bytes:
    """Return a chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def error_body(status: int, code: str, message: str) -> bytes:
    """Return the JSON of an error in OpenAI's form."""
    kind = "invalid_request_error" if status in (400, 404) else code
    return json.dumps({"error": {"message": message, "type": kind, "code": code, "param": None}}).encode()
