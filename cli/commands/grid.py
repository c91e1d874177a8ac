"""`taleward grid`: recorded evaluations in a grid, such as prompts by models."""

from __future__ import annotations

from typing import Annotated

import typer

from taleward.cli.options import DEFAULT_FOLDER, Folder, ReportFile, TrackingUri


def grid(
    runs: Annotated[list[str], typer.Argument(help="Ids of MLflow runs of `taleward eval`.")],
    rows: Annotated[str, typer.Option("--by-row", help="Parameter for the rows, or name.")] = "writer.template",
    columns: Annotated[
        str, typer.Option("--by-column", help="Parameter for the columns, or dataset.")
    ] = "writer.model",
    metric: Annotated[list[str] | None, typer.Option(help="Metric to print; may be repeated. By default all.")] = None,
    report: ReportFile = None,
    tracking_uri: TrackingUri = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Show recorded evaluations by two of their parameters, with a table per dataset and metric."""
    from taleward.cli.output.console import print_note
    from taleward.cli.output.evaluation import show_grid
    from taleward.evaluation.grid import evaluation_grid
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri

    uri = tracking_uri or default_tracking_uri(folder)
    evaluations = evaluation_grid(runs, rows=rows, columns=columns, tracking_uri=uri)
    show_grid(evaluations, metric)
    if report is not None:
        report.write_text(evaluations.html(), encoding="utf-8")
        print_note(f"report written to {report}")
