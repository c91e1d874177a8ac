"""Each layer around an app, as a client notices it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from taleward.serving.operations.api_keys import ApiKeys, KeyLimits
from taleward.serving.operations.install import Operations, install
from taleward.serving.operations.request_record import current_request
from taleward.serving.operations.settings import OperationSettings
from tests.helpers.asgi_calls import AsgiCall

CHAT = "/v1/chat/completions"


class App:
    """An app whose one model waits until it is told to go on."""

    def __init__(self, keys: ApiKeys | None = None, **settings: Any) -> None:
        self.go_on, self.started, self.stopped = asyncio.Event(), 0, 0
        self.app = Starlette(
            routes=[Route(CHAT, self.chat, methods=["POST"]), Route("/v1/moderations", self.chat, methods=["POST"])]
        )
        self.operations: Operations = install(self.app, OperationSettings(**settings), keys=keys)

    async def chat(self, request: Request) -> Any:
        body = await request.body()
        self.started += 1
        if json.loads(body).get("stream"):
            return StreamingResponse(self.pieces(), media_type="text/event-stream")
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        current_request().observe_usage(60, 60, 0.5)
        return JSONResponse({"length": len(body)})

    async def pieces(self) -> AsyncIterator[str]:
        try:
            yield 'data: {"text": "A fox ran."}\n\n'
            await self.go_on.wait()
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.stopped += 1
            raise

    def call(self, path: str = CHAT, **options: Any) -> AsgiCall:
        return AsgiCall(self.app, path, **options)

    def client(self, api_key: str = "none", host: str = "localhost") -> openai.AsyncOpenAI:
        transport = httpx.ASGITransport(self.app)
        http_client: Any = httpx.AsyncClient(transport=transport)
        return openai.AsyncOpenAI(base_url=f"http://{host}/v1", api_key=api_key, http_client=http_client, max_retries=0)


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def moderate(client: openai.AsyncOpenAI) -> Any:
    return await client.moderations.with_raw_response.create(input="A fox ran.")


async def test_openai_python_raises_its_own_exceptions(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "keys.db")
    app = App(keys)
    app.go_on.set()
    with pytest.raises(openai.AuthenticationError) as wrong:
        await moderate(app.client("sk-tw-wrong"))
    assert wrong.value.request_id
    _, tales = keys.create("tales", scopes=["tales"])
    with pytest.raises(openai.PermissionDeniedError, match="needs the scope 'moderation'"):
        await moderate(app.client(tales.get_secret_value()))
    _, limited = keys.create("limited", limits=KeyLimits(requests_per_minute=2, tokens_per_minute=500))
    client = app.client(limited.get_secret_value())
    response = await moderate(client)
    assert response.headers["x-ratelimit-limit-requests"] == "2"
    assert response.headers["x-ratelimit-remaining-requests"] == "1"
    await moderate(client)
    with pytest.raises(openai.RateLimitError) as busy:
        await moderate(client)
    assert int(busy.value.response.headers["retry-after"]) >= 1
    _, poor = keys.create("poor", limits=KeyLimits(budget_usd=0.4))
    await moderate(app.client(poor.get_secret_value()))
    with pytest.raises(openai.RateLimitError) as spent:
        await moderate(app.client(poor.get_secret_value()))
    assert spent.value.code == "insufficient_quota"
    assert spent.value.response.headers["x-should-retry"] == "false"
    key, revoked = keys.create("revoked")
    await moderate(app.client(revoked.get_secret_value()))
    keys.revoke(key.id)
    with pytest.raises(openai.AuthenticationError):
        await moderate(app.client(revoked.get_secret_value()))


@pytest.mark.parametrize(
    "path",
    ["/ready", "/metrics", "/v1/models", CHAT, "/nowhere", "/openapi.json", "/health/../metrics", "//health"],
)
async def test_everything_but_health_and_the_page_needs_a_key(tmp_path: Path, path: str) -> None:
    app = App(ApiKeys(tmp_path / "keys.db"))
    assert (await app.call(path, method="GET").done()).status == 401
    assert (await app.call("/health", method="GET").done()).status == 200
    assert app.started == 0


async def test_an_unknown_path_needs_the_scope_admin(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "keys.db")
    app = App(keys)
    for scope, status in (("chat", 403), ("admin", 404)):
        _, key = keys.create(scope, scopes=[scope])
        header = {"authorization": f"Bearer {key.get_secret_value()}"}
        assert (await app.call("/new", method="GET", headers=header).done()).status == status


async def test_an_open_server_answers_under_its_own_names_only() -> None:
    app = App()
    app.go_on.set()
    assert (await app.call(headers={"host": "localhost:8000"}).done()).status == 200
    assert (await app.call(headers={"host": "[::1]:8000"}).done()).status == 200
    rebound = await app.call(headers={"host": "attacker.example"}).done()
    assert (rebound.status, rebound.error["code"]) == (403, "host_not_allowed")


async def test_a_full_queue_turns_requests_down_at_once() -> None:
    app = App(max_concurrent=1, max_waiting=1)
    first = app.call()
    await until(lambda: app.started == 1)
    second = app.call()
    await until(lambda: app.operations.queue.waiting == 1)
    third = await app.call().done()
    assert (third.status, third.error["code"]) == (429, "server_busy")
    assert int(third.headers["retry-after"]) >= 1
    app.go_on.set()
    assert [(await call.done()).status for call in (first, second)] == [200, 200]
    assert (app.operations.queue.running, app.operations.queue.waiting) == (0, 0)


async def test_a_place_does_not_come_in_time() -> None:
    app = App(max_concurrent=1, queue_timeout_s=0.02)
    first = app.call()
    await until(lambda: app.started == 1)
    assert (await app.call().done()).status == 429
    app.go_on.set()
    await first.done()
    assert (await app.call().done()).status == 200
    assert app.operations.queue.running == 0


async def test_a_client_that_leaves_frees_its_place_and_stops_the_model() -> None:
    app = App(max_concurrent=1)
    running = app.call()
    await until(lambda: app.started == 1)
    waiting = app.call()
    await until(lambda: app.operations.queue.waiting == 1)
    waiting.leave()
    await waiting.done()
    assert app.operations.queue.waiting == 0
    running.leave()
    await running.done()
    assert (app.stopped, app.operations.queue.running) == (1, 0)
    streaming = app.call(body=[b'{"stream": true}'])
    await until(lambda: streaming.body)
    streaming.leave()
    await streaming.done()
    assert (app.stopped, app.operations.queue.running) == (2, 0)


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_long(announced: bool) -> None:
    app = App(max_body_bytes=1000)
    app.go_on.set()
    headers = {"content-length": "1001"} if announced else {}
    # An announced length is enough: the body itself never comes.
    call = await app.call(body=None if announced else [b"x" * 600, b"x" * 600], headers=headers).done()
    assert (call.status, call.error["code"]) == (413, "request_too_large")
    assert app.started == 0
    exact = json.dumps({"a": "x" * 991}).encode()
    assert len(exact) <= 1000
    assert (await app.call(body=[exact[:500], exact[500:]]).done()).status == 200


async def test_a_body_that_does_not_come() -> None:
    app = App(body_timeout_s=0.02)
    call = await app.call(body=None).done()
    assert (call.status, call.error["code"]) == (408, "request_timeout")
    left = app.call(body=None)
    left.leave()
    assert (await left.done()).messages == []


async def test_an_answer_that_takes_too_long() -> None:
    app = App(request_timeout_s=0.05)
    whole = await app.call().done()
    assert (whole.status, whole.error["code"]) == (504, "request_timeout")
    stream = await app.call(body=[b'{"stream": true}']).done()
    assert stream.status == 200
    assert b"A fox ran." in stream.body
    assert b"[DONE]" not in stream.body
    assert json.loads(stream.body.split(b"data: ")[-1])["error"]["code"] == "request_timeout"
    assert app.stopped == 2


async def test_shutdown_lets_streams_end_and_refuses_new_work() -> None:
    app = App(max_concurrent=1)
    stream = app.call(body=[b'{"stream": true}'])
    await until(lambda: stream.body)
    waiting = app.call()
    await until(lambda: app.operations.queue.waiting == 1)
    app.operations.queue.drain()
    assert (await waiting.done()).status == 503
    refused = await app.call().done()
    assert (refused.status, refused.error["code"]) == (503, "server_shutdown")
    assert (await app.call("/ready", method="GET").done()).status == 503
    app.go_on.set()
    assert (await stream.done()).body.endswith(b"[DONE]\n\n")


async def test_what_a_shutdown_cuts_off_ends_with_an_error() -> None:
    app = App()
    stream = app.call(body=[b'{"stream": true}'])
    await until(lambda: stream.body)
    stream.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream.done()
    assert b"server_shutdown" in stream.body
    assert b"[DONE]" not in stream.body
    assert app.operations.queue.running == 0


async def test_cors_is_off_unless_origins_are_allowed() -> None:
    preflight = {"origin": "https://app.example", "access-control-request-method": "POST"}
    closed = await App().call(method="OPTIONS", headers=preflight).done()
    assert "access-control-allow-origin" not in closed.headers
    app = App(cors_origins=("https://app.example",))
    allowed = await app.call(method="OPTIONS", headers=preflight).done()
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    other = await app.call(method="OPTIONS", headers={**preflight, "origin": "https://other.example"}).done()
    assert "access-control-allow-origin" not in other.headers
    with pytest.raises(ValueError, match="an origin is a scheme and a host"):
        OperationSettings(cors_origins=("*",))


@pytest.mark.parametrize(
    ("sent", "is_taken"),
    [
        ("req_0123456789abcdef0123456789abcdef", True),
        ("9f1c2d3e-4a5b-4c6d-8e7f-001122334455", True),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", True),
        ("my brother Tom hit me", False),
        ("Tom-Miller", False),
        ("", False),
    ],
)
async def test_a_request_id_is_taken_if_it_is_one(sent: str, is_taken: bool) -> None:
    call = await App().call("/health", method="GET", headers={"x-request-id": sent}).done()
    assert (call.headers["x-request-id"] == sent) == is_taken
    assert call.headers["x-request-id"]


async def test_readiness_asks_the_judges_and_remembers_their_answer() -> None:
    app = App(ready_interval_s=60)
    asked = 0

    async def judge_answers() -> bool:
        nonlocal asked
        asked += 1
        return asked > 1

    app.operations.readiness.add("judge", judge_answers)
    for _ in range(3):
        call = await app.call("/ready", method="GET").done()
        assert call.status == 503
        assert json.loads(call.body)["checks"] == {"judge": False, "accepts requests": True}
    assert asked == 1
