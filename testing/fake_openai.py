"""A server on loopback that speaks OpenAI's chat completions and embeddings, and fails in every way a real one does.

with FakeOpenAI("Once upon a time.", faults=["429", "500"]) as server:
    model = chat_model("openai:any", base_url=server.base_url)
    model.invoke("hello")        # two refusals, then the answer
    assert len(server.requests) == 3
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args

from taleward.core.errors import ConfigurationError
from taleward.testing.openai_responses import Completion, embedded, written

Fault = Literal[
    "429",
    "429-retry-after",
    "500",
    "401",
    "404",
    "quota",
    "context-length",
    "content-filter",
    "slow",
    "stall",
    "drip",
    "reset",
    "truncated",
    "invalid-json",
    "html",
    "no-choices",
    "error-in-stream",
]
"""What may go wrong.

* `429`, `429-retry-after`, `500`, `401`, `404`: refusals with that status; with `Retry-After: 1`, or without.
* `quota`: a 429 that no waiting helps. `context-length`: the 400 of a prompt that is too long.
* `content-filter`: an answer that is cut off by the vendor's filter.
* `slow`: the first byte comes after `slow_s`. `stall`: nothing comes any more after half of the answer; in a stream a
  few pieces. `drip`: as `stall`, but blank lines go on coming for ever.
* `reset`: the connection breaks after half of the answer. `truncated`: a stream ends without saying so; an answer that
  is no stream is cut off in the middle.
* `invalid-json`, `html` (a proxy's page with status 200), `no-choices`, `error-in-stream`: answers that are none.
"""

Answer = str | Callable[[Mapping[str, Any]], str]
_PIECE = 8
_WATCH_S = 0.02
_STATUS = {
    "429": (429, "rate_limit_exceeded", "Rate limit reached."),
    "429-retry-after": (429, "rate_limit_exceeded", "Rate limit reached."),
    "quota": (429, "insufficient_quota", "You exceeded your current quota."),
    "500": (500, "server_error", "The server had an error."),
    "401": (401, "invalid_api_key", "Incorrect API key provided: sk-abcdefghijklmnop."),
    "404": (404, "model_not_found", "The model does not exist."),
    "context-length": (400, "context_length_exceeded", "This model's maximum context length is 4096 tokens."),
}


class FakeOpenAI:
    """The server; a context manager that starts and stops it.

    In a chat it honours `n`, `logprobs`, `tools` with a forced `tool_choice`, `response_format`, `stream` and
    `stream_options`, and ends what it writes at `max_tokens` words. A request for embeddings gets those of
    `taleward.testing.fake_embeddings.WordEmbeddings`, or a refusal.

    Args:
        answer: What it says: a text, or a function of the request's JSON.
        faults: What goes wrong with the requests, one each in order, `None` for nothing; or a function of the request's
            number, from 0, and its JSON. Requests behind the last are answered well.
        ignores: Options of a request that it does not see, as `transformers serve` does with `response_format`,
            `tool_choice`, `logprobs` and `n`.
        delay_s: Seconds before every answer.
        slow_s: Seconds before the first byte of a `slow` one.
        headers: Headers of every answer, for example `x-ratelimit-limit-requests`.

    Attributes:
        requests: The JSON of every request that came, in order.
        at_once: The most requests that were being answered at the same time.
        open: Requests that are being answered now.
        faults: As it was given; it may be changed.
    """

    def __init__(
        self,
        answer: Answer = "Once upon a time a hen found a key.",
        *,
        faults: Iterable[Fault | None] | Callable[[int, Mapping[str, Any]], Fault | None] = (),
        ignores: Iterable[str] = (),
        delay_s: float = 0.0,
        slow_s: float = 30.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        script: list[Fault | None] | Callable[[int, Mapping[str, Any]], Fault | None]
        script = faults if callable(faults) else list(faults)
        for fault in () if callable(script) else script:
            if fault is not None and fault not in get_args(Fault):
                raise ConfigurationError(f"unknown fault {fault!r}; known: {', '.join(get_args(Fault))}.")
        self.faults = script
        self._answer = answer
        self._ignores = frozenset(ignores)
        self._delay_s, self._slow_s, self._headers = delay_s, slow_s, dict(headers or {})
        self.requests: list[Mapping[str, Any]] = []
        self.at_once = 0
        self.open = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="fake-openai")
        self._port = 0

    @property
    def base_url(self) -> str:
        """Its address, up to and including `/v1`."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> FakeOpenAI:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests of one connection, until it ends."""
        try:
            while line := await reader.readline():
                length = 0
                while (header := await reader.readline()).strip():
                    name, _, value = header.decode("latin-1").partition(":")
                    length = int(value) if name.lower() == "content-length" else length
                body = await reader.readexactly(length)
                if not await self._reply(line.decode("latin-1").split()[1], body, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the server ends
        finally:
            writer.close()

    async def _reply(self, path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer a request; whether the connection can take another."""
        if not path.endswith(("/chat/completions", "/embeddings")):
            return await _send(writer, 404, _error(404, "not_found", f"no {path} here"), self._headers)
        request = json.loads(body)
        number = len(self.requests)
        self.requests.append(request)
        self.open += 1
        self.at_once = max(self.at_once, self.open)
        try:
            script = self.faults
            fault = script(number, request) if callable(script) else script[number] if number < len(script) else None
            await self._wait(self._slow_s if fault == "slow" else self._delay_s, reader)
            embeds = path.endswith("/embeddings")
            return await self._answered(request, fault, writer, embeds=embeds)
        finally:
            self.open -= 1

    async def _wait(self, seconds: float, reader: asyncio.StreamReader) -> None:
        """Wait, unless the client leaves."""
        until = asyncio.get_running_loop().time() + seconds
        while (left := until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(_WATCH_S, left))
            if reader.at_eof():
                raise ConnectionResetError

    async def _answered(
        self, request: dict[str, Any], fault: Fault | None, writer: asyncio.StreamWriter, *, embeds: bool
    ) -> bool:
        if fault in _STATUS:
            status, code, message = _STATUS[fault]
            headers = {**self._headers, **({"retry-after": "1"} if fault == "429-retry-after" else {})}
            return await _send(writer, status, _error(status, code, message), headers)
        if fault == "html":
            return await _send(writer, 200, b"<html>Bad gateway</html>", self._headers, kind="text/html")
        if fault == "invalid-json":
            return await _send(writer, 200, b'{"id": "x", "choices": [', self._headers)
        if embeds:
            return await _send(writer, 200, json.dumps(embedded(request)).encode(), self._headers)
        seen = {k: v for k, v in request.items() if k not in self._ignores}
        said = written(seen, self._answer(request) if callable(self._answer) else self._answer)
        if fault == "content-filter":
            said = said.filtered()
        if fault == "no-choices":
            said = said.without_choices()
        if request.get("stream"):
            return await self._streamed(writer, said, fault, usage=bool(seen.get("stream_options")))
        whole = json.dumps(said.whole()).encode()
        if fault in (None, "content-filter", "no-choices", "slow", "error-in-stream"):
            return await _send(writer, 200, whole, self._headers)
        writer.write(_head(200, self._headers, "application/json", None) + _chunk(whole[: len(whole) // 2]))
        return await self._broken(writer, fault)

    async def _streamed(self, writer: asyncio.StreamWriter, said: Completion, fault: Fault | None, usage: bool) -> bool:
        writer.write(_head(200, self._headers, "text/event-stream", None))
        pieces = list(said.pieces(_PIECE, usage=usage))
        broken = fault in ("stall", "drip", "reset", "truncated", "error-in-stream")
        for piece in pieces[: max(2, len(pieces) // 2)] if broken else pieces:
            writer.write(_event(json.dumps(piece)))
            await writer.drain()
        if fault == "error-in-stream":
            writer.write(_event(json.dumps({"error": {"message": "The server had an error.", "code": "server_error"}})))
        if broken and fault != "error-in-stream":
            return await self._broken(writer, fault)
        writer.write(_event("[DONE]") + b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _broken(self, writer: asyncio.StreamWriter, fault: Fault | None) -> bool:
        """The end of an answer that has none."""
        await writer.drain()
        if fault == "truncated":
            writer.write(b"0\r\n\r\n")  # a proper end of the body, not of what it says
        elif fault == "reset":
            writer.transport.abort()
        else:
            while True:  # until the client leaves
                await asyncio.sleep(0.05)
                if fault == "drip":
                    writer.write(_chunk(b"\n\n"))
                    await writer.drain()
                if writer.transport.is_closing():
                    break
        return False


async def _send(
    writer: asyncio.StreamWriter, status: int, body: bytes, headers: Mapping[str, str], kind: str = "application/json"
) -> bool:
    writer.write(_head(status, headers, kind, len(body)) + body)
    await writer.drain()
    return True


def _head(status: int, headers: Mapping[str, str], kind: str, length: int | None) -> bytes:
    size = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
    told = {"content-type": kind, **size, **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"HTTP/1.1 {status} Fake\r\n{lines}\r\n".encode("latin-1")


def _event(data: str) -> bytes:
    return _chunk(f"data: {data}\n\n".encode())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _error(status: int, code: str, message: str) -> bytes:
    kind = "invalid_request_error" if status in (400, 404) else code
    return json.dumps({"error": {"message": message, "type": kind, "code": code, "param": None}}).encode()
