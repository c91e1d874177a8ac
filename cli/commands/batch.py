"""`taleward batch`: run a task over the rows of a file, in chunks that are kept when it is stopped."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taleward.cli.options import (
    DEFAULT_FOLDER,
    AsJson,
    BandName,
    BaseUrl,
    CalibrationFile,
    Folder,
    JudgeSpecs,
    PolicyName,
    TemplateFolder,
    TextColumn,
    TrackingUri,
)
from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    from taleward.batch.tasks import BatchTask

PARTIAL = 1
"""Exit code if a limit was reached before all rows were run."""
HAS_ERRORS = 3
"""Exit code if all rows were run, and some have an error."""


def batch(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="REQUESTS",
            help="Parquet, JSON Lines, CSV or OpenAI batch file, a folder, or a URI such as s3://bucket/requests.",
        ),
    ],
    out: Annotated[str, typer.Option(help="Folder of the batch, or its URI; the same folder goes on.")],
    task: Annotated[str, typer.Option(help="tell, judge, evaluate, embed, summarize or classify.")] = "tell",
    engine: Annotated[
        str, typer.Option(help="local for processes of this machine, inline for none, or ray.")
    ] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Number of workers; by default one per core.")] = None,
    chunk: Annotated[int | None, typer.Option(min=1, help="Rows in a chunk; by default 200.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column of the ids; by default id, or custom_id.")] = None,
    column: TextColumn = "text",
    model: Annotated[str | None, typer.Option(help="Model spec of the task; see `taleward models`.")] = None,
    base_url: BaseUrl = None,
    template: Annotated[str | None, typer.Option(help="Name of the template, for tell.")] = None,
    templates: TemplateFolder = None,
    judge: JudgeSpecs = None,
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    calibration: CalibrationFile = None,
    attempts: Annotated[int | None, typer.Option(min=1, help="Drafts at most, for tell.")] = None,
    best_of: Annotated[int | None, typer.Option(min=1, help="Drafts that compete, for tell.")] = None,
    timeout: Annotated[float | None, typer.Option(min=1.0, help="Time limit for a row in seconds, for tell.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Metric, for evaluate; may be repeated.")] = None,
    labels: Annotated[str | None, typer.Option(help="Labels separated by commas, for classify.")] = None,
    label_task: Annotated[
        str | None,
        typer.Option(help="Task for classify or summarize: sentiment, age-band, summary, parents or a file."),
    ] = None,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="Allow several labels, for classify.")] = False,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Lowest score of a label.")] = None,
    sentences: Annotated[int | None, typer.Option(min=1, help="Sentences at most, for summarize.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Rows that a worker has under way.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the batch; each row's seed follows from it and the row's id.")
    ] = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Run rows with an error again.")] = False,
    merge: Annotated[
        str | None, typer.Option(help="Write all results to this .parquet, .jsonl or .csv file, once complete.")
    ] = None,
    errors: Annotated[
        str | None, typer.Option(help="Write rows with an error to this file, and leave them out of --merge.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(metavar="USD", help="Start no more chunks once they have cost so much.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Start no more chunks after so many seconds.")
    ] = None,
    chunk_timeout: Annotated[
        float, typer.Option(min=1.0, help="Seconds after which a chunk counts as hung and is run again.")
    ] = 3600.0,
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a running cluster or auto, for the engine ray.")
    ] = None,
    num_cpus: Annotated[float | None, typer.Option(help="CPUs of a worker, for the engine ray.")] = None,
    num_gpus: Annotated[float | None, typer.Option(help="GPUs of a worker, such as 0.25, for the engine ray.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Name of the MLflow experiment.")] = None,
    tracking_uri: TrackingUri = None,
    folder: Folder = DEFAULT_FOLDER,
    as_json: AsJson = False,
) -> None:
    """Run a task over millions of rows.

    Chunks of rows are kept in --out as they are finished. If the batch is stopped or killed, the same command goes on.

    Each row needs an id. With tell, a row has a request in the column request or --column, or the template's values in
    columns of their names.

    With --experiment, the batch is recorded as a run in MLflow.

    Exit codes: 0 all rows have a result, 1 stopped by a limit, 2 wrong use or data, 3 rows have errors, 130
    interrupted.
    """
    from taleward.batch.run import run_batch
    from taleward.cli.output.batch import show_batch
    from taleward.cli.output.console import print_warning

    settings = {
        "model": model,
        "base_url": base_url,
        "template": template,
        "templates": None if templates is None else str(templates),
        "judge": None if judge is None else tuple(judge),
        "policy": policy if _is_given(context, "policy") else None,
        "band": band if _is_given(context, "band") else None,
        "calibration": None if calibration is None else str(calibration),
        "attempts": attempts,
        "best_of": best_of,
        "timeout_s": timeout,
        "metrics": None if metric is None else tuple(metric),
        "labels": None if labels is None else tuple(label.strip() for label in labels.split(",")),
        "task": label_task,
        "multi_label": multi_label or None,
        "threshold": threshold,
        "sentences": sentences,
        "concurrency": concurrency,
        "request_column" if task == "tell" else "column": column if _is_given(context, "column") else None,
    }
    made_task = _make_task(task, {name: value for name, value in settings.items() if value is not None})
    uri = tracking_uri
    if experiment is not None and tracking_uri is None:
        from taleward.evaluation.tracking.tale_recorder import default_tracking_uri

        uri = default_tracking_uri(folder)
    engine_options = {"address": address, "num_cpus": num_cpus, "num_gpus": num_gpus}
    with _note_how_to_go_on():
        result = run_batch(
            made_task,
            source,
            out,
            engine=engine,
            workers=workers,
            chunk=chunk,
            id_column=id_column,
            seed=seed,
            retry_errors=retry_errors,
            merge=merge,
            errors_file=errors,
            max_cost_usd=max_cost,
            max_seconds=max_seconds,
            chunk_timeout_s=chunk_timeout,
            experiment=experiment,
            tracking_uri=uri,
            engine_options={name: value for name, value in engine_options.items() if value is not None},
        )
    if as_json:
        sys.stdout.write(result.model_dump_json(indent=2) + "\n")
    else:
        show_batch(result)
    if result.partial:
        print_warning(f"{result.stopped or 'rows are missing'}; to go on, run: {_command_to_go_on()}")
        raise typer.Exit(PARTIAL)
    if result.errors:
        print_warning(f"{result.errors:,} rows have an error; to run them again, run: {_command_to_retry()}")
        raise typer.Exit(HAS_ERRORS)


# Names of options that differ from the task's setting.
_OPTIONS = {"metrics": "metric", "task": "label-task", "timeout_s": "timeout", "request_column": "column"}


def _make_task(name: str, settings: dict[str, Any]) -> BatchTask:
    """Make a task from the options that were given, and say so if it does not take one of them."""
    from taleward.batch.tasks import TASKS, task_class, task_from
    from taleward.core.errors import UnknownName

    known = [task for task in TASKS if task != "function"]
    if name not in known:
        raise UnknownName("task", name, known)
    fields = task_class(name).model_fields
    for setting in settings:
        if setting not in fields:
            option = _OPTIONS.get(setting, setting).replace("_", "-")
            taken = sorted(_OPTIONS.get(field, field).replace("_", "-") for field in fields)
            raise ConfigurationError(
                f"the task {name} takes no --{option}; it takes {', '.join(f'--{field}' for field in taken)}.",
                hint="Leave it out, or name another task with --task.",
            )
    return task_from(name, settings)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


@contextmanager
def _note_how_to_go_on() -> Iterator[None]:
    """After Ctrl-C, say what is kept and how to go on."""
    from taleward.cli.output.console import print_warning

    try:
        yield
    except KeyboardInterrupt as interrupt:
        if notes := getattr(interrupt, "__notes__", None):
            print_warning(f"interrupted: {notes[0].partition(';')[0]}; to go on, run: {_command_to_go_on()}")
        raise


def _command_to_go_on() -> str:
    from taleward.core.redaction import redact

    return redact(shlex.join(["taleward", *sys.argv[1:]]))


def _command_to_retry() -> str:
    arguments = [argument for argument in sys.argv[1:] if argument != "--retry-errors"]
    from taleward.core.redaction import redact

    return redact(shlex.join(["taleward", *arguments, "--retry-errors"]))
