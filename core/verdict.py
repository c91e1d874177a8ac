"""Verdicts of judges, with their findings."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.html_display import HighlightedText, verdict_html
from taleward.core.policy import Probability, Severity

Outcome = Literal["pass", "fail", "abstain", "unparsable", "error"]
"""The outcome of judging a text; only `pass` releases it.

* `pass`: the policy allows the text.
* `fail`: the policy does not allow it.
* `abstain`: the judge is uncertain.
* `unparsable`: the judge's answer does not follow its required format.
* `error`: the judge gave no answer: an exception, a timeout, or a judge that cannot be reached.
"""


_WORD, _ERROR_CLASS = re.compile(r"[^\W_]+"), re.compile(r"([A-Za-z_][\w.]*): ")
_SHARED_WORDS = 3
_WITHHELD = "the details repeat the text and are withheld"


class Passage(FrozenModel):
    """A text to judge.

    Attributes:
        text: The text to judge.
        context: The released text before it; read by the judge for context, not judged.
    """

    text: str
    context: str = ""

    def with_context(self, max_characters: int) -> tuple[str, int]:
        """Prepend the last words of the context to the text.

        Args:
            max_characters: The most characters of context to include; words are not cut.

        Returns:
            The combined text, and the offset at which `text` begins in it.
        """
        context = self.context
        if len(context) > max_characters:
            tail = context[-max_characters:]
            cuts_word = bool(tail.split()) and not context[-max_characters - 1].isspace()
            # The first word of the tail may be a fragment, and half a word can look like another one.
            context = tail[len(tail.split(maxsplit=1)[0]) :] if cuts_word else tail
        return context + self.text, len(context)


class Finding(FrozenModel):
    """A hazard found in a text.

    Attributes:
        category: A category of the policy.
        severity: The severity, never `none`.
        quote: The hazardous words, `None` if the judge did not locate them.
        start: Offset of the quote's first character in the judged text, in code points from 0.
        end: Offset after the quote's last character.
        rationale: The judge's explanation.
    """

    category: str = Field(min_length=1)
    severity: Severity
    quote: str | None = None
    start: int | None = Field(default=None, ge=0)
    end: int | None = Field(default=None, ge=0)
    rationale: str = ""

    @model_validator(mode="after")
    def _check_span(self) -> Finding:
        if self.severity == "none":
            msg = "a finding's severity must be mild, moderate or severe; got 'none'"
            raise ValueError(msg)
        if self.quote is None and self.start is None and self.end is None:
            return self
        if not self.quote or self.start is None or self.end is None:
            msg = "set quote, start and end of a finding together, or none of them"
            raise ValueError(msg)
        if self.end - self.start != len(self.quote):
            msg = f"start {self.start} and end {self.end} do not span a quote of {len(self.quote)} characters"
            raise ValueError(msg)
        return self

    def shifted(self, by: int) -> Finding:
        """Return the finding with its span moved by `by` characters, as if the text began that much earlier.

        If a negative shift moves the start before the text, the quote loses the characters before it.
        """
        if self.quote is None or self.start is None or self.end is None:
            return self
        start = max(0, self.start + by)
        end = self.end + by
        return self.model_copy(update={"start": start, "end": end, "quote": self.quote[-(end - start) :]})


class Verdict(FrozenModel):
    """A judge's verdict on one text.

    Attributes:
        outcome: The outcome, see `Outcome`; only `pass` releases text.
        judge: The judge's spec.
        policy: The policy's id, `name@version`.
        band: The age band.
        scores: The probability from 0 to 1, per category, that the text breaks the policy; only for categories that
            the judge scores.
        findings: The hazards found, including those within the band's tolerance.
        detail: Why there is no decision (`abstain`, `unparsable`, `error`), or a remark.
        latency_s: Seconds the judge took.
        cost_usd: Cost in US dollars, `None` if unknown.
        cached: Whether the verdict comes from a cache.
        calibration: The first characters of the SHA-256 of the fitted calibration that decided; `None` if the policy's
            own thresholds did.
    """

    outcome: Outcome
    judge: str = Field(min_length=1)
    policy: str = Field(min_length=1)
    band: str = Field(min_length=1)
    scores: FrozenMapping[str, Probability] = FrozenDict()
    findings: tuple[Finding, ...] = ()
    detail: str = ""
    latency_s: float = Field(default=0.0, ge=0.0)
    cost_usd: float | None = Field(default=None, ge=0.0)
    cached: bool = False
    calibration: str | None = None

    def highlight(self, text: str) -> HighlightedText:
        """Return the judged text for display in a notebook, with this verdict's findings highlighted."""
        return HighlightedText(text, self)

    def _repr_html_(self) -> str:
        return verdict_html(self)

    def without_words(self, text: str) -> Verdict:
        """Return the verdict without what could repeat the judged text, for a text that must not travel.

        Findings lose quote, span and rationale. The detail is reduced to its kind if it shares three words in a row
        with the text, as the message of an exception that holds the judge's prompt does.

        Args:
            text: The judged text.
        """
        bare = {"quote": None, "start": None, "end": None, "rationale": ""}
        findings = tuple(finding.model_copy(update=bare) for finding in self.findings)
        detail = _bare_detail(self.detail) if _share_words(self.detail, text) else self.detail
        return self.model_copy(update={"findings": findings, "detail": detail})

    @property
    def passed(self) -> bool:
        """Whether the outcome is `pass`."""
        return self.outcome == "pass"

    @property
    def categories(self) -> tuple[str, ...]:
        """The distinct categories of the findings, in order of first appearance."""
        return tuple(dict.fromkeys(f.category for f in self.findings))


def _share_words(a: str, b: str) -> bool:
    """Whether two texts have three words in a row in common; a text of fewer words, all of them."""
    words_a, words_b = (_WORD.findall(text.lower()) for text in (a, b))
    if not words_a or not words_b:
        return False
    length = min(_SHARED_WORDS, len(words_b))
    runs = ({tuple(words[n : n + length]) for n in range(len(words) - length + 1)} for words in (words_a, words_b))
    return not set.isdisjoint(*runs)


def _bare_detail(detail: str) -> str:
    # An exception is described as "ClassName: message".
    kind = _ERROR_CLASS.match(detail)
    return f"{kind[1]}: {_WITHHELD}" if kind else _WITHHELD
