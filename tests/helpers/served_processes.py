"""Servers in processes of their own, for what only signals and several workers show."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from taleward.serving.config import ServeConfig

RUN = (
    "import sys; from taleward.serving.config import ServeConfig; "
    "from taleward.serving.operations.server import run_server; "
    "run_server(ServeConfig.model_validate_json(sys.argv[1]))"
)
_START_TIMEOUT_S = 300


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def served(config: ServeConfig, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run `run_server` in a process; yields it and its address once it answers.

    Args:
        config: The configuration.
        folder: Where it runs, and writes its log to `server.log`.
    """
    environment = {**os.environ, "OPENAI_API_KEY": "test"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, config.model_dump_json()], cwd=folder, env=environment, stderr=log, stdout=log
        )
        address = f"http://127.0.0.1:{config.operations.port}"
        try:
            wait_for(process, address, folder)
            yield process, address
        finally:
            # Killed, it would leave its workers behind.
            process.terminate()
            process.wait(60)


def wait_for(process: subprocess.Popen[bytes], address: str, folder: Path) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{address}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {(folder / 'server.log').read_text()[-2000:]}")
