"""Fréchet distance of two sets of pictures: FID.

Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taleward.images.metrics.features import paired_features
from taleward.images.metrics.set_metric import SetMetric

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


def frechet_distance(real: Any, fake: Any) -> float:
    """Return the Fréchet distance of the normal distributions that fit two sets of features.

    `|m - n|^2 + tr(C + D - 2 (C D)^(1/2))` with the means m and n, and the covariances C and D. With Inception features
    this is FID.

    It is biased: the fewer pictures, the larger. Compare values of equally many pictures only, and have several times
    as many pictures as dimensions; below some 2,000 pictures `kernel_distance` is the better choice. It does not see
    copies: the training pictures themselves score 0.

    Args:
        real: Features of real pictures, shape (n, dimensions), n >= 2.
        fake: Features of generated pictures, shape (m, dimensions), m >= 2.

    Returns:
        0 or more, in squared units of the features; lower is better.

    Raises:
        ConfigurationError: If the shapes do not fit, there are too few rows, or a number is not finite.
    """
    import numpy as np

    first, second = paired_features(real, fake, 2)
    return float(frechet_distances(first, second, np.ones((1, len(first))), np.ones((1, len(second))))[0])


def frechet_distances(real: Floats, fake: Floats, real_weights: Floats, fake_weights: Floats) -> Floats:
    """Return the distances of weighted pictures.

    Args:
        real: Features, shape (n, dimensions).
        fake: Features, shape (m, dimensions).
        real_weights: How often each real picture counts, shape (resamples, n), or (1, n) for all of them.
        fake_weights: How often each generated picture counts, shape (resamples, m).

    Returns:
        Shape (resamples,); NaN where fewer than two pictures count.
    """
    import numpy as np

    distances, fixed = [], _moments(real, real_weights[0]) if len(real_weights) == 1 else None
    for index, weights in enumerate(fake_weights):
        mean, covariance, root = fixed or _moments(real, real_weights[index])
        other_mean, other, _ = _moments(fake, weights)
        if not np.isfinite(other).all() or not np.isfinite(covariance).all():
            distances.append(np.nan)
            continue
        # (C D)^(1/2) has the trace of (C^(1/2) D C^(1/2))^(1/2), which is symmetric.
        eigenvalues = np.linalg.eigvalsh(root @ other @ root)
        cross = np.sqrt(np.maximum(eigenvalues, 0.0)).sum()
        distance = ((mean - other_mean) ** 2).sum() + np.trace(covariance) + np.trace(other) - 2 * cross
        distances.append(max(0.0, float(distance)))  # rounding
    return np.array(distances)


class FrechetDistance(SetMetric):
    """The Fréchet distance of all pictures to the reference pictures, see `frechet_distance`."""

    name = "fid"
    higher_is_better = False

    def distances(self, real: Floats, fake: Floats, weights: Floats) -> Floats:
        """Return the distance for each row of weights."""
        import numpy as np

        return frechet_distances(real, fake, np.ones((1, len(real))), weights)


def _moments(rows: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean, unbiased covariance and its square root."""
    import numpy as np

    total = weights.sum()
    if total < 2:
        undefined = np.full((rows.shape[1], rows.shape[1]), np.nan)
        return undefined[0], undefined, undefined
    mean = weights @ rows / total
    centered = rows - mean
    covariance = (centered * weights[:, None]).T @ centered / (total - 1)
    values, vectors = np.linalg.eigh(covariance)
    return mean, covariance, (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
