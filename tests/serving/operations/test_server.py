"""A server in a process of its own: signals, slow clients, several workers."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from taleward.core.errors import ConfigurationError
from taleward.serving.config import ServeConfig
from taleward.serving.operations.api_keys import ApiKeys, KeyLimits
from taleward.serving.operations.http_protocol import HttpProtocol
from taleward.serving.operations.install import install
from taleward.serving.operations.server import run_server, uvicorn_options
from taleward.serving.operations.settings import OperationSettings
from taleward.testing import FakeOpenAI
from tests.helpers.served_processes import free_port, served

pytestmark = pytest.mark.server
STORY = " ".join(f"The fox ran home on day {number}." for number in range(20))


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server in a thread, with an app of its own and short timeouts."""
    monkeypatch.setattr(HttpProtocol, "header_timeout_s", 0.2)
    settings = OperationSettings(port=free_port(), body_timeout_s=0.2)
    app = Starlette()
    install(app, settings, keys=None)
    options = {**uvicorn_options(settings), "log_config": None}
    server = uvicorn.Server(uvicorn.Config(app, **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield "127.0.0.1", settings.port
    server.should_exit = True
    thread.join(10)


def answer_to(address: tuple[str, int], *pieces: bytes) -> bytes:
    """What a server answers to a client that sends this and then waits; a second GET waits for the first answer."""
    with socket.create_connection(address, timeout=10) as connection:
        answer = b""
        for number, piece in enumerate(pieces):
            if number and b"\r\n\r\n" in pieces[number - 1] and b"GET" in piece:
                answer += connection.recv(65536)
            connection.sendall(piece)
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_slow_and_huge_heads_are_cut_off(address: tuple[str, int]) -> None:
    assert answer_to(address) == b""
    assert answer_to(address, b"GET /health HTTP/1.1\r\nHost: loc") == b""
    assert b"200" not in answer_to(address, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 100_000)
    done = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    # On a connection that is kept open, a second head has its own time.
    answer = answer_to(address, done, b"GET /hea")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_slow_body_is_answered(address: tuple[str, int]) -> None:
    head = b"POST /v1/tales HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    answer = answer_to(address, head, b'{"re')
    assert answer.startswith(b"HTTP/1.1 408")
    chunked = b"POST /v1/tales HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = answer_to(address, chunked, *[b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 16, b"1\r\nx\r\n")
    assert answer.startswith(b"HTTP/1.1 413")


def config_for(model: FakeOpenAI, **operations: object) -> ServeConfig:
    tales = {"model": "openai:any", "base_url": model.base_url, "judge": ["lexicon"], "judge_inputs": False}
    return ServeConfig.model_validate(
        {"models": {"tales": tales}, "embeddings": None, "operations": {"port": free_port(), **operations}}
    )


def test_sigterm_lets_a_stream_end_and_refuses_new_work(tmp_path: Path, values: dict[str, str]) -> None:
    with (
        FakeOpenAI(STORY, delay_s=1.0) as model,
        served(config_for(model), tmp_path) as (process, address),
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        with client.stream("POST", "/v1/tales", json={"values": values, "stream": True}) as response:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            with pytest.raises(httpx.TransportError):
                httpx.get(f"{address}/health", timeout=5)
            text = response.read().decode()
        assert "event: done" in text
        # uvicorn ends, and then lets the signal do what it does to a process.
        assert process.wait(30) == -signal.SIGTERM
    log = [json.loads(line) for line in (tmp_path / "server.log").read_text().splitlines()]
    [line] = [line for line in log if line["message"] == "request"]
    assert line["results"] == ["released"]


def test_workers_share_limits_and_metrics(tmp_path: Path, values: dict[str, str]) -> None:
    keys = ApiKeys(tmp_path / "keys.db")
    _, metrics_key = keys.create("prometheus", scopes=["metrics"])
    _, key = keys.create("app", limits=KeyLimits(requests_per_minute=2))
    with FakeOpenAI(STORY) as model:
        config = config_for(model, workers=2, keys_file=str(tmp_path / "keys.db"))
        with served(config, tmp_path) as (process, address):
            header = {"authorization": f"Bearer {key.get_secret_value()}"}
            # A new connection each time, so that both workers get some.
            statuses = [
                httpx.post(f"{address}/v1/tales", json={"values": values}, headers=header, timeout=60).status_code
                for _ in range(24)
            ]
            # Two at once, and one more for each half minute that this takes.
            assert statuses.count(200) >= 2
            assert statuses.count(429) >= 12
            header = {"authorization": f"Bearer {metrics_key.get_secret_value()}"}
            text = httpx.get(f"{address}/metrics", headers=header, timeout=60).text
            counted = re.findall(
                r'taleward_requests_total\{method="POST",route="/v1/tales",status="(\d+)"\} (\d+)', text
            )
            assert {status: int(count) for status, count in counted} == {
                "200": statuses.count(200),
                "429": statuses.count(429),
            }
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    log = [json.loads(line) for line in (tmp_path / "server.log").read_text().splitlines()]
    assert len({line["pid"] for line in log if line["message"] == "request"}) == 2
    assert key.get_secret_value() not in (tmp_path / "server.log").read_text()


def test_a_server_for_other_machines_needs_keys(tmp_path: Path) -> None:
    config = ServeConfig.model_validate(
        {
            "models": {"tales": {}},
            "operations": {"host": "0.0.0.0", "keys_file": str(tmp_path / "keys.db")},  # noqa: S104
        }
    )
    with pytest.raises(ConfigurationError, match="no API keys"):
        run_server(config)
