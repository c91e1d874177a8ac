"""Multinomial logistic regression in numpy: small, deterministic, no further library."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_STEPS = 300
_PENALTY = 1e-4


def fit_regression(features: Floats, classes: npt.NDArray[np.int64], weights: Floats, count: int) -> Floats:
    """The coefficients that make the classes most likely, by accelerated gradient descent (Nesterov 1983).

    Args:
        features: Shape (rows, columns); a column of ones is the intercept.
        classes: Shape (rows,), from 0.
        weights: Shape (rows,): how much a row counts.
        count: How many classes there are.

    Returns:
        Shape (columns, count).
    """
    import numpy

    share = weights / weights.sum()
    wanted = numpy.eye(count)[classes]
    length = 0.5 * numpy.linalg.norm(features * numpy.sqrt(share)[:, None], 2) ** 2 + _PENALTY
    found = ahead = numpy.zeros((features.shape[1], count))
    for step in range(_STEPS):
        off = (probabilities(ahead, features) - wanted) * share[:, None]
        after = ahead - (features.T @ off + _PENALTY * ahead) / length
        ahead, found = after + (step / (step + 3)) * (after - found), after
    return found


def probabilities(coefficients: Floats, features: Floats) -> Floats:
    """Probabilities of the classes, shape (rows, count); each row sums to 1."""
    import numpy

    logits = features @ coefficients
    powers = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares
