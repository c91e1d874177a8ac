"""The judge that looks words up: instant, exact about places, blind to what is said without an alarming word."""

from __future__ import annotations

import re

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy, Severity, exceeds
from taleward.core.verdict import Finding, Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.text.lexicon import LexiconHit, find_hits, lexicon_categories
from taleward.moderation.text.windows import sentence_windows, windows

_WITHIN: dict[Severity, float] = {"mild": 0.3, "moderate": 0.6, "severe": 0.9}
_BEYOND: dict[Severity, float] = {"mild": 0.3, "moderate": 0.6, "severe": 0.95}
CONTEXT = 200
"""Characters of what came before that are read with a passage: a phrase may begin there."""
_ALTERNATIVES = re.compile(r"(?:/[^\s/]+)+")


class LexiconJudge(Judge):
    """Fails a text for its words; each finding has its exact place.

    It reads English alone, and abstains where a text is not.

    Args:
        policy: A policy, or the name or path of one.
        band: A band of the policy.

    Raises:
        ConfigurationError: The policy has no category that the lexicon knows.
    """

    def __init__(self, *, policy: Policy | str = "kids", band: str = "6-8") -> None:
        super().__init__("lexicon", policy=policy, band=band)
        self.known = known_categories(self.policy, lexicon_categories(), self.spec)

    def assess(self, passage: Passage) -> Assessment:
        """Findings for all hits that end in the passage, and a score for each category that the lexicon knows."""
        text, start = passage.with_context(CONTEXT)
        hits = [h for h in find_hits(text) if h.category in self.known and h.end > start]
        scores = dict.fromkeys(self.known, 0.0)
        for hit in hits:
            score = severity_score(self.policy, self.band, hit.category, hit.severity)
            scores[hit.category] = max(scores[hit.category], score)
        found = Assessment(
            scores=FrozenDict(scores),
            findings=tuple(finding(hit, text).shifted(-start) for hit in hits),
            detail=unjudged(self.policy, self.known),
        )
        return self.english_only(found, text, [*windows(text), *sentence_windows(text)], start)


def known_categories(policy: Policy, trained: frozenset[str], spec: str) -> tuple[str, ...]:
    """The policy's categories that a judge knows, in the policy's order.

    Raises:
        ConfigurationError: There are none: such a judge would pass everything.
    """
    known = tuple(c for c in policy.categories if c in trained)
    if not known:
        raise ConfigurationError(
            f"judge {spec!r} knows none of the categories of policy {policy.id!r} "
            f"({', '.join(policy.categories)}); it knows {', '.join(sorted(trained))}.",
            hint="Use an LLM as judge for this policy: it reads the policy's own definitions.",
        )
    return known


def unjudged(policy: Policy, known: tuple[str, ...]) -> str:
    """A remark that names the policy's categories that a judge does not know; empty when it knows all."""
    missing = [c for c in policy.categories if c not in known]
    return f"not judged here: {', '.join(missing)}" if missing else ""


def severity_score(policy: Policy, band: str, category: str, severity: Severity) -> float:
    """A hit's score: from the threshold up where the band does not tolerate it, below it where it does."""
    threshold = policy.threshold(category, band)
    if exceeds(severity, policy.tolerance(category, band)):
        return threshold + (1.0 - threshold) * _BEYOND[severity]
    return threshold * _WITHIN[severity]


def finding(hit: LexiconHit, text: str) -> Finding:
    """A hit as a finding."""
    how = "written so as to be overlooked" if hit.disguised else "a word or phrase on the list"
    return Finding(
        category=hit.category,
        severity=hit.severity,
        quote=text[hit.start : hit.end],
        start=hit.start,
        end=hit.end,
        rationale=f"{how}: {_ALTERNATIVES.sub('/...', hit.term)}",
    )
