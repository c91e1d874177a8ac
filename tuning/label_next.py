"""Active learning: which recorded tales people should label next, so that few labels teach a judge much."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from langchain_core.embeddings import Embeddings
from pydantic import Field

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.evaluation.feedback.agreement import disagreement
from taleward.evaluation.feedback.feedback import Feedback
from taleward.evaluation.feedback.mlflow_store import FeedbackStore, RecordedTale
from taleward.moderation.policies.load import load_policy, policy_names
from taleward.tuning.text_vectors import text_vectors

_LEAST_NEED = 0.01
_POOL = 20
_MARGIN = 1e-6


class LabelCandidate(FrozenModel):
    """A recorded tale that people should label.

    Attributes:
        tale_id: The tale's id.
        trace_id: The id of its trace in MLflow.
        need: How much a label is needed, 0..1.
        reason: `uncertain`: nobody has labeled it, and the judge was near its threshold or reached no decision;
            `disputed`: the judge and people, or people among themselves, disagree; `new`: nobody has labeled it.
    """

    tale_id: str
    trace_id: str
    need: float = Field(ge=0.0, le=1.0)
    reason: Literal["uncertain", "disputed", "new"]


def to_label_next(
    tales: FeedbackStore | Iterable[tuple[RecordedTale, Sequence[Feedback]]],
    n: int,
    *,
    exclude: Collection[str] = (),
    embeddings: str | Embeddings = "embedded:minilm",
) -> list[LabelCandidate]:
    """Return the recorded tales whose labels would teach a judge most, the most useful first.

    A tale that nobody has labeled is needed the more, the closer the judge was to its threshold (uncertainty sampling,
    Lewis and Gale 1994); a labeled one the more, the more raters disagree. A tale about which two people or more agree
    is settled. Of these tales one after another is taken, by its need and its distance from those that were taken
    already (farthest first, Gonzalez 1985), so that no two are about the same.

    Args:
        tales: The feedback store, or tales with the current feedback on them.
        n: The most tales to return.
        exclude: Ids of tales or of traces that are not taken, such as those in a queue already.
        embeddings: An embedding model, or its spec.

    Raises:
        ConfigurationError: If `n` is below 1.
    """
    if n < 1:
        raise ConfigurationError(f"n must be at least 1; got {n}.")
    pairs = tales.tales() if isinstance(tales, FeedbackStore) else tales
    candidates = []
    for tale, feedback in pairs:
        if tale.text.strip() and tale.id not in exclude and tale.trace_id not in exclude:
            candidate = _candidate(tale, feedback)
            if candidate is not None:
                candidates.append((candidate, tale.text))
    # Embedding takes longer than all else, so only the best are spread.
    candidates.sort(key=lambda pair: -pair[0].need)
    pool = candidates[: _POOL * n]
    vectors = text_vectors([text for _, text in pool], embeddings)
    needs, distances = [candidate.need for candidate, _ in pool], [1.0] * len(pool)
    picked: list[LabelCandidate] = []
    for _ in range(min(n, len(pool))):
        best = max(range(len(pool)), key=lambda i: needs[i] * distances[i])
        picked.append(pool[best][0])
        similarities = vectors @ vectors[best]
        # Equal texts are taken last, not left out.
        distances = [min(d, max(1.0 - float(s), _MARGIN)) for d, s in zip(distances, similarities, strict=True)]
        distances[best] = 0.0
    return picked


def _candidate(tale: RecordedTale, feedback: Sequence[Feedback]) -> LabelCandidate | None:
    """Return how much a tale's label is needed; `None` if it is settled."""
    votes = [f.kid_friendly for f in feedback if f.kid_friendly is not None]
    if not votes:
        need = max(_LEAST_NEED, closeness_to_threshold(tale))
        reason: Literal["uncertain", "disputed", "new"] = "uncertain" if need >= 0.1 else "new"
    elif len(votes) > 1 and len(set(votes)) == 1:
        return None
    else:
        need, reason = disagreement(tale, feedback), "disputed"
    return LabelCandidate(tale_id=tale.id, trace_id=tale.trace_id, need=need, reason=reason) if need > 0 else None


def closeness_to_threshold(tale: RecordedTale) -> float:
    """Return how close the last verdict was to the opposite one, 0..1; 1 if the judge reached no decision.

    It is exp(-d), where d is the distance of the highest score from its threshold in log-odds.
    """
    verdict = tale.verdict
    if verdict is None or verdict.outcome not in ("pass", "fail"):
        return 1.0
    name = tale.policy.partition("@")[0]
    policy = load_policy(name) if name in policy_names() else None
    margins = []
    for category, score in verdict.scores.items():
        known = policy is not None and category in policy.categories and tale.band in policy.bands
        threshold = policy.threshold(category, tale.band) if policy is not None and known else 0.5
        margins.append(_log_odds(score) - _log_odds(threshold))
    return math.exp(-abs(max(margins))) if margins else 0.0


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, _MARGIN), 1.0 - _MARGIN)
    return math.log(clipped / (1.0 - clipped))
