"""How much of what was asked for the outputs speak of."""

from __future__ import annotations

import math
from collections.abc import Sequence

from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.sample import Sample
from taleward.moderation.text.value_coverage import value_coverage


class ValueCoverage(MeanMetric):
    """Mean share of the inputs' texts that the output speaks of, 0..1; see `taleward.moderation.text.value_coverage`.

    A blank output speaks of nothing; inputs without text have no value.
    """

    name = "value_coverage"
    unit = "share"
    higher_is_better = True
    needs = ("output", "inputs")

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """The share of each output."""
        found = (value_coverage(sample.inputs, sample.text) for sample in samples)
        return [math.nan if share is None else share for share in found]
