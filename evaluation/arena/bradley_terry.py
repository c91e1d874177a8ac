"""The Bradley-Terry model: a strength for each contestant, from who was preferred to whom.

Contestant i is preferred to j with probability 1 / (1 + exp(s_j - s_i)). R. A. Bradley and M. E. Terry, "Rank analysis
of incomplete block designs", Biometrika 39 (1952). A tie counts as half a win for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

PRIOR_WINS = 0.5
"""Wins that every contestant is given against every other one.

Without them, whoever wins all of its comparisons would be infinitely strong; with half a win each way, the estimate is
that of Jeffreys' prior for a single pair.
"""
_STEPS, _TOLERANCE = 10_000, 1e-10


def strengths(wins: Floats, prior: float = PRIOR_WINS) -> Floats:
    """Fit the strengths by maximum likelihood, with minorization-maximization (Hunter, Annals of Statistics 32, 2004).

    Args:
        wins: `wins[..., i, j]` says how often i was preferred to j, shape (..., n, n); leading axes are fitted at once.
        prior: Wins added to each entry off the diagonal, 0 or more.

    Returns:
        The strengths in logits with mean 0, shape (..., n).
    """
    import numpy as np

    n = wins.shape[-1]
    counted = wins + prior * (1 - np.eye(n))
    met = counted + np.swapaxes(counted, -1, -2)
    won = counted.sum(-1)
    worth = np.ones(won.shape)
    for _ in range(_STEPS):
        together = worth[..., :, None] + worth[..., None, :]
        updated = won / (met / together).sum(-1)
        updated /= np.exp(np.log(updated).mean(-1, keepdims=True))
        change = np.abs(np.log(updated) - np.log(worth)).max()
        worth = updated
        if change < _TOLERANCE:
            break
    result: Floats = np.log(worth)
    return result


def win_probabilities(strength: Floats) -> Floats:
    """Return how likely each contestant is preferred to an average opponent: the mean over the others.

    Args:
        strength: Strengths in logits, shape (..., n) with n of at least 2.
    """
    import numpy as np

    n = strength.shape[-1]
    against = 1 / (1 + np.exp(strength[..., None, :] - strength[..., :, None]))
    result: Floats = (against.sum(-1) - 0.5) / (n - 1)
    return result
