"""Distances between the features of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_CANCELED = 1e-9


def pairwise_distances(first: Floats, second: Floats) -> Floats:
    """Return Euclidean distances; those of equal rows are exactly 0.

    Args:
        first: Shape (n, dimensions).
        second: Shape (m, dimensions).

    Returns:
        Shape (n, m).
    """
    import numpy as np

    center = first.mean(axis=0)
    a, b = first - center, second - center
    norms, other_norms = (a**2).sum(axis=1), (b**2).sum(axis=1)
    squares = norms[:, None] + other_norms - 2 * a @ b.T
    # Where nearly all digits cancel, the difference itself is exact.
    rows, columns = np.nonzero(squares <= _CANCELED * (norms[:, None] + other_norms))
    squares[rows, columns] = ((first[rows] - second[columns]) ** 2).sum(axis=1)
    distances: Floats = np.sqrt(squares)
    return distances
