"""Print evaluations, gates and comparisons."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from taleward.cli.output.console import print_note, print_warning, printable
from taleward.evaluation.comparison import ComparisonResult
from taleward.evaluation.gates import GateResult
from taleward.evaluation.report.html import format_interval, format_number
from taleward.evaluation.result import Evaluation

_stdout = Console(highlight=False)
_MAX_FAILURES = 5


def show_evaluation(evaluation: Evaluation) -> None:
    """Print one row per metric, then the samples that failed."""
    title = Text(printable(evaluation.name))
    table = Table("metric", Column("value", justify="right"), "interval", "unit", "n", title=title)
    for score in evaluation.scores.values():
        n = f"{score.n}" + (f" ({score.left_out} left out)" if score.left_out else "")
        table.add_row(Text(score.metric), format_number(score.value), format_interval(score), Text(score.unit), n)
    _stdout.print(table)
    for sample_id, error in list(evaluation.failed.items())[:_MAX_FAILURES]:
        print_warning(f"sample {sample_id} failed: {error}")
    if len(evaluation.failed) > _MAX_FAILURES:
        print_warning(f"{len(evaluation.failed) - _MAX_FAILURES} more samples failed")
    seconds = (evaluation.finished_at - evaluation.started_at).total_seconds()
    recorded = f"; recorded as run {evaluation.run_id}; see it with: taleward ui" if evaluation.run_id else ""
    print_note(f"{len(evaluation.ids)} samples in {seconds:,.1f} s{recorded}")


def show_gates(results: Iterable[GateResult]) -> None:
    """Print one line per gate."""
    for result in results:
        mark = Text("PASS  ", style="green") if result.passed else Text("FAIL  ", style="bold red")
        _stdout.print(Text.assemble(mark, (result.metric, "bold"), f": {printable(result.message)}"))


def show_comparison(comparison: ComparisonResult) -> None:
    """Print one row per metric, then each pair of evaluations."""
    _stdout.print(Text(f"{comparison.n} common samples; 95 % bootstrap intervals in brackets\n"))
    names = (Column(Text(printable(name)), overflow="fold") for name in comparison.names)
    table = Table("metric", *names, "winner")
    for name, result in comparison.metrics.items():
        cells = (f"{format_number(score.value)} {format_interval(score)}" for score in result.scores.values())
        conclusion = Text(printable(result.conclusion), style="bold green" if result.winner else "")
        table.add_row(Text(name), *cells, conclusion)
    _stdout.print(table)
    for name, result in comparison.metrics.items():
        for pair in result.pairs:
            label = f"  {name}: {printable(pair.first)} minus {printable(pair.second)}"
            test = pair.test
            if test.p is None:
                _stdout.print(Text(f"{label}: no value"))
                continue
            interval = f"[{format_number(test.low)}, {format_number(test.high)}]"
            significance = "significant" if pair.significant else "no difference"
            line = f"{label} {format_number(test.difference)} {interval}, p = {test.p:.2g}, {significance}"
            _stdout.print(Text(line))
