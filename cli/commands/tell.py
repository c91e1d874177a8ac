"""`taleward tell`: generate a story, and release it only if it passes the judge."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
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
    JudgeSpecs,
    PolicyName,
    TaleSeed,
    TemplateFolder,
    WriterSpec,
)
from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    from taleward.chains.story import StoryInput
    from taleward.core.tale import Tale

# A draft of an embedded writer costs nothing, so choose among several; it tells short stories better than long ones.
_EMBEDDED_CANDIDATES = 6
_EMBEDDED_BREVITY = 0.3
_DEFAULT_TEMPLATE = "adventure"
# Short enough to type.
_MAX_DRAWN_SEED = 1_000_000
_BETTER_MODELS = (
    "better stories: --model openai:gpt-5-mini, with a key in OPENAI_API_KEY, or --model hf:Qwen/Qwen3-1.7B on this "
    "machine, with the extra local; see: taleward models"
)


def tell(
    context: typer.Context,
    prompt_file: Annotated[
        str | None, typer.Option(help="Text file with a longer request; - for standard input.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            help="Name of the template; see `taleward templates`. By default adventure, if there is no request. With a "
            "request, values are taken from the request by rules."
        ),
    ] = None,
    templates: TemplateFolder = None,
    inputs: Annotated[Path | None, typer.Option(help="JSON file with values for the template's variables.")] = None,
    model: WriterSpec = "embedded:storyteller",
    base_url: BaseUrl = None,
    judge: JudgeSpecs = None,
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    calibration: CalibrationFile = None,
    attempts: Attempts = 3,
    best_of: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of drafts to choose the best from. By default 4 for an embedded writer, but 1 with --stream, "
            "which shows a draft while it is written, and with --seed, which names one draft. Other writers, and "
            "Guard in Python, write one draft at a time, until one passes.",
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

    Ask for it in your own words: taleward tell "a story about a fox who finds a key".

    Or pass values for a template's variables as options, for example --setting "enchanted forest"; the template's
    examples fill in the rest.

    Exit codes: 0 released, 1 a model could not be reached, 2 wrong use, 3 refused.
    """
    from taleward.backends.capabilities import capabilities
    from taleward.chains.story import StoryChain
    from taleward.chains.template import load_template
    from taleward.cli.judge_specs import make_judge
    from taleward.cli.output.console import print_note, show_stream, show_tale, spinner
    from taleward.cli.story_input import check_value_names, fill_values, read_request, read_values, split_arguments
    from taleward.moderation.guard.best_of import BestOf
    from taleward.moderation.guard.guard import Guard
    from taleward.moderation.guard.input_checks import as_mapping
    from taleward.moderation.text.request_coverage import wishes

    words, options_given = split_arguments(context.args)
    loaded = load_template(template or _DEFAULT_TEMPLATE, templates)
    check_value_names(options_given, loaded, [name for option in context.command.params for name in option.opts])
    request, given = read_request(words, prompt_file), {**read_values(inputs), **options_given}
    if request and given and template is None:
        raise ConfigurationError(
            f"a request takes no values; got {', '.join(given)}.",
            hint="Put them into the request, or name the template they belong to, for example --template adventure.",
        )
    story_input: StoryInput = request or ""
    note = ""
    if template is not None or request is None:
        story_input, note = fill_values(loaded, given, request)  # rejects wrong values before loading any model
    options: dict[str, Any] = {"base_url": base_url} if base_url else {}
    with spinner("loading the models"):
        writer = StoryChain(model, loaded, policy=policy, band=band, **options)
        can = capabilities(writer.model)
        if isinstance(story_input, str) and not can.takes_requests:
            story_input, note = fill_values(loaded, {}, request)
            note = f"{model} only continues text and takes no request. {note}"
        is_embedded, runs_here = model.startswith("embedded:"), can.decisions
        candidates = best_of or (_EMBEDDED_CANDIDATES if is_embedded and not stream and seed is None else 1)
        # Every tale of a model that runs here has a seed, so that it can be told again.
        writer.seed = secrets.randbelow(_MAX_DRAWN_SEED) if seed is None and runs_here else seed
        tale_judge = make_judge(judge, policy=policy, band=band, calibration=calibration)
        if candidates > 1:
            guard: Guard = BestOf(
                writer,
                tale_judge,
                candidates=candidates,
                brevity=_EMBEDDED_BREVITY if is_embedded else 0.0,
                timeout_s=timeout,
                keep_drafts=True,
            )
        else:
            guard = Guard(writer, tale_judge, attempts=attempts, timeout_s=timeout, keep_drafts=True)
    if note:
        print_note(note)
    wanted = wishes(request or given or story_input)
    if stream and not as_json:
        tale = show_stream(guard.stream(story_input), wanted)
    else:
        with spinner("writing and judging"):
            tale = guard.invoke(story_input)
    if as_json:
        # The drafts were kept for the record; the rejected ones must not be shown.
        shown = tale.without_drafts()
        sys.stdout.write(
            shown.model_dump_json(indent=2, exclude={"attempts": {"__all__": {"draft", "messages"}}}) + "\n"
        )
    elif not stream:
        show_tale(tale, wanted)
    if tale.released and runs_here:
        print_note(f"to tell this very tale again, add: {_seed_option(tale, writer.seed, best_of)}")
    if is_embedded and tale.released:
        print_note(_BETTER_MODELS)
    if record:
        _record_tale(tale, as_mapping(story_input), folder)
    raise typer.Exit(0 if tale.released else REFUSED)


def _seed_option(tale: Tale, first_seed: int | None, best_of: int | None) -> str:
    """Return the options that tell a released tale again."""
    last = tale.attempts[-1]
    if not last.ranks:
        # Later attempts follow from the first: a revision gets the findings on the draft before.
        return f"--seed {first_seed}"
    return f"--seed {last.calls[-1].seed}" + (" --best-of 1" if best_of else "")


def _record_tale(tale: Tale, inputs: Mapping[str, Any], folder: Path) -> None:
    from taleward.cli.output.console import print_note, spinner, warn_not_recorded
    from taleward.evaluation.tracking.tale_recorder import MlflowRecorder, default_tracking_uri

    try:
        with spinner("recording"):
            MlflowRecorder(default_tracking_uri(folder)).record(tale, inputs)
    except Exception as error:  # noqa: BLE001  the tale has been shown; only its record is lost
        warn_not_recorded("the tale", error)
    else:
        print_note(f"recorded in {folder / 'mlflow.db'} as tale {tale.id}; see it with: taleward ui")
