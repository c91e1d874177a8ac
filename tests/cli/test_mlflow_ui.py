"""`taleward ui` as a user runs it: with MLflow's server, and with servers that are late or fail."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from taleward.cli.app import app
from taleward.cli.commands import mlflow_ui
from taleward.core.errors import BackendError, ConfigurationError
from taleward.evaluation.tracking.tale_recorder import default_tracking_uri, get_or_create_experiment

# Answers /health only the third time, as a server that is still starting; then it ends.
_LATE_SERVER = """
import http.server, sys
codes = iter([503, 503, 200])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(next(codes))
        self.end_headers()
    def log_message(self, *args):
        print("asked", file=sys.stderr, flush=True)
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
for _ in range(3):
    server.handle_request()
"""


@pytest.fixture
def store(in_tmp: Path) -> Path:
    """A folder with what looks like a store; the servers of these tests do not open it."""
    (in_tmp / ".taleward").mkdir()
    (in_tmp / ".taleward/mlflow.db").touch()
    return in_tmp


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def start_instead(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    def start(folder: Path, port: int, workers: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code, str(port)], start_new_session=True)

    monkeypatch.setattr(mlflow_ui, "_start_server", start)


@pytest.mark.filterwarnings("default")  # MLflow's own code warns
def test_the_address_is_printed_when_mlflow_answers_and_nothing_outlives_the_command(in_tmp: Path) -> None:
    import mlflow

    uri = default_tracking_uri(in_tmp / "kept")
    get_or_create_experiment(mlflow.MlflowClient(tracking_uri=uri), uri, "taleward")
    port = free_port()
    command = [sys.executable, "-m", "taleward", "ui", "--folder", "kept", "--port", str(port)]
    env = {**os.environ, "COLUMNS": "300", "no_proxy": "127.0.0.1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    # A server that never answers must not block the test.
    timer = threading.Timer(120, process.kill)
    timer.start()
    assert process.stdout is not None
    lines = []
    while (line := process.stdout.readline()) and "MLflow runs at" not in line:
        lines.append(line)
    assert f"MLflow runs at http://127.0.0.1:{port}" in line, "".join(lines)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as response:
        assert response.status == 200
    assert sum("Started server process" in line for line in lines) == 1
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate()
    timer.cancel()
    assert process.returncode == 128 + signal.SIGTERM, rest
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_address_is_not_printed_before_the_server_answers(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_instead(monkeypatch, _LATE_SERVER)
    asked = 0
    answers = mlflow_ui._answers

    def count(port: int) -> bool:
        nonlocal asked
        answered: bool = answers(port)
        asked += 1
        return answered

    monkeypatch.setattr(mlflow_ui, "_answers", count)
    port = free_port()
    done = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["ui", "--port", str(port)])
    assert asked >= 3
    assert f"MLflow runs at http://127.0.0.1:{port}" in done.output


def test_a_server_that_ends_by_itself_is_an_error(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_instead(monkeypatch, "import sys; sys.exit(0)")
    done = CliRunner().invoke(app, ["ui", "--port", str(free_port())])
    assert isinstance(done.exception, BackendError)
    assert "ended by itself" in str(done.exception)
    assert "MLflow runs at" not in done.output


def test_a_folder_without_a_store_is_an_error_and_stays_as_it_is(in_tmp: Path) -> None:
    done = CliRunner().invoke(app, ["ui", "--folder", "kept"])
    assert isinstance(done.exception, ConfigurationError)
    assert "nothing has been recorded" in str(done.exception)
    assert "taleward tell" in str(done.exception.hint)
    assert list(in_tmp.iterdir()) == []


def test_a_taken_port_is_an_error(store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = CliRunner().invoke(app, ["ui", "--port", str(port)])
    assert isinstance(done.exception, ConfigurationError)
    assert f"port {port} cannot be used" in str(done.exception)
    assert f"--port {port + 1}" in str(done.exception.hint)


@pytest.mark.parametrize("port", ["0", "70000", "-1", "http"])
def test_a_wrong_port_is_wrong_use(port: str) -> None:
    assert CliRunner().invoke(app, ["ui", f"--port={port}"]).exit_code == 2
