"""Base class of metrics that compare all generated pictures with real ones."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import Metric, MetricScore
from taleward.evaluation.sample import Sample
from taleward.images.metrics.base import as_picture_samples
from taleward.images.metrics.features import (
    ConvolutionFeatures,
    FeatureFunction,
    as_features,
    compute_features,
    feature_signature,
)
from taleward.images.metrics.intervals import centered_interval
from taleward.images.picture import Picture
from taleward.moderation.calibration.bootstrap import bootstrap_weights

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


class SetMetric(Metric):
    """A metric of a set of pictures, such as FID: a single picture has no value.

    Intervals resample prompts with all their pictures; the reference pictures stay. Since fewer different pictures are
    in a resample than in the set, which shifts such distances, the draws are moved so that their mean is the value.

    Attributes:
        limits: The smallest and the largest possible value.

    Args:
        reference: Real pictures, or their features of shape (n, dimensions).
        features: The feature function; `ConvolutionFeatures` by default.

    Raises:
        ConfigurationError: If there are fewer than two reference pictures, or features are not finite numbers.
    """

    needs = ()
    limits: tuple[float, float] = (0.0, float("inf"))

    def __init__(self, *, reference: Sequence[Picture] | Any, features: FeatureFunction | None = None) -> None:
        self.features: FeatureFunction = features or ConvolutionFeatures()
        self.real = reference_features(reference, self.features)

    @abstractmethod
    def distances(self, real: Floats, fake: Floats, weights: Floats) -> Floats:
        """Return a value for each row of weights.

        Args:
            real: Features of the reference pictures, shape (n, dimensions).
            fake: Features of the generated pictures, shape (m, dimensions).
            weights: How often each generated picture counts, shape (resamples, m).
        """

    @property
    def options(self) -> Mapping[str, object]:
        """The features, and a digest of the reference pictures."""
        digest = hashlib.sha256(self.real.tobytes()).hexdigest()[:12]
        return {"features": feature_signature(self.features), "reference": f"{len(self.real)}@{digest}"}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Return for each prompt the number of its pictures and their features, filled up with zeros."""
        import numpy as np

        pictured = as_picture_samples(samples, self.name)
        all_pictures = [picture for sample in pictured for picture in sample.pictures]
        rows = compute_features(self.features, all_pictures) if all_pictures else np.empty((0, self.real.shape[1]))
        if rows.shape[1] != self.real.shape[1]:
            raise ConfigurationError(
                f"{self.name}: the reference has {self.real.shape[1]} dimensions, and the pictures {rows.shape[1]}.",
                hint="Give the reference as pictures, or compute its features with the same function.",
            )
        most = max((len(sample.pictures) for sample in pictured), default=0)
        statistics = np.full((len(pictured), 1 + most * rows.shape[1]), np.nan)
        start = 0
        for index, sample in enumerate(pictured):
            number = len(sample.pictures)
            if number:
                statistics[index] = 0.0
                statistics[index, 0] = number
                statistics[index, 1 : 1 + number * rows.shape[1]] = rows[start : start + number].ravel()
            start += number
        return statistics

    def value(self, total: Floats) -> Floats:
        """Return NaN: the value does not follow from sums, see `over`."""
        import numpy as np

        return np.full(total.shape[:-1], np.nan)

    def over(self, rows: Floats, weights: Floats) -> Floats:
        """Compute the values of weighted prompts."""
        import numpy as np

        dimensions = self.real.shape[1]
        counts = rows[:, 0].astype(int)
        prompts = np.repeat(np.arange(len(rows)), counts)
        slots = np.concatenate([np.arange(count) for count in counts]) if len(counts) else np.empty(0, int)
        fake = rows[:, 1:].reshape(len(rows), -1, dimensions)[prompts, slots]
        return self.distances(self.real, fake, weights[:, prompts])

    def score_rows(
        self, rows: Floats, *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
    ) -> MetricScore:
        """Compute the value of all pictures with its interval, see `Metric.score_rows`."""
        import numpy as np

        score = super().score_rows(rows, resamples=0, seed=seed, confidence=confidence)
        signature = score.signature.replace("|resamples:0|", f"|resamples:{resamples}|centered|")
        if score.value is None or resamples < 1:
            return score.model_copy(update={"signature": signature})
        complete = rows[np.isfinite(rows).all(axis=1)]
        draws = [self.over(complete, weights) for weights in bootstrap_weights(len(complete), resamples, seed)]
        interval = centered_interval(score.value, np.concatenate(draws), confidence, self.limits)
        return score.model_copy(update={"low": interval.low, "high": interval.high, "signature": signature})


def reference_features(reference: Sequence[Picture] | Any, features: FeatureFunction) -> Floats:
    """Return the features of reference pictures.

    Args:
        reference: Pictures, or their features of shape (n, dimensions).
        features: The feature function.

    Raises:
        ConfigurationError: If there are fewer than two, or features are not finite numbers.
    """
    items = list(reference)
    are_pictures = bool(items) and all(isinstance(item, Picture) for item in items)
    if len(items) < 2:
        raise ConfigurationError(f"a reference needs two pictures or more; got {len(items)}.")
    return compute_features(features, items) if are_pictures else as_features(items, "reference")
