"""`taleward eval` and `taleward compare`."""

from __future__ import annotations

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
    WriterSpec,
)
from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    from taleward.evaluation.result import Evaluation

GATE_FAILED = 3
"""Exit code if a gate failed."""

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
    outputs: Annotated[
        bool, typer.Option("--outputs", help="Measure the outputs in the dataset; run no writer.")
    ] = False,
    template: Annotated[
        str, typer.Option(help="Name of a template, or NAME@ALIAS in MLflow's prompt registry.")
    ] = "adventure",
    templates: TemplateFolder = None,
    model: WriterSpec = "embedded:storyteller",
    base_url: BaseUrl = None,
    judge: JudgeSpecs = None,
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    attempts: Attempts = 3,
    seed: TaleSeed = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; by default the model spec.")] = None,
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
    upload_pending: Annotated[
        bool, typer.Option("--upload-pending", help="Only upload earlier evaluations that MLflow has not stored.")
    ] = False,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Evaluate a guarded writer on a dataset, and record the results as an MLflow run.

    An evaluation that was killed or interrupted continues where it stopped.

    Exit codes: 0 all gates passed, 1 not uploaded to MLflow, 2 wrong use or data, 3 a gate failed, 130 interrupted.
    """
    from taleward.evaluation.tracking.recorder import default_tracking_uri

    uri = tracking_uri or default_tracking_uri(folder)
    if upload_pending:
        return _upload_pending(folder)
    if dataset is None:
        raise typer.BadParameter("pass a dataset, or --upload-pending")
    from taleward.cli.output.console import print_warning
    from taleward.cli.output.evaluation import show_evaluation, show_gates
    from taleward.evaluation.datasets import load_dataset
    from taleward.evaluation.evaluator import evaluate as run_evaluation
    from taleward.evaluation.gates import GATES_FILE, check_gates, load_gates
    from taleward.evaluation.tracking.runs import load_evaluation

    # Files and runs are read first: a wrong one must not cost the time of an evaluation.
    gates_file = gates or GATES_FILE
    gates_required = gates is not None or (gate and baseline is None)
    loaded_gates = load_gates(gates_file) if gates_required or (gate and gates_file.exists()) else ()
    baseline_evaluation = None if baseline is None else load_evaluation(baseline, uri)
    samples = load_dataset(dataset, tracking_uri=uri)
    if outputs:
        missing = [sample.id for sample in samples if sample.output is None]
        if missing:
            raise ConfigurationError(
                f"--outputs needs an output for every sample; sample {missing[0]!r} of {dataset} has none.",
                hint="Add a field 'output' to the dataset, or leave --outputs out to run a writer.",
            )
        system: Any = [sample.output for sample in samples]
    else:
        system = _make_guard(template, templates, model, base_url, judge, policy, band, attempts, seed, uri)
    try:
        evaluation = run_evaluation(
            system,
            samples,
            metric or _DEFAULT_METRICS,
            name=name or (samples.name if outputs else model),
            concurrency=concurrency,
            resume=resume,
            tracking_uri=uri,
            experiment=experiment,
            spool=folder / "spool",
        )
    except KeyboardInterrupt as interrupt:
        if getattr(interrupt, "__notes__", None):
            kept = interrupt.__notes__[0].partition(";")[0]
            print_warning(f"interrupted: {kept}; run the same command to go on, or add --no-resume to start again")
        raise
    show_evaluation(evaluation)
    if report is not None:
        _write_report(evaluation, report)
    checks_gates = gate or loaded_gates or baseline_evaluation
    gate_results = check_gates(evaluation, loaded_gates, baseline_evaluation) if checks_gates else []
    show_gates(gate_results)
    if any(not result.passed for result in gate_results):
        raise typer.Exit(GATE_FAILED)
    if evaluation.undelivered:
        print_warning(
            f"not uploaded to MLflow: {evaluation.undelivered}; try again with: taleward eval --upload-pending"
        )
        raise typer.Exit(1)
    return None


def compare(
    runs: Annotated[list[str], typer.Argument(help="Ids of two or more MLflow runs.")],
    report: ReportFile = None,
    record: Annotated[bool, typer.Option("--record", help="Record the comparison as an MLflow run.")] = False,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Compare evaluations of the same dataset, with paired significance tests."""
    from taleward.cli.output.console import print_note
    from taleward.cli.output.evaluation import show_comparison
    from taleward.evaluation.comparison import compare as compare_runs
    from taleward.evaluation.tracking.recorder import default_tracking_uri

    comparison = compare_runs(runs, tracking_uri=tracking_uri or default_tracking_uri(folder))
    show_comparison(comparison)
    if report is not None:
        report.write_text(comparison.html(), encoding="utf-8")
        print_note(f"report written to {report}")
    if record:
        run_id = comparison.record(tracking_uri=tracking_uri or default_tracking_uri(folder), experiment=experiment)
        print_note(f"recorded as run {run_id}; see it with: taleward ui")


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


def _write_report(evaluation: Evaluation, path: Path) -> None:
    from taleward.cli.output.console import print_note
    from taleward.evaluation.report.html import report_page
    from taleward.evaluation.report.plots import evaluation_plots

    path.write_text(report_page(evaluation, evaluation_plots(evaluation)), encoding="utf-8")
    print_note(f"report written to {path}")
