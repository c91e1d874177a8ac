"""The commands. What they need loads when they run, so that `--help` stays fast."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from taleward.cli.commands.chat import chat
from taleward.cli.commands.evaluate import compare, evaluate
from taleward.cli.commands.feedback import feedback_app
from taleward.cli.commands.judge_bench import calibrate, judge_bench
from taleward.cli.commands.policy import policy as policy_app
from taleward.cli.commands.store import store_app
from taleward.cli.commands.tasks import classify, summarize
from taleward.cli.input import read_text
from taleward.core.errors import InvalidFile, MissingExtra

REFUSED = 3
"""Exit code when nothing was released, or a judged text did not pass."""

app = typer.Typer(
    name="taleward",
    help="Stories that are judged before they leave.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(feedback_app)
app.add_typer(store_app)
app.add_typer(policy_app, name="policy")
app.command("judge-bench")(judge_bench)
app.command()(calibrate)
app.command("eval")(evaluate)
app.command()(compare)
app.command()(chat)
app.command()(summarize)
app.command()(classify)

Band = Annotated[str, typer.Option(help="Age band of the policy.")]
PolicyName = Annotated[str, typer.Option("--policy", help="A policy's name, or its .yaml file.")]
JudgeSpec = Annotated[str, typer.Option("--judge", help="embedded:judge, lexicon, or a chat model's spec.")]
CalibrationFile = Annotated[Path | None, typer.Option(help="Fitted scores and thresholds; see `taleward calibrate`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a page.")]
Templates = Annotated[Path | None, typer.Option(help="A folder with templates of your own.")]
Folder = Annotated[Path, typer.Option("--folder", help="Where the record is kept.")]

_FOLDER = Path(".taleward")
_BEST_OF = 4


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def tell(
    context: typer.Context,
    template: Annotated[str, typer.Option(help="A template's name; see `taleward templates`.")] = "adventure",
    templates: Templates = None,
    inputs: Annotated[Path | None, typer.Option(help="A JSON file with the template's values.")] = None,
    model: Annotated[str, typer.Option(help="The writer's model spec.")] = "embedded:storyteller",
    base_url: Annotated[str | None, typer.Option(help="Server of an openai: model.")] = None,
    judge: JudgeSpec = "embedded:judge",
    policy: PolicyName = "kids",
    band: Band = "6-8",
    calibration: CalibrationFile = None,
    attempts: Annotated[int, typer.Option(min=1, help="Verdicts asked for at most.")] = 3,
    best_of: Annotated[
        int | None,
        typer.Option(min=1, help="Drafts, of which the best that passes is told; 4 for an embedded writer, else 1."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="Budget of time for all attempts.")] = 120.0,
    seed: Annotated[int | None, typer.Option(help="The same seed tells the same tale.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print each sentence as soon as it is judged.")] = False,
    as_json: AsJson = False,
    record: Annotated[bool, typer.Option(help="Record the tale in MLflow.")] = True,
    folder: Folder = _FOLDER,
) -> None:
    """Tell a judged story.

    Give the template's values as options, for example --setting "enchanted forest"; without any, the template's own
    example is told. Exit code 0: released, 3: refused, 2: wrong use, 1: a model could not be reached.
    """
    from taleward.chains.story import StoryChain
    from taleward.chains.template import load_template
    from taleward.cli.output.console import show_stream, show_tale, working
    from taleward.moderation.guard.best_of import BestOf
    from taleward.moderation.guard.guard import Guard
    from taleward.moderation.judges import judge as make_judge

    chosen = load_template(template, templates)
    values = {**_from_file(inputs), **_from_options(context.args)}
    values = values or {name: variable.example for name, variable in chosen.variables.items()}
    chosen.render(values)  # wrong values end here, before any model is loaded
    options: dict[str, Any] = {"base_url": base_url} if base_url else {}
    with working("loading the models"):
        drafts = best_of or (_BEST_OF if model.startswith("embedded:") and not stream else 1)
        first = None if seed is None else seed * drafts  # two seeds share no draft
        writer = StoryChain(model, chosen, policy=policy, band=band, seed=first, **options)
        checker = make_judge(judge, policy=policy, band=band, calibration=calibration)
        if drafts > 1:
            guard: Guard = BestOf(writer, checker, candidates=drafts, timeout_s=seconds, keep_drafts=True)
        else:
            guard = Guard(writer, checker, attempts=attempts, timeout_s=seconds, keep_drafts=True)
    if stream and not as_json:
        tale = show_stream(guard.stream(values))
    else:
        with working("writing and judging"):
            tale = guard.invoke(values)
    if as_json:
        sys.stdout.write(tale.model_dump_json(indent=2, exclude={"attempts": {"__all__": {"draft"}}}) + "\n")
    elif not stream:
        show_tale(tale)
    if record:
        _record(tale, values, folder)
    raise typer.Exit(0 if tale.released else REFUSED)


@app.command()
def judge(
    file: Annotated[str, typer.Argument(help="A UTF-8 text file, or - for standard input.")],
    judge: JudgeSpec = "embedded:judge",
    policy: PolicyName = "kids",
    band: Band = "6-8",
    calibration: CalibrationFile = None,
    as_json: AsJson = False,
) -> None:
    """Judge a text and mark what speaks against it. Exit code 0: it passed, 3: it did not."""
    from taleward.cli.output.console import show_verdict, working
    from taleward.moderation.judges import judge as make_judge

    text = read_text(file)
    with working("judging"):
        verdict = make_judge(judge, policy=policy, band=band, calibration=calibration).invoke(text)
    if as_json:
        sys.stdout.write(verdict.model_dump_json(indent=2) + "\n")
    else:
        show_verdict(verdict, text)
    raise typer.Exit(0 if verdict.passed else REFUSED)


@app.command()
def models(
    spec: Annotated[
        str | None, typer.Argument(help="Show the card of this model on this machine, or describe this GGUF file.")
    ] = None,
) -> None:
    """List the models that can be used here, and what the others lack."""
    from taleward.backends.discovery import describe_gguf, devices, discover
    from taleward.backends.transformers.gguf import find_gguf
    from taleward.cli.models_list import card, judges
    from taleward.cli.output.console import show_card, show_models

    if spec is not None and (gguf := find_gguf(spec.removeprefix("hf:"))) is not None:
        show_models([describe_gguf(gguf)], devices())
        return
    found = [*discover(), *judges()]
    if spec is None:
        show_models(found, devices())
    else:
        show_card(card(spec, found))


@app.command()
def templates(
    folder: Templates = None,
    register: Annotated[str | None, typer.Option(help="Put this one into MLflow's prompt registry.")] = None,
    alias: Annotated[str | None, typer.Option(help="With --register: a name for this version, as champion.")] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="An MLflow tracking URI in place of that of .taleward.")
    ] = None,
) -> None:
    """List the story templates with their variables; or register one, for `taleward eval --template NAME@ALIAS`."""
    from taleward.chains.template import load_template, template_names
    from taleward.cli.output.console import say, show_templates

    if register is not None:
        from taleward.evaluation.tracking.prompts import register_template

        made = register_template(load_template(register, folder), alias=alias, tracking_uri=tracking_uri)
        called = f"{made.name}@{alias or 'latest'}"
        say(f"registered as version {made.version} of {made.name}; use it with: taleward eval --template {called}")
    elif alias is not None:
        raise typer.BadParameter("--alias goes with --register")
    else:
        show_templates([load_template(name, folder) for name in template_names(folder)])


@app.command()
def ui(folder: Folder = _FOLDER, port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000) -> None:
    """Open MLflow on the recorded tales."""
    from taleward.cli.output.console import say
    from taleward.evaluation.tracking.recorder import default_tracking_uri

    if find_spec("mlflow") is None:
        raise MissingExtra("the page with the recorded tales", "mlflow")
    say(f"MLflow on http://127.0.0.1:{port} (Ctrl-C ends it); the tales are under 'Traces' of experiment 'taleward'.")
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


def _from_options(args: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    rest = list(args)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name or (not equals and not rest):
            raise typer.BadParameter(f"{word!r}: a template's value is given as --name VALUE, as in --setting forest")
        values[name.replace("-", "_")] = value if equals else rest.pop(0)
    return values


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidFile(
            f"the values file {path} cannot be read: {error}", hint="Give a UTF-8 JSON object."
        ) from error
    if not isinstance(values, dict):
        raise InvalidFile(f"the values file {path} holds a {type(values).__name__}, not a JSON object.")
    return values


def _record(tale: Any, values: dict[str, Any], folder: Path) -> None:
    from taleward.cli.output.console import say, warn_unrecorded, working
    from taleward.evaluation.tracking.recorder import MlflowRecorder, default_tracking_uri

    try:
        with working("recording"):
            MlflowRecorder(default_tracking_uri(folder)).record(tale, values)
    except Exception as error:  # noqa: BLE001  the tale is told; only its record is lost
        warn_unrecorded("the tale", error)
    else:
        say(f"recorded in {folder / 'mlflow.db'} as tale {tale.id}; see it with: taleward ui")
