"""How often a guard refuses or revises."""

from __future__ import annotations

from collections.abc import Sequence

from taleward.core.tale import Tale
from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.sample import Sample


class RefusalRate(MeanMetric):
    """The share of tales in which nothing was released."""

    name = "refusal_rate"
    unit = "share"
    higher_is_better = False
    needs = ("tale",)

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return 1 if nothing was released, else 0."""
        return [float(not tale.released) for tale in _tales(samples)]


class RevisionRate(MeanMetric):
    """The share of tales that took more than one draft, whether released or not."""

    name = "revision_rate"
    unit = "share"
    higher_is_better = False
    needs = ("tale",)

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return 1 if there was more than one attempt, else 0."""
        return [float(len(tale.attempts) > 1) for tale in _tales(samples)]


def _tales(samples: Sequence[Sample]) -> list[Tale]:
    return [s.tale for s in samples if s.tale is not None]
