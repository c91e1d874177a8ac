"""Whether outputs mention the values that were asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.sample import Sample
from taleward.moderation.text.request_coverage import value_coverage


class ValueCoverage(MeanMetric):
    """The mean share of input values that the output mentions, 0..1; see `taleward.moderation.text.request_coverage`.

    A blank output scores 0. Samples whose inputs have no text are left out.
    """

    name = "value_coverage"
    unit = "share"
    higher_is_better = True
    needs = ("output", "inputs")

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return the share of mentioned values of each sample."""
        shares = (value_coverage(sample.inputs, sample.text) for sample in samples)
        return [math.nan if share is None else share for share in shares]
