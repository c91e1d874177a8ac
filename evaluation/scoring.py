"""Scores from statistics: a metric is a value of summed rows, so that resampling is one matrix product.

A row of statistics stands for one sample. The bootstrap (Efron 1979) draws samples; a paired one draws the same samples
for both systems (Koehn 2004).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from taleward.core.errors import ConfigurationError
from taleward.core.frozen import Frozen
from taleward.evaluation.sample import Sample
from taleward.moderation.metrics import interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


class Metric(Protocol):
    """What a metric has to have."""

    name: str
    unit: str
    higher_is_better: bool | None

    @property
    def signature(self) -> str:
        """Version and settings."""

    def measure(self, samples: Sequence[Sample]) -> Floats:
        """A row of statistics for each sample."""

    def value(self, statistics: Floats) -> float:
        """The value of summed rows."""


class Score(Frozen):
    """A metric's value over all samples, with its 95 % bootstrap interval.

    Attributes:
        metric: The metric's name.
        unit: Its unit.
        value: Over all samples.
        low: The interval's lower end.
        high: The interval's upper end.
        n: Samples.
        higher_is_better: Which way is better; `None` where neither is.
        signature: What another person needs to get the same value.
    """

    metric: str
    unit: str
    value: float
    low: float
    high: float
    n: int
    higher_is_better: bool | None
    signature: str


class Paired(Frozen):
    """How far a system is above a baseline, on the same samples.

    Attributes:
        difference: The system's value minus the baseline's.
        low: Its interval's lower end.
        high: Its interval's upper end.
        p: Two-sided p-value that they do not differ.
        n: Samples that both have.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int


def score(metric: Metric, statistics: Floats, *, resamples: int = 500, seed: int = 0) -> Score:
    """The value with its interval."""
    drawn = [metric.value(row) for row in _drawn(len(statistics), resamples, seed) @ statistics]
    found = interval(metric.value(statistics.sum(0)), drawn)
    return Score(
        metric=metric.name,
        unit=metric.unit,
        value=found.value,
        low=found.low,
        high=found.high,
        n=len(statistics),
        higher_is_better=metric.higher_is_better,
        signature=f"{metric.signature}|n={len(statistics)}|resamples={resamples}|seed={seed}",
    )


def paired(
    value: Callable[[Floats], float], first: Floats, second: Floats, *, resamples: int = 1000, seed: int = 0
) -> Paired:
    """The first system against the second one; row for row they are of the same samples.

    Raises:
        ConfigurationError: They have no sample in common.
    """
    if len(first) != len(second) or not len(first):
        raise ConfigurationError(f"a paired test needs the same samples; got {len(first)} and {len(second)} rows.")
    counts = _drawn(len(first), resamples, seed)
    gaps = [value(a) - value(b) for a, b in zip(counts @ first, counts @ second, strict=True)]
    found = interval(value(first.sum(0)) - value(second.sum(0)), gaps)
    below = sum(gap <= 0 for gap in gaps)
    above = sum(gap >= 0 for gap in gaps)
    # One more on each side: so few resamples never prove a p-value of 0 (Davison and Hinkley 1997).
    p = min(1.0, 2 * (min(below, above) + 1) / (resamples + 1))
    return Paired(difference=found.value, low=found.low, high=found.high, p=p, n=len(first))


def _drawn(n: int, resamples: int, seed: int) -> Floats:
    """How often each sample is in each resample."""
    import numpy as np

    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples).astype(float)
