"""The HTML that notebooks show for policies, templates, guards and reports: boxes and tables of escaped text.

Colors and fonts are the notebook's own, so that the views fit light and dark themes; only thin lines are drawn, in a
gray that shows on both.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from taleward.core.html_display import NO_MATH

if TYPE_CHECKING:
    from taleward.core.policy import Policy

_LINE = "1px solid #8888"
_CELL = f"border-bottom:{_LINE};padding:.25em .7em;text-align:left;vertical-align:top;white-space:pre-wrap"


class Html(str):
    """Text that is HTML already; every other string is escaped."""

    __slots__ = ()


def notebook_box(title: str, *parts: str) -> Html:
    """Return a box with a title; parts that are not `Html` become lines of text."""
    body = "".join(part if isinstance(part, Html) else f"<div>{escape(part)}</div>" for part in parts if part)
    style = f"border:{_LINE};border-radius:6px;padding:.7em 1em;margin:.4em 0;line-height:1.5;overflow-x:auto"
    return Html(f'<div {NO_MATH} style="{style}"><div><strong>{escape(title)}</strong></div>{body}</div>')


def notebook_table(head: Iterable[str], rows: Iterable[Iterable[str]], *, row_titles: bool = True) -> Html:
    """Return a table of text; cells that are not `Html` are escaped.

    Args:
        head: The column titles.
        rows: The cells of each row.
        row_titles: Whether the first cell of a row is its title.
    """
    head_html = "".join(f'<th scope="col" style="{_CELL}">{_cell(name)}</th>' for name in head)
    body_html = ""
    for row in rows:
        cells = [f'<td style="{_CELL}">{_cell(cell)}</td>' for cell in row]
        if row_titles and cells:
            cells[0] = f'<th scope="row"{cells[0].removeprefix("<td").removesuffix("</td>")}</th>'
        body_html += f"<tr>{''.join(cells)}</tr>"
    head_row = f"<thead><tr>{head_html}</tr></thead>" if head_html else ""
    return Html(f'<table style="border-collapse:collapse;margin:.5em 0">{head_row}<tbody>{body_html}</tbody></table>')


def _cell(text: str) -> str:
    return text if isinstance(text, Html) else escape(text)


def tooltip_html(text: str, tooltip: str) -> Html:
    """Return a text that shows another one when the pointer is on it."""
    return Html(f'<span title="{escape(tooltip, quote=True)}">{escape(text)}</span>')


def policy_html(policy: Policy) -> Html:
    """Format a policy: a row per category, and per band what is tolerated and from which score a text fails."""
    title = policy.id + (f" (extends {policy.parent})" if policy.parent else "")
    bands = [
        tooltip_html(f"{name}\n(ages {band.ages[0]} to {band.ages[1]})", band.writing)
        for name, band in policy.bands.items()
    ]
    levels = (band.reading_level for band in policy.bands.values())
    grades = ["derived from age" if level is None else f"grade {level:g}" for level in levels]
    rows = [
        [
            tooltip_html(name, f"{category.title}: {category.definition}"),
            *(f"{policy.tolerance(name, band)}, fails from {policy.threshold(name, band):g}" for band in policy.bands),
        ]
        for name, category in policy.categories.items()
    ]
    table = notebook_table(["category", *bands], [*rows, ["reading level up to", *grades]])
    severities = notebook_table(["severity", "meaning"], policy.severities.items())
    note = "Each cell: the highest severity that is tolerated, and the score from which a text fails."
    ending = {"close": "ends with closing words", "refuse": "is withdrawn"}[policy.ending]
    return notebook_box(
        title, policy.description, table, note, severities, f"A stream that is out of attempts {ending}."
    )
