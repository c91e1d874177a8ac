"""Bootstrap intervals of corpus metrics, and paired sign-flip tests of two systems.

A resample is a row of weights that says how often each sample counts. One matrix product of weights and the samples'
statistics gives the sums of all resamples, from which a metric computes its corpus values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, Protocol

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.moderation.calibration.bootstrap import Interval, block_sizes, bootstrap_weights, percentile_interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

SignFlips = Literal["exact", "monte_carlo"]
"""Which sign flips a paired test looks at: all of them, or a random sample."""

MAX_EXACT_PAIRS = 14
"""The most pairs of which all 2^n sign flips are computed: 16,384."""


class CorpusMetric(Protocol):
    """A metric whose corpus value is computed from weighted rows of statistics, such as any `Metric`."""

    name: str

    @property
    def signature(self) -> str: ...  # noqa: D102
    def over(self, rows: Floats, weights: Floats) -> Floats:
        """Return the corpus values, shape (resamples,), of rows (n, k) with weights (resamples, n)."""


class PairedTest(FrozenModel):
    """The difference of two systems on the same samples.

    The interval contains 0 exactly if `p` is above `level`: both come from the same sign flips.

    Attributes:
        metric: The metric's name.
        first: The value of the first system; `None` if it is undefined.
        second: The value of the second system; `None` if it is undefined.
        difference: First minus second; `None` if a value is undefined.
        low: Lower end of the interval of the difference; `None` if the samples are too few for one.
        high: Upper end of the interval of the difference; `None` if the samples are too few for one.
        p: Two-sided p-value of the null hypothesis that there is no difference; `None` if it was not tested.
        smallest_p: The smallest p-value that so many samples can give, however large the difference is.
        level: The significance level; the confidence of the interval is 1 - level.
        n: The number of samples that have a value in both systems.
        left_out: The number of other samples.
        method: Which sign flips gave `p` and the interval.
        remark: Why a difference was not tested.
        signature: The metric's signature with method, resamples and seed.
    """

    metric: str
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    smallest_p: float
    level: float
    n: int
    left_out: int
    method: SignFlips
    remark: str | None = None
    signature: str

    @property
    def significant(self) -> bool:
        """Whether `p` is at most `level`, and the interval without 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def bootstrap(
    metric: CorpusMetric, rows: Floats, *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Interval | None:
    """Compute a corpus value with its percentile bootstrap interval (Efron 1979).

    Args:
        metric: The metric.
        rows: The statistics of each sample, shape (n, k), without NaN.
        resamples: The number of resamples; with 0, both ends of the interval are the value itself.
        seed: Seed of the draws; 0 is a seed.
        confidence: The share of the resamples within the interval, between 0 and 1.

    Returns:
        The value and its interval; `None` if the value is undefined.

    Raises:
        ConfigurationError: If `resamples` is negative or `confidence` is not between 0 and 1.
    """
    import numpy as np

    if resamples < 0:
        raise ConfigurationError(f"resamples must be at least 0; got {resamples}.")
    if not 0 < confidence < 1:
        raise ConfigurationError(f"confidence must be between 0 and 1; got {confidence}.")
    if not len(rows):
        return None
    value = float(metric.over(rows, np.ones((1, len(rows))))[0])
    if not np.isfinite(value):
        return None
    blocks = [metric.over(rows, weights) for weights in bootstrap_weights(len(rows), resamples, seed)]
    draws = np.concatenate([np.empty(0), *blocks])
    return percentile_interval(value, draws[np.isfinite(draws)], confidence)


def paired_test(
    metric: CorpusMetric,
    first: Floats,
    second: Floats,
    *,
    level: float = 0.05,
    comparisons: int = 1,
    resamples: int = 9_999,
    seed: int = 0,
) -> PairedTest:
    """Test whether two systems differ on the same samples, by flipping signs (Fisher 1935; Noreen 1989).

    If the systems do not differ, it is chance which of two results of a sample belongs to which system. So the results
    are swapped sample by sample, which flips the signs of their differences, and `p` is the share of such flips whose
    difference is at least as large as the observed one. Up to 14 samples all flips are looked at, and `p` is exact; for
    more samples they are random, and the observed result counts as one of them, so that `p` is never 0.

    The interval holds all differences that the same flips do not reject (test inversion): for a difference d, each
    sample's share of d is taken off before its sign is flipped. For a mean, that is the classical interval of a
    permutation test.

    Samples without a value in one of the systems (rows of NaN) are left out of both.

    Args:
        metric: The metric.
        first: The statistics of the first system, shape (n, k), from `Metric.measure`.
        second: The statistics of the second system on the same samples in the same order.
        level: The significance level, between 0 and 1.
        comparisons: The number of tests that are looked at together. `p` is multiplied by it, and the interval is so
            much wider that all of them hold with a confidence of 1 - level (Bonferroni).
        resamples: The number of random flips for more than 14 samples, at least 1.
        seed: Seed of the random flips; 0 is a seed.

    Raises:
        ConfigurationError: If the shapes differ, or `level`, `comparisons` or `resamples` is out of range.
    """
    import numpy as np

    if resamples < 1 or comparisons < 1 or not 0 < level < 1:
        raise ConfigurationError(
            "resamples and comparisons must be at least 1, and level between 0 and 1; got "
            f"{resamples}, {comparisons} and {level}."
        )
    if first.shape != second.shape:
        raise ConfigurationError(
            f"a paired test needs the same samples and statistics of both systems; got rows of shape {first.shape} and "
            f"{second.shape}.",
            hint="Measure both systems with one metric on one dataset.",
        )
    complete = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    a, b = first[complete], second[complete]
    n = len(a)
    first_value, second_value = (float(metric.over(rows, np.ones((1, n)))[0]) if n else float("nan") for rows in (a, b))
    difference = first_value - second_value
    is_exact = n <= MAX_EXACT_PAIRS
    flips = 2**n if is_exact else resamples + 1
    smallest_p = min(1.0, comparisons * (min(2, flips) if is_exact else 1) / flips)
    p = low = high = None
    if math.isfinite(difference):
        # A rounding error must not decide whether a flip reaches the observed difference.
        tolerance = 1e-12 * max(abs(first_value), abs(second_value))
        hits, up, down = 0, [np.empty(0)], [np.empty(0)]
        for unswapped in _all_flips(n) if is_exact else _random_flips(n, resamples, seed):
            flipped, balance = _flipped_differences(metric, a, b, unswapped)
            # A flip whose value is undefined counts against a difference.
            hits += int((~(np.abs(flipped) < abs(difference) - tolerance)).sum())
            residual = flipped - balance * difference
            up.append(_largest_kept_shifts(residual, balance))
            down.append(_largest_kept_shifts(residual, -balance))
        max_hits = int(level / comparisons * flips + 1e-9)
        p = min(1.0, comparisons * hits / flips)
        # A shift is rejected if at most `max_hits` flips reach it.
        above, below = (float(np.partition(np.concatenate(ends), -1 - max_hits)[-1 - max_hits]) for ends in (up, down))
        if math.isfinite(above) and math.isfinite(below):
            low, high = difference - below, difference + above
            if hits > max_hits:  # only a rounding error can have left 0 out
                low, high = min(low, 0.0), max(high, 0.0)
    return PairedTest(
        metric=metric.name,
        first=first_value if math.isfinite(first_value) else None,
        second=second_value if math.isfinite(second_value) else None,
        difference=difference if math.isfinite(difference) else None,
        low=low,
        high=high,
        p=p,
        smallest_p=smallest_p,
        level=level,
        n=n,
        left_out=len(first) - n,
        method="exact" if is_exact else "monte_carlo",
        signature=f"{metric.signature}|test:sign_flips|flips:{flips}"
        + ("" if is_exact else f"|seed:{seed}")
        + (f"|comparisons:{comparisons}" if comparisons > 1 else ""),
    )


def _all_flips(n: int) -> Iterator[Floats]:
    """Yield all flips of `n` samples as one block: 1 where a sample is not swapped, shape (2^n, n)."""
    import numpy as np

    yield ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(float)


def _random_flips(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield the flip that swaps nothing, then random ones in blocks of bounded size, shape (block, n)."""
    import numpy as np

    yield np.ones((1, n))
    random = np.random.default_rng(seed)
    for block in block_sizes(2 * n, resamples):
        yield random.integers(0, 2, (block, n)).astype(float)


def _flipped_differences(metric: CorpusMetric, a: Floats, b: Floats, unswapped: Floats) -> tuple[Floats, Floats]:
    """Return the difference of the two systems in each flip, and the mean sign of the flip, from -1 to 1."""
    import numpy as np

    # The rows of both systems are stacked; the weights choose one of the two for each sample.
    both = np.concatenate([a, b])
    first = metric.over(both, np.concatenate([unswapped, 1 - unswapped], axis=1))
    second = metric.over(both, np.concatenate([1 - unswapped, unswapped], axis=1))
    return first - second, 2 * unswapped.mean(axis=1) - 1


def _largest_kept_shifts(residual: Floats, balance: Floats) -> Floats:
    """Return for each flip the largest shift of the hypothesis, away from the observed difference, that it still keeps.

    If the hypothesis is larger than the observed difference by u > 0, the observed one falls short of it by u, and that
    of a flip is `residual - balance * u`. The flip keeps the hypothesis if `abs(residual - balance * u) >= u`: up to
    u = residual / (1 + balance) if the residual is positive, and up to u = -residual / (1 - balance) if it is negative.
    For a hypothesis that is smaller by u, `balance` changes its sign. A flip of no sample, or of all, keeps any.
    """
    import numpy as np

    shifts = np.abs(residual) / np.where(np.abs(balance) < 1, 1 + np.sign(residual) * balance, 1.0)
    return np.where((np.abs(balance) < 1) & np.isfinite(residual), shifts, np.inf)
