"""`taleward ui`: MLflow's UI on the recorded tales and evaluations."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from taleward.cli.options import DEFAULT_FOLDER, Folder
from taleward.core.errors import BackendError, ConfigurationError, MissingExtra

_HOST = "127.0.0.1"
_POLL_INTERVAL_S = 0.2
_REQUEST_TIMEOUT_S = 5.0
_SHUTDOWN_TIMEOUT_S = 10.0
# MLflow's jobs judge traces in the background: six more processes, which looking at traces does not need.
_SERVER_SETTINGS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
# A closed terminal sends SIGHUP, which Windows does not have.
_ENDING_SIGNALS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
_SIGNALED = 128
"""A shell's exit code for a program that a signal ended, less the number of the signal."""


def ui(
    folder: Folder = DEFAULT_FOLDER,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
    workers: Annotated[int, typer.Option(min=1, help="Number of server processes; one is enough for one person.")] = 1,
) -> None:
    """Start MLflow's UI to look at the recorded tales and evaluations.

    The address is printed when the server answers.

    Exit codes: 0 stopped with Ctrl-C, 1 MLflow's server failed, 2 wrong use, a port in use, or nothing recorded.
    """
    from taleward.cli.output.console import print_note, spinner

    if find_spec("mlflow") is None:
        raise MissingExtra("the UI", "mlflow")
    # MLflow would create the store, and show an empty page to who is in the wrong folder.
    if not (folder / "mlflow.db").is_file():
        raise ConfigurationError(
            f"there is no store {folder / 'mlflow.db'}: nothing has been recorded in this folder.",
            hint="Record a tale with: taleward tell, or name the folder of the store with --folder.",
        )
    _check_port(port)
    # Python would end at once on these signals, and leave the server running, with its port.
    handlers = {number: signal.signal(number, _exit_on_signal) for number in _ENDING_SIGNALS}
    server = _start_server(folder, port, workers)
    try:
        with spinner("starting MLflow"):
            while server.poll() is None and not _answers(port):
                time.sleep(_POLL_INTERVAL_S)
        if server.poll() is None:
            print_note(
                f"MLflow runs at http://{_HOST}:{port} (Ctrl-C to stop); "
                "the tales are under 'Traces' in the experiment 'taleward'"
            )
        code = server.wait()
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    finally:
        _stop_server(server)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    # MLflow's server only ends by itself if it failed, and then reports 0 all the same.
    raise BackendError(f"MLflow's server ended by itself (exit code {code}).", hint="Its last lines above say why.")


def _start_server(folder: Path, port: int, workers: int) -> subprocess.Popen[bytes]:
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri

    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", default_tracking_uri(folder)]
    command += ["--host", _HOST, "--port", str(port), "--workers", str(workers)]
    # A group of its own, because MLflow starts further processes, and none of them may outlive this one.
    return subprocess.Popen(command, env={**_SERVER_SETTINGS, **os.environ}, start_new_session=os.name == "posix")


def _stop_server(server: subprocess.Popen[bytes]) -> None:
    """Stop the server and its child processes; one that takes longer than ten seconds is killed."""
    _send(server, signal.SIGTERM)
    try:
        server.wait(_SHUTDOWN_TIMEOUT_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        pass
    finally:
        _send(server, signal.SIGKILL if os.name == "posix" else signal.SIGTERM)


def _send(server: subprocess.Popen[bytes], number: int) -> None:
    try:
        if os.name == "posix":
            os.killpg(server.pid, number)
        else:
            server.terminate()
    except ProcessLookupError:
        pass  # all of its processes have ended


def _exit_on_signal(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(_SIGNALED + number)


def _answers(port: int) -> bool:
    """Whether the server answers a request. Not by `urllib`, which would ask a proxy of the environment."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=_REQUEST_TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} cannot be used: {error.strerror}.",
                hint=f"Stop the program that uses it, or choose another one: taleward ui --port {port % 65535 + 1}.",
            ) from error
