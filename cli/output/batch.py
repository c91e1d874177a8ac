"""Print the result of a batch."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from taleward.batch.result import BatchResult
from taleward.cli.output.console import print_note, print_warning, printable

_stdout = Console(highlight=False)
_GOOD, _BAD = {"released", "pass", "done", "label"}, {"refused", "fail"}


def show_batch(result: BatchResult) -> None:
    """Print the outcomes as a table, what the call did, and where the results are."""
    table = Table("outcome", "rows", "share")
    for outcome, count in result.outcomes.items():
        style = "green" if outcome in _GOOD else "red" if outcome in _BAD else "yellow"
        table.add_row(Text(printable(outcome), style=style), f"{count:,}", f"{count / result.finished:.1%}")
    for name, value in result.scores.items():
        table.add_row(Text(printable(name), style="dim"), f"{value:.4g}", "")
    if table.row_count:
        _stdout.print(table)
    partial = "partial: " if result.partial else ""
    _stdout.print(Text(f"{partial}{result.finished:,} of {result.rows:,} rows are finished"))
    print_note(_summary(result))
    print_note(f"the results are in {result.out}, one Parquet file a chunk")
    if result.error_types:
        print_note("errors: " + ", ".join(f"{count:,} {name}" for name, count in result.error_types.items()))
    for file in (result.merged, result.errors_file):
        if file is not None:
            print_note(f"written: {file}")
    if result.run_id:
        print_note(f"recorded as MLflow run {result.run_id}")
    if result.not_recorded:
        print_warning(f"the batch was not recorded in MLflow: {result.not_recorded}")


def _summary(result: BatchResult) -> str:
    if not result.chunks_run:
        return "nothing was left to run"
    rate = result.rows_run / max(result.seconds, 1e-9)
    parts = [
        f"{result.rows_run:,} rows in {result.chunks_run:,} chunks in {result.seconds:,.1f} s ({rate:,.1f} rows/s)"
    ]
    if result.tokens:
        parts.append(f"{result.tokens:,} tokens written")
    if result.cost_usd is not None:
        parts.append(f"{result.cost_usd:,.4g} USD")
    return ", ".join(parts)
