"""What a judge answers: a verdict with its findings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.core.html_display import Marked, verdict_html
from taleward.core.policy import Probability, Severity

Outcome = Literal["pass", "fail", "abstain", "unparsable", "error"]
"""`pass` is the only outcome that lets text out.

* `pass`: judged, and within what the policy allows.
* `fail`: judged, and outside of it.
* `abstain`: the judge says that it cannot tell.
* `unparsable`: the judge answered something that its grammar does not accept.
* `error`: there was no answer: an exception, a timeout, a judge that is not there.
"""


class Passage(FrozenModel):
    """A text to judge.

    Attributes:
        text: What the verdict is about.
        context: What was said before it and is released already; it informs the judge and is not judged.
    """

    text: str
    context: str = ""

    def with_context(self, max_characters: int) -> tuple[str, int]:
        """The text behind the last words of its context, and the offset at which it begins.

        Args:
            max_characters: Characters of the context, at most; a word is not cut.
        """
        before = self.context
        if len(before) > max_characters:
            cut = before[-max_characters:]
            before = (
                cut[len(cut.split(maxsplit=1)[0]) :]
                if cut.split() and not before[-max_characters - 1].isspace()
                else cut
            )
        return before + self.text, len(before)


class Finding(FrozenModel):
    """One place where a text shows a hazard.

    Attributes:
        category: A category of the policy.
        severity: How strong it is.
        quote: The words themselves, `None` where the judge gave no place in the text.
        start: Offset of the quote's first character in the judged text, counted in Unicode code points from 0.
        end: Offset behind the quote's last character.
        rationale: Why, in the judge's words.
    """

    category: str = Field(min_length=1)
    severity: Severity
    quote: str | None = None
    start: int | None = Field(default=None, ge=0)
    end: int | None = Field(default=None, ge=0)
    rationale: str = ""

    @model_validator(mode="after")
    def _span_fits(self) -> Finding:
        if self.severity == "none":
            msg = "a finding has a severity of mild, moderate or severe; 'none' is no finding"
            raise ValueError(msg)
        if self.quote is None and self.start is None and self.end is None:
            return self
        if not self.quote or self.start is None or self.end is None:
            msg = "a finding has quote, start and end together, or none of them"
            raise ValueError(msg)
        if self.end - self.start != len(self.quote):
            msg = f"start {self.start} and end {self.end} do not span a quote of {len(self.quote)} characters"
            raise ValueError(msg)
        return self

    def shifted(self, by: int) -> Finding:
        """The same finding in a text that begins `by` characters earlier, or later where `by` is negative.

        Of a quote that would begin before the text, what lies within it is kept.
        """
        if self.quote is None or self.start is None or self.end is None:
            return self
        start = max(0, self.start + by)
        end = self.end + by
        return self.model_copy(update={"start": start, "end": end, "quote": self.quote[-(end - start) :]})


class Verdict(FrozenModel):
    """A judge's answer about one text.

    Attributes:
        outcome: See `Outcome`; only `pass` lets text out.
        judge: Which judge, as a spec.
        policy: Under which policy, as `name@version`.
        band: For which age band.
        scores: Category to the probability, 0..1, that the text breaks the policy there; a judge gives those
            that it knows of.
        findings: The places that speak against the text; those within the band's tolerance are kept too.
        detail: Why there is no plain answer (`abstain`, `unparsable`, `error`), or a remark.
        latency_s: Seconds from question to answer.
        cost_usd: What the answer cost, `None` where that is not known.
        cached: Whether the answer was there already and no judge was asked.
        calibration: The beginning of the SHA-256 of the fitted scores and thresholds that it was decided by; `None`
            where the policy's own held.
    """

    outcome: Outcome
    judge: str = Field(min_length=1)
    policy: str = Field(min_length=1)
    band: str = Field(min_length=1)
    scores: FrozenDict[str, Probability] = FrozenDict()
    findings: tuple[Finding, ...] = ()
    detail: str = ""
    latency_s: float = Field(default=0.0, ge=0.0)
    cost_usd: float | None = Field(default=None, ge=0.0)
    cached: bool = False
    calibration: str | None = None

    def marked(self, text: str) -> Marked:
        """The judged text with this verdict; a notebook shows it with the findings marked."""
        return Marked(text, self)

    def _repr_html_(self) -> str:
        return verdict_html(self)

    @property
    def passed(self) -> bool:
        """Whether the text may leave."""
        return self.outcome == "pass"

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories with findings, each once, in the order of the findings."""
        return tuple(dict.fromkeys(f.category for f in self.findings))
