"""The story chain on a real OpenAI-compatible server: `transformers serve` on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from taleward import chat_model
from taleward.backends.base.shipped_models import embedded_path
from taleward.chains.story import StoryChain
from taleward.core.errors import BackendError
from taleward.moderation.guard.guard import Guard
from taleward.testing import FakeJudge

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def model() -> Path:
    """The embedded storyteller, as shipped."""
    return embedded_path("storyteller-mini")


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    home = tmp_path_factory.mktemp("hf-home")
    env = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "default"}
    log = home / "log"
    with log.open("wb") as out, subprocess.Popen(command, env=env, stdout=out, stderr=out) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/health", server, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310  our own address
                return
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.5)
    pytest.fail(f"the server did not start:\n{log.read_text()[-2000:]}")


def test_a_tale_through_a_real_server(base_url: str, model: Path, values: dict[str, str]) -> None:
    chain = StoryChain(f"openai:{model}", base_url=base_url, max_tokens=40, temperature=0.7)
    tale = Guard(chain, FakeJudge()).invoke(values)
    assert tale.released
    assert len(tale.text.split()) > 10
    [call] = tale.attempts[0].calls
    assert call.output_tokens is not None
    assert 0 < call.output_tokens <= 40
    assert call.model.startswith("openai:")


def test_a_tale_streams_from_a_real_server(base_url: str, model: Path, values: dict[str, str]) -> None:
    chain = StoryChain(f"openai:{model}", base_url=base_url, max_tokens=60, temperature=0.7)
    events = list(Guard(chain, FakeJudge()).stream(values))
    texts = [e.text for e in events if e.type == "text"]
    assert len(texts) > 1
    assert events[-1].type == "done"
    assert events[-1].tale.text == "".join(texts)
    [call] = events[-1].tale.attempts[0].calls
    assert call.output_tokens is not None


class Page(BaseModel):
    title: str


def test_an_ignored_response_format_ends_in_an_error_and_no_loop(base_url: str, model: Path) -> None:
    """The server accepts `response_format` and ignores it; the storyteller follows no instructions."""
    structured: Any = chat_model(f"openai:{model}", base_url=base_url, max_tokens=20).with_structured_output(Page)
    with pytest.raises(BackendError, match="ignores response_format, and prompted for the format it missed it"):
        structured.invoke("Which page?")
