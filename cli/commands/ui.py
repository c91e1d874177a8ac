"""`taleward ui`: MLflow's UI on the recorded tales and evaluations."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from taleward.cli.options import DEFAULT_FOLDER, Folder
from taleward.core.errors import MissingExtra


def ui(
    folder: Folder = DEFAULT_FOLDER, port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000
) -> None:
    """Start MLflow's UI to look at the recorded tales and evaluations."""
    from taleward.cli.output.console import print_note
    from taleward.evaluation.tracking.recorder import default_tracking_uri

    if find_spec("mlflow") is None:
        raise MissingExtra("the UI", "mlflow")
    print_note(
        f"MLflow runs at http://127.0.0.1:{port} (Ctrl-C to stop); "
        "the tales are under 'Traces' in the experiment 'taleward'"
    )
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        default_tracking_uri(folder),
        "--port",
        str(port),
    ]
    try:
        raise typer.Exit(subprocess.run(command, check=False).returncode)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
