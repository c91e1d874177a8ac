"""The processes of `benchmarks.serving`: the fake model, Taleward's server, and the peers in their own environments."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_START_TIMEOUT_S = 240.0
_RUN = (
    "import sys; from taleward.serving.config import ServeConfig; "
    "from taleward.serving.operations.server import run_server; "
    "run_server(ServeConfig.model_validate_json(sys.argv[1]))"
)
_ports: dict[str, int] = {}


@dataclass(frozen=True)
class Process:
    """A server in a process of its own.

    Attributes:
        popen: The process.
        base_url: Its address including `/v1`.
    """

    popen: subprocess.Popen[bytes]
    base_url: str

    def terminate(self) -> None:
        """Ask it to end."""
        self.popen.terminate()

    async def ended(self) -> None:
        """Wait until it has ended."""
        await asyncio.to_thread(self.popen.wait, _START_TIMEOUT_S)

    def kill(self) -> None:
        """End it at once."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()

    def memory_mb(self) -> float:
        """Return its resident memory; 0 where the system does not say."""
        with suppress(OSError):
            for line in Path(f"/proc/{self.popen.pid}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) / 1000
        return 0.0

    def cpu_s(self) -> float:
        """Return the seconds of CPU that it used so far; 0 where the system does not say."""
        with suppress(OSError):
            # The name of the program, in parentheses, may hold spaces.
            fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0


def open_files(process: Process) -> int:
    """Return the number of files and connections that a process has open; 0 where the system does not say."""
    with suppress(OSError):
        return len(list(Path(f"/proc/{process.popen.pid}/fd").iterdir()))
    return 0


def _start(command: Sequence[str], port: int, log: Path, environment: Mapping[str, str] | None = None) -> Process:
    with log.open("wb") as output:
        popen = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **(environment or {})})
    return Process(popen, f"http://127.0.0.1:{port}/v1")


async def _started(process: Process, path: str, log: Path) -> Process:
    """Wait until a server answers a path, whatever its status."""
    port = int(process.base_url.rpartition(":")[2].removesuffix("/v1"))
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while process.popen.poll() is None and time.monotonic() < deadline_s:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            line = await reader.readline()
            writer.close()
            if line.startswith(b"HTTP/"):
                return process
        await asyncio.sleep(0.05)
    process.kill()
    msg = f"a server did not start:\n{log.read_text(errors='replace')[-3000:]}"
    raise RuntimeError(msg)


@contextmanager
def fake_model() -> Iterator[Process]:
    """Run the fake model's server."""
    port = _port("model")
    process = _start([sys.executable, "-m", "benchmarks.fake_model_server", str(port)], port, Path(os.devnull))
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.02)
    try:
        yield process
    finally:
        process.kill()


async def model_stats(model: Process) -> dict[str, int]:
    """Return what the fake model counted."""
    port = int(model.base_url.rpartition(":")[2].removesuffix("/v1"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /stats HTTP/1.1\r\n\r\n")
    while (await reader.readline()).strip():
        pass
    body = await reader.readuntil(b"}")
    writer.close()
    stats: dict[str, int] = json.loads(body)
    return stats


async def taleward_server(folder: Path, model: Process) -> Process:
    """Run Taleward's server, always on the same port."""

    def served(name: str, **settings: Any) -> dict[str, Any]:
        return {
            "model": f"openai:{name}",
            "base_url": model.base_url,
            "options": {"concurrency": 512, "timeout": 300.0, "total_timeout_s": 600.0},
            "judge": "lexicon",
            "judge_inputs": False,
            "mask_personal_data": False,
            "release": "sentences",
            "attempts": 1,
            "timeout_s": 600.0,
            **settings,
        }

    port = _port("taleward")
    config = {
        "models": {
            "tales": served("paced"),
            "chat-paced": served("paced", template=None),
            "chat-instant": served("instant", template=None),
            "dying": served("dying"),
            "hung-judge": served("paced", judge="openai:hanging", timeout_s=2.0),
        },
        "embeddings": None,
        # Limits that a slow machine does not reach: it is to be measured, not cut off.
        "operations": {
            "port": port,
            "max_concurrent": 512,
            "request_timeout_s": 900.0,
            "keys_file": str(folder / "keys.db"),
        },
    }
    environment = {"OPENAI_API_KEY": "fake", "OPENAI_BASE_URL": model.base_url, "OPENAI_API_BASE": model.base_url}
    log = folder / "taleward.log"
    process = _start([sys.executable, "-c", _RUN, json.dumps(config)], port, log, environment)
    return await _started(process, "/health", log)


async def litellm_proxy(folder: Path, model: Process, python: Path) -> Process:
    """Run LiteLLM's proxy, without a guardrail: it has none that judges a stream before it is shown."""
    port = _port("litellm")
    models = [
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_base": model.base_url, "api_key": "fake"},
        }
        for name in ("paced", "instant")
    ]
    file, log = folder / "litellm.yaml", folder / "litellm.log"
    file.write_text(yaml.safe_dump({"model_list": models, "litellm_settings": {"telemetry": False}}))
    command = [str(python.with_name("litellm")), "--config", str(file), "--port", str(port), "--host", "127.0.0.1"]
    environment = {
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_DOCS": "True",
    }
    process = _start([str(python), *command], port, log, environment)
    return await _started(process, "/health/liveliness", log)


async def nemo_server(folder: Path, model: Process, python: Path) -> Process:
    """Run NeMo Guardrails' server with its rail of patterns on the output, set to judge a stream before it is shown."""
    port = _port("nemo")
    # The model in a request takes the place of the main model.
    main = {
        "type": "main",
        "engine": "openai",
        "model": "paced",
        "parameters": {"base_url": model.base_url, "api_key": "fake"},
    }
    rails = {
        "models": [main],
        "rails": {
            "config": {"regex_detection": {"output": {"patterns": ["cruel"]}}},
            "output": {
                "flows": ["regex check output"],
                "streaming": {"enabled": True, "stream_first": False, "chunk_size": 8, "context_size": 0},
            },
        },
    }
    configs, log = folder / "nemo", folder / "nemo.log"
    (configs / "rails").mkdir(parents=True)
    (configs / "rails" / "config.yml").write_text(yaml.safe_dump(rails))
    command = [str(python), "-m", "nemoguardrails", "server", "--config", str(configs), "--port", str(port)]
    command += ["--default-config-id", "rails"]
    environment = {"OPENAI_API_KEY": "fake", "DO_NOT_TRACK": "1", "NEMO_GUARDRAILS_TELEMETRY": "0"}
    return await _started(_start(command, port, log, environment), "/v1/rails/configs", log)


def _port(name: str) -> int:
    """Return a free port, the same for the same name."""
    if name not in _ports:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            _ports[name] = listener.getsockname()[1]
    return _ports[name]
