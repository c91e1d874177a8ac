"""Print evaluations, gates and comparisons."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from taleward.cli.output.console import print_note, print_warning, printable
from taleward.evaluation.comparison import ComparisonResult, format_difference_interval
from taleward.evaluation.gates import GateResult
from taleward.evaluation.grid import EvaluationGrid
from taleward.evaluation.report.html import format_interval, format_number
from taleward.evaluation.result import Evaluation

_stdout = Console(highlight=False)
_MAX_FAILURES = 5


def show_evaluation(evaluation: Evaluation) -> None:
    """Print one row per metric, then what is missing and the samples that failed."""
    title = Text(printable(evaluation.name))
    repeats = ("changed", "std") if evaluation.repeat > 1 else ()
    columns = (Column(name, justify="right") for name in repeats)
    table = Table("metric", Column("value", justify="right"), "interval", "unit", "n", *columns, title=title)
    for result in evaluation.metrics.values():
        score, flakiness = result.score, result.flakiness
        n = f"{score.n}" + (f" ({score.left_out} left out)" if score.left_out else "")
        cells: list[Text | str] = [
            Text(score.metric),
            format_number(score.value),
            format_interval(score),
            Text(score.unit),
            n,
        ]
        if flakiness is not None:
            changed = "-" if flakiness.changed is None else f"{flakiness.changed:.0%}"
            cells += [changed, format_number(flakiness.std)]
        table.add_row(*cells)
    _stdout.print(table)
    if evaluation.repeat > 1:
        _stdout.print(
            Text(
                f"{evaluation.repeat} repeats: changed is the share of samples whose value is not the same in all of "
                "them, std the standard deviation between repeats of a sample"
            )
        )
    if evaluation.missing:
        print_warning(printable(evaluation.partial_note))
    for sample_id, error in list(evaluation.failed.items())[:_MAX_FAILURES]:
        print_warning(f"sample {sample_id} failed: {error}")
    if len(evaluation.failed) > _MAX_FAILURES:
        print_warning(f"{len(evaluation.failed) - _MAX_FAILURES} more samples failed")
    seconds = (evaluation.finished_at - evaluation.started_at).total_seconds()
    recorded = f"; recorded as run {evaluation.run_id}; see it with: taleward ui" if evaluation.run_id else ""
    dataset = f" of {printable(evaluation.dataset)}" if evaluation.dataset else ""
    print_note(f"{len(evaluation.ids)} samples{dataset} in {seconds:,.1f} s{recorded}")


def show_gates(results: Iterable[GateResult]) -> None:
    """Print one line per gate."""
    for result in results:
        mark = Text("PASS  ", style="green") if result.passed else Text("FAIL  ", style="bold red")
        _stdout.print(Text.assemble(mark, (result.metric, "bold"), f": {printable(result.message)}"))


def show_grid(grid: EvaluationGrid, metrics: Iterable[str] | None = None) -> None:
    """Print a table per dataset and metric.

    Args:
        grid: The grid.
        metrics: The metrics; all by default.
    """
    for dataset in dict.fromkeys(cell.dataset for cell in grid.cells):
        for metric in metrics or grid.metrics:
            frame = grid.table(metric, dataset)
            columns = (Column(Text(printable(name)), justify="right") for name in frame.columns)
            table = Table(f"{grid.rows}", *columns, title=Text(printable(f"{dataset}: {metric}")))
            for row, values in frame.iterrows():
                cells = (format_number(None if value != value else float(value)) for value in values)
                table.add_row(Text(printable(str(row))), *cells)
            _stdout.print(table)


def show_comparison(comparison: ComparisonResult) -> None:
    """Print one row per metric, then each pair of evaluations."""
    _stdout.print(Text(f"{comparison.n} common samples\n"))
    names = (Column(Text(printable(name)), overflow="fold") for name in comparison.names)
    table = Table("metric", *names, "winner")
    for name, result in comparison.metrics.items():
        cells = (f"{format_number(score.value)} {format_interval(score)}" for score in result.scores.values())
        conclusion = Text(printable(result.conclusion), style="bold green" if result.winner else "")
        table.add_row(Text(name), *cells, conclusion)
    _stdout.print(table)
    for name, result in comparison.metrics.items():
        for pair in result.pairs:
            test = pair.test
            line = f"  {name}: {printable(pair.first)} minus {printable(pair.second)}"
            if test.difference is not None:
                line += f" {format_number(test.difference)} {format_difference_interval(test)}".rstrip()
            if test.p is not None:
                line += f", p = {test.p:.2g}"
            _stdout.print(Text(f"{line}{':' if test.difference is None else ','} {pair.conclusion}"))
    _stdout.print(Text(f"\nMethod: {comparison.method}."))
    for warning in comparison.warnings:
        print_warning(printable(warning))
