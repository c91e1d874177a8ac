"""Precision, recall, density and coverage of generated pictures by nearest neighbors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.images.metrics.distances import pairwise_distances
from taleward.images.metrics.features import FeatureFunction, paired_features
from taleward.images.metrics.set_metric import SetMetric
from taleward.images.picture import Picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

NeighborMeasure = Literal["precision", "recall", "density", "coverage"]
"""See `NeighborScores`."""
NEIGHBOR_MEASURES: tuple[NeighborMeasure, ...] = ("precision", "recall", "density", "coverage")
DEFAULT_K = 5
_INSIDE = 1 - 1e-9
"""A picture on the edge of a ball, such as a copy of the k-th neighbor, is outside, whatever its last bits are."""


class NeighborScores(FrozenModel):
    """How the balls around real and generated pictures contain each other; a ball reaches to the k-th neighbor.

    Precision and recall are after Kynkäänniemi et al. ("Improved precision and recall metric for assessing generative
    models", 2019), density and coverage after Naeem et al. ("Reliable fidelity and diversity metrics for generative
    models", 2020), who show that single outliers mislead the first two. Higher is better for all.

    Attributes:
        precision: The share of generated pictures within the ball of a real one, 0 to 1: are they like real ones?
        recall: The share of real pictures within the ball of a generated one, 0 to 1: is every kind drawn?
        density: In how many balls of real pictures a generated one is, over k; about 1 for real pictures, and more
            where they crowd.
        coverage: The share of real pictures whose ball contains a generated one, 0 to 1.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbor_scores(real: Any, fake: Any, *, k: int = DEFAULT_K) -> NeighborScores:
    """Return precision, recall, density and coverage.

    A collapse onto a few pictures shows in recall and coverage, and not in precision. Copies show in none of the four.

    Args:
        real: Features of real pictures, shape (n, dimensions), n > k.
        fake: Features of generated pictures, shape (m, dimensions), m > k.
        k: Which neighbor a ball reaches to.

    Raises:
        ConfigurationError: If the shapes do not fit, there are too few rows, or a number is not finite.
    """
    import numpy as np

    if k < 1:
        raise ConfigurationError(f"k must be 1 or more; got {k}.")
    first, second = paired_features(real, fake, k + 1)
    ones = np.ones((1, len(first))), np.ones((1, len(second)))
    values = {measure: float(neighbor_shares(first, second, *ones, measure, k)[0]) for measure in NEIGHBOR_MEASURES}
    return NeighborScores.model_validate(values)


def neighbor_shares(
    real: Floats, fake: Floats, real_weights: Floats, fake_weights: Floats, measure: NeighborMeasure, k: int
) -> Floats:
    """Return one of the four measures of weighted pictures.

    A picture that is drawn twice is no neighbor of itself: radii are those among different pictures.

    Args:
        real: Features, shape (n, dimensions).
        fake: Features, shape (m, dimensions).
        real_weights: How often each real picture counts, shape (resamples, n), or (1, n) for all of them.
        fake_weights: How often each generated picture counts, shape (resamples, m).
        measure: The measure.
        k: Which neighbor a ball reaches to.

    Returns:
        Shape (resamples,); NaN where too few different pictures count.
    """
    import numpy as np

    between = pairwise_distances(real, fake)
    around = fake if measure == "recall" else real
    own = pairwise_distances(around, around)
    np.fill_diagonal(own, np.inf)
    shares, radii = [], None
    for index, weights in enumerate(fake_weights):
        reals = real_weights[0 if len(real_weights) == 1 else index]
        counted = np.flatnonzero(weights if measure == "recall" else reals)
        if len(counted) <= k or not weights.any() or not reals.any():
            shares.append(np.nan)
            continue
        if radii is None or measure == "recall" or len(real_weights) > 1:
            radii = _INSIDE * np.partition(own[np.ix_(counted, counted)], k - 1, axis=1)[:, k - 1]
        shares.append(_share(between, counted, radii, reals, weights, measure, k))
    return np.array(shares)


def _share(
    between: Floats, counted: Any, radii: Floats, reals: Floats, fakes: Floats, measure: NeighborMeasure, k: int
) -> float:
    import numpy as np

    if measure == "recall":
        return float(np.average((between[:, counted] < radii).any(axis=1), weights=reals))
    inside = between[counted] < radii[:, None]
    if measure == "precision":
        return float(np.average(inside.any(axis=0), weights=fakes))
    if measure == "density":
        return float(reals[counted] @ inside @ fakes / fakes.sum() / k)
    return float(np.average(inside[:, fakes > 0].any(axis=1), weights=reals[counted]))


class NeighborMetric(SetMetric):
    """One of the measures in `NeighborScores`, of all pictures against the reference pictures.

    Args:
        measure: Which of them.
        reference: Real pictures, or their features.
        features: The feature function.
        k: Which neighbor a ball reaches to.
    """

    higher_is_better = True

    def __init__(
        self,
        measure: NeighborMeasure,
        *,
        reference: Sequence[Picture] | Any,
        features: FeatureFunction | None = None,
        k: int = DEFAULT_K,
    ) -> None:
        if measure not in NEIGHBOR_MEASURES or k < 1:
            raise ConfigurationError(
                f"measure must be one of {', '.join(NEIGHBOR_MEASURES)}, and k 1 or more; got {measure!r} and {k}."
            )
        self.measure_name, self.k = measure, k
        self.name = f"feature_{measure}"
        self.unit, self.limits = ("", (0.0, float("inf"))) if measure == "density" else ("share", (0.0, 1.0))
        super().__init__(reference=reference, features=features)

    @property
    def options(self) -> Mapping[str, object]:
        """The neighbor, with what every set metric names."""
        return {"k": self.k, **super().options}

    def distances(self, real: Floats, fake: Floats, weights: Floats) -> Floats:
        """Return the measure for each row of weights."""
        import numpy as np

        return neighbor_shares(real, fake, np.ones((1, len(real))), weights, self.measure_name, self.k)
