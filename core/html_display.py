"""HTML for notebooks: tales, verdicts and texts with highlighted findings."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taleward.core.tale import Tale
    from taleward.core.verdict import Finding, Verdict

_OUTCOME_COLORS = {
    "pass": "#1b7f3b",
    "fail": "#b3261e",
    "abstain": "#8a6100",
    "unparsable": "#8a6100",
    "error": "#8a6100",
}
_SEVERITY_COLORS = {"mild": "#fff3a3", "moderate": "#ffc46b", "severe": "#ff9d94"}
# Without these classes, Jupyter typesets whatever a story puts between two dollar signs as a formula.
NO_MATH = 'class="tex2jax_ignore mathjax_ignore"'
_BOX = "border:1px solid {edge};border-radius:6px;padding:.7em 1em;margin:.4em 0;max-width:46em;line-height:1.5"
_SMALL = "font-size:85%;opacity:.75"

# Every text below is escaped: a story is untrusted and must not bring markup or scripts into the notebook.


class HighlightedText:
    """A judged text that a notebook shows with its findings highlighted.

    Args:
        text: The judged text.
        verdict: The verdict on it.
    """

    def __init__(self, text: str, verdict: Verdict) -> None:
        self.text, self.verdict = text, verdict

    def __repr__(self) -> str:
        spans = ", ".join(f"{f.category} {f.start}-{f.end}" for f in self.verdict.findings if f.start is not None)
        return f"<{self.verdict.outcome}: {len(self.text)} characters{', ' + spans if spans else ''}>"

    def _repr_html_(self) -> str:
        edge = _OUTCOME_COLORS[self.verdict.outcome]
        body = f'<div style="white-space:pre-wrap">{highlighted_html(self.text, self.verdict.findings)}</div>'
        return f'<div {NO_MATH} style="{_BOX.format(edge=edge)}">{body}{verdict_html(self.verdict)}</div>'


def highlighted_html(text: str, findings: Iterable[Finding]) -> str:
    """Escape a text and put a `mark` element around every span that a finding quotes.

    Where findings overlap, the most severe one sets the color, and the tooltip names all of them.
    """
    spans = [(f.start, f.end, n, f) for n, f in enumerate(findings) if f.start is not None and f.end is not None]
    spans.sort(key=lambda span: span[0])
    cuts = sorted({0, len(text), *(min(offset, len(text)) for start, end, *_ in spans for offset in (start, end))})
    parts = []
    covering_spans: list[tuple[int, int, int, Finding]] = []
    begun = 0
    for start, end in pairwise(cuts):
        while begun < len(spans) and spans[begun][0] <= start:
            covering_spans.append(spans[begun])
            begun += 1
        covering_spans = [span for span in covering_spans if end <= span[1]]
        covering = [f for *_, f in sorted(covering_spans, key=lambda span: span[2])]
        html = escape(text[start:end])
        if covering:
            severities = {f.severity for f in covering}
            color = next(_SEVERITY_COLORS[s] for s in ("severe", "moderate", "mild") if s in severities)
            labels = dict.fromkeys(f"{f.category} ({f.severity})" for f in covering)
            tooltip = escape("; ".join(labels), quote=True)
            html = f'<mark style="background:{color};color:#000" title="{tooltip}">{html}</mark>'
        parts.append(html)
    return "".join(parts)


def verdict_html(verdict: Verdict) -> str:
    """Format a verdict: a badge with the outcome, the judge, and the findings as a list."""
    summary = (
        f"by {verdict.judge} under {verdict.policy} for ages {verdict.band} in {verdict.latency_s:.2f} s"
        f"{', from the cache' if verdict.cached else ''}{f' ({verdict.detail})' if verdict.detail else ''}"
    )
    items = "".join(
        f"<li>{escape(f.category)}, {f.severity}"
        + (f": <q>{escape(f.quote)}</q>" if f.quote else "")
        + (f" <span>{escape(f.rationale)}</span>" if f.rationale else "")
        + "</li>"
        for f in verdict.findings
    )
    findings = f'<ul style="margin:.3em 0 0 1.2em">{items}</ul>' if items else ""
    line = f'{_badge(verdict.outcome)} <span style="{_SMALL}">{escape(summary)}</span>'
    return f'<div {NO_MATH} style="margin-top:.5em">{line}{findings}</div>'


def tale_html(tale: Tale) -> str:
    """Format a tale: the released text or the refusal, the verdict, and the lineage."""
    verdict, lineage = tale.verdict, tale.lineage
    if tale.released_text is not None:
        edge, body = _OUTCOME_COLORS["pass"], highlighted_html(tale.released_text, verdict.findings if verdict else ())
    else:
        message = tale.refusal.message if tale.refusal else ""
        child_message = tale.refusal.child_message if tale.refusal else ""
        edge = _OUTCOME_COLORS["fail"]
        body = f'{escape(child_message)}\n<span style="{_SMALL}">{escape(message)}</span>'
    origin = [f"attempt {len(tale.attempts)}" if tale.attempts else "nothing written", f"{lineage.duration_s:.1f} s"]
    if lineage.prompt:
        origin.insert(0, f"template {lineage.prompt.name}@{lineage.prompt.version}")
    models = dict.fromkeys(call.model for attempt in tale.attempts for call in attempt.calls)
    footer = escape(" | ".join([*origin, *models, f"tale {tale.id}"]))
    judged = verdict_html(verdict) if verdict else f'<div style="margin-top:.5em">{_badge("refused")}</div>'
    return (
        f'<div {NO_MATH} style="{_BOX.format(edge=edge)}"><div style="white-space:pre-wrap">{body}</div>{judged}'
        f'<div style="{_SMALL}">{footer}</div></div>'
    )


def _badge(outcome: str) -> str:
    color = _OUTCOME_COLORS.get(outcome, _OUTCOME_COLORS["fail"])
    return (
        f'<span style="background:{color};color:#fff;border-radius:4px;padding:.1em .5em;font-weight:600">'
        f"{escape(outcome)}</span>"
    )
