"""From what a guard model flags, in its own codes, to an assessment under a policy."""

from __future__ import annotations

from collections.abc import Mapping

from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy, exceeds
from taleward.core.verdict import Finding
from taleward.moderation.judges.base import Assessment
from taleward.moderation.judges.lexicon import unjudged


def assessed(
    policy: Policy,
    taxonomy: str,
    flagged: Mapping[str, str],
    *,
    scores: Mapping[str, float] | None = None,
    cost_usd: float | None = None,
) -> Assessment:
    """Findings in the policy's categories; a code that the policy does not map fails the text by its own name.

    Args:
        policy: Its `codes` hold the mapping.
        taxonomy: Whose codes they are.
        flagged: Codes to rationales.
        scores: Category to probability, where the judge has them.
        cost_usd: See `Assessment`.
    """
    known = policy.codes.get(taxonomy, FrozenDict())
    findings = tuple(
        Finding(category=known[code].category, severity=known[code].severity, rationale=rationale)
        for code, rationale in flagged.items()
        if code in known
    )
    unmapped = [code for code in flagged if code not in known]
    categories = tuple(dict.fromkeys(code.category for code in known.values()))
    return Assessment(
        scores=FrozenDict(dict(scores or {})),
        findings=findings,
        outcome="fail" if unmapped else None,
        detail=f"{taxonomy} flags {', '.join(unmapped)}, which {policy.id} maps to no category"
        if unmapped
        else unjudged(policy, categories)
        if categories
        else "",
        cost_usd=cost_usd,
    )


def highest(policy: Policy, band: str, taxonomy: str, chances: Mapping[str, float]) -> dict[str, float]:
    """The policy's categories with the highest probability, 0..1, of the codes that belong to each.

    A code whose severity the band tolerates breaks nothing, whatever its probability.
    """
    scores: dict[str, float] = {}
    for code, meaning in policy.codes.get(taxonomy, FrozenDict()).items():
        if code in chances and exceeds(meaning.severity, policy.tolerance(meaning.category, band)):
            scores[meaning.category] = max(scores.get(meaning.category, 0.0), chances[code])
    return scores
