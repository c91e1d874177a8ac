"""A fake OpenAI server on loopback for chat completions and embeddings, with every fault of a real one."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal, Self, TypeAlias, get_args

from taleward.core.errors import ConfigurationError
from taleward.testing.http_wire import chunk, error_body, response_head, send_response, stream_event
from taleward.testing.openai_responses import Completion, completion_for, embeddings_body

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
"""What can go wrong with a request.

* `429`, `429-retry-after`, `500`, `401`, `404`: an error with that status; `429-retry-after` has a header
  `Retry-After: 1`.
* `quota`: a 429 for which waiting does not help. `context-length`: the 400 of a prompt that is too long.
* `content-filter`: the answer is cut off by the vendor's content filter.
* `slow`: the first byte comes after `slow_s`. `stall`: after half of the answer (in a stream, after some chunks)
  nothing more comes. `drip`: like `stall`, but blank lines keep coming forever.
* `reset`: the connection breaks after half of the answer. `truncated`: a stream ends without its end marker; without
  streaming, the body is cut in the middle.
* `invalid-json`, `html` (a proxy's page with status 200), `no-choices`, `error-in-stream`: status 200, but no usable
  answer.
"""

Reply: TypeAlias = str | Callable[[Mapping[str, Any]], str]
FaultScript: TypeAlias = Iterable[Fault | None] | Callable[[int, Mapping[str, Any]], Fault | None]

_CHARACTERS_PER_CHUNK = 8
_POLL_INTERVAL_S = 0.02
_DRIP_INTERVAL_S = 0.05
_SHUTDOWN_TIMEOUT_S = 10
# The message of the 401 quotes a key, as OpenAI's does, so that tests can check that keys are redacted.
_ERRORS = {
    "429": (429, "rate_limit_exceeded", "Rate limit reached."),
    "429-retry-after": (429, "rate_limit_exceeded", "Rate limit reached."),
    "quota": (429, "insufficient_quota", "You exceeded your current quota."),
    "500": (500, "server_error", "The server had an error."),
    "401": (401, "invalid_api_key", "Incorrect API key provided: sk-abcdefghijklmnop."),
    "404": (404, "model_not_found", "The model does not exist."),
    "context-length": (400, "context_length_exceeded", "This model's maximum context length is 4096 tokens."),
}


class FakeOpenAI:
    """A fake OpenAI server; use it as a context manager, which starts and stops it.

    Chat completions support `n`, `logprobs`, `tools` with a forced `tool_choice`, `response_format`, `stream`,
    `stream_options`, and `max_tokens`, which counts words. Requests for embeddings get the vectors of
    `WordEmbeddings`, or an error.

    Example:
        ```python
        def test_a_busy_server_is_asked_again():
            with FakeOpenAI("Once upon a time.", faults=["429", "500"]) as server:
                model = tw.chat_model("openai:any", base_url=server.base_url)
                assert model.invoke("Tell me a story.").text == "Once upon a time."
                assert len(server.requests) == 3
        ```

    Args:
        answer: The text of every answer, or a function of the request's JSON that returns it.
        faults: What goes wrong: one fault per request in order, `None` for no fault, and no faults after the last one;
            or a function of the request's number, from 0, and its JSON.
        ignored_options: Options of a request that the server ignores, as `transformers serve` ignores
            `response_format`, `tool_choice`, `logprobs` and `n`.
        delay_s: Seconds before every answer.
        slow_s: Seconds before the first byte if the fault is `slow`.
        headers: Headers of every answer, such as `x-ratelimit-limit-requests`.

    Attributes:
        requests: The JSON of every request, in order.
        peak_concurrency: The highest number of requests that were open at the same time.
        open_requests: The number of requests that are open now.
        answer: The answer; you may change it while the server runs.
        faults: The faults, counted from the first request; you may change them, too.

    Raises:
        ConfigurationError: If a fault is unknown.
    """

    known_faults: ClassVar[tuple[str, ...]] = get_args(Fault)
    paths: ClassVar[tuple[str, ...]] = ("/chat/completions", "/embeddings")

    def __init__(
        self,
        answer: Reply = "Once upon a time a hen found a key.",
        *,
        faults: FaultScript = (),
        ignored_options: Iterable[str] = (),
        delay_s: float = 0.0,
        slow_s: float = 30.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        script: list[Fault | None] | Callable[[int, Mapping[str, Any]], Fault | None]
        script = faults if callable(faults) else list(faults)
        for fault in () if callable(script) else script:
            if fault is not None and fault not in self.known_faults:
                raise ConfigurationError(f"unknown fault {fault!r}; known: {', '.join(self.known_faults)}.")
        self.faults = script
        self.answer = answer
        self._ignored_options = frozenset(ignored_options)
        self._delay_s, self._slow_s, self._headers = delay_s, slow_s, dict(headers or {})
        self.requests: list[Mapping[str, Any]] = []
        self.peak_concurrency = 0
        self.open_requests = 0
        # A loop of its own in a thread, so that sync and async clients can both use the server.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="fake-openai")
        self._port = 0

    @property
    def base_url(self) -> str:
        """The server's address including `/v1`; pass it as `base_url`."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        # The default backlog of 100 would refuse connections in tests of high concurrency.
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(_SHUTDOWN_TIMEOUT_S)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_SHUTDOWN_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SHUTDOWN_TIMEOUT_S)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        connections = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it is closed."""
        try:
            while line := await reader.readline():
                length = 0
                while (header := await reader.readline()).strip():
                    name, _, value = header.decode("latin-1").partition(":")
                    length = int(value) if name.lower() == "content-length" else length
                body = await reader.readexactly(length)
                path = line.decode("latin-1").split()[1]
                if not await self._reply(path, body, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the server stops
        finally:
            writer.close()

    async def _reply(self, path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer a request; return whether the connection stays open."""
        if not path.endswith(self.paths):
            return await send_response(writer, 404, error_body(404, "not_found", f"no {path} here"), self._headers)
        request = self._parse(body)
        number = len(self.requests)
        self.requests.append(request)
        self.open_requests += 1
        self.peak_concurrency = max(self.peak_concurrency, self.open_requests)
        try:
            script = self.faults
            fault = script(number, request) if callable(script) else script[number] if number < len(script) else None
            await self._wait(self._slow_s if fault == "slow" else self._delay_s, reader)
            return await self._send_answer(path, request, fault, writer)
        finally:
            self.open_requests -= 1

    def _parse(self, body: bytes) -> dict[str, Any]:
        request: dict[str, Any] = json.loads(body)
        return request

    async def _send_answer(
        self, path: str, request: dict[str, Any], fault: Fault | None, writer: asyncio.StreamWriter
    ) -> bool:
        if path.endswith("/embeddings"):
            return await self._send_embeddings(request, fault, writer)
        return await self._send_completion(request, fault, writer)

    async def _wait(self, seconds: float, reader: asyncio.StreamReader) -> None:
        """Wait, and raise `ConnectionResetError` if the client leaves meanwhile."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while (remaining := end - clock()) > 0:
            await asyncio.sleep(min(_POLL_INTERVAL_S, remaining))
            if reader.at_eof():
                raise ConnectionResetError

    async def _send_embeddings(
        self, request: dict[str, Any], fault: Fault | None, writer: asyncio.StreamWriter
    ) -> bool:
        if await self._send_failure(fault, writer):
            return True
        return await send_response(writer, 200, json.dumps(embeddings_body(request)).encode(), self._headers)

    async def _send_completion(
        self, request: dict[str, Any], fault: Fault | None, writer: asyncio.StreamWriter
    ) -> bool:
        if await self._send_failure(fault, writer):
            return True
        options = {name: value for name, value in request.items() if name not in self._ignored_options}
        text = self.answer(request) if callable(self.answer) else self.answer
        completion = completion_for(options, text)
        if fault == "content-filter":
            completion = completion.filtered()
        if fault == "no-choices":
            completion = completion.without_choices()
        if request.get("stream"):
            return await self._stream(writer, completion, fault, usage=bool(options.get("stream_options")))
        body = json.dumps(completion.body()).encode()
        if fault in (None, "content-filter", "no-choices", "slow", "error-in-stream"):
            return await send_response(writer, 200, body, self._headers)
        writer.write(response_head(200, self._headers, "application/json", None) + chunk(body[: len(body) // 2]))
        return await self._break_off(writer, fault)

    async def _send_failure(self, fault: Fault | None, writer: asyncio.StreamWriter) -> bool:
        """Send the response of a fault that replaces the answer; return whether `fault` is one."""
        if fault in _ERRORS:
            status, code, message = _ERRORS[fault]
            headers = {**self._headers, **({"retry-after": "1"} if fault == "429-retry-after" else {})}
            return await send_response(writer, status, error_body(status, code, message), headers)
        if fault == "html":
            return await send_response(
                writer, 200, b"<html>Bad gateway</html>", self._headers, content_type="text/html"
            )
        if fault == "invalid-json":
            return await send_response(writer, 200, b'{"id": "x", "choices": [', self._headers)
        return False

    async def _stream(
        self, writer: asyncio.StreamWriter, completion: Completion, fault: Fault | None, usage: bool
    ) -> bool:
        writer.write(response_head(200, self._headers, "text/event-stream", None))
        chunks = list(completion.chunks(_CHARACTERS_PER_CHUNK, usage=usage))
        is_cut = fault in ("stall", "drip", "reset", "truncated", "error-in-stream")
        for each in chunks[: max(2, len(chunks) // 2)] if is_cut else chunks:
            writer.write(stream_event(json.dumps(each)))
            await writer.drain()
        if fault == "error-in-stream":
            writer.write(
                stream_event(json.dumps({"error": {"message": "The server had an error.", "code": "server_error"}}))
            )
        elif is_cut:
            return await self._break_off(writer, fault)
        writer.write(stream_event("[DONE]") + b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _break_off(self, writer: asyncio.StreamWriter, fault: Fault | None) -> bool:
        """Leave an answer unfinished, in the way of the fault."""
        await writer.drain()
        if fault == "truncated":
            writer.write(b"0\r\n\r\n")  # the HTTP body ends properly, but its content does not
        elif fault == "reset":
            writer.transport.abort()
        else:
            while not writer.transport.is_closing():
                await asyncio.sleep(_DRIP_INTERVAL_S)
                if fault == "drip":
                    writer.write(chunk(b"\n\n"))
                    await writer.drain()
        return False
