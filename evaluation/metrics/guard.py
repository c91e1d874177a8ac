"""How a guard went about its work."""

from __future__ import annotations

from collections.abc import Sequence

from taleward.core.tale import Tale
from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.sample import Sample


class RefusalRate(MeanMetric):
    """Share of the tales in which nothing was released."""

    name = "refusal_rate"
    unit = "share"
    higher_is_better = False
    needs = ("tale",)

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """1 where nothing was released."""
        return [float(not tale.released) for tale in _tales(samples)]


class RevisionRate(MeanMetric):
    """Share of the tales that took more than one draft, whatever came of them."""

    name = "revision_rate"
    unit = "share"
    higher_is_better = False
    needs = ("tale",)

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """1 where there was more than one attempt."""
        return [float(len(tale.attempts) > 1) for tale in _tales(samples)]


def _tales(samples: Sequence[Sample]) -> list[Tale]:
    return [s.tale for s in samples if s.tale is not None]
