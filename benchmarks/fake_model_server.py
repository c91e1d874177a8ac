"""A fast fake of a model's server, in a process of its own: `python -m benchmarks.fake_model_server PORT`.

It streams a story of six sentences that all name the number in the request, so that mixed-up streams are noticed. The
model's name says how it behaves: `paced` writes a few words every quarter of a second, `instant` does not wait, `dying`
breaks the connection after two sentences, `hanging` never answers.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import suppress
from typing import Any

SENTENCES = 6
PAUSE_S = 0.25
_WORDS_PER_CHUNK = 4


def story_of(number: str) -> str:
    """Return the story for a number."""
    return " ".join(f"Fox {number} ran home {n} times and slept." for n in range(1, SENTENCES + 1))


class FakeModelServer:
    """Answers chat completions, and counts the streams that were broken off."""

    def __init__(self) -> None:
        self.streams = self.broken = self.open = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                length = 0
                while (header := await reader.readline()).strip():
                    name, _, value = header.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                body = await reader.readexactly(length)
                if b"/stats" in line:
                    stats = {"streams": self.streams, "broken": self.broken, "open": self.open}
                    await _send_json(writer, stats)
                elif not await self._complete(json.loads(body), reader, writer):
                    break
        writer.close()

    async def _complete(
        self, request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer a chat completion; return whether the connection stays open."""
        model = request["model"]
        numbers = re.findall(r"number (\d+)", json.dumps(request["messages"]))
        text = story_of(numbers[-1] if numbers else "0")
        if model == "hanging":
            await reader.read(1)  # until the caller leaves
            return False
        if not request.get("stream"):
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 60}
            await _send_json(writer, {**_base(model), "object": "chat.completion", "choices": [choice], "usage": usage})
            return True
        self.streams += 1
        self.open += 1
        try:
            return await self._stream(model, text, reader, writer)
        finally:
            self.open -= 1

    async def _stream(self, model: str, text: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        words = text.split(" ")
        pieces = [" ".join(words[n : n + _WORDS_PER_CHUNK]) + " " for n in range(0, len(words), _WORDS_PER_CHUNK)]
        # Whoever breaks off closes the connection; a proxy sends nothing before its stream has ended.
        gone = asyncio.ensure_future(reader.read(1))
        try:
            for number, piece in enumerate(pieces):
                if model == "dying" and number == len(pieces) // 3:
                    return False
                _write_chunk(writer, _delta(model, {"role": "assistant", "content": piece}))
                await writer.drain()
                if model != "instant":
                    await asyncio.wait({gone}, timeout=PAUSE_S)
                if gone.done():
                    self.broken += 1
                    return False
            _write_chunk(writer, _delta(model, {}, "stop"))
            _write_chunk(writer, "[DONE]")
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        except ConnectionError:
            self.broken += 1
            return False
        finally:
            if not gone.done():
                gone.cancel()
                with suppress(asyncio.CancelledError):
                    await gone
        return True


def _base(model: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "created": 1, "model": model}


def _delta(model: str, delta: dict[str, str], finish_reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return json.dumps({**_base(model), "object": "chat.completion.chunk", "choices": [choice]})


def _write_chunk(writer: asyncio.StreamWriter, data: str) -> None:
    event = f"data: {data}\n\n".encode()
    writer.write(b"%x\r\n%s\r\n" % (len(event), event))


async def _send_json(writer: asyncio.StreamWriter, value: object) -> None:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def main(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.start_server(FakeModelServer().answer, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
