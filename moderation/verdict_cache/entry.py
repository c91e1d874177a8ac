"""The cached form of a verdict, which holds no words of the judged text.

Quotes, and words of the text in a judge's remarks, are stored as offsets. They are read from the text again when the
verdict is restored.
"""

from __future__ import annotations

import re

from pydantic import Field

from taleward.core.frozen_model import FrozenMapping, FrozenModel
from taleward.core.policy import Probability, Severity
from taleward.core.verdict import Finding, Outcome, Passage, Verdict

RedactedText = tuple[str | tuple[int, int], ...]
"""A remark as pieces: words of its own, and start and end offsets of words of the passage."""


class CachedFinding(FrozenModel):
    """A finding without its quote.

    Attributes:
        category: The category.
        severity: The severity.
        start: Offset of the quote's first character in the text; `None` if there is no quote.
        end: Offset after the quote's last character.
        rationale: The judge's explanation without words of the passage.
    """

    category: str
    severity: Severity
    start: int | None = Field(default=None, ge=0)
    end: int | None = Field(default=None, ge=0)
    rationale: RedactedText = ()


class VerdictEntry(FrozenModel):
    """A verdict without words of the judged text.

    Attributes:
        outcome: `pass` or `fail`.
        calibration: The id of the judge's calibration, if it has one.
        scores: Score per category, 0..1.
        findings: The findings.
        detail: The verdict's detail without words of the passage.
    """

    outcome: Outcome
    calibration: str | None
    scores: FrozenMapping[str, Probability]
    findings: tuple[CachedFinding, ...]
    detail: RedactedText

    @classmethod
    def from_verdict(cls, verdict: Verdict, passage: Passage) -> VerdictEntry | None:
        """Return the entry of a verdict; `None` if it is neither pass nor fail, or a quote is not in the text."""
        if verdict.outcome not in ("pass", "fail"):
            return None
        if any(f.quote is not None and f.quote != passage.text[f.start : f.end] for f in verdict.findings):
            return None
        source = _Source(passage)
        findings = tuple(
            CachedFinding(
                category=f.category,
                severity=f.severity,
                start=f.start,
                end=f.end,
                rationale=source.redact(f.rationale),
            )
            for f in verdict.findings
        )
        return cls(
            outcome=verdict.outcome,
            calibration=verdict.calibration,
            scores=verdict.scores,
            findings=findings,
            detail=source.redact(verdict.detail),
        )

    def to_verdict(self, passage: Passage, judge: str, policy: str, band: str) -> Verdict:
        """Restore the verdict with the words of its text.

        The words of the text in a judge's remarks come back in the text's case.
        """
        source = _Source(passage)
        findings = tuple(
            Finding(
                category=f.category,
                severity=f.severity,
                quote=None if f.start is None else passage.text[f.start : f.end],
                start=f.start,
                end=f.end,
                rationale=source.restore(f.rationale),
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
            detail=source.restore(self.detail),
            cached=True,
            calibration=self.calibration,
        )


class _Source:
    """The words of a passage, where those of remarks are looked up."""

    def __init__(self, passage: Passage) -> None:
        self._text = f"{passage.context}\n{passage.text}"
        self._lowered = self._text.lower()
        # "İ".lower() has two characters: then offsets in the lowered text are not those in the text.
        self._offsets_differ = len(self._lowered) != len(self._text)
        # The findings on a long text repeat the same words, and each look-up reads the text from its start.
        self._found: dict[str, int] = {}

    def redact(self, remark: str) -> RedactedText:
        """Replace every word of a remark that is in the text or its context by its offsets there."""
        pieces: list[str | tuple[int, int]] = []
        for piece in re.findall(r"\w+|\W+", remark):
            start = self._find(piece) if piece[0].isalnum() else -1
            pieces.append((start, start + len(piece)) if start >= 0 else piece)
        return tuple(pieces)

    def restore(self, pieces: RedactedText) -> str:
        """Return a remark with its words."""
        return "".join(p if isinstance(p, str) else self._text[p[0] : p[1]] for p in pieces)

    def _find(self, word: str) -> int:
        if word not in self._found:
            start = self._text.find(word)
            if start < 0 and not self._offsets_differ:
                start = self._lowered.find(word.lower())
            self._found[word] = start
        return self._found[word]
