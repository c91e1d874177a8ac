"""Multinomial logistic regression in NumPy: small, deterministic, no further dependency."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_STEPS = 300
_PENALTY = 1e-4


def fit_regression(features: Floats, classes: npt.NDArray[np.int64], weights: Floats, count: int) -> Floats:
    """Fit the coefficients by accelerated gradient descent (Nesterov 1983) on the L2-penalized log-likelihood.

    Args:
        features: Shape (rows, columns); include a column of ones for the intercept.
        classes: Shape (rows,), class indices from 0.
        weights: Shape (rows,), weight of each row.
        count: Number of classes.

    Returns:
        Coefficients, shape (columns, count).
    """
    import numpy

    row_weights = weights / weights.sum()
    targets = numpy.eye(count)[classes]
    # Half the largest eigenvalue of the weighted Gram matrix bounds the curvature of the softmax loss (Böhning
    # 1992), so a step of 1 / curvature never overshoots and no line search is needed.
    curvature = 0.5 * numpy.linalg.norm(features * numpy.sqrt(row_weights)[:, None], 2) ** 2 + _PENALTY
    coefficients = extrapolated = numpy.zeros((features.shape[1], count))
    for step in range(_STEPS):
        residuals = (probabilities(extrapolated, features) - targets) * row_weights[:, None]
        updated = extrapolated - (features.T @ residuals + _PENALTY * extrapolated) / curvature
        extrapolated = updated + (step / (step + 3)) * (updated - coefficients)
        coefficients = updated
    return coefficients


def probabilities(coefficients: Floats, features: Floats) -> Floats:
    """Return the class probabilities, shape (rows, count); each row sums to 1."""
    import numpy

    logits = features @ coefficients
    exponentials = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    normalized: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return normalized
