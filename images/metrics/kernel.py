"""Kernel distance of two sets of pictures (KID; Bińkowski et al., "Demystifying MMD GANs", 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taleward.images.metrics.features import paired_features
from taleward.images.metrics.set_metric import SetMetric

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


def kernel_distance(real: Any, fake: Any) -> float:
    """Return the unbiased squared maximum mean discrepancy of two sets of features.

    The kernel is `(x y / dimensions + 1)^3`. With Inception features this is KID, computed on all pictures instead of
    subsets. Because it is unbiased, sets of different sizes can be compared, and a perfect model scores 0 on average,
    often a little below 0. It does not see copies.

    Args:
        real: Features of real pictures, shape (n, dimensions), n >= 2.
        fake: Features of generated pictures, shape (m, dimensions), m >= 2.

    Returns:
        About 0 or more, without a unit; lower is better.

    Raises:
        ConfigurationError: If the shapes do not fit, there are too few rows, or a number is not finite.
    """
    import numpy as np

    first, second = paired_features(real, fake, 2)
    return float(kernel_distances(first, second, np.ones((1, len(first))), np.ones((1, len(second))))[0])


def kernel_distances(real: Floats, fake: Floats, real_weights: Floats, fake_weights: Floats) -> Floats:
    """Return the distances of weighted pictures.

    A picture that is drawn twice is not compared with itself, so that resamples are as unbiased as the value.

    Args:
        real: Features, shape (n, dimensions).
        fake: Features, shape (m, dimensions).
        real_weights: How often each real picture counts, shape (resamples, n), or (1, n) for all of them.
        fake_weights: How often each generated picture counts, shape (resamples, m).

    Returns:
        Shape (resamples,); NaN where fewer than two pictures count.
    """
    import numpy as np

    between = _kernel(real, fake)
    shared = np.einsum("rn,nm,rm->r", np.broadcast_to(real_weights, (len(fake_weights), len(real))), between,
                       fake_weights, optimize=True)  # fmt: skip
    mean_between = shared / (real_weights.sum(axis=1) * fake_weights.sum(axis=1))
    distances: Floats = _mean_pair(real, real_weights) + _mean_pair(fake, fake_weights) - 2 * mean_between
    return distances


class KernelDistance(SetMetric):
    """The kernel distance of all pictures to the reference pictures, see `kernel_distance`."""

    name = "kid"
    higher_is_better = False
    limits = (float("-inf"), float("inf"))

    def distances(self, real: Floats, fake: Floats, weights: Floats) -> Floats:
        """Return the distance for each row of weights."""
        import numpy as np

        return kernel_distances(real, fake, np.ones((1, len(real))), weights)


def _kernel(first: Floats, second: Floats) -> Floats:
    values: Floats = (first @ second.T / first.shape[1] + 1) ** 3
    return values


def _mean_pair(rows: Floats, weights: Floats) -> Floats:
    """Return the mean kernel of two different pictures, for each row of weights."""
    import numpy as np

    kernel, squares = _kernel(rows, rows), weights**2
    total = np.einsum("rn,rn->r", weights @ kernel, weights) - squares @ np.diag(kernel)
    pairs = weights.sum(axis=1) ** 2 - squares.sum(axis=1)
    return np.where(pairs > 0, total / np.where(pairs > 0, pairs, 1.0), np.nan)
