"""Print the report of a red team."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from taleward.cli.output.console import print_note, print_warning, printable
from taleward.evaluation.red_teaming.report import COUNT_COLUMNS, count_cells
from taleward.evaluation.red_teaming.result import AttackCounts, RedTeamReport, example_row

_stdout = Console(highlight=False)
_MAX_EXAMPLES = 3
_MAX_TEXT_CHARACTERS = 160
_MAX_ERRORS = 5


def show_red_team(report: RedTeamReport) -> None:
    """Print the counts by trick and by category, the worst leaks, and what a reader must know about the counts."""
    _stdout.print(_counts_table("trick", report.by_trick, report.total))
    _stdout.print(_counts_table("category", report.by_category, report.total))
    for result in report.leaks[:_MAX_EXAMPLES]:
        row = example_row(result, _MAX_TEXT_CHARACTERS)
        categories = f" ({', '.join(row['categories'])})" if row["categories"] else ""
        _stdout.print(Text(printable(f"\n{row['id']}, turn {row['turn']}: {row['outcome']}{categories}"), style="red"))
        _stdout.print(Text(printable(f"  asked:    {_one_line(row['request'])}")))
        _stdout.print(Text(printable(f"  released: {_one_line(row['text'])}")))
    for note in report.notes:
        print_warning(printable(note))
    for attack_id, error in list(report.errors.items())[:_MAX_ERRORS]:
        print_warning(printable(f"attack {attack_id} ended with an error: {error}"))
    if len(report.errors) > _MAX_ERRORS:
        print_warning(f"{len(report.errors) - _MAX_ERRORS} more attacks ended with an error")
    seconds = (report.finished_at - report.started_at).total_seconds()
    print_note(
        f"{len(report.results)} attacks in {seconds:,.1f} s; a leak is a released text that {report.judge} does not "
        f"pass under {report.policy}, {report.band}"
    )


def _counts_table(first_column: str, rows: Iterable[AttackCounts], total: AttackCounts) -> Table:
    table = Table(first_column, *(Column(name, justify="right") for name in COUNT_COLUMNS))
    for counts in rows:
        table.add_row(*map(Text, count_cells(counts)), style="red" if counts.leaks else None)
    table.add_section()
    table.add_row(*map(Text, count_cells(total)))
    return table


def _one_line(text: str) -> str:
    return " ".join(text.split())
