"""`taleward judge-bench` and `taleward calibrate`: judges against labelled texts."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taleward.core.errors import ConfigurationError, UnknownName

if TYPE_CHECKING:
    from taleward.core.policy import Policy
    from taleward.evaluation.judge_bench.result import BenchReport
    from taleward.moderation.calibration.labeled_data import LabeledData
    from taleward.moderation.judges import Judge

Data = Annotated[Path, typer.Argument(help="Labeled texts: .csv, .tsv or .jsonl, with or without .gz.")]
Spec = Annotated[list[str], typer.Option("--judge", help="A judge's spec; may be given again.")]
PolicyName = Annotated[str, typer.Option("--policy", help="A policy's name, or its .yaml file.")]
BandName = Annotated[str, typer.Option("--band", help="Age band of the policy.")]
TextColumn = Annotated[str, typer.Option(help="Column with the text.")]
LabelColumn = Annotated[str, typer.Option(help="Column with the label: true/false, 1/0, yes/no, or words.")]
CategoryColumn = Annotated[str | None, typer.Option(help="Column with the categories of a harmful text.")]
HarmfulLabel = Annotated[list[str] | None, typer.Option(help="A label that means harmful; may be given again.")]
OneCategory = Annotated[str | None, typer.Option("--category", help="What all harmful texts are harmful for.")]
Resamples = Annotated[int, typer.Option(min=0, help="Bootstrap resamples.")]
Seed = Annotated[int, typer.Option(help="Of the resamples.")]
BaseUrl = Annotated[str | None, typer.Option(help="Server of an openai: judge.")]
Cache = Annotated[Path | None, typer.Option(help="A file that keeps verdicts, so that no text is judged twice.")]
Plots = Annotated[Path | None, typer.Option(help="A folder for the plots.")]


def judge_bench(
    dataset: Data,
    judge: Spec,
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    base_url: BaseUrl = None,
    cache: Cache = None,
    calibration: Annotated[list[Path] | None, typer.Option(help="A calibration to measure as a further judge.")] = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    category_column: CategoryColumn = None,
    category: OneCategory = None,
    harmful_label: HarmfulLabel = None,
    at_recall: Annotated[float, typer.Option(min=0.01, max=1.0, help="Recall to compare false alarms at.")] = 0.95,
    at_false_alarms: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="False alarms to compare recall at.")
    ] = 0.05,
    concurrency: Annotated[int, typer.Option(min=1, help="Texts asked about at once; for hosted judges.")] = 1,
    resamples: Resamples = 500,
    seed: Seed = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")] = None,
    plots: Plots = None,
    mlflow: Annotated[bool, typer.Option("--mlflow/--no-mlflow", help="Record the bench in MLflow.")] = True,
    folder: Annotated[Path, typer.Option(help="Where the record is kept.")] = Path(".taleward"),
) -> None:
    """Measure judges on labelled texts, and against each other.

    A text that a judge did not pass counts as flagged, whatever the reason.

    Exit code 0: measured, 2: wrong use or data.
    """
    from taleward.cli.output.console import say
    from taleward.cli.output.judge_bench import show_bench
    from taleward.evaluation.judge_bench.bench import benchmark_judges as measure
    from taleward.evaluation.judge_bench.plots import bench_plots, check_plots, save_plots
    from taleward.moderation.calibration.calibration import load_calibration

    rules, texts = _texts(dataset, policy, band, (text_column, label_column, category_column), harmful_label, category)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
    if plots is not None:
        check_plots()
    judges: dict[str, Judge] = {}
    for spec in judge:
        judges[_new(spec, judges)] = _judge(spec, rules, band, base_url, cache)
    for path in calibration or ():
        fitted = load_calibration(path)
        judges[_new(f"{fitted.judge} + {path.name}", judges)] = _judge(
            fitted.judge, rules, band, base_url, cache
        ).calibrated(fitted)
    with _progress(len(texts.rows) * len(judges)) as step:
        report = measure(
            judges,
            texts,
            at_recall=at_recall,
            at_false_alarms=at_false_alarms,
            resamples=resamples,
            seed=seed,
            concurrency=concurrency,
            step=step,
        )
    show_bench(report)
    if json_file is not None:
        json_file.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if plots is not None:
        save_plots(bench_plots(report), plots)
        say(f"plots in {plots}")
    if mlflow:
        _record(report, folder)


def calibrate(
    dataset: Data,
    judge: Annotated[str, typer.Option(help="The judge's spec.")],
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    base_url: BaseUrl = None,
    cache: Cache = None,
    recall: Annotated[float | None, typer.Option(help="Reach at least this recall, 0..1.")] = None,
    false_alarms: Annotated[float | None, typer.Option(help="Or at most this share of false alarms, 0..1.")] = None,
    method: Annotated[str, typer.Option(help="platt, or isotonic for a thousand texts and more.")] = "platt",
    out: Annotated[Path | None, typer.Option(help="The file to write; by default beside the policy's file.")] = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    category_column: CategoryColumn = None,
    category: OneCategory = None,
    harmful_label: HarmfulLabel = None,
    min_texts: Annotated[int, typer.Option(min=5, help="Harmful and harmless texts that a category needs.")] = 20,
    resamples: Annotated[int, typer.Option(min=10, help="Bootstrap resamples.")] = 200,
    seed: Seed = 0,
    plots: Plots = None,
) -> None:
    """Fit a judge's scores and thresholds to labelled texts; use the file with tw.judge(..., calibration=FILE).

    Exit code 0: at least one category was fitted, 1: none was, 2: wrong use or data.
    """
    from taleward.cli.output.console import say
    from taleward.cli.output.judge_bench import show_calibration
    from taleward.evaluation.judge_bench.plots import calibration_plots, check_plots, save_plots
    from taleward.moderation.calibration.calibration import Target
    from taleward.moderation.calibration.fit import fit_calibration

    if method not in ("platt", "isotonic"):
        raise UnknownName("method", method, ("platt", "isotonic"))
    given = [("recall", recall), ("false_alarms", false_alarms)]
    named = [(kind, value) for kind, value in given if value is not None]
    if len(named) != 1 or not 0 < named[0][1] < 1:
        raise typer.BadParameter("give --recall or --false-alarms, one of them, above 0 and below 1")
    rules, texts = _texts(dataset, policy, band, (text_column, label_column, category_column), harmful_label, category)
    if plots is not None:
        check_plots()
    made = _judge(judge, rules, band, base_url, cache)
    with _progress(len(texts.rows)) as step:
        verdicts = []
        for row in texts.rows:
            verdicts.append(made.invoke(row.text))
            step(judge)
    target = Target.model_validate({"kind": named[0][0], "value": named[0][1]})
    fitted = fit_calibration(
        made,
        texts,
        target,
        method="platt" if method == "platt" else "isotonic",
        min_texts=min_texts,
        resamples=resamples,
        seed=seed,
        verdicts=verdicts,
    )
    show_calibration(fitted)
    if not fitted.categories:
        raise typer.Exit(1)
    if plots is not None:
        save_plots(calibration_plots(fitted), plots)
    beside = Path(policy).parent if policy.endswith((".yaml", ".yml")) else Path()
    name = f"{rules.name}-{band}-{re.sub(r'[^A-Za-z0-9.-]+', '-', judge)}.calibration.yaml"
    path = out or beside / name
    fitted.save(path)
    say(f"written to {path}")


def _texts(
    dataset: Path,
    policy: str,
    band: str,
    columns: tuple[str, str, str | None],
    harmful: list[str] | None,
    category: str | None,
) -> tuple[Policy, LabeledData]:
    from taleward.moderation.calibration.labeled_data import Columns, load_labeled
    from taleward.moderation.policies.load import load_policy

    rules = load_policy(policy)
    rules.band(band)
    if category is not None and category not in rules.categories:
        raise UnknownName(f"category of policy {rules.id!r}", category, rules.categories)
    named = Columns(*columns, harmful=tuple(harmful or ()))
    return rules, load_labeled(dataset, named, known=tuple(rules.categories), category=category)


def _judge(spec: str, rules: Policy, band: str, base_url: str | None, cache: Path | None) -> Judge:
    from taleward.moderation.judges import judge as make
    from taleward.moderation.judges.cached import CachedJudge

    options = {"base_url": base_url} if base_url is not None and spec.startswith("openai:") else {}
    made = make(spec, policy=rules, band=band, **options)
    return made if cache is None else CachedJudge(made, cache)


def _record(report: BenchReport, folder: Path) -> None:
    from taleward.cli.output.console import say, warn_unrecorded
    from taleward.evaluation.judge_bench.plots import bench_plots
    from taleward.evaluation.tracking.judge_runs import record_bench
    from taleward.evaluation.tracking.recorder import default_tracking_uri

    try:
        run = record_bench(report, default_tracking_uri(folder), bench_plots(report) if find_spec("matplotlib") else {})
    except Exception as error:  # noqa: BLE001  the bench is shown; only its record is lost
        warn_unrecorded("the bench", error)
    else:
        say(f"recorded in {folder / 'mlflow.db'} as run {run}; see it with: taleward ui")


def _new(name: str, judges: dict[str, Judge]) -> str:
    if name in judges:
        raise ConfigurationError(f"judge {name!r} is named twice.")
    return name


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on standard error, where a person watches."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("judging", total=total)
        yield lambda name: bar.update(task, advance=1, description=name)
