"""A deployed guard behind `mlflow models serve` on loopback."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlflow")
import taleward as tw
from taleward.cli.commands.deploy import serve_command
from tests.conftest import VALUES

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("default")]  # MLflow's own code warns


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def address(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server, started by the command that `taleward deploy` prints."""
    guard = tw.Guard(tw.StoryChain("embedded:storyteller-mini", max_tokens=30), tw.judge("lexicon"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    variable, *words = shlex.split(
        serve_command(tw.log_guard(guard, "served", tracking_uri=store), store, 120).replace("5001", str(port))
    )
    folder = tmp_path_factory.mktemp("server")
    tools = Path(sys.executable).parent
    name, _, value = variable.partition("=")
    # MLflow starts `uvicorn`, which must be on the path.
    env = {**os.environ, name: value, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONWARNINGS": "default"}
    command = [str(tools / words[0]), *words[1:]]
    log = folder / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=out, start_new_session=True) as server,
    ):
        try:
            _wait(f"http://127.0.0.1:{port}/ping", server, log)
            yield f"http://127.0.0.1:{port}/invocations"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(480):
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310  our own address
                return
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.5)
    pytest.fail(f"the server did not start:\n{log.read_text()[-2000:]}")


def post(address: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    body = json.dumps(request).encode()
    asked = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310  our own address
    try:
        with urllib.request.urlopen(asked, timeout=120) as response:  # noqa: S310
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_served_guard_answers_with_judged_text_only(address: str, store: str) -> None:
    import mlflow

    status, told = post(address, {"input": [{"role": "user", "content": "a story about a fox who finds a key"}]})
    assert (status, told["status"], told["custom_outputs"]["outcome"]) == (200, "completed", "pass")
    assert told["output"][0]["content"][0]["type"] == "output_text"

    custom = {"values": VALUES, "band": "3-5", "seed": 7}
    first, second = (post(address, {"input": [], "custom_inputs": custom})[1]["output"][0] for _ in range(2))
    assert first["content"] == second["content"]

    status, refused = post(address, {"input": [{"role": "user", "content": "a story about shit"}]})
    assert (status, refused["status"], refused["custom_outputs"]["reason"]) == (200, "incomplete", "input")
    [content] = refused["output"][0]["content"]
    assert content.keys() == {"type", "refusal"}

    status, wrong = post(address, {"input": [], "custom_inputs": {"values": {"hero": "a fox"}}})
    assert status == 400
    assert "unknown variable 'hero'" in wrong["message"]

    client = mlflow.MlflowClient(tracking_uri=store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    assert client.search_traces(experiments) == []
