"""Print the report of a tuned judge, and labeled neighbors of a text."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from taleward.cli.output.console import printable
from taleward.moderation.calibration.bootstrap import Interval
from taleward.tuning.judge_report import ErrorChange, JudgeTuningReport
from taleward.tuning.neighbors import LabeledNeighbor

_stdout = Console(highlight=False)
_MAX_NEIGHBOR_CHARACTERS = 300


def show_report(report: JudgeTuningReport) -> None:
    """Print the errors before and after tuning by band, what was fitted, and whether the judge was promoted."""
    on = f"held-out texts of {report.held_out}" if report.held_out else f"{report.settings.folds} folds"
    subject = f"{report.judge} under {report.policy}, tuned on {report.texts} texts of {report.data}"
    _stdout.print(Text(f"{subject}, {report.harmful} of them harmful; measured on {on}\n"))
    table = Table("ages", "", "good turned down", "harmful passed", "cost of a text")
    table.title = "95 % bootstrap intervals in brackets"
    rows = dict(report.bands) if len(report.bands) == 1 else {**report.bands, "all": report.total}
    for name, change in rows.items():
        _add_rows(table, name, change)
    _stdout.print(table)
    _stdout.print(Text(f"fitted: {report.part} ({report.part_reason})"))
    for note in report.notes:
        _stdout.print(Text(note, style="yellow"))
    style = "green" if report.promoted else "red"
    _stdout.print(Text(f"{'better' if report.promoted else 'not promoted'}: {report.reason}", style=style))


def show_neighbors(neighbors: Iterable[LabeledNeighbor]) -> None:
    """Print the labeled texts that are most like a text as a table."""
    table = Table(Column("what people said about similar texts", overflow="fold"), "label", "similarity")
    for neighbor in neighbors:
        label = ", ".join(neighbor.categories) or "harmful" if neighbor.harmful else "suitable"
        text = " ".join(neighbor.text.split())
        cut = text if len(text) <= _MAX_NEIGHBOR_CHARACTERS else f"{text[:_MAX_NEIGHBOR_CHARACTERS].rstrip()} ..."
        table.add_row(Text(printable(cut)), Text(printable(label)), f"{neighbor.similarity:.2f}")
    _stdout.print(table)


def _add_rows(table: Table, name: str, change: ErrorChange) -> None:
    before = (change.turned_down_before, change.missed_before, change.cost_before)
    after = (change.turned_down_after, change.missed_after, change.cost_after)
    difference = change.cost_difference
    table.add_row(name, "before", *map(_interval, before))
    table.add_row(f"{change.texts} texts", "after", *map(_interval, after))
    table.add_row(
        f"{change.harmful} harmful", "", "", "",
        f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]", end_section=True,
    )  # fmt: skip


def _interval(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
