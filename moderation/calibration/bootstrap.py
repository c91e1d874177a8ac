"""Bootstrap resampling and percentile intervals (Efron 1979)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from taleward.core.frozen_model import FrozenModel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.intp]

# Bounds the memory of a block: 32 MB of float64, whatever the number of samples and resamples.
_MAX_CELLS = 4_000_000


class Interval(FrozenModel):
    """A value with its bootstrap interval.

    Attributes:
        value: The value on the original samples.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float


def bootstrap_indices(strata: Sequence[Indices], resamples: int, seed: int) -> Iterator[Indices]:
    """Draw samples with replacement, in blocks of bounded size.

    Args:
        strata: The sample indices of each stratum. A resample draws as many samples from a stratum as it holds.
        resamples: The number of resamples, over all blocks.
        seed: Seed of the draws; 0 is a seed.

    Yields:
        Sample indices, shape (block, n), one resample a row.
    """
    import numpy as np

    strata = [stratum for stratum in strata if len(stratum)]
    random = np.random.default_rng(seed)
    for block in block_sizes(sum(map(len, strata)), resamples):
        drawn = [stratum[random.integers(0, len(stratum), (block, len(stratum)))] for stratum in strata]
        yield np.concatenate(drawn, axis=1)


def stratified_resamples(truth: Sequence[bool] | npt.NDArray[np.bool_], resamples: int, seed: int) -> Iterator[Indices]:
    """Draw resamples with as many samples of each label as the original ones.

    Args:
        truth: The label of each sample.
        resamples: The number of resamples.
        seed: Seed of the draws; 0 is a seed.

    Yields:
        The sample indices of one resample, shape (n,).
    """
    import numpy as np

    labels = np.asarray(truth, bool)
    for block in bootstrap_indices([np.flatnonzero(labels), np.flatnonzero(~labels)], resamples, seed):
        yield from block


def bootstrap_weights(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Draw resamples as weights, so that one matrix product gives the sums of a whole block.

    Args:
        n: The number of samples, at least 1.
        resamples: The number of resamples, over all blocks.
        seed: Seed of the draws; 0 is a seed.

    Yields:
        How often each sample is drawn, shape (block, n).
    """
    import numpy as np

    for indices in bootstrap_indices([np.arange(n)], resamples, seed):
        block = len(indices)
        cells = indices + np.arange(block)[:, None] * n
        yield np.bincount(cells.ravel(), minlength=block * n).reshape(block, n).astype(float)


def block_sizes(n: int, resamples: int) -> Iterator[int]:
    """Split resamples of `n` samples into blocks that fit in memory."""
    largest = max(1, _MAX_CELLS // max(n, 1))
    for start in range(0, resamples, largest):
        yield min(largest, resamples - start)


def percentile_interval(value: float, draws: Sequence[float] | Floats, confidence: float = 0.95) -> Interval:
    """Return the percentile bootstrap interval of a value.

    Args:
        value: The value on the original samples.
        draws: The values on the resamples. If there are none, both ends are the value itself.
        confidence: The share of the draws within the interval, between 0 and 1.
    """
    import numpy as np

    if not len(draws):
        return Interval(value=value, low=value, high=value)
    low, high = np.quantile(np.asarray(draws, float), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value=value, low=float(low), high=float(high))
