"""Bootstrap intervals and paired significance tests for corpus metrics.

A resample is a row of weights that says how often each sample is drawn. One matrix product of weights and the samples'
statistics gives the sums of all resamples, from which a metric computes its corpus values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.moderation.calibration.bootstrap import Interval, block_sizes, bootstrap_weights, percentile_interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

ResamplingMethod = Literal["bootstrap", "randomization"]
"""How a paired test resamples.

* `bootstrap`: draw samples with replacement (Koehn 2004).
* `randomization`: swap the two systems' results at random, sample by sample (Noreen 1989; Riezler and Maxwell 2005).
"""


class CorpusMetric(Protocol):
    """A metric whose corpus value is computed from weighted rows of statistics, such as any `Metric`."""

    name: str

    @property
    def signature(self) -> str: ...  # noqa: D102
    def over(self, rows: Floats, weights: Floats) -> Floats:
        """Return the corpus values, shape (resamples,), of rows (n, k) with weights (resamples, n)."""


class PairedTest(FrozenModel):
    """The difference of two systems on the same samples.

    Attributes:
        metric: The metric's name.
        first: The value of the first system; `None` if it is undefined.
        second: The value of the second system; `None` if it is undefined.
        difference: First minus second; `None` if a value is undefined.
        low: Lower end of the bootstrap interval of the difference.
        high: Upper end of the bootstrap interval of the difference.
        p: Two-sided p-value of the null hypothesis that there is no difference.
        n: The number of samples that have a value in both systems.
        left_out: The number of other samples.
        method: The method that gave `p`.
        signature: The metric's signature with method, resamples and seed.
    """

    metric: str
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    left_out: int
    method: ResamplingMethod
    signature: str


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

    _check_options(resamples, confidence)
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
    method: ResamplingMethod = "bootstrap",
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> PairedTest:
    """Test whether two systems differ on the same samples.

    Samples without a value in one of the systems (rows of NaN) are left out of both. The p-value is
    (hits + 1) / (resamples + 1): it counts the observed result as one resample, so that it is never 0. With
    `bootstrap`, a hit is a difference at least as far from the mean of all resamples as the observed one is from 0.

    Args:
        metric: The metric.
        first: The statistics of the first system, shape (n, k), from `Metric.measure`.
        second: The statistics of the second system on the same samples in the same order.
        method: See `ResamplingMethod`. The interval always comes from the bootstrap.
        resamples: The number of resamples, at least 1.
        seed: Seed of the draws; 0 is a seed.
        confidence: The share of the resamples within the interval, between 0 and 1.

    Raises:
        ConfigurationError: If the shapes differ, or `resamples` or `confidence` is out of range.
    """
    import numpy as np

    _check_options(resamples, confidence, min_resamples=1)
    if first.shape != second.shape:
        raise ConfigurationError(
            f"a paired test needs the same samples and statistics of both systems; got rows of shape {first.shape} and "
            f"{second.shape}.",
            hint="Measure both systems with one metric on one dataset.",
        )
    complete = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    a, b = first[complete], second[complete]
    n, left_out = len(a), int((~complete).sum())
    signature = f"{metric.signature}|test:{method}|resamples:{resamples}|seed:{seed}"
    first_value, second_value = (float(metric.over(rows, np.ones((1, n)))[0]) if n else float("nan") for rows in (a, b))
    difference = first_value - second_value
    if not np.isfinite(difference):
        return PairedTest(
            metric=metric.name,
            first=first_value if np.isfinite(first_value) else None,
            second=second_value if np.isfinite(second_value) else None,
            difference=None,
            low=None,
            high=None,
            p=None,
            n=n,
            left_out=left_out,
            method=method,
            signature=signature,
        )
    blocks = [metric.over(a, weights) - metric.over(b, weights) for weights in bootstrap_weights(n, resamples, seed)]
    draws = np.concatenate(blocks)
    draws = draws[np.isfinite(draws)]
    interval = percentile_interval(difference, draws, confidence)
    if method == "bootstrap" and len(draws):
        null_draws = draws - draws.mean()
    else:
        null_draws = _randomized_differences(metric, a, b, resamples, seed)
    # Differences that are equal but for rounding count as hits.
    hits = int((np.abs(null_draws) >= abs(difference) - 1e-12).sum())
    return PairedTest(
        metric=metric.name,
        first=first_value,
        second=second_value,
        difference=difference,
        low=interval.low,
        high=interval.high,
        p=(hits + 1) / (len(null_draws) + 1),
        n=n,
        left_out=left_out,
        method=method,
        signature=signature,
    )


def _randomized_differences(metric: CorpusMetric, a: Floats, b: Floats, resamples: int, seed: int) -> Floats:
    """Return the differences after swapping the two systems at random, sample by sample."""
    import numpy as np

    random = np.random.default_rng(seed)
    # The rows of both systems are stacked; the weights choose one of the two for each sample.
    both, blocks = np.concatenate([a, b]), []
    for block in block_sizes(len(both), resamples):
        unswapped = random.integers(0, 2, (block, len(a))).astype(float)
        first = metric.over(both, np.concatenate([unswapped, 1 - unswapped], axis=1))
        second = metric.over(both, np.concatenate([1 - unswapped, unswapped], axis=1))
        blocks.append(first - second)
    draws = np.concatenate(blocks)
    return draws[np.isfinite(draws)]


def _check_options(resamples: int, confidence: float, min_resamples: int = 0) -> None:
    if resamples < min_resamples:
        raise ConfigurationError(f"resamples must be at least {min_resamples}; got {resamples}.")
    if not 0 < confidence < 1:
        raise ConfigurationError(f"confidence must be between 0 and 1; got {confidence}.")
