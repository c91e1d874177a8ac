"""Word-list judge: fast and exact about spans, but blind to harm that needs no alarming word."""

from __future__ import annotations

import re

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy, Severity, exceeds
from taleward.core.verdict import Finding, Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.readable_english import ReadablePassage
from taleward.moderation.text.lexicon import LexiconHit, find_hits, lexicon_categories

# Where a hit's score lies, as a share of the range below the threshold (tolerated) or above it (not tolerated).
_TOLERATED: dict[Severity, float] = {"mild": 0.3, "moderate": 0.6, "severe": 0.9}
_NOT_TOLERATED: dict[Severity, float] = {"mild": 0.3, "moderate": 0.6, "severe": 0.95}
CONTEXT_CHARACTERS = 200
"""How much of the context is read along with a passage, since a phrase may start there."""
_ALTERNATIVES = re.compile(r"(?:/[^\s/]+)+")


class LexiconJudge(Judge):
    """Fail a text for listed words and phrases; each finding has its exact span.

    The lexicon is English. If part of a text is in another language or encoded, the judge abstains.

    Args:
        policy: A policy, or the name or path of one.
        band: An age band of the policy.

    Attributes:
        judged_categories: The policy's categories that the lexicon covers.

    Raises:
        ConfigurationError: If the lexicon covers none of the policy's categories.
    """

    def __init__(self, *, policy: Policy | str = "kids", band: str = "6-8") -> None:
        super().__init__("lexicon", policy=policy, band=band)
        self.judged_categories = supported_categories(self.policy, lexicon_categories(), self.spec)

    def assess(self, passage: Passage) -> Assessment:
        """Report every hit that ends within the passage, and a score for each category that the lexicon covers."""
        readable = ReadablePassage.of(passage, CONTEXT_CHARACTERS)
        text, start = readable.text, readable.start
        hits = [h for h in find_hits(text) if h.category in self.judged_categories and h.end > start]
        scores = dict.fromkeys(self.judged_categories, 0.0)
        for hit in hits:
            score = severity_score(self.policy, self.band, hit.category, hit.severity)
            scores[hit.category] = max(scores[hit.category], score)
        assessment = Assessment(
            scores=FrozenDict(scores),
            findings=readable.in_passage(finding_from_hit(hit, text) for hit in hits),
            detail=unjudged_remark(self.policy, self.judged_categories),
        )
        return self.abstain_unless_read(assessment, readable.unread)


def supported_categories(policy: Policy, supported: frozenset[str], spec: str) -> tuple[str, ...]:
    """Return the policy's categories that a judge supports, in the policy's order.

    Args:
        policy: The policy.
        supported: All categories that the judge supports.
        spec: The judge's spec, for the message.

    Raises:
        ConfigurationError: If there are none; such a judge would pass every text.
    """
    judged = tuple(c for c in policy.categories if c in supported)
    if not judged:
        raise ConfigurationError(
            f"judge {spec!r} knows none of the categories of policy {policy.id!r} "
            f"({', '.join(policy.categories)}); it knows {', '.join(sorted(supported))}.",
            hint="Use a chat model as judge for this policy: it reads the policy's own definitions.",
        )
    return judged


def unjudged_remark(policy: Policy, judged: tuple[str, ...]) -> str:
    """Return a remark that names the policy's categories missing from `judged`; empty if there are none."""
    missing = [c for c in policy.categories if c not in judged]
    return f"not judged here: {', '.join(missing)}" if missing else ""


def severity_score(policy: Policy, band: str, category: str, severity: Severity) -> float:
    """Return the score of a hit, in 0..1: below the threshold if the age band tolerates its severity, else above."""
    threshold = policy.threshold(category, band)
    if exceeds(severity, policy.tolerance(category, band)):
        return threshold + (1.0 - threshold) * _NOT_TOLERATED[severity]
    return threshold * _TOLERATED[severity]


def finding_from_hit(hit: LexiconHit, text: str) -> Finding:
    """Convert a lexicon hit in a text to a finding."""
    reason = "disguised spelling of a listed word" if hit.disguised else "listed word or phrase"
    return Finding(
        category=hit.category,
        severity=hit.severity,
        quote=text[hit.start : hit.end],
        start=hit.start,
        end=hit.end,
        rationale=f"{reason}: {_ALTERNATIVES.sub('/...', hit.term)}",
    )
