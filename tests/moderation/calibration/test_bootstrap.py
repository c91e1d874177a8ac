"""Bootstrap resamples and their percentile intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from taleward.moderation.calibration import bootstrap


def test_resamples_keep_the_labels_and_the_seed() -> None:
    truth = [True] * 3 + [False] * 7
    resamples = list(bootstrap.stratified_resamples(truth, 5, seed=0))
    assert all(np.asarray(truth)[indices].sum() == 3 and len(indices) == 10 for indices in resamples)
    again = bootstrap.stratified_resamples(truth, 5, seed=0)
    assert all((a == b).all() for a, b in zip(resamples, again, strict=True))
    other = bootstrap.stratified_resamples(truth, 5, seed=1)
    assert any((a != b).any() for a, b in zip(resamples, other, strict=True))


def test_one_label_alone_can_be_resampled() -> None:
    assert [sorted(set(indices)) for indices in bootstrap.stratified_resamples([True], 2, seed=0)] == [[0], [0]]


def test_weights_count_the_draws_and_blocks_do_not_change_them(monkeypatch: pytest.MonkeyPatch) -> None:
    [weights] = bootstrap.bootstrap_weights(6, 10, seed=0)
    [indices] = bootstrap.bootstrap_indices([np.arange(6)], 10, seed=0)
    assert weights.shape == (10, 6)
    assert weights.tolist() == [np.bincount(row, minlength=6).tolist() for row in indices]
    monkeypatch.setattr(bootstrap, "_MAX_CELLS", 24)
    blocks = list(bootstrap.bootstrap_weights(6, 10, seed=0))
    assert [len(block) for block in blocks] == [4, 4, 2]
    assert (np.concatenate(blocks) == weights).all()


def test_percentile_intervals() -> None:
    assert math.isclose(bootstrap.percentile_interval(0.5, list(range(101))).low, 2.5)
    assert math.isclose(bootstrap.percentile_interval(0.5, list(range(101)), 0.5).high, 75)
    assert bootstrap.percentile_interval(0.5, []).high == 0.5
