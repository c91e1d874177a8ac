"""A verdict as a cache keeps it: without the words of its text.

Quotes, and words of the text in what a judge remarked, are kept as places in the text and cut from it again when the
verdict comes back.
"""

from __future__ import annotations

import re

from pydantic import Field

from taleward.core.frozen_model import FrozenMapping, FrozenModel
from taleward.core.policy import Probability, Severity
from taleward.core.verdict import Finding, Outcome, Passage, Verdict

Words = tuple[str | tuple[int, int], ...]
"""A remark: pieces of its own, and places in the text."""


class _Found(FrozenModel):
    category: str
    severity: Severity
    start: int | None = Field(default=None, ge=0)
    end: int | None = Field(default=None, ge=0)
    rationale: Words = ()


class Entry(FrozenModel):
    """A verdict without the words of its text."""

    outcome: Outcome
    calibration: str | None
    scores: FrozenMapping[str, Probability]
    findings: tuple[_Found, ...]
    detail: Words

    @classmethod
    def of(cls, verdict: Verdict, passage: Passage) -> Entry | None:
        """A verdict's entry; `None` where it is no plain pass or fail, or quotes what is not in the text."""
        if verdict.outcome not in ("pass", "fail"):
            return None
        if any(f.quote is not None and f.quote != passage.text[f.start : f.end] for f in verdict.findings):
            return None
        findings = tuple(
            _Found(
                category=f.category,
                severity=f.severity,
                start=f.start,
                end=f.end,
                rationale=_hidden(f.rationale, passage),
            )
            for f in verdict.findings
        )
        return cls(
            outcome=verdict.outcome,
            calibration=verdict.calibration,
            scores=verdict.scores,
            findings=findings,
            detail=_hidden(verdict.detail, passage),
        )

    def verdict(self, passage: Passage, judge: str, policy: str, band: str) -> Verdict:
        """The verdict again, by its text. What a judge remarked comes back in the spelling of the text."""
        findings = tuple(
            Finding(
                category=f.category,
                severity=f.severity,
                quote=None if f.start is None else passage.text[f.start : f.end],
                start=f.start,
                end=f.end,
                rationale=_shown(f.rationale, passage),
            )
            for f in self.findings
        )
        return Verdict(
            outcome=self.outcome,
            judge=judge,
            policy=policy,
            band=band,
            scores=self.scores,
            findings=findings,
            detail=_shown(self.detail, passage),
            cached=True,
            calibration=self.calibration,
        )


def _hidden(remark: str, passage: Passage) -> Words:
    """A remark with every word that the text or its context has as a place in them."""
    source = _source(passage)
    lowered = source.lower()
    exact = len(lowered) != len(source)
    parts: list[str | tuple[int, int]] = []
    for piece in re.findall(r"\w+|\W+", remark):
        at = source.find(piece) if piece[0].isalnum() else -1
        if at < 0 and piece[0].isalnum() and not exact:
            at = lowered.find(piece.lower())
        parts.append((at, at + len(piece)) if at >= 0 else piece)
    return tuple(parts)


def _shown(words: Words, passage: Passage) -> str:
    source = _source(passage)
    return "".join(w if isinstance(w, str) else source[w[0] : w[1]] for w in words)


def _source(passage: Passage) -> str:
    return f"{passage.context}\n{passage.text}"
