"""Paired sign-flip tests: equal to scipy's, and p-value and interval never contradict each other."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings, strategies as st

from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import Metric, ratio
from taleward.evaluation.resampling import paired_test
from tests.helpers.mean_metric import size

Floats = npt.NDArray[np.float64]


class Share(Metric):
    """A ratio of sums, which is not the mean of the samples' ratios, and undefined if the second sum is 0."""

    name = "share"

    def statistics(self, samples: object) -> Floats:
        raise NotImplementedError

    def value(self, total: Floats) -> Floats:
        return ratio(total[..., 0], total[..., 1])


def rows(values: list[float] | Floats) -> Floats:
    return np.stack([np.asarray(values, float), np.ones(len(values))], axis=-1)


@pytest.mark.parametrize("n", [2, 4, 6, 9, 14])
def test_exact_p_values_are_those_of_scipy(n: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(n)
    first, second = random.integers(0, 6, n).astype(float), random.integers(0, 6, n).astype(float)
    reference = stats.permutation_test(
        (first, second), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    test = paired_test(size(), rows(first), rows(second))
    assert (test.method, test.n) == ("exact", n)
    assert test.p == pytest.approx(reference.pvalue)


def test_random_flips_come_close_to_the_exact_p_value() -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(1)
    first = random.normal(size=17)
    second = first + random.normal(0.3, 0.7, size=17)
    reference = stats.permutation_test(
        (first, second),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    test = paired_test(size(), rows(first), rows(second))
    assert test.method == "monte_carlo"
    assert test.p == pytest.approx(reference.pvalue, abs=0.01)
    assert test == paired_test(size(), rows(first), rows(second))
    assert paired_test(size(), rows(first), rows(second), seed=1).p != test.p


@pytest.mark.parametrize("n", [6, 11, 40])
def test_the_interval_holds_what_the_test_does_not_reject(n: int) -> None:
    random = np.random.default_rng(n)
    differences = random.gamma(1.0, size=n)
    test = paired_test(size(), rows(differences), rows(np.zeros(n)))
    assert test.low is not None
    assert test.high is not None
    assert test.difference is not None
    # Skewed differences have a skewed interval.
    assert test.high - test.difference > test.difference - test.low
    for end, outward in ((test.low, -1e-6), (test.high, 1e-6)):
        outside = paired_test(size(), rows(differences - end - outward), rows(np.zeros(n)))
        inside = paired_test(size(), rows(differences - end + outward), rows(np.zeros(n)))
        assert outside.p is not None
        assert inside.p is not None
        assert outside.p <= 0.05 < inside.p


numbers = st.floats(-5, 5, allow_nan=False) | st.integers(0, 1).map(float)


@settings(deadline=None, max_examples=150)
@given(
    pairs=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=18),
    level=st.sampled_from([0.01, 0.05, 0.1, 0.125, 0.5]),
    comparisons=st.integers(1, 4),
    is_share=st.booleans(),
)
def test_p_value_and_interval_never_contradict_each_other(
    pairs: list[tuple[float, float]], level: float, comparisons: int, is_share: bool
) -> None:
    first, second = (np.array(values) for values in zip(*pairs, strict=True))
    metric = Share() if is_share else size()
    a, b = (np.stack([x, np.abs(x) + 1], axis=-1) if is_share else rows(x) for x in (first, second))
    test = paired_test(metric, a, b, level=level, comparisons=comparisons, resamples=199)
    assert test.p is not None
    assert test.difference is not None
    assert test.significant == (test.p <= level + 1e-9)
    assert test.smallest_p <= test.p <= 1
    if test.low is not None and test.high is not None:
        assert test.low <= test.difference <= test.high
        assert test.significant != (test.low <= 0 <= test.high)


def test_few_samples_cannot_be_significant_and_have_no_interval() -> None:
    test = paired_test(size(), rows([10, 11, 12, 13]), rows([1, 2, 3, 4]))
    assert (test.p, test.smallest_p, test.difference) == (0.125, 0.125, 9)
    assert (test.low, test.high, test.significant) == (None, None, False)
    assert paired_test(size(), rows([10, 11, 12, 13]), rows([1, 2, 3, 4]), level=0.125).significant
    six = paired_test(size(), rows(np.arange(6.0) + 9), rows(np.arange(6.0)))
    assert six.significant
    assert not paired_test(size(), rows(np.arange(6.0) + 9), rows(np.arange(6.0)), comparisons=2).significant


def test_equal_systems_do_not_differ() -> None:
    test = paired_test(size(), rows(np.arange(8.0)), rows(np.arange(8.0)))
    assert (test.p, test.difference, test.low, test.high) == (1, 0, 0, 0)


def test_undefined_values_count_against_a_difference() -> None:
    # Any swap of a single sample leaves one system without a denominator.
    only_one = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    other = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    test = paired_test(Share(), only_one, other)
    assert test.difference == 1
    assert test.p == 1
    assert (test.low, test.high) == (None, None)
    none = paired_test(size(), rows([math.nan]), rows([1.0]))
    assert (none.difference, none.p, none.n, none.left_out) == (None, None, 0, 1)


def test_wrong_arguments_are_errors() -> None:
    with pytest.raises(ConfigurationError, match=r"rows of shape \(2, 2\) and \(3, 2\)"):
        paired_test(size(), rows([1, 2]), rows([1, 2, 3]))
    for options in ({"resamples": 0}, {"comparisons": 0}, {"level": 0.0}, {"level": 1.0}):
        with pytest.raises(ConfigurationError, match="must be at least 1, and level between 0 and 1; got"):
            paired_test(size(), rows([1]), rows([2]), **options)
