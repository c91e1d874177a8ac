"""HTML reports: self-contained pages in which all text is escaped."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.core.errors import MissingExtra
from taleward.evaluation.metrics.base import MetricScore
from taleward.evaluation.report.plots import evaluation_plots
from taleward.evaluation.result import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_ROWS = 50
_MAX_CELL_CHARACTERS = 400
_WIDE_CELL_CHARACTERS = 40
FLAKINESS_COLUMNS = ("metric", "share of samples that changed", "std between repeats", "unit", "n")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222 }
div.table { overflow-x: auto; margin: 1em 0 } table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #ddd; padding: .35em .6em; text-align: left; vertical-align: top }
th { white-space: nowrap } th.number, td.number { text-align: right }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap } td.text { white-space: pre-wrap }
td.long { overflow-wrap: anywhere; min-width: 20em }
img { max-width: 100% } small, .quiet { color: #666 } .good { color: #1b7f3b } .bad { color: #b3261e }
"""


def write_files(
    evaluation: Evaluation, folder: Path, *, plots: Mapping[str, Figure] | None = None, figures: str = ""
) -> None:
    """Write the files of an MLflow run: the report, its plots, the result as JSON, and the table of samples.

    Args:
        evaluation: The evaluation.
        folder: Where they are written.
        plots: More plots by file name.
        figures: What stands in the report before the plots, as HTML.
    """
    folder.mkdir(exist_ok=True)
    own_plots, note = _plots(evaluation)
    plots = {**(plots or {}), **own_plots}
    for name, figure in plots.items():
        (folder / "plots").mkdir(exist_ok=True)
        figure.savefig(folder / "plots" / name, dpi=110)
    (folder / "report.html").write_text(report_page(evaluation, plots, note, figures), encoding="utf-8")
    result = evaluation.model_dump_json(exclude={"samples", "run_id", "undelivered"})
    (folder / "evaluation.json").write_text(result, encoding="utf-8")
    rows = evaluation.rows()
    columns = list(rows[0])
    # The format of MLflow's `log_table`.
    table = {"columns": columns, "data": [[row.get(column) for column in columns] for row in rows]}
    (folder / "samples.json").write_text(json.dumps(table, ensure_ascii=False, default=str), encoding="utf-8")


def evaluation_page(evaluation: Evaluation) -> str:
    """Return the report of an evaluation as an HTML page, with plots if matplotlib is installed."""
    return report_page(evaluation, *_plots(evaluation))


def _plots(evaluation: Evaluation) -> tuple[dict[str, Figure], str]:
    """Return the plots, and a note if there are none."""
    # Plots are optional: an evaluation that took hours must not be lost for lack of matplotlib.
    try:
        return evaluation_plots(evaluation), ""
    except MissingExtra as error:
        return {}, f"There are no plots here. {error.hint}"


def report_page(evaluation: Evaluation, plots: Mapping[str, Figure], note: str = "", figures: str = "") -> str:
    """Return the report of an evaluation as an HTML page.

    Args:
        evaluation: The evaluation.
        plots: Figures by file name, from `evaluation_plots`.
        note: A note about the plots.
        figures: What stands before the plots, as HTML.
    """
    seconds = (evaluation.finished_at - evaluation.started_at).total_seconds()
    summary = f"{len(evaluation.ids)} samples, {evaluation.started_at:%Y-%m-%d %H:%M} UTC, {seconds:,.1f} s"
    parts = [
        f'<p class="bad">{escape(evaluation.partial_note)}</p>' if evaluation.missing else "",
        f"<p>{summary}. 95 % bootstrap intervals in brackets.</p>",
        table_html(("metric", "value", "interval", "unit", "n"), map(score_cells, evaluation.scores.values())),
    ]
    if evaluation.repeat > 1:
        parts.append(f"<h2>Flakiness</h2><p>Each sample was run {evaluation.repeat} times.</p>")
        parts.append(table_html(FLAKINESS_COLUMNS, flakiness_rows(evaluation)))
    if evaluation.failed:
        parts.append(f'<p class="bad">{len(evaluation.failed)} samples failed:</p>')
        parts.append(table_html(("sample", "error"), list(evaluation.failed.items())[:_MAX_ROWS]))
    parts += [figures, f'<p class="quiet">{escape(note)}</p>' if note else "", *map(image_html, plots.values())]
    parts.append("<h2>Evaluated system</h2>")
    parts.append(
        table_html(
            ("parameter", "value"),
            [*evaluation.params.items(), ("dataset", evaluation.dataset), ("samples, SHA-256", evaluation.data)],
        )
    )
    rows = evaluation.rows()
    parts.append(f"<h2>Samples</h2><p class='quiet'>{min(_MAX_ROWS, len(rows))} of {len(rows)}</p>")
    parts.append(table_html(tuple(rows[0]), (list(row.values()) for row in rows[:_MAX_ROWS])))
    parts.append("<h2>Signatures</h2>")
    parts.append(table_html(("metric", "signature"), ((s.metric, s.signature) for s in evaluation.scores.values())))
    return page_html(evaluation.name, "\n".join(parts))


def page_html(title: str, body: str) -> str:
    """Return an HTML page.

    Args:
        title: The title, as text.
        body: The body, as HTML.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def table_html(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return an HTML table; cells are text, and columns of numbers are aligned to the right."""
    cells = [list(row) for row in rows]
    head_html = ""
    for column, name in enumerate(head):
        has_numbers = any(_is_number(row[column]) for row in cells)
        head_html += f"<th{' class=number' if has_numbers else ''}>{escape(name)}</th>"
    body_html = "".join(f"<tr>{''.join(map(_cell_html, row))}</tr>" for row in cells)
    return f'<div class="table"><table><thead><tr>{head_html}</tr></thead><tbody>{body_html}</tbody></table></div>'


def image_html(figure: Figure) -> str:
    """Return a figure as an inline HTML image."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110)
    return f'<p><img alt="plot" src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"></p>'


def format_interval(score: MetricScore) -> str:
    """Format the interval of a score in brackets; empty if it has no value."""
    return "" if score.value is None else f"[{format_number(score.low)}, {format_number(score.high)}]"


def format_number(value: float | None) -> str:
    """Format a number with four significant digits; `None` is a dash."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def score_cells(score: MetricScore) -> tuple[Any, ...]:
    """Return a score as a table row: metric, value, interval, unit, samples."""
    n = f"{score.n:,}" + (f" ({score.left_out} left out)" if score.left_out else "")
    return (score.metric, score.value, format_interval(score), score.unit, n)


def flakiness_rows(evaluation: Evaluation) -> list[tuple[Any, ...]]:
    """Return a row of `FLAKINESS_COLUMNS` for each metric of an evaluation with repeats."""
    return [
        (name, flakiness.changed, flakiness.std, result.score.unit, flakiness.n)
        for name, result in evaluation.metrics.items()
        if (flakiness := result.flakiness)
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell_html(value: Any) -> str:
    if _is_number(value):
        return f'<td class="number">{format_number(value)}</td>'
    text = _format_value(value)
    css_class = "text long" if len(text) > _WIDE_CELL_CHARACTERS else "text"
    shown = text if len(text) <= _MAX_CELL_CHARACTERS else f"{text[:_MAX_CELL_CHARACTERS]}..."
    return f'<td class="{css_class}">{escape(shown)}</td>'


def _format_value(value: Any) -> str:
    """Format a value as text, with a line for each item of a mapping."""
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {_format_value(item)}" for name, item in value.items())
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, default=str)
