"""`taleward tune judge`: tune a judge on texts that people labeled."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from taleward.cli.options import (
    DEFAULT_FOLDER,
    AsJson,
    BandName,
    BaseUrl,
    Experiment,
    Folder,
    PolicyName,
    TextColumn,
    TrackingUri,
)

if TYPE_CHECKING:
    from taleward.moderation.calibration.labeled_texts import LabeledData

_NOT_PROMOTED = 1


def tune_judge(
    out: Annotated[Path, typer.Option("--out", help="Folder for the report and the tuned judge.")],
    labeled: Annotated[
        Path | None, typer.Option("--labeled", help="Labeled texts: a .csv, .tsv or .jsonl file, optionally with .gz.")
    ] = None,
    from_feedback: Annotated[
        bool, typer.Option("--from-feedback", help="Tune on recorded tales whose feedback is given for training.")
    ] = False,
    judge: Annotated[str, typer.Option("--judge", help="Spec of the judge to tune.")] = "embedded:judge",
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    held_out: Annotated[
        Path | None, typer.Option("--held-out", help="Labeled texts to measure on; by default cross-validation.")
    ] = None,
    method: Annotated[
        Literal["auto", "thresholds", "head"], typer.Option("--method", help="What to fit; auto decides by the labels.")
    ] = "auto",
    miss_weight: Annotated[
        float, typer.Option("--miss-weight", help="How many false alarms a harmful text that passes costs.")
    ] = 3.0,
    pull: Annotated[
        float, typer.Option("--pull", help="How strongly the head is pulled back to where it starts.")
    ] = 5.0,
    folds: Annotated[int, typer.Option("--folds", help="Folds of the cross-validation.")] = 5,
    base_url: BaseUrl = None,
    column: TextColumn = "text",
    label_column: Annotated[
        str, typer.Option(help="Column of the label: true/false, 1/0, yes/no, or names.")
    ] = "label",
    category_column: Annotated[
        str | None, typer.Option(help="Column of a harmful text's categories; by default categories, if there is one.")
    ] = None,
    band_column: Annotated[
        str | None, typer.Option(help="Column of a text's age band; by default band, if there is one.")
    ] = None,
    harmful_label: Annotated[list[str] | None, typer.Option(help="Label that means harmful; may be repeated.")] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", help="Texts to judge at once; more than 1 is for hosted models.")
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the folds and resamples.")] = 0,
    as_json: AsJson = False,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Tune a judge on texts that people labeled, and print its errors before and after.

    The tuned judge is written only if it is better beyond noise; the report is always written.

    Exit codes: 0 the tuned judge was written, 1 it is not better, 2 wrong use or data.
    """
    from taleward.cli.judge_specs import base_url_options, check_base_url
    from taleward.cli.output.console import print_note, spinner
    from taleward.cli.output.tune_judge import show_report
    from taleward.moderation.calibration.labeled_texts import Columns
    from taleward.tuning.judge import tune_judge as tune

    if (labeled is None) != from_feedback:
        raise typer.BadParameter("pass either --labeled FILE or --from-feedback")
    check_base_url([judge], base_url)
    source = labeled or _from_feedback(tracking_uri, folder, experiment)
    with spinner("tuning the judge"):
        tuned = tune(
            judge,
            source,
            out,
            policy=policy,
            band=band,
            held_out=held_out,
            columns=Columns(column, label_column, category_column, tuple(harmful_label or ()), band_column),
            judge_options=base_url_options(judge, base_url),
            method=method,
            miss_weight=miss_weight,
            pull=pull,
            folds=folds,
            seed=seed,
            concurrency=concurrency,
        )
    if as_json:
        sys.stdout.write(tuned.report.model_dump_json(indent=2) + "\n")
    else:
        show_report(tuned.report)
    if not tuned.promoted:
        print_note(f"the judge was not written; the report is in {out}")
        raise typer.Exit(_NOT_PROMOTED)
    for name, path in tuned.calibrations.items():
        print_note(f"use it with: taleward judge FILE --judge {tuned.spec} --band {name} --calibration {path}")
    if not tuned.calibrations:
        print_note(f"use it with: taleward judge FILE --judge {tuned.spec} --band {next(iter(tuned.report.bands))}")


def _from_feedback(tracking_uri: str | None, folder: Path, experiment: str) -> LabeledData:
    from taleward.cli.feedback_store import open_feedback_store
    from taleward.cli.output.console import print_note
    from taleward.tuning.feedback_rows import SKIP_REASONS
    from taleward.tuning.labeled_verdicts import verdicts_from_feedback

    verdicts = verdicts_from_feedback(open_feedback_store(tracking_uri, folder, experiment))
    for reason, count in verdicts.skipped.items():
        print_note(f"skipped {count}: {SKIP_REASONS[reason]}")
    return verdicts.data
