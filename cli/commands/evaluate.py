"""`taleward eval` and `taleward compare`: what a writer and a judge make of a data set, measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    from taleward.evaluation.result import Evaluation

NOT_PASSED = 3
"""Exit code where a gate did not hold."""

Folder = Annotated[Path, typer.Option("--folder", help="Where the record is kept.")]
Uri = Annotated[str | None, typer.Option("--tracking-uri", help="An MLflow tracking URI in place of the folder.")]
Experiment = Annotated[str, typer.Option("--experiment", help="The experiment's name.")]

_FOLDER = Path(".taleward")
_METRICS = ["judge_pass_rate", "refusal_rate", "revision_rate", "words", "latency"]


def evaluate(
    dataset: Annotated[
        str | None,
        typer.Argument(help="Samples: CSV, JSON lines, Parquet, mlflow:NAME, or stories, which are shipped."),
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(help="A metric's name; may be given again.")] = None,
    outputs: Annotated[
        bool, typer.Option("--outputs", help="Measure the outputs in the data; nothing is run.")
    ] = False,
    template: Annotated[
        str, typer.Option(help="A template's name, or name@alias of the prompt registry.")
    ] = "adventure",
    templates: Annotated[Path | None, typer.Option(help="A folder with templates of your own.")] = None,
    model: Annotated[str, typer.Option(help="The writer's model spec.")] = "embedded:storyteller",
    base_url: Annotated[str | None, typer.Option(help="Server of an openai: model.")] = None,
    judge: Annotated[str, typer.Option(help="The judge's spec.")] = "embedded:judge",
    policy: Annotated[str, typer.Option("--policy", help="A policy's name, or its .yaml file.")] = "kids",
    band: Annotated[str, typer.Option(help="Age band of the policy.")] = "6-8",
    attempts: Annotated[int, typer.Option(min=1, help="Verdicts asked for at most.")] = 3,
    seed: Annotated[int | None, typer.Option(help="The same seed tells the same tales.")] = None,
    name: Annotated[str | None, typer.Option(help="The run's name; by default the writer's model.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Samples at once.")] = 4,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on with a run that was killed.")] = False,
    gate: Annotated[bool, typer.Option("--gate", help="Exit with 3 where a gate of the file does not hold.")] = False,
    gates: Annotated[Path | None, typer.Option(help="The file with the gates, taleward.toml if none is named.")] = None,
    baseline: Annotated[str | None, typer.Option(help="A run's id; exit with 3 on a significant fall too.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the page to this file too.")] = None,
    deliver: Annotated[bool, typer.Option("--deliver", help="Only hand MLflow what it missed.")] = False,
    tracking_uri: Uri = None,
    experiment: Experiment = "taleward",
    folder: Folder = _FOLDER,
) -> None:
    """Run a guarded writer on a data set, measure, and record it as one MLflow run; a killed run goes on where it was.

    Exit code 0: measured, and all gates hold, 3: a gate does not hold, 2: wrong use or data, 1: MLflow has not got it.
    """
    from taleward.evaluation.tracking.recorder import default_tracking_uri

    place = tracking_uri or default_tracking_uri(folder)
    if deliver:
        return _deliver(folder)
    if dataset is None:
        raise typer.BadParameter("give a data set, or --deliver")
    from taleward.cli.output.console import warn
    from taleward.cli.output.evaluation import show_evaluation, show_gates
    from taleward.evaluation.datasets import load_dataset
    from taleward.evaluation.evaluator import evaluate as run
    from taleward.evaluation.gates import GATES_FILE, check_gates, load_gates
    from taleward.evaluation.tracking.runs import load_evaluation

    # Wrong files end here, before any model is loaded.
    named = gates or GATES_FILE
    needed = gates is not None or (gate and baseline is None)
    wanted = load_gates(named) if needed or (gate and named.exists()) else ()
    before = None if baseline is None else load_evaluation(baseline, place)
    samples = load_dataset(dataset, tracking_uri=place)
    if outputs:
        missing = [s.id for s in samples if s.output is None]
        if missing:
            raise ConfigurationError(
                f"sample {missing[0]!r} of {dataset} has no output; --outputs measures what is there."
            )
        system: Any = [s.output for s in samples]
    else:
        system = _guard(template, templates, model, base_url, judge, policy, band, attempts, seed, place)
    found = run(
        system,
        samples,
        metric or _METRICS,
        name=name or (samples.name if outputs else model),
        concurrency=concurrency,
        resume=not fresh,
        tracking_uri=place,
        experiment=experiment,
        spool=folder / "spool",
    )
    show_evaluation(found)
    if report is not None:
        _write_report(found, report)
    lines = check_gates(found, wanted, before) if gate or wanted or before else []
    show_gates(lines)
    if any(not line.passed for line in lines):
        raise typer.Exit(NOT_PASSED)
    if found.undelivered:
        warn(f"MLflow has not got it: {found.undelivered}; try again with: taleward eval --deliver")
        raise typer.Exit(1)
    return None


def compare(
    run: Annotated[list[str], typer.Argument(help="Ids of MLflow runs, two or more.")],
    html: Annotated[Path | None, typer.Option(help="Write the page to this file too.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Keep it as an MLflow run too.")] = False,
    tracking_uri: Uri = None,
    experiment: Experiment = "taleward",
    folder: Folder = _FOLDER,
) -> None:
    """Compare evaluations of the same data set: intervals, paired significance, the winner or "no difference"."""
    from taleward.cli.output.console import say
    from taleward.cli.output.evaluation import show_compared
    from taleward.evaluation.comparison import compare as compared
    from taleward.evaluation.tracking.recorder import default_tracking_uri

    found = compared(run, tracking_uri=tracking_uri or default_tracking_uri(folder))
    show_compared(found)
    if html is not None:
        html.write_text(found.html(), encoding="utf-8")
        say(f"page in {html}")
    if record:
        kept = found.record(tracking_uri=tracking_uri or default_tracking_uri(folder), experiment=experiment)
        say(f"recorded as run {kept}; see it with: taleward ui")


def _deliver(folder: Path) -> None:
    from taleward.cli.output.console import say, warn
    from taleward.evaluation.tracking.runs import upload_pending

    tried = upload_pending(folder / "spool")
    for found in tried:
        if found.undelivered:
            warn(f"{found.name}: MLflow has not got it: {found.undelivered}")
        else:
            say(f"{found.name}: delivered as run {found.run_id}")
    if not tried:
        say("there is nothing to deliver")
    if any(found.undelivered for found in tried):
        raise typer.Exit(1)


def _guard(
    template: str,
    templates: Path | None,
    model: str,
    base_url: str | None,
    judge: str,
    policy: str,
    band: str,
    attempts: int,
    seed: int | None,
    tracking_uri: str,
) -> Any:
    from taleward.chains.story import StoryChain
    from taleward.chains.template import load_template
    from taleward.cli.output.console import working
    from taleward.evaluation.tracking.prompts import load_registered_template
    from taleward.moderation.guard.guard import Guard
    from taleward.moderation.judges import judge as make_judge

    options: dict[str, Any] = {"base_url": base_url} if base_url else {}
    chosen = (
        load_registered_template(template, tracking_uri=tracking_uri)
        if "@" in template
        else load_template(template, templates)
    )
    with working("loading the models"):
        writer = StoryChain(model, chosen, policy=policy, band=band, seed=seed, **options)
        return Guard(writer, make_judge(judge, policy=policy, band=band), attempts=attempts)


def _write_report(found: Evaluation, path: Path) -> None:
    from taleward.cli.output.console import say
    from taleward.evaluation.report.html import report_page
    from taleward.evaluation.report.plots import evaluation_plots

    path.write_text(report_page(found, evaluation_plots(found)), encoding="utf-8")
    say(f"page in {path}")
