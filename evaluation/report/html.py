"""The page of an evaluation: one HTML file, with nothing to load and every text escaped."""

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

_SHOWN = 50
_LONG = 400
_WIDE = 40
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222 }
div.table { overflow-x: auto; margin: 1em 0 } table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #ddd; padding: .35em .6em; text-align: left; vertical-align: top }
th { white-space: nowrap } th.number, td.number { text-align: right }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap } td.text { white-space: pre-wrap }
td.long { overflow-wrap: anywhere; min-width: 20em }
img { max-width: 100% } small, .quiet { color: #666 } .good { color: #1b7f3b } .bad { color: #b3261e }
"""


def write_files(found: Evaluation, folder: Path) -> None:
    """What a run keeps as files: the page, its plots, the findings, and the samples as MLflow shows tables."""
    folder.mkdir(exist_ok=True)
    plots: dict[str, Figure] = {}
    try:
        plots = evaluation_plots(found)
    except MissingExtra as missing:
        remark = f"There are no plots here. {missing.hint}"
    else:
        remark = ""
    for name, figure in plots.items():
        (folder / "plots").mkdir(exist_ok=True)
        figure.savefig(folder / "plots" / name, dpi=110)
    (folder / "report.html").write_text(report_page(found, plots, remark), encoding="utf-8")
    kept = found.model_dump_json(exclude={"samples", "run_id", "undelivered"})
    (folder / "evaluation.json").write_text(kept, encoding="utf-8")
    rows = found.rows()
    columns = list(rows[0])
    table = {"columns": columns, "data": [[row.get(c) for c in columns] for row in rows]}
    (folder / "samples.json").write_text(json.dumps(table, ensure_ascii=False, default=str), encoding="utf-8")


def report_page(found: Evaluation, plots: Mapping[str, Figure], remark: str = "") -> str:
    """The page of one evaluation."""
    seconds = (found.finished_at - found.started_at).total_seconds()
    about = f"{len(found.ids)} samples, {found.started_at:%Y-%m-%d %H:%M} UTC, {seconds:,.1f} s"
    lines = [
        f"<p>{about}. 95 % bootstrap intervals in brackets.</p>",
        table_html(("metric", "value", "interval", "unit", "n"), map(score_cells, found.scores.values())),
    ]
    if found.failed:
        lines.append(f'<p class="bad">{len(found.failed)} samples failed:</p>')
        lines.append(table_html(("sample", "error"), list(found.failed.items())[:_SHOWN]))
    lines += [f'<p class="quiet">{escape(remark)}</p>' if remark else "", *map(image_html, plots.values())]
    lines.append("<h2>What was evaluated</h2>")
    lines.append(table_html(("parameter", "value"), [*found.params.items(), ("samples, SHA-256", found.data)]))
    rows = found.rows()
    lines.append(f"<h2>Samples</h2><p class='quiet'>{min(_SHOWN, len(rows))} of {len(rows)}</p>")
    lines.append(table_html(tuple(rows[0]), (list(row.values()) for row in rows[:_SHOWN])))
    lines.append("<h2>Signatures</h2>")
    lines.append(table_html(("metric", "signature"), ((s.metric, s.signature) for s in found.scores.values())))
    return page_html(found.name, "\n".join(lines))


def page_html(title: str, body: str) -> str:
    """A page with that title; the body is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def table_html(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table; whatever is in a cell is text."""
    cells = [list(row) for row in rows]
    top = ""
    for at, name in enumerate(head):
        numbers = any(_is_number(row[at]) for row in cells)
        top += f"<th{' class=number' if numbers else ''}>{escape(name)}</th>"
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in cells)
    return f'<div class="table"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def image_html(figure: Figure) -> str:
    """A plot within the page."""
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=110)
    return f'<p><img alt="plot" src="data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"></p>'


def format_interval(score: MetricScore) -> str:
    """The interval in brackets."""
    return "" if score.value is None else f"[{format_number(score.low)}, {format_number(score.high)}]"


def format_number(value: float | None) -> str:
    """A figure with four digits; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def score_cells(score: MetricScore) -> tuple[Any, ...]:
    """A score as a row of a table: metric, value, interval, unit, samples."""
    n = f"{score.n:,}" + (f" ({score.left_out} left out)" if score.left_out else "")
    return (score.metric, score.value, format_interval(score), score.unit, n)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if _is_number(value):
        return f'<td class="number">{format_number(value)}</td>'
    text = _said(value)
    kind = "text long" if len(text) > _WIDE else "text"
    return f'<td class="{kind}">{escape(text if len(text) <= _LONG else f"{text[:_LONG]}...")}</td>'


def _said(value: Any) -> str:
    """A value for people; a mapping has a line for each of its members."""
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {_said(held)}" for name, held in value.items())
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, default=str)
