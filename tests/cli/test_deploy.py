"""`taleward deploy`: what it prints, and what it refuses."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("mlflow")
import mlflow

from taleward.cli.app import app
from taleward.core.errors import ConfigurationError, UnknownName

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own code warns


def test_a_guard_is_logged_and_the_commands_to_use_it_are_printed(in_tmp: Path) -> None:
    arguments = ["deploy", "bedtime", "--model", "embedded:storyteller-mini", "--template", "bedtime", "--band", "3-5"]
    arguments += ["--judge", "lexicon", "--judge", "personal-data", "--only-band", "--timeout", "50"]
    done = CliRunner(env={"COLUMNS": "40"}).invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout == "models:/bedtime/1\n"
    [serve] = [line for line in done.stderr.splitlines() if "mlflow models serve" in line]
    store = f"sqlite:///{in_tmp / '.taleward/mlflow.db'}"
    variable, *words = shlex.split(serve)
    assert variable == f"MLFLOW_TRACKING_URI={store}"
    assert words[3:7] == ["-m", "models:/bedtime/1", "--env-manager", "local"]
    assert words[-2:] == ["--timeout", "60"]  # the guard's time limit comes first
    [curl] = [line for line in done.stderr.splitlines() if line.startswith("curl ")]
    assert json.loads(shlex.split(curl)[-1])["input"][0]["role"] == "user"
    version = mlflow.MlflowClient(store, store).get_model_version("bedtime", "1")
    config = json.loads(Path(version.source.removeprefix("file://"), "artifacts/guard.json").read_text())
    assert (config["band"], config["bands"], config["writer"]["template"]["name"]) == ("3-5", ["3-5"], "bedtime")
    assert [judge["spec"] for judge in config["judge"]["judges"]] == ["lexicon", "personal-data"]


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        (["--template", "advanture"], UnknownName, "advanture"),
        (["--judge", "lexikon"], UnknownName, "lexikon"),
        (["--model", "openai:pen", "--base-url", "ftp://here"], ConfigurationError, "base_url must start with"),
    ],
)
def test_wrong_options_log_nothing(arguments: list[str], error: type[Exception], problem: str, in_tmp: Path) -> None:
    arguments = ["deploy", "bedtime", "--model", "embedded:storyteller-mini", *arguments]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, error)
    assert problem in str(done.exception)
    assert not Path(".taleward").exists()
