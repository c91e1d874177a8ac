"""Bootstrap intervals of distances between two sets of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.images.metrics.features import paired_features
from taleward.moderation.calibration.bootstrap import Interval, bootstrap_weights, percentile_interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

SHARES = ("precision", "recall", "coverage")
"""Distances from 0 to 1."""

FeatureDistance = Literal["fid", "kid", "precision", "recall", "density", "coverage"]
"""A distance of two sets of features: see `frechet_distance`, `kernel_distance` and `neighbor_scores`."""


def feature_interval(
    distance: FeatureDistance,
    real: Any,
    fake: Any,
    *,
    k: int = 5,
    resamples: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Return a distance of two sets of features with its bootstrap interval.

    Both sets are resampled. A resample holds fewer different pictures than the set, which shifts most distances, so the
    draws are moved to have the value as their mean.

    Args:
        distance: Which distance.
        real: Features of real pictures, shape (n, dimensions).
        fake: Features of generated pictures, shape (m, dimensions).
        k: For the last four, which neighbor a ball reaches to.
        resamples: The number of resamples, at least 1.
        seed: Seed of the resamples; 0 is a seed.
        confidence: The share of the resamples within the interval, between 0 and 1.

    Raises:
        UnknownName: If there is no such distance.
        ConfigurationError: If the shapes do not fit, there are too few rows, or a number is out of range.
    """
    import numpy as np

    from taleward.images.metrics.frechet import frechet_distances
    from taleward.images.metrics.kernel import kernel_distances
    from taleward.images.metrics.neighbors import NEIGHBOR_MEASURES, neighbor_shares

    names = ("fid", "kid", *NEIGHBOR_MEASURES)
    if distance not in names:
        raise UnknownName("feature distance", distance, names)
    if resamples < 1 or not 0 < confidence < 1 or k < 1:
        raise ConfigurationError(
            f"resamples and k must be 1 or more, and confidence between 0 and 1; got {resamples}, {k} and {confidence}."
        )
    first, second = paired_features(real, fake, 2 if distance in ("fid", "kid") else k + 1)

    def compute(real_weights: Floats, fake_weights: Floats) -> Floats:
        if distance == "fid":
            return frechet_distances(first, second, real_weights, fake_weights)
        if distance == "kid":
            return kernel_distances(first, second, real_weights, fake_weights)
        return neighbor_shares(first, second, real_weights, fake_weights, distance, k)

    value = float(compute(np.ones((1, len(first))), np.ones((1, len(second))))[0])
    real_weights, fake_weights = (
        np.concatenate(list(bootstrap_weights(n, resamples, stream)))
        for n, stream in zip((len(first), len(second)), _two_seeds(seed), strict=True)
    )
    limits = (0.0 if distance != "kid" else -np.inf, 1.0 if distance in SHARES else np.inf)
    return centered_interval(value, compute(real_weights, fake_weights), confidence, limits)


def centered_interval(value: float, draws: Floats, confidence: float, limits: tuple[float, float]) -> Interval:
    """Return the percentile interval of draws that are moved to have the value as their mean.

    Args:
        value: The value.
        draws: The values on the resamples; NaN is left out.
        confidence: The share of the draws within the interval, between 0 and 1.
        limits: The smallest and the largest possible value.
    """
    import numpy as np

    known = draws[np.isfinite(draws)]
    moved = known - known.mean() + value if len(known) else known
    return percentile_interval(value, np.clip(moved, *limits), confidence)


def _two_seeds(seed: int) -> tuple[int, int]:
    """Return seeds of independent streams: one for real and one for generated pictures."""
    import numpy as np

    first, second = np.random.SeedSequence(seed).generate_state(2)
    return int(first), int(second)
