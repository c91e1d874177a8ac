"""A small client for streamed chat completions that keeps times, for many streams at once in one process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass
class StreamResult:
    """What came of one stream.

    Attributes:
        status: The HTTP status; 0 if the connection failed.
        text: The text, refusals included.
        finish_reason: OpenAI's finish reason.
        done: Whether it ended with `[DONE]`.
        error: The code of an error event.
        first_sentence_s: Seconds until a whole sentence had come.
        total_s: Seconds until the end.
    """

    status: int = 0
    text: str = ""
    finish_reason: str | None = None
    done: bool = False
    error: str | None = None
    first_sentence_s: float | None = None
    total_s: float = 0.0
    chunks: int = field(default=0, repr=False)


async def stream_chat(
    base_url: str,
    model: str,
    content: str,
    *,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
    leave_after: int | None = None,
) -> StreamResult:
    """Stream a chat completion.

    Args:
        base_url: The server's address including `/v1`.
        model: The model.
        content: The user's message.
        headers: Further headers.
        extra: Further fields of the request.
        leave_after: Close the connection after so many events with data.
    """
    request = {"model": model, "messages": [{"role": "user", "content": content}], "stream": True, **(extra or {})}
    result, started_s = StreamResult(), time.perf_counter()
    writer = None
    try:
        url = urlsplit(base_url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        body = json.dumps(request).encode()
        all_headers = {
            "host": f"{url.hostname}:{url.port}",
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            **(headers or {}),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
        writer.write(f"POST {url.path}/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + body)
        result.status = int((await reader.readline()).split()[1])
        while (await reader.readline()).strip():
            pass
        if result.status == 200:
            async for data in _events(reader):
                result.chunks += 1
                _take(data, result, started_s)
                if leave_after is not None and result.chunks >= leave_after:
                    break
    except (OSError, IndexError, asyncio.IncompleteReadError):
        pass  # whoever reads the result sees that it is not done
    finally:
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    result.total_s = time.perf_counter() - started_s
    return result


def _take(data: str, result: StreamResult, started_s: float) -> None:
    if data == "[DONE]":
        result.done = True
        return
    event = json.loads(data)
    if "error" in event:
        result.error = str(event["error"].get("code"))
        return
    for choice in event.get("choices", ()):
        delta = choice.get("delta", {})
        result.text += (delta.get("content") or "") + (delta.get("refusal") or "")
        result.finish_reason = choice.get("finish_reason") or result.finish_reason
    if result.first_sentence_s is None and "." in result.text:
        result.first_sentence_s = time.perf_counter() - started_s


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yield the data of server-sent events in a chunked body; comments are left out."""
    pending = b""
    while size := int((await reader.readline()).strip() or b"0", 16):
        pending += await reader.readexactly(size)
        await reader.readexactly(2)
        *blocks, pending = pending.replace(b"\r\n", b"\n").split(b"\n\n")
        for block in blocks:
            for line in block.split(b"\n"):
                if line.startswith(b"data: "):
                    yield line[6:].decode()
