"""`taleward ui`: MLflow's UI on the recorded tales and evaluations."""

from __future__ import annotations

import socket
import subprocess
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from taleward.cli.options import DEFAULT_FOLDER, Folder
from taleward.core.errors import ConfigurationError, MissingExtra

_HOST = "127.0.0.1"


def ui(
    folder: Folder = DEFAULT_FOLDER,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
) -> None:
    """Start MLflow's UI to look at the recorded tales and evaluations."""
    from taleward.cli.output.console import print_note
    from taleward.evaluation.tracking.recorder import default_tracking_uri

    if find_spec("mlflow") is None:
        raise MissingExtra("the UI", "mlflow")
    _check_port(port)
    print_note(
        f"MLflow runs at http://{_HOST}:{port} (Ctrl-C to stop); "
        "the tales are under 'Traces' in the experiment 'taleward'"
    )
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        default_tracking_uri(folder),
        "--host",
        _HOST,
        "--port",
        str(port),
    ]
    try:
        code = subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    # MLflow's server only ends by itself if it failed, and then reports 0 all the same.
    raise ConfigurationError(
        f"MLflow's server ended by itself (exit code {code}).", hint="Its last lines above say why."
    )


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
