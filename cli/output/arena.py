"""Print the result of an arena."""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from taleward.cli.output.console import print_note, print_warning, printable
from taleward.evaluation.arena.result import ArenaResult
from taleward.evaluation.report.html import format_number

_stdout = Console(highlight=False)


def show_arena(result: ArenaResult) -> None:
    """Print one row per contestant, then each pair."""
    numbers = (Column(name, justify="right") for name in ("preferred", "rating", "wins", "ties", "losses"))
    preferred, *others = numbers
    table = Table("contestant", preferred, "interval", *others)
    for r in result.ratings:
        interval = f"[{format_number(r.low)}, {format_number(r.high)}]"
        cells = (format_number(r.preferred), interval, f"{r.rating:.0f}", str(r.wins), str(r.ties), str(r.losses))
        style = "bold green" if r.name == result.winner else ""
        table.add_row(Text(printable(r.name), style=style), *cells)
    _stdout.print(table)
    for pair in result.pairs:
        p = "" if pair.test.p is None else f", p = {pair.test.p:.3g}"
        _stdout.print(
            Text(
                f"{printable(pair.first)} against {printable(pair.second)}: {pair.wins} wins, {pair.ties} ties, "
                f"{pair.losses} losses{p}: {pair.conclusion}"
            )
        )
    for warning in result.warnings:
        print_warning(warning)
    print_note(printable(result.summary))
