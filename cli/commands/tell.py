"""`taleward tell`: generate a story, and release it only if it passes the judge."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taleward.cli.options import (
    DEFAULT_FOLDER,
    REFUSED,
    AsJson,
    Attempts,
    BandName,
    BaseUrl,
    CalibrationFile,
    Folder,
    JudgeSpec,
    PolicyName,
    TaleSeed,
    TemplateFolder,
    WriterSpec,
)
from taleward.core.errors import InvalidFile

if TYPE_CHECKING:
    from taleward.core.tale import Tale

# A draft of an embedded writer costs nothing, so choose among several.
_EMBEDDED_CANDIDATES = 4


def tell(
    context: typer.Context,
    template: Annotated[str, typer.Option(help="Name of the template; see `taleward templates`.")] = "adventure",
    templates: TemplateFolder = None,
    inputs: Annotated[Path | None, typer.Option(help="JSON file with values for the template's variables.")] = None,
    model: WriterSpec = "embedded:storyteller",
    base_url: BaseUrl = None,
    judge: JudgeSpec = "embedded:judge",
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    calibration: CalibrationFile = None,
    attempts: Attempts = 3,
    best_of: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of drafts to choose the best from. By default 4 for an embedded writer without --stream, "
            "else 1.",
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1.0, help="Time limit in seconds for all attempts together.")] = 120.0,
    seed: TaleSeed = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print each sentence as soon as it has passed.")] = False,
    as_json: AsJson = False,
    record: Annotated[bool, typer.Option(help="Record the tale in MLflow.")] = True,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Generate a story, and release it only if it passes the judge.

    Pass values for the template's variables as options, for example --setting "enchanted forest".

    Without any values, the template's examples are used.

    Exit codes: 0 released, 1 a model could not be reached, 2 wrong use, 3 refused.
    """
    from taleward.chains.story import StoryChain
    from taleward.chains.template import load_template
    from taleward.cli.output.console import show_stream, show_tale, spinner
    from taleward.moderation.guard.best_of import BestOf
    from taleward.moderation.guard.guard import Guard
    from taleward.moderation.judges import judge as make_judge

    loaded = load_template(template, templates)
    values = {**_values_from_file(inputs), **_values_from_options(context.args)}
    values = values or {name: variable.example for name, variable in loaded.variables.items()}
    loaded.render(values)  # reject wrong values before loading any model
    options: dict[str, Any] = {"base_url": base_url} if base_url else {}
    with spinner("loading the models"):
        is_embedded = model.startswith("embedded:")
        candidates = best_of or (_EMBEDDED_CANDIDATES if is_embedded and not stream else 1)
        # The drafts of a story use consecutive seeds; the factor keeps those of two stories apart.
        first_seed = None if seed is None else seed * candidates
        writer = StoryChain(model, loaded, policy=policy, band=band, seed=first_seed, **options)
        tale_judge = make_judge(judge, policy=policy, band=band, calibration=calibration)
        if candidates > 1:
            guard: Guard = BestOf(writer, tale_judge, candidates=candidates, timeout_s=timeout, keep_drafts=True)
        else:
            guard = Guard(writer, tale_judge, attempts=attempts, timeout_s=timeout, keep_drafts=True)
    if stream and not as_json:
        tale = show_stream(guard.stream(values))
    else:
        with spinner("writing and judging"):
            tale = guard.invoke(values)
    if as_json:
        # The drafts were kept for the record; the rejected ones must not be shown.
        shown = tale.without_drafts()
        sys.stdout.write(shown.model_dump_json(indent=2, exclude={"attempts": {"__all__": {"draft"}}}) + "\n")
    elif not stream:
        show_tale(tale)
    if record:
        _record_tale(tale, values, folder)
    raise typer.Exit(0 if tale.released else REFUSED)


def _values_from_options(args: list[str]) -> dict[str, str]:
    """Parse `--name VALUE` and `--name=VALUE`; hyphens in a name stand for underscores."""
    values: dict[str, str] = {}
    remaining = list(args)
    while remaining:
        argument = remaining.pop(0)
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not name or (not equals and not remaining):
            raise typer.BadParameter(
                f"unexpected argument {argument!r}; pass values of the template's variables as --NAME VALUE, "
                "for example --setting forest"
            )
        values[name.replace("-", "_")] = value if equals else remaining.pop(0)
    return values


def _values_from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    hint = 'Pass a UTF-8 file with a JSON object, for example {"setting": "enchanted forest"}.'
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # the last one for deep nesting
        raise InvalidFile(f"the values file {path} cannot be read: {error}", hint=hint) from error
    if not isinstance(values, dict):
        raise InvalidFile(f"the values file {path} contains a {type(values).__name__}, not a JSON object.", hint=hint)
    return values


def _record_tale(tale: Tale, values: dict[str, Any], folder: Path) -> None:
    from taleward.cli.output.console import print_note, spinner, warn_not_recorded
    from taleward.evaluation.tracking.recorder import MlflowRecorder, default_tracking_uri

    try:
        with spinner("recording"):
            MlflowRecorder(default_tracking_uri(folder)).record(tale, values)
    except Exception as error:  # noqa: BLE001  the tale has been shown; only its record is lost
        warn_not_recorded("the tale", error)
    else:
        print_note(f"recorded in {folder / 'mlflow.db'} as tale {tale.id}; see it with: taleward ui")
