"""`taleward eval`: evaluate a writer behind a guard, or outputs, on a dataset."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taleward.cli.options import (
    DEFAULT_FOLDER,
    Attempts,
    BandName,
    BaseUrl,
    Experiment,
    Folder,
    JudgeSpecs,
    PolicyName,
    ReportFile,
    TaleSeed,
    TemplateFolder,
    TrackingUri,
)
from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    from taleward.evaluation.comparison import ComparisonResult
    from taleward.evaluation.datasets import Dataset
    from taleward.evaluation.gates import GateResult
    from taleward.evaluation.result import Evaluation

GATE_FAILED = 3
"""Exit code if a gate failed."""

_DEFAULT_MODEL = "embedded:storyteller"
_DEFAULT_TEMPLATE = "adventure"
_TEMPLATE, _MODEL = "writer.template", "writer.model"
_DEFAULT_METRICS = ["judge_pass_rate", "refusal_rate", "revision_rate", "words", "latency"]


def evaluate(
    dataset: Annotated[
        str | None,
        typer.Argument(help="A CSV, JSON Lines or Parquet file, mlflow:NAME, or stories for the built-in dataset."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help=f"Name of a metric; may be repeated. By default {', '.join(_DEFAULT_METRICS)}."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="FIELD=VALUE",
            help="Only samples with this id, split, label or input, such as split=test or 'id=fox-*'; may be repeated.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N of these samples.")] = None,
    outputs: Annotated[
        bool, typer.Option("--outputs", help="Measure the outputs in the dataset; run no writer.")
    ] = False,
    template: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a template, or NAME@ALIAS in MLflow's prompt registry; by default adventure. Several are run "
            "with every model."
        ),
    ] = None,
    templates: TemplateFolder = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model spec of the writer, by default embedded:storyteller. Several are run side by side and compared."
        ),
    ] = None,
    base_url: BaseUrl = None,
    judge: JudgeSpecs = None,
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    attempts: Attempts = 3,
    seed: TaleSeed = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; by default the model spec.")] = None,
    repeat: Annotated[
        int, typer.Option(min=1, help="Run each sample so many times, and show how much the repeats differ.")
    ] = 1,
    max_cost: Annotated[
        float | None, typer.Option(metavar="USD", help="Start no more samples once they have cost so much.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Start no more samples after so many seconds.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Number of samples to run at once.")] = 4,
    resume: Annotated[bool, typer.Option(help="Continue the same evaluation if it was killed.")] = True,
    gate: Annotated[bool, typer.Option("--gate", help="Check the gates; exit with code 3 if one fails.")] = False,
    gates: Annotated[
        Path | None, typer.Option(help="File with the gates; implies --gate. By default taleward.toml.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Id of an MLflow run; exit with code 3 if a metric is significantly worse.")
    ] = None,
    report: ReportFile = None,
    json_file: Annotated[
        Path | None, typer.Option("--out", dir_okay=False, writable=True, help="Write the result as JSON to this file.")
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(dir_okay=False, writable=True, help="Write a JUnit XML report of samples and gates to this file."),
    ] = None,
    upload_pending: Annotated[
        bool, typer.Option("--upload-pending", help="Only upload earlier evaluations that MLflow has not stored.")
    ] = False,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Evaluate a guarded writer on a dataset, and record the results as an MLflow run.

    An evaluation that was killed, interrupted or stopped by a limit continues where it stopped.

    Exit codes: 0 all gates passed, 1 partial or not uploaded to MLflow, 2 wrong use or data, 3 a gate failed, 130
    interrupted.
    """
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri

    uri = tracking_uri or default_tracking_uri(folder)
    if upload_pending:
        return _upload_pending(folder)
    if dataset is None:
        raise typer.BadParameter("pass a dataset, or --upload-pending")
    from taleward.cli.output.console import print_warning
    from taleward.cli.output.evaluation import show_comparison, show_evaluation, show_gates
    from taleward.evaluation.comparison import compare as compare_evaluations
    from taleward.evaluation.datasets import load_dataset
    from taleward.evaluation.evaluator import evaluate as run_evaluation, evaluate_side_by_side
    from taleward.evaluation.gates import GATES_FILE, load_gates
    from taleward.evaluation.tracking.runs import load_evaluation

    # Files and runs are read first: a wrong one must not cost the time of an evaluation.
    gates_file = gates or GATES_FILE
    gates_required = gates is not None or (gate and baseline is None)
    loaded_gates = load_gates(gates_file) if gates_required or (gate and gates_file.exists()) else ()
    baseline_evaluation = None if baseline is None else load_evaluation(baseline, uri)
    for file in (report, json_file, junit):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
    samples = load_dataset(dataset, tracking_uri=uri).select(*where or (), limit=limit)
    models, templates_run = model or [_DEFAULT_MODEL], template or [_DEFAULT_TEMPLATE]
    if any(len(set(given)) < len(given) or (len(given) > 1 and (name or outputs)) for given in (models, templates_run)):
        raise typer.BadParameter(
            "several --model or --template need to differ, and go neither with --name nor with --outputs"
        )
    options: dict[str, Any] = {
        "repeat": repeat,
        "max_cost_usd": max_cost,
        "max_seconds": max_seconds,
        "concurrency": concurrency,
        "resume": resume,
        "tracking_uri": uri,
        "experiment": experiment,
        "spool": folder / "spool",
    }
    metrics = metric or _DEFAULT_METRICS
    with _note_how_to_go_on():
        if outputs:
            evaluations = [run_evaluation(_outputs(samples), samples, metrics, name=name or samples.name, **options)]
        else:
            guards = {
                # Only what differs is in the name.
                " / ".join(part for part, given in ((one, templates_run), (spec, models)) if len(given) > 1)
                or spec: _make_guard(one, templates, spec, base_url, judge, policy, band, attempts, seed, uri)
                for one in templates_run
                for spec in models
            }
            if len(guards) > 1:
                evaluations = list(evaluate_side_by_side(guards, samples, metrics, **options))
            else:
                [(spec, guard)] = guards.items()
                evaluations = [run_evaluation(guard, samples, metrics, name=name or spec, **options)]
    for evaluation in evaluations:
        show_evaluation(evaluation)
    comparison = compare_evaluations(evaluations) if len(evaluations) > 1 else None
    if comparison is not None:
        show_comparison(comparison)
    gate_results: list[GateResult] = []
    if gate or loaded_gates or baseline_evaluation:
        for evaluation in evaluations:
            gate_results += _check_gates(evaluation, loaded_gates, baseline_evaluation, len(evaluations) > 1)
    show_gates(gate_results)
    _write_files(evaluations, comparison, gate_results, report=report, json_file=json_file, junit=junit)
    for evaluation in evaluations:
        if evaluation.missing:
            print_warning(f"not recorded in MLflow before it is complete; to go on, run: {_command_to_go_on()}")
        elif evaluation.undelivered:
            print_warning(
                f"not uploaded to MLflow: {evaluation.undelivered}; try again with: taleward eval --upload-pending"
            )
    if any(not result.passed for result in gate_results):
        raise typer.Exit(GATE_FAILED)
    if any(evaluation.missing or evaluation.undelivered for evaluation in evaluations):
        raise typer.Exit(1)
    return None


def _upload_pending(folder: Path) -> None:
    from taleward.cli.output.console import print_note, print_warning
    from taleward.evaluation.tracking.runs import upload_pending

    evaluations = upload_pending(folder / "spool")
    for evaluation in evaluations:
        if evaluation.undelivered:
            print_warning(f"{evaluation.name}: not uploaded to MLflow: {evaluation.undelivered}")
        else:
            print_note(f"{evaluation.name}: uploaded as run {evaluation.run_id}")
    if not evaluations:
        print_note("nothing to upload")
    if any(evaluation.undelivered for evaluation in evaluations):
        raise typer.Exit(1)


def _make_guard(
    template: str,
    templates: Path | None,
    model: str,
    base_url: str | None,
    judge: list[str] | None,
    policy: str,
    band: str,
    attempts: int,
    seed: int | None,
    tracking_uri: str,
) -> Any:
    from taleward.chains.story import StoryChain
    from taleward.chains.template import load_template
    from taleward.cli.judge_specs import make_judge
    from taleward.cli.output.console import spinner
    from taleward.evaluation.tracking.prompts import load_registered_template
    from taleward.moderation.guard.guard import Guard

    options: dict[str, Any] = {"base_url": base_url} if base_url else {}
    loaded = (
        load_registered_template(template, tracking_uri=tracking_uri)
        if "@" in template
        else load_template(template, templates)
    )
    with spinner("loading the models"):
        writer = StoryChain(model, loaded, policy=policy, band=band, seed=seed, **options)
        return Guard(writer, make_judge(judge, policy=policy, band=band), attempts=attempts)


def _outputs(samples: Dataset) -> list[str]:
    """Return the outputs in a dataset, of which none may be missing."""
    outputs = [sample.output for sample in samples if sample.output is not None]
    if len(outputs) < len(samples):
        missing = next(sample.id for sample in samples if sample.output is None)
        raise ConfigurationError(
            f"--outputs needs an output for every sample; sample {missing!r} of {samples.name} has none.",
            hint="Add a field 'output' to the dataset, or leave --outputs out to run a writer.",
        )
    return outputs


def _check_gates(
    evaluation: Evaluation, gates: Sequence[Any], baseline: Evaluation | None, named: bool
) -> list[GateResult]:
    """Check the gates of one evaluation; with several, the results bear its name."""
    from taleward.evaluation.gates import check_gates

    results = check_gates(evaluation, gates, baseline)
    if not named:
        return results
    return [result.model_copy(update={"metric": f"{evaluation.name}: {result.metric}"}) for result in results]


def _write_files(
    evaluations: Sequence[Evaluation],
    comparison: ComparisonResult | None,
    gate_results: Sequence[GateResult],
    *,
    report: Path | None,
    json_file: Path | None,
    junit: Path | None,
) -> None:
    from taleward.cli.output.console import print_note
    from taleward.evaluation.grid import evaluation_grid
    from taleward.evaluation.report.junit import junit_report

    if report is not None:
        page = evaluations[0].html() if comparison is None else comparison.html()
        if len({e.params.get(_TEMPLATE) for e in evaluations}) > 1:
            grid = evaluation_grid(evaluations, rows=_TEMPLATE, columns=_MODEL)
            page = page.replace("</h1>\n", f"</h1>\n{grid.tables_html()}<h2>Compared</h2>\n", 1)
        report.write_text(page, encoding="utf-8")
        print_note(f"report written to {report}")
    if json_file is not None:
        results = [evaluation.model_dump(mode="json") for evaluation in evaluations]
        content = results[0] if len(results) == 1 else results
        json_file.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        print_note(f"result written to {json_file}")
    if junit is not None:
        junit.write_text(junit_report(evaluations, gate_results), encoding="utf-8")
        print_note(f"JUnit report written to {junit}")


@contextmanager
def _note_how_to_go_on() -> Iterator[None]:
    """After Ctrl-C, say what is kept and how to go on."""
    from taleward.cli.output.console import print_warning

    try:
        yield
    except KeyboardInterrupt as interrupt:
        if getattr(interrupt, "__notes__", None):
            kept = interrupt.__notes__[0].partition(";")[0]
            print_warning(
                f"interrupted: {kept}; to go on, run: {_command_to_go_on()}; add --no-resume to start again instead"
            )
        raise


def _command_to_go_on() -> str:
    """Return the command line that was given, without --no-resume, which would start again."""
    from taleward.core.redaction import redact

    return redact(shlex.join(["taleward", *(part for part in sys.argv[1:] if part != "--no-resume")]))
