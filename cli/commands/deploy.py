"""`taleward deploy`: log a guard as an MLflow model, and say how to serve it."""

from __future__ import annotations

import json
import math
import shlex
from typing import Annotated, Any

import typer

from taleward.cli.options import (
    DEFAULT_FOLDER,
    Attempts,
    BandName,
    BaseUrl,
    CalibrationFile,
    Experiment,
    Folder,
    JudgeSpecs,
    PolicyName,
    TaleSeed,
    TemplateFolder,
    TrackingUri,
    WriterSpec,
)

_ADDRESS = ("127.0.0.1", 5001)
# MLflow ends a request after 60 s by default, a guard after 120; the guard's refusal should come first.
_EXTRA_SERVER_S = 10
_NO_LIMIT_S = 3600


def deploy(
    name: Annotated[str, typer.Argument(help="Name in MLflow's model registry; the guard becomes its next version.")],
    template: Annotated[str, typer.Option(help="Name of the template; see `taleward templates`.")] = "adventure",
    templates: TemplateFolder = None,
    model: WriterSpec = "embedded:storyteller",
    base_url: BaseUrl = None,
    judge: JudgeSpecs = None,
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    only_band: Annotated[
        bool, typer.Option("--only-band", help="Reject requests for other age bands of the policy.")
    ] = False,
    calibration: CalibrationFile = None,
    attempts: Attempts = 3,
    best_of: Annotated[
        int | None, typer.Option(min=2, help="Number of drafts to choose the best from, instead of --attempts.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1.0, help="Time limit in seconds for all attempts together.")] = 120.0,
    seed: TaleSeed = None,
    folder: Folder = DEFAULT_FOLDER,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
) -> None:
    """Log a guard as an MLflow model, and print its URI.

    The commands to serve it and to ask for a tale are printed, too. Nothing is deployed elsewhere, and no tale is
    written. Keys are not part of the model; the server reads them from its environment.
    """
    from taleward.chains.story import StoryChain
    from taleward.chains.template import load_template
    from taleward.cli.judge_specs import make_judge
    from taleward.cli.output.console import print_note, spinner
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri
    from taleward.moderation.guard.best_of import BestOf
    from taleward.moderation.guard.guard import Guard
    from taleward.tuning.deployment.describe import describe_guard
    from taleward.tuning.deployment.log import log_guard
    from taleward.tuning.deployment.requirements import no_deps_packages

    options: dict[str, Any] = {"base_url": base_url} if base_url else {}
    loaded = load_template(template, templates)
    with spinner("making the guard"):
        writer = StoryChain(model, loaded, policy=policy, band=band, seed=seed, **options)
        tale_judge = make_judge(judge, policy=policy, band=band, calibration=calibration)
        if best_of is None:
            guard: Guard = Guard(writer, tale_judge, attempts=attempts, timeout_s=timeout)
        else:
            guard = BestOf(writer, tale_judge, candidates=best_of, timeout_s=timeout)
    uri = tracking_uri or default_tracking_uri(folder)
    with spinner("logging the guard"):
        model_uri = log_guard(guard, name, bands=[band] if only_band else None, tracking_uri=uri, experiment=experiment)
    typer.echo(model_uri)
    for what, command in (("serve it", serve_command(model_uri, uri, timeout)), ("ask for a tale", curl_command())):
        # Not a note, whose lines are wrapped: these are to be copied.
        print_note(f"{what}:")
        typer.echo(command, err=True)
    if packages := no_deps_packages(describe_guard(guard)):
        print_note(f"on another machine also run: pip install --no-deps {' '.join(packages)}")


def serve_command(model_uri: str, tracking_uri: str, timeout_s: float | None) -> str:
    """Return the command that serves a logged guard on this machine; passwords in the tracking URI are left out."""
    from taleward.core.redaction import redact

    host, port = _ADDRESS
    limit_s = _NO_LIMIT_S if timeout_s is None else math.ceil(timeout_s) + _EXTRA_SERVER_S
    words = ["mlflow", "models", "serve", "-m", model_uri, "--env-manager", "local"]
    words += ["--host", host, "--port", str(port), "--timeout", str(limit_s)]
    return f"MLFLOW_TRACKING_URI={shlex.quote(redact(tracking_uri))} {shlex.join(words)}"


def curl_command() -> str:
    """Return the command that asks the served guard for a tale."""
    host, port = _ADDRESS
    request = {"input": [{"role": "user", "content": "a story about a fox who finds a key"}]}
    words = ["curl", f"http://{host}:{port}/invocations", "-H", "Content-Type: application/json"]
    return shlex.join([*words, "-d", json.dumps(request)])
