"""FID, KID, the neighbor scores, copies and diversity on feature arrays: closed forms, slow definitions, bad input."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.images.metrics.copying import copies, copy_rate
from taleward.images.metrics.distances import pairwise_distances
from taleward.images.metrics.diversity import mean_pairwise_difference, vendi_score
from taleward.images.metrics.frechet import frechet_distance
from taleward.images.metrics.intervals import feature_interval
from taleward.images.metrics.kernel import kernel_distance, kernel_distances
from taleward.images.metrics.neighbors import neighbor_scores

DISTANCES = ("fid", "kid", "precision", "recall", "density", "coverage")


def normal(n: int, dimensions: int = 4, *, seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> Any:
    return np.random.default_rng(seed).standard_normal((n, dimensions)) * scale + shift


def with_moments(mean: list[float], variances: list[float]) -> Any:
    """Features whose mean and unbiased covariance are exactly these: two on each axis, at the same distance."""
    d = len(mean)
    rows = np.zeros((2 * d, d))
    for axis, variance in enumerate(variances):
        rows[2 * axis, axis] = np.sqrt(variance * (2 * d - 1) / 2)
        rows[2 * axis + 1, axis] = -rows[2 * axis, axis]
    return rows + np.array(mean)


def test_frechet_distance_of_known_moments_is_the_closed_form() -> None:
    first, second = with_moments([0, 0, 1], [1, 4, 9]), with_moments([3, 0, 5], [1, 1, 4])
    # Diagonal covariances: squared difference of the means and of the standard deviations.
    assert frechet_distance(first, second) == pytest.approx(25 + 0 + 1 + 1)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(second, first) == pytest.approx(frechet_distance(first, second))


def test_frechet_distance_does_not_change_if_both_sets_are_turned() -> None:
    first, second = normal(60, seed=1), normal(50, seed=2, shift=0.5, scale=2.0)
    turn, _ = np.linalg.qr(normal(4, seed=3))
    assert frechet_distance(first @ turn, second @ turn) == pytest.approx(frechet_distance(first, second))


def test_fewer_pictures_than_dimensions_are_no_error() -> None:
    assert frechet_distance(normal(5, 40), normal(6, 40, seed=1)) > 0


def test_kernel_distance_is_the_mean_over_pairs() -> None:
    first, second = normal(7, 3, seed=1), normal(5, 3, seed=2, shift=1.0)

    def kernel(x: Any, y: Any) -> float:
        return float((x @ y / 3 + 1) ** 3)

    expected = (
        np.mean([kernel(x, y) for x, y in combinations(first, 2)])
        + np.mean([kernel(x, y) for x, y in combinations(second, 2)])
        - 2 * np.mean([kernel(x, y) for x, y in product(first, second)])
    )
    assert kernel_distance(first, second) == pytest.approx(expected)


def test_kernel_distance_is_unbiased_also_of_resamples() -> None:
    values = [kernel_distance(normal(20, seed=s), normal(20, seed=1000 + s)) for s in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)
    # A picture drawn twice and one drawn once are the same pair of different pictures.
    rows, ones = normal(3), np.ones((1, 3))
    assert kernel_distances(rows, rows, ones, np.array([[2.0, 0, 0]]))[0] != 0
    assert np.isnan(kernel_distances(rows, rows, ones, np.array([[3.0, 0, 0]]))[0])


def test_neighbor_scores_by_their_definition() -> None:
    real, fake, k = normal(30, 3, seed=1), normal(25, 3, seed=2, shift=0.6), 3
    between = np.linalg.norm(real[:, None] - fake[None], axis=2)
    real_radius = np.sort(np.linalg.norm(real[:, None] - real[None], axis=2), axis=1)[:, k]
    fake_radius = np.sort(np.linalg.norm(fake[:, None] - fake[None], axis=2), axis=1)[:, k]
    inside = between < real_radius[:, None]
    scores = neighbor_scores(real, fake, k=k)
    assert scores.precision == pytest.approx(inside.any(axis=0).mean())
    assert scores.recall == pytest.approx((between < fake_radius).any(axis=1).mean())
    assert scores.density == pytest.approx(inside.sum() / k / len(fake))
    assert scores.coverage == pytest.approx(inside.any(axis=1).mean())


def test_neighbor_scores_are_those_of_prdc() -> None:
    """Recorded with prdc 0.2, the code of the authors of density and coverage, and k = 5."""
    random = np.random.default_rng(7)
    real, fake = random.standard_normal((500, 64)), random.standard_normal((400, 64)) * 0.95 + 0.1
    with_copies = np.concatenate([fake[:300], real[:100]])
    expected = {"precision": 0.8625, "recall": 0.574, "density": 1.706, "coverage": 0.984}
    assert neighbor_scores(real, fake).model_dump() == pytest.approx(expected)
    expected = {"precision": 0.8875, "recall": 0.71, "density": 1.5815, "coverage": 0.99}
    assert neighbor_scores(real, with_copies).model_dump() == pytest.approx(expected)


def test_each_damage_shows_in_its_own_score() -> None:
    real = normal(200, 6, seed=1)
    collapsed = np.repeat(normal(4, 6, seed=2) * 0.3, 50, axis=0) + normal(200, 6, seed=3) * 1e-3
    far = normal(200, 6, seed=4, shift=9.0)
    narrow, off = neighbor_scores(real, collapsed), neighbor_scores(real, far)
    assert narrow.precision > 0.9
    assert narrow.recall < 0.1
    assert narrow.coverage < 0.5
    assert off.precision == off.recall == off.density == off.coverage == 0
    same = neighbor_scores(real, real)
    assert same.precision == same.recall == same.coverage == 1


def test_copies_are_found_and_new_pictures_of_the_kind_are_not() -> None:
    training, new = normal(300, 8, seed=1), normal(300, 8, seed=2)
    assert copy_rate(training, training[:50]) == 1
    assert copies(training, np.concatenate([new[:5], training[:5]])).tolist() == [False] * 5 + [True] * 5
    assert copy_rate(training, new) < 0.05
    # Only the copy rate sees them.
    assert frechet_distance(training, training) == pytest.approx(0, abs=1e-8)


def test_distances_of_equal_rows_are_exactly_zero() -> None:
    rows = normal(20, 50) * 1e-3 + 1e5
    distances = pairwise_distances(rows, rows)
    assert (np.diag(distances) == 0).all()
    expected = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    np.testing.assert_allclose(distances, expected, rtol=1e-5)


def test_diversity_of_equal_and_of_orthogonal_pictures() -> None:
    assert vendi_score(np.ones((5, 3))) == pytest.approx(1)
    assert vendi_score(np.eye(6)) == pytest.approx(6)
    assert mean_pairwise_difference(np.ones((4, 9))) == 0
    assert mean_pairwise_difference([np.zeros(16), np.ones(16)]) == 1
    assert np.isnan(mean_pairwise_difference(np.ones((1, 9))))


@pytest.mark.parametrize("distance", DISTANCES)
def test_an_interval_contains_its_value_and_depends_only_on_the_seed(distance: Any) -> None:
    real, fake = normal(60, seed=1), normal(50, seed=2, shift=0.4)
    interval = feature_interval(distance, real, fake, resamples=40, seed=3)
    assert interval.low < interval.value < interval.high
    assert feature_interval(distance, real, fake, resamples=40, seed=3) == interval
    if distance not in ("fid", "kid"):
        assert interval.value == getattr(neighbor_scores(real, fake), distance)
    if distance in ("precision", "recall", "coverage"):
        assert 0 <= interval.low <= interval.high <= 1


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (np.ones((4, 3)), np.ones((4, 2)), "same dimensions; got 3 and 2"),
        (np.ones((1, 3)), np.ones((4, 3)), "at least 2 real"),
        (np.ones(3), np.ones((4, 3)), r"shape \(n, dimensions\); got \(3,\)"),
        (np.full((4, 3), np.nan), np.ones((4, 3)), "finite; got NaN or infinity in 4 rows"),
        ([["a"]], np.ones((4, 3)), "real must be numbers"),
    ],
)
def test_features_that_cannot_be_compared_are_refused(real: Any, fake: Any, message: str) -> None:
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(ConfigurationError, match=message):
            distance(real, fake)


def test_numbers_out_of_range_are_refused() -> None:
    rows = normal(10)
    with pytest.raises(ConfigurationError, match="k must be 1 or more"):
        neighbor_scores(rows, rows, k=0)
    with pytest.raises(ConfigurationError, match="at least 11 real"):
        neighbor_scores(rows, rows, k=10)
    with pytest.raises(ConfigurationError, match="quantile must be from 0 to 1"):
        copy_rate(rows, rows, quantile=2)
    with pytest.raises(ConfigurationError, match="at least 2 training"):
        copy_rate(rows[:1], rows)
    with pytest.raises(UnknownName, match="ssim"):
        feature_interval("ssim", rows, rows)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="resamples"):
        feature_interval("fid", rows, rows, resamples=0)
