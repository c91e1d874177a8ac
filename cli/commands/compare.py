"""`taleward compare`: compare recorded evaluations of the same dataset."""

from __future__ import annotations

from typing import Annotated

import typer

from taleward.cli.options import DEFAULT_FOLDER, Experiment, Folder, ReportFile, TrackingUri


def compare(
    runs: Annotated[list[str], typer.Argument(help="Ids of two or more MLflow runs.")],
    report: ReportFile = None,
    record: Annotated[bool, typer.Option("--record", help="Record the comparison as an MLflow run.")] = False,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Compare evaluations of the same dataset, with paired sign-flip tests: exact ones up to 14 samples.

    Times are only tested if the evaluations were measured side by side: taleward eval --model A --model B.
    """
    from taleward.cli.output.console import print_note
    from taleward.cli.output.evaluation import show_comparison
    from taleward.evaluation.comparison import compare as compare_runs
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri

    comparison = compare_runs(runs, tracking_uri=tracking_uri or default_tracking_uri(folder))
    show_comparison(comparison)
    if report is not None:
        report.write_text(comparison.html(), encoding="utf-8")
        print_note(f"report written to {report}")
    if record:
        run_id = comparison.record(tracking_uri=tracking_uri or default_tracking_uri(folder), experiment=experiment)
        print_note(f"recorded as run {run_id}; see it with: taleward ui")
