"""Tales and verdicts as HTML, for notebooks. Every text is escaped: a story cannot bring markup or scripts along."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taleward.core.tale import Tale
    from taleward.core.verdict import Finding, Verdict

_OUTCOMES = {"pass": "#1b7f3b", "fail": "#b3261e", "abstain": "#8a6100", "unparsable": "#8a6100", "error": "#8a6100"}
_MARKS = {"mild": "#fff3a3", "moderate": "#ffc46b", "severe": "#ff9d94"}
_PLAIN = 'class="tex2jax_ignore mathjax_ignore"'
"""Notebooks would set what stands between two dollar signs of a story as a formula."""
_BOX = "border:1px solid {edge};border-radius:6px;padding:.7em 1em;margin:.4em 0;max-width:46em;line-height:1.5"
_SMALL = "font-size:85%;opacity:.75"


class Marked:
    """A text with a verdict on it; a notebook shows it with the findings marked.

    Args:
        text: The text that was judged.
        verdict: What the judge said of it.
    """

    def __init__(self, text: str, verdict: Verdict) -> None:
        self.text, self.verdict = text, verdict

    def __repr__(self) -> str:
        spans = ", ".join(f"{f.category} {f.start}-{f.end}" for f in self.verdict.findings if f.start is not None)
        return f"<{self.verdict.outcome}: {len(self.text)} characters{', ' + spans if spans else ''}>"

    def _repr_html_(self) -> str:
        edge = _OUTCOMES[self.verdict.outcome]
        body = f'<div style="white-space:pre-wrap">{marked_html(self.text, self.verdict.findings)}</div>'
        return f'<div {_PLAIN} style="{_BOX.format(edge=edge)}">{body}{verdict_html(self.verdict)}</div>'


def marked_html(text: str, findings: Iterable[Finding]) -> str:
    """The escaped text with a `mark` around each stretch that findings speak of.

    Where several overlap, the strongest gives the colour and all are named when pointed at.
    """
    spans = [(f.start, f.end, f) for f in findings if f.start is not None and f.end is not None]
    cuts = sorted({0, len(text), *(min(at, len(text)) for start, end, _ in spans for at in (start, end))})
    parts = []
    for start, end in pairwise(cuts):
        here = [f for begin, behind, f in spans if begin <= start and end <= behind]
        words = escape(text[start:end])
        if here:
            colour = next(_MARKS[s] for s in ("severe", "moderate", "mild") if any(f.severity == s for f in here))
            why = escape("; ".join(dict.fromkeys(f"{f.category} ({f.severity})" for f in here)), quote=True)
            words = f'<mark style="background:{colour};color:#000" title="{why}">{words}</mark>'
        parts.append(words)
    return "".join(parts)


def verdict_html(verdict: Verdict) -> str:
    """A badge with the outcome, who said so, and the findings as a list."""
    said = (
        f"by {verdict.judge} under {verdict.policy} for ages {verdict.band} in {verdict.latency_s:.2f} s"
        f"{', from the cache' if verdict.cached else ''}{f' ({verdict.detail})' if verdict.detail else ''}"
    )
    found = "".join(
        f"<li>{escape(f.category)}, {f.severity}"
        + (f": <q>{escape(f.quote)}</q>" if f.quote else "")
        + (f" <span>{escape(f.rationale)}</span>" if f.rationale else "")
        + "</li>"
        for f in verdict.findings
    )
    listed = f'<ul style="margin:.3em 0 0 1.2em">{found}</ul>' if found else ""
    line = f'{_badge(verdict.outcome)} <span style="{_SMALL}">{escape(said)}</span>'
    return f'<div {_PLAIN} style="margin-top:.5em">{line}{listed}</div>'


def tale_html(tale: Tale) -> str:
    """The released text or the refusal, the verdict, and where the tale comes from."""
    verdict, line = tale.verdict, tale.lineage
    if tale.released_text is not None:
        edge, body = _OUTCOMES["pass"], marked_html(tale.released_text, verdict.findings if verdict else ())
    else:
        why = tale.refusal.message if tale.refusal else ""
        child = tale.refusal.child_message if tale.refusal else ""
        edge, body = _OUTCOMES["fail"], f'{escape(child)}\n<span style="{_SMALL}">{escape(why)}</span>'
    origin = [f"attempt {len(tale.attempts)}" if tale.attempts else "nothing written", f"{line.duration_s:.1f} s"]
    if line.prompt:
        origin.insert(0, f"template {line.prompt.name}@{line.prompt.version}")
    models = dict.fromkeys(call.model for attempt in tale.attempts for call in attempt.calls)
    foot = escape(" | ".join([*origin, *models, f"tale {tale.id}"]))
    said = verdict_html(verdict) if verdict else f'<div style="margin-top:.5em">{_badge("refused")}</div>'
    return (
        f'<div {_PLAIN} style="{_BOX.format(edge=edge)}"><div style="white-space:pre-wrap">{body}</div>{said}'
        f'<div style="{_SMALL}">{foot}</div></div>'
    )


def _badge(outcome: str) -> str:
    colour = _OUTCOMES.get(outcome, _OUTCOMES["fail"])
    return (
        f'<span style="background:{colour};color:#fff;border-radius:4px;padding:.1em .5em;font-weight:600">'
        f"{escape(outcome)}</span>"
    )
