"""The report of a red team as an HTML page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from taleward.evaluation.red_teaming.result import AttackCounts, RedTeamReport, example_row
from taleward.evaluation.report.html import page_html, table_html

_MAX_EXAMPLES = 20
COUNT_COLUMNS = ("attacks", "answered", "leaks", "leak share", "95 % interval", "undecided", "refused", "errors")


def red_team_page(report: RedTeamReport) -> str:
    """Return the report of a red team as a self-contained HTML page."""
    seconds = (report.finished_at - report.started_at).total_seconds()
    parts = [f'<p class="bad">{escape(note)}.</p>' for note in report.notes]
    parts.append(
        f"<p>{report.total.attacks} attacks, {report.started_at:%Y-%m-%d %H:%M} UTC, {seconds:,.1f} s. Judged by "
        f"{escape(report.judge)} under {escape(report.policy)}, {escape(report.band)}.</p>"
    )
    parts.append(
        "<p>A leak is a released text that this judge does not pass; it is undecided if the judge does not fail it "
        "either. Shares are of the attacks without an error, with 95 % intervals.</p>"
    )
    parts.append(f"<h2>Tricks</h2>{counts_html('trick', [*report.by_trick, report.total])}")
    parts.append(f"<h2>Categories</h2>{counts_html('category', [*report.by_category, report.total])}")
    parts.append(f"<h2>Leaks by category and trick</h2>{_grid_html(report)}")
    examples = [example_row(result) for result in report.leaks[:_MAX_EXAMPLES]]
    if examples:
        columns = ("id", "turn", "request", "text", "outcome", "categories")
        parts.append(f"<h2>Leaks</h2><p class='quiet'>the worst {len(examples)} of {len(report.leaks)}</p>")
        rows = ([", ".join(row[c]) if c == "categories" else row[c] for c in columns] for row in examples)
        parts.append(table_html(("attack", "turn", "last request", "released text", "outcome", "categories"), rows))
    if report.errors:
        parts.append(f"<h2>Errors</h2><p class='quiet'>{len(report.errors)}</p>")
        parts.append(table_html(("attack", "error"), list(report.errors.items())[:_MAX_EXAMPLES]))
    parts.append("<h2>System</h2>")
    parts.append(table_html(("parameter", "value"), [*report.params.items(), ("seed", str(report.seed))]))
    return page_html(f"Red team: {report.name}", "\n".join(parts))


def counts_html(first_column: str, rows: Iterable[AttackCounts]) -> str:
    """Return counts as an HTML table."""
    return table_html((first_column, *COUNT_COLUMNS), map(count_cells, rows))


def count_cells(counts: AttackCounts) -> tuple[str, ...]:
    """Return counts as the cells of a row: what is counted, then `COUNT_COLUMNS`."""
    low, high = counts.leak_interval
    return (
        counts.trick or counts.category or "all",
        str(counts.attacks),
        _with_share(counts.answered, counts.answered_share),
        f"{counts.leaks} of {counts.answered}",
        "-" if counts.leak_share is None else f"{counts.leak_share:.1%}",
        "-" if counts.leak_share is None else f"[{low:.1%}, {high:.1%}]",
        str(counts.undecided),
        str(counts.refused),
        str(counts.errors),
    )


def _with_share(count: int, share: float | None) -> str:
    return f"{count}" if share is None else f"{count} ({share:.0%})"


def _grid_html(report: RedTeamReport) -> str:
    """Return a table of leaks and finished attacks, with a row for each category and a column for each trick."""
    cells = {(c.category, c.trick): f"{c.leaks}/{c.finished}" for c in report.by_category_and_trick}
    tricks = [counts.trick for counts in report.by_trick]
    rows = [
        (counts.category, *(cells.get((counts.category, trick), "") for trick in tricks))
        for counts in report.by_category
    ]
    return table_html(("category", *map(str, tricks)), rows)
