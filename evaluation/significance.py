"""Intervals and paired tests by resampling, for any metric whose corpus value follows from rows of statistics.

A resample is a row of weights: how often each sample is drawn. One product of weights and rows gives the sums of all
resamples at once.
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

ResamplingMethod = Literal["bootstrap", "randomisation"]
"""How a paired test resamples.

* `bootstrap`: samples are drawn with replacement (Koehn 2004); also gives the difference's interval.
* `randomisation`: the two systems' rows are swapped by a coin's toss (Noreen 1989; Riezler and Maxwell 2005).
"""


class CorpusMetric(Protocol):
    """What has a corpus value; a `Metric` is."""

    name: str

    @property
    def signature(self) -> str: ...  # noqa: D102
    def over(self, rows: Floats, weights: Floats) -> Floats:
        """Corpus values, shape (resamples,), of rows (n, k) drawn as often as the weights (resamples, n) say."""


class PairedTest(FrozenModel):
    """Two systems on the same samples.

    Attributes:
        metric: What was compared.
        first: The first system's value; `None` where it has none.
        second: The second one's.
        difference: First minus second; `None` where a value is missing.
        low: Lower end of the difference's interval, by bootstrap.
        high: Upper end of it.
        p: Two-sided p-value that there is no difference.
        n: Samples that both have.
        left_out: Samples without a value in one of them or both.
        method: How `p` came about.
        signature: The metric's, with method, resamples and seed.
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
    """A corpus value with its percentile interval (Efron 1979); `None` where the value is undefined.

    Args:
        metric: Gives the value.
        rows: Statistics of each sample, shape (n, k), without NaN.
        resamples: How many; with 0 the interval is the value alone.
        seed: Of the draws; 0 is a seed.
        confidence: The share of resamples within the interval, between 0 and 1.
    """
    import numpy as np

    _check(resamples, confidence)
    if not len(rows):
        return None
    value = float(metric.over(rows, np.ones((1, len(rows))))[0])
    if not np.isfinite(value):
        return None
    drawn = [metric.over(rows, weights) for weights in bootstrap_weights(len(rows), resamples, seed)]
    found = np.concatenate([np.empty(0), *drawn])
    return percentile_interval(value, found[np.isfinite(found)], confidence)


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
    """Whether two systems differ on the same samples, by a metric.

    A sample without a value in one of them (a row of NaN) is left out of both. The p-value counts the observed
    arrangement as one resample, so that it is never 0: (hits + 1) / (resamples + 1). The bootstrap's p is that of a
    difference as far from its mean as the observed one is from 0.

    Args:
        metric: Gives the values.
        first: Statistics of the first system, shape (n, k), from `Metric.measure`.
        second: Those of the second, of the same samples in the same order.
        method: See `ResamplingMethod`.
        resamples: How many, at least 1.
        seed: Of the draws; 0 is a seed.
        confidence: The share of resamples within the interval, between 0 and 1.

    Raises:
        ConfigurationError: The shapes differ, or a number is out of its range.
    """
    import numpy as np

    _check(resamples, confidence, fewest=1)
    if first.shape != second.shape:
        raise ConfigurationError(
            f"a paired test needs the same samples and statistics in both; got rows of shape {first.shape} and "
            f"{second.shape}.",
            hint="Measure both systems with one metric on one dataset.",
        )
    whole = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    a, b = first[whole], second[whole]
    n, out = len(a), int((~whole).sum())
    signature = f"{metric.signature}|test:{method}|resamples:{resamples}|seed:{seed}"
    values = [float(metric.over(r, np.ones((1, n)))[0]) if n else float("nan") for r in (a, b)]
    told = [v if np.isfinite(v) else None for v in values]
    observed = values[0] - values[1]
    if None in told:
        return PairedTest(
            metric=metric.name, first=told[0], second=told[1], difference=None, low=None, high=None, p=None,
            n=n, left_out=out, method=method, signature=signature,
        )  # fmt: skip
    gaps = [metric.over(a, w) - metric.over(b, w) for w in bootstrap_weights(n, resamples, seed)]
    drawn = np.concatenate(gaps)
    drawn = drawn[np.isfinite(drawn)]
    range_ = percentile_interval(observed, drawn, confidence)
    extreme = drawn - drawn.mean() if method == "bootstrap" and len(drawn) else _swapped(metric, a, b, resamples, seed)
    hits = int((np.abs(extreme) >= abs(observed) - 1e-12).sum())
    return PairedTest(
        metric=metric.name, first=told[0], second=told[1], difference=observed, low=range_.low, high=range_.high,
        p=(hits + 1) / (len(extreme) + 1), n=n, left_out=out, method=method, signature=signature,
    )  # fmt: skip


def _swapped(metric: CorpusMetric, a: Floats, b: Floats, resamples: int, seed: int) -> Floats:
    """Differences after each pair was swapped, or not, by a coin's toss."""
    import numpy as np

    random = np.random.default_rng(seed)
    both, gaps = np.concatenate([a, b]), []
    for size in block_sizes(len(both), resamples):
        kept = random.integers(0, 2, (size, len(a))).astype(float)
        gaps.append(
            metric.over(both, np.concatenate([kept, 1 - kept], axis=1))
            - metric.over(both, np.concatenate([1 - kept, kept], axis=1))
        )
    drawn = np.concatenate(gaps)
    return drawn[np.isfinite(drawn)]


def _check(resamples: int, confidence: float, fewest: int = 0) -> None:
    if resamples < fewest:
        raise ConfigurationError(f"resamples must be {fewest} or more; got {resamples}.")
    if not 0 < confidence < 1:
        raise ConfigurationError(f"confidence must be between 0 and 1; got {confidence}.")
