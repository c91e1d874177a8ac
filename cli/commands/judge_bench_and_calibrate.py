"""`taleward judge-bench` and `taleward calibrate`: measure and calibrate judges on labeled texts."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taleward.cli.options import DEFAULT_FOLDER, AsJson, BandName, BaseUrl, Folder, PolicyName, TextColumn
from taleward.core.errors import ConfigurationError, UnknownName

if TYPE_CHECKING:
    from taleward.core.policy import Policy
    from taleward.evaluation.judge_bench.result import BenchReport
    from taleward.moderation.calibration.labeled_texts import LabeledData
    from taleward.moderation.judges import Judge

DatasetFile = Annotated[Path, typer.Argument(help="Labeled texts: a .csv, .tsv or .jsonl file, optionally with .gz.")]
ComparedJudges = Annotated[list[str], typer.Option("--judge", help="Spec of a judge; may be repeated.")]
CalibratedJudge = Annotated[list[str], typer.Option("--judge", help="Spec of the judge.")]
LabelColumn = Annotated[str, typer.Option(help="Column of the label: true/false, 1/0, yes/no, or names.")]
CategoryColumn = Annotated[str | None, typer.Option(help="Column of a harmful text's categories.")]
HarmfulLabel = Annotated[list[str] | None, typer.Option(help="Label that means harmful; may be repeated.")]
OneCategory = Annotated[str | None, typer.Option("--category", help="Category of all harmful texts.")]
Resamples = Annotated[int, typer.Option(min=0, help="Number of bootstrap resamples.")]
ResampleSeed = Annotated[int, typer.Option(help="Seed of the resamples.")]
CacheFile = Annotated[Path | None, typer.Option(help="File of a verdict cache, so that no text is judged twice.")]
PlotFolder = Annotated[Path | None, typer.Option(help="Write plots to this folder.")]


def judge_bench(
    dataset: DatasetFile,
    judge: ComparedJudges,
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    base_url: BaseUrl = None,
    cache: CacheFile = None,
    calibration: Annotated[
        list[Path] | None, typer.Option(help="Calibration file, measured as one more judge; may be repeated.")
    ] = None,
    column: TextColumn = "text",
    label_column: LabelColumn = "label",
    category_column: CategoryColumn = None,
    category: OneCategory = None,
    harmful_label: HarmfulLabel = None,
    at_recall: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Recall at which false alarms are compared.")
    ] = 0.95,
    at_false_alarms: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Share of false alarms at which recall is compared.")
    ] = 0.05,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Number of texts to judge at once; more than 1 is for hosted models.")
    ] = 1,
    resamples: Resamples = 500,
    seed: ResampleSeed = 0,
    as_json: AsJson = False,
    out: Annotated[Path | None, typer.Option(help="Write the result as JSON to this file, too.")] = None,
    plots: PlotFolder = None,
    record: Annotated[bool, typer.Option(help="Record the benchmark in MLflow.")] = True,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Measure judges on labeled texts, and compare them with each other.

    A text that a judge does not pass counts as flagged, whatever the outcome.

    Exit codes: 0 measured, 2 wrong use or data.
    """
    from taleward.cli.judge_specs import check_base_url
    from taleward.cli.output.console import print_note
    from taleward.cli.output.judge_bench_and_calibrate import show_bench
    from taleward.evaluation.judge_bench.bench import benchmark_judges
    from taleward.evaluation.judge_bench.plots import bench_plots, check_plots, save_plots
    from taleward.moderation.calibration.calibration import load_calibration

    columns = (column, label_column, category_column)
    loaded_policy, texts = _load_texts(dataset, policy, band, columns, harmful_label, category)
    # A folder that cannot be written to, or a missing library, must not lose the results of hours.
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    if plots is not None:
        check_plots()
    check_base_url(judge, base_url)
    judges: dict[str, Judge] = {}
    for spec in judge:
        judges[_unique_name(spec, judges)] = _make_judge(spec, loaded_policy, band, base_url, cache)
    for path in calibration or ():
        loaded_calibration = load_calibration(path)
        name = _unique_name(f"{loaded_calibration.judge} + {path.name}", judges)
        uncalibrated = _make_judge(loaded_calibration.judge, loaded_policy, band, base_url, cache)
        judges[name] = uncalibrated.calibrated(loaded_calibration)
    with _progress_bar(len(texts.rows) * len(judges)) as step:
        report = benchmark_judges(
            judges,
            texts,
            at_recall=at_recall,
            at_false_alarms=at_false_alarms,
            resamples=resamples,
            seed=seed,
            concurrency=concurrency,
            step=step,
        )
    if as_json:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
    else:
        show_bench(report)
    if out is not None:
        out.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        print_note(f"result written to {out}")
    if plots is not None:
        save_plots(bench_plots(report), plots)
        print_note(f"plots written to {plots}")
    if record:
        _record_bench(report, folder)


def calibrate(
    dataset: DatasetFile,
    judge: CalibratedJudge,
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    base_url: BaseUrl = None,
    cache: CacheFile = None,
    recall: Annotated[float | None, typer.Option(help="Target: at least this recall, between 0 and 1.")] = None,
    false_alarms: Annotated[
        float | None, typer.Option(help="Target: at most this share of false alarms, between 0 and 1.")
    ] = None,
    method: Annotated[str, typer.Option(help="platt, or isotonic for a thousand texts or more.")] = "platt",
    out: Annotated[
        Path | None, typer.Option(help="The calibration file to write; by default next to the policy's file.")
    ] = None,
    column: TextColumn = "text",
    label_column: LabelColumn = "label",
    category_column: CategoryColumn = None,
    category: OneCategory = None,
    harmful_label: HarmfulLabel = None,
    min_texts: Annotated[
        int, typer.Option(min=5, help="Minimum number of harmful and of harmless texts per category.")
    ] = 20,
    resamples: Annotated[int, typer.Option(min=10, help="Number of bootstrap resamples.")] = 200,
    seed: ResampleSeed = 0,
    plots: PlotFolder = None,
) -> None:
    """Fit a judge's scores and thresholds to labeled texts.

    Use the calibration file with --calibration, or in Python with tw.judge(..., calibration=FILE).

    Exit codes: 0 at least one category was fitted, 1 none was, 2 wrong use or data.
    """
    from taleward.cli.judge_specs import check_base_url
    from taleward.cli.output.console import print_note
    from taleward.cli.output.judge_bench_and_calibrate import show_calibration
    from taleward.evaluation.judge_bench.plots import calibration_plots, check_plots, save_plots
    from taleward.moderation.calibration.calibration import Target
    from taleward.moderation.calibration.fit import fit_calibration

    if method not in ("platt", "isotonic"):
        raise UnknownName("method", method, ("platt", "isotonic"))
    options = (("recall", recall), ("false_alarms", false_alarms))
    targets = [(kind, value) for kind, value in options if value is not None]
    if len(targets) != 1 or not 0 < targets[0][1] < 1:
        raise typer.BadParameter("pass either --recall or --false-alarms, with a value above 0 and below 1")
    if len(judge) > 1:
        raise typer.BadParameter(f"pass one --judge; got {', '.join(judge)}. Calibrate each judge by itself")
    columns = (column, label_column, category_column)
    loaded_policy, texts = _load_texts(dataset, policy, band, columns, harmful_label, category)
    if plots is not None:
        check_plots()
    check_base_url(judge, base_url)
    uncalibrated = _make_judge(judge[0], loaded_policy, band, base_url, cache)
    # `fit_calibration` could ask the judge itself, but without showing progress.
    with _progress_bar(len(texts.rows)) as step:
        verdicts = []
        for row in texts.rows:
            verdicts.append(uncalibrated.invoke(row.text))
            step(judge[0])
    calibration = fit_calibration(
        uncalibrated,
        texts,
        Target.model_validate({"kind": targets[0][0], "value": targets[0][1]}),
        method="platt" if method == "platt" else "isotonic",
        min_texts=min_texts,
        resamples=resamples,
        seed=seed,
        verdicts=verdicts,
    )
    show_calibration(calibration)
    if not calibration.categories:
        raise typer.Exit(1)
    if plots is not None:
        save_plots(calibration_plots(calibration), plots)
    policy_folder = Path(policy).parent if policy.endswith((".yaml", ".yml")) else Path()
    judge_slug = re.sub(r"[^A-Za-z0-9.-]+", "-", judge[0])
    path = out or policy_folder / f"{loaded_policy.name}-{band}-{judge_slug}.calibration.yaml"
    calibration.save(path)
    print_note(f"calibration written to {path}")


def _load_texts(
    dataset: Path,
    policy: str,
    band: str,
    columns: tuple[str, str, str | None],
    harmful_labels: list[str] | None,
    category: str | None,
) -> tuple[Policy, LabeledData]:
    from taleward.moderation.calibration.labeled_texts import Columns, load_labeled
    from taleward.moderation.policies.load import load_policy

    loaded_policy = load_policy(policy)
    loaded_policy.band(band)  # reject an unknown band before reading a large file
    if category is not None and category not in loaded_policy.categories:
        raise UnknownName(f"category of policy {loaded_policy.id!r}", category, loaded_policy.categories)
    named_columns = Columns(*columns, harmful=tuple(harmful_labels or ()))
    known = tuple(loaded_policy.categories)
    return loaded_policy, load_labeled(dataset, named_columns, known=known, category=category)


def _make_judge(spec: str, policy: Policy, band: str, base_url: str | None, cache: Path | None) -> Judge:
    from taleward.cli.judge_specs import base_url_options
    from taleward.moderation.judges import judge as make_judge
    from taleward.moderation.judges.cached import CachedJudge

    judge = make_judge(spec, policy=policy, band=band, **base_url_options(spec, base_url))
    return judge if cache is None else CachedJudge(judge, cache)


def _record_bench(report: BenchReport, folder: Path) -> None:
    from taleward.cli.output.console import print_note, warn_not_recorded
    from taleward.evaluation.judge_bench.plots import bench_plots
    from taleward.evaluation.tracking.judge_runs import record_bench
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri

    try:
        plots = bench_plots(report) if find_spec("matplotlib") else {}
        run_id = record_bench(report, default_tracking_uri(folder), plots)
    except Exception as error:  # noqa: BLE001  the report has been shown; only its record is lost
        warn_not_recorded("the benchmark", error)
    else:
        print_note(f"recorded in {folder / 'mlflow.db'} as run {run_id}; see it with: taleward ui")


def _unique_name(name: str, judges: dict[str, Judge]) -> str:
    if name in judges:
        raise ConfigurationError(f"judge {name!r} is given twice.", hint="Pass each judge and calibration once.")
    return name


@contextmanager
def _progress_bar(total: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar if standard error is a terminal; yield a function that advances it by one text."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("judging", total=total)
        yield lambda judge_name: progress.update(task, advance=1, description=judge_name)
