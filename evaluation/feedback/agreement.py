"""Agreement between the judge and people on recorded tales, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from pydantic import AwareDatetime

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.evaluation.feedback.feedback import Feedback
from taleward.evaluation.feedback.mlflow_store import FeedbackStore, RecordedTale
from taleward.evaluation.metrics.agreement import Alpha
from taleward.evaluation.metrics.base import Metric, MetricScore, ratio
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    from taleward.evaluation.metrics.base import Floats

PERIODS: Mapping[str, str] = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m", "all": "all"}
"""The kinds of period, and the `strftime` format of their names."""


class Agreement(FrozenModel):
    """Agreement between the judge and people on the tales of one period; each person counts once per tale.

    Attributes:
        period: The period's name, such as `2026-W48`.
        started_at: When its first tale was started.
        tales: The number of tales with answers.
        answers: The number of answers to "is it kid-friendly?".
        kappa: Cohen's kappa (1960) of "passed" and "kid-friendly": 1 is full agreement, 0 is agreement by chance.
        alpha: Krippendorff's alpha (2004) of the judge and all people, which also counts people who disagree with each
            other.
        agreement_rate: The share of answers that agree with the judge.
        miss_rate: The share of the answers "not kid-friendly" that are on tales that the judge passed; `None` if there
            are no such answers.
    """

    period: str
    started_at: AwareDatetime
    tales: int
    answers: int
    kappa: MetricScore
    alpha: MetricScore
    agreement_rate: float
    miss_rate: float | None


def judge_agreement(store: FeedbackStore, *, by: str = "week", resamples: int = 1000, seed: int = 0) -> list[Agreement]:
    """Compute the agreement between the judge and people for each period.

    Tales on which the judge reached no decision are left out.

    Args:
        store: The feedback.
        by: The length of a period: `day`, `week` (ISO 8601), `month` or `all`.
        resamples: The number of bootstrap resamples for the intervals. Tales are resampled, not answers.
        seed: Seed of the resamples.

    Returns:
        One result per period with answers, oldest first.

    Raises:
        UnknownName: If there is no such kind of period.
    """
    if by not in PERIODS:
        raise UnknownName("period", by, PERIODS)
    periods: dict[str, list[_ReviewedTale]] = {}
    for tale, feedback in store.tales():
        if tale.verdict is None or tale.verdict.outcome not in ("pass", "fail"):
            continue
        # `store.tales` yields the current feedback, so a person who changed an answer counts once.
        answers = {f.person: f.kid_friendly for f in feedback if f.kid_friendly is not None}
        if answers:
            reviewed = _ReviewedTale(tale.id, tale.started_at, tale.verdict.passed, answers)
            periods.setdefault(tale.started_at.strftime(PERIODS[by]), []).append(reviewed)
    return [_period_agreement(name, tales, resamples, seed) for name, tales in periods.items()]


def disagreement(tale: RecordedTale, feedback: Sequence[Feedback]) -> float:
    """Return the share of pairs of raters, the judge and people, who disagree about a tale, 0..1; 0 without a pair.

    Args:
        tale: The tale; its judge is a rater if it reached a decision.
        feedback: The current feedback on it.
    """
    ratings = [f.kid_friendly for f in feedback if f.kid_friendly is not None]
    if tale.verdict is not None and tale.verdict.outcome in ("pass", "fail"):
        ratings.append(tale.verdict.passed)
    pairs = len(ratings) * (len(ratings) - 1) / 2
    return sum(ratings) * (len(ratings) - sum(ratings)) / pairs if pairs else 0.0


class _ReviewedTale(NamedTuple):
    """The judge's decision on a tale, and people's answers."""

    id: str
    started_at: datetime
    passed: bool
    answers: Mapping[str, bool]

    @property
    def ratings(self) -> dict[str, str]:
        """The judge's decision and people's answers in the same words, by rater."""
        people = {f"person {name}": "pass" if friendly else "fail" for name, friendly in self.answers.items()}
        return {"judge": "pass" if self.passed else "fail", **people}


class JudgeKappa(Metric):
    """Cohen's kappa of judge and people; a tale's statistics are counts of answers.

    The four counts are: judge and person say yes, only the judge does, only the person does, neither does.
    """

    name = "judge_kappa"
    higher_is_better = True

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Raise an error: the statistics come from feedback, not from samples."""
        raise ConfigurationError(
            "judge_kappa is computed from feedback, not from samples.", hint="Use judge_agreement."
        )

    def value(self, total: Floats) -> Floats:
        """Compute kappa from sums of the four counts, shape (..., 4)."""
        both, judge_only, person_only, neither = (total[..., i] for i in range(4))
        n = both + judge_only + person_only + neither
        chance = (both + judge_only) * (both + person_only) + (person_only + neither) * (judge_only + neither)
        return ratio(n * (both + neither) - chance, n * n - chance)


def _period_agreement(period: str, tales: Sequence[_ReviewedTale], resamples: int, seed: int) -> Agreement:
    import numpy as np

    cells = ((True, True), (True, False), (False, True), (False, False))
    decisions = [[(tale.passed, friendly) for friendly in tale.answers.values()] for tale in tales]
    counts = np.array([[pairs.count(cell) for cell in cells] for pairs in decisions], float)
    samples = [Sample(id=tale.id, ratings=FrozenDict(tale.ratings)) for tale in tales]
    both, judge_only, _, neither = counts.sum(0).tolist()
    unfriendly = judge_only + neither
    return Agreement(
        period=period,
        started_at=tales[0].started_at,
        tales=len(tales),
        answers=int(counts.sum()),
        kappa=JudgeKappa().score_rows(counts, resamples=resamples, seed=seed),
        alpha=Alpha().score(samples, resamples=resamples, seed=seed),
        agreement_rate=(both + neither) / float(counts.sum()),
        miss_rate=judge_only / unfriendly if unfriendly else None,
    )
