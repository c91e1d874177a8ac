"""Tables of an evaluation, of its gates, and of a comparison."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from taleward.cli.output.console import plain, say, warn
from taleward.evaluation.comparison import ComparisonResult
from taleward.evaluation.gates import GateResult
from taleward.evaluation.report.html import format_interval, format_number
from taleward.evaluation.result import Evaluation

_out = Console(highlight=False)


def show_evaluation(found: Evaluation) -> None:
    """A row for each metric, then what failed."""
    seconds = (found.finished_at - found.started_at).total_seconds()
    table = Table("metric", Column("value", justify="right"), "interval", "unit", "n", title=Text(plain(found.name)))
    for score in found.scores.values():
        n = f"{score.n}" + (f" ({score.left_out} left out)" if score.left_out else "")
        table.add_row(Text(score.metric), format_number(score.value), format_interval(score), Text(score.unit), n)
    _out.print(table)
    for sample, why in list(found.failed.items())[:5]:
        warn(f"sample {sample} failed: {why}")
    if len(found.failed) > 5:
        warn(f"and {len(found.failed) - 5} more failed")
    where = "" if found.run_id is None else f"; recorded as run {found.run_id}; see it with: taleward ui"
    say(f"{len(found.ids)} samples in {seconds:,.1f} s{where}")


def show_gates(lines: Iterable[GateResult]) -> None:
    """A line for each gate."""
    for line in lines:
        mark = Text("holds  ", style="green") if line.passed else Text("FAILS  ", style="bold red")
        _out.print(Text.assemble(mark, (line.metric, "bold"), f": {plain(line.message)}"))


def show_compared(found: ComparisonResult) -> None:
    """A row for each metric, then each two evaluations."""
    _out.print(Text(f"{found.n} samples that all have; 95 % bootstrap intervals in brackets\n"))
    table = Table("metric", *(Column(Text(plain(name)), overflow="fold") for name in found.names), "winner")
    for name, row in found.metrics.items():
        cells = (f"{format_number(s.value)} {format_interval(s)}" for s in row.scores.values())
        table.add_row(Text(name), *cells, Text(plain(row.conclusion), style="bold green" if row.winner else ""))
    _out.print(table)
    for name, row in found.metrics.items():
        for pair in row.pairs:
            two = f"  {name}: {plain(pair.first)} minus {plain(pair.second)}"
            if pair.test.p is None:
                _out.print(Text(f"{two}: no value"))
                continue
            test = pair.test
            gap = f"{format_number(test.difference)} [{format_number(test.low)}, {format_number(test.high)}]"
            said = "significant" if pair.significant else "no difference"
            _out.print(Text(f"{two} {gap}, p = {pair.test.p:.2g}, {said}"))
