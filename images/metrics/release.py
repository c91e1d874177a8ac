"""How often an image guard releases something."""

from __future__ import annotations

from collections.abc import Sequence

from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.sample import Sample
from taleward.images.metrics.base import as_picture_samples


class ReleaseRate(MeanMetric):
    """The share of prompts for which a guard released a picture, 0 to 1; prompts without a guard are left out."""

    name = "release_rate"
    unit = "share"
    higher_is_better = None
    needs = ()

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return 1 for a prompt with a released picture, and 0 for a refusal."""
        pictured = as_picture_samples(samples, self.name)
        return [float("nan") if sample.released is None else float(sample.released) for sample in pictured]
