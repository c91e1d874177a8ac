"""Map the hazard codes of a guard model to the categories of a policy."""

from __future__ import annotations

from collections.abc import Mapping

from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy, exceeds
from taleward.core.verdict import Finding
from taleward.moderation.judges.base import Assessment
from taleward.moderation.judges.lexicon import unjudged_remark


def assessment_from_codes(
    policy: Policy,
    taxonomy: str,
    flagged: Mapping[str, str],
    *,
    scores: Mapping[str, float] | None = None,
    cost_usd: float | None = None,
) -> Assessment:
    """Turn flagged codes into findings in the policy's categories.

    A flagged code that the policy does not map fails the text, and the detail names it.

    Args:
        policy: The policy, whose `codes` hold the mapping.
        taxonomy: The taxonomy of the codes, a key of `policy.codes`.
        flagged: Flagged codes and their rationales.
        scores: For each category, its probability in 0..1; `None` if the model gives none.
        cost_usd: Cost in US dollars; `None` if unknown.
    """
    mapped = policy.codes.get(taxonomy, FrozenDict())
    findings = tuple(
        Finding(category=mapped[code].category, severity=mapped[code].severity, rationale=rationale)
        for code, rationale in flagged.items()
        if code in mapped
    )
    unmapped = [code for code in flagged if code not in mapped]
    judged_categories = tuple(dict.fromkeys(code.category for code in mapped.values()))
    if unmapped:
        detail = f"{taxonomy} flags {', '.join(unmapped)}, which {policy.id} maps to no category"
    else:
        detail = unjudged_remark(policy, judged_categories) if judged_categories else ""
    return Assessment(
        scores=FrozenDict(dict(scores or {})),
        findings=findings,
        # Fail closed: what a code outside the policy means is unknown, and the model did flag the text.
        outcome="fail" if unmapped else None,
        detail=detail,
        cost_usd=cost_usd,
    )


def category_scores(policy: Policy, band: str, taxonomy: str, probabilities: Mapping[str, float]) -> dict[str, float]:
    """Score each category with the highest probability of its codes.

    Codes whose severity the age band tolerates are left out, however probable they are.

    Args:
        policy: The policy, whose `codes` hold the mapping.
        band: The age band.
        taxonomy: The taxonomy of the codes, a key of `policy.codes`.
        probabilities: For each code, its probability in 0..1.
    """
    scores: dict[str, float] = {}
    for code, meaning in policy.codes.get(taxonomy, FrozenDict()).items():
        if code in probabilities and exceeds(meaning.severity, policy.tolerance(meaning.category, band)):
            scores[meaning.category] = max(scores.get(meaning.category, 0.0), probabilities[code])
    return scores
