"""Fitting the linear layer to labels of whole texts, on made-up sentence vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the extra calibration is not installed")

from taleward.tuning.head_fit import FitTexts, fit_head, fit_offsets, fit_thresholds, text_margins

CATEGORIES, DIMENSIONS = 3, 4


def made_up(texts: int = 60, seed: int = 0) -> FitTexts:
    """Texts of one to three sentences; one along the first axis makes a text harmful, but the head misses it."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 4, texts)
    harmful = np.arange(texts) % 2 == 0
    vectors = rng.normal(size=(lengths.sum(), DIMENSIONS)) * 0.1
    vectors[np.cumsum(lengths)[harmful] - 1, 0] = 1.0
    return FitTexts(
        vectors, np.full((lengths.sum(), CATEGORIES), -3.0), lengths, harmful, np.zeros(texts, int),
        np.ones((texts, CATEGORIES), bool),
    )  # fmt: skip


def errors(texts: FitTexts, change: Any) -> int:
    margins = text_margins(texts.excess + texts.vectors @ change.weight + change.bias, texts.lengths)
    return int(((margins + change.offsets[texts.band] >= 0) != texts.harmful).sum())


def test_a_margin_is_the_log_sum_exp_of_all_sentences_and_categories() -> None:
    excess = np.array([[0.0, -1.0], [2.0, -np.inf], [5.0, 5.0]])
    expected = [np.log(1 + np.exp(-1) + np.exp(2)), 5 + np.log(2)]
    np.testing.assert_allclose(text_margins(excess, np.array([2, 1])), expected)


def test_the_head_learns_what_an_offset_cannot() -> None:
    texts = made_up()
    assert errors(texts, fit_thresholds(texts, 1, 1.0)) >= 25
    assert errors(texts, fit_head(texts, 1, 1.0, pull=0.1)) == 0
    assert errors(made_up(seed=1), fit_head(texts, 1, 1.0, pull=0.1)) == 0


def test_a_strong_pull_leaves_the_head_as_it_was() -> None:
    weak, strong = (fit_head(made_up(), 1, 1.0, pull=pull) for pull in (1.0, 1e6))
    assert np.abs(strong.weight).max() < 1e-3 < np.abs(weak.weight).max()
    assert strong.offsets == pytest.approx(fit_thresholds(made_up(), 1, 1.0).offsets, abs=1e-2)


def test_only_the_categories_that_people_named_are_raised() -> None:
    texts = made_up()
    blamed = texts.blamed.copy()
    blamed[texts.harmful, 1:] = False
    change = fit_head(texts._replace(blamed=blamed), 1, 1.0, pull=1.0)
    assert change.weight[0, 0] > 0.5
    assert change.weight[0, 0] > 5 * np.abs(change.weight[0, 1:]).max()


def test_a_category_that_a_band_tolerates_stays_as_it_was() -> None:
    texts = made_up()
    excess = texts.excess.copy()
    excess[:, 2] = -np.inf
    change = fit_head(texts._replace(excess=excess), 1, 1.0, pull=1.0)
    assert np.abs(change.weight[:, 2]).max() == 0.0
    assert np.isfinite(change.weight).all()


def test_the_gradient_leads_to_the_same_fit_every_time() -> None:
    first, second = fit_head(made_up(), 1, 3.0, pull=1.0), fit_head(made_up(), 1, 3.0, pull=1.0)
    np.testing.assert_array_equal(first.weight, second.weight)


def test_an_offset_weighs_misses_and_bands_apart() -> None:
    # In both bands the odds of harm are as the margins say, but the second one's margins are too low by 2.
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, 4000)
    harmful = rng.random(4000) < 1 / (1 + np.exp(-true))
    band = np.arange(4000) % 2
    texts = FitTexts(*(np.zeros(0),) * 2, np.ones(4000, int), harmful, band, np.zeros(0, bool))
    even = fit_offsets(texts, true - 2 * band, 2, 1.0)
    strict = fit_offsets(texts, true - 2 * band, 2, 3.0)
    assert even == pytest.approx([0.0, 2.0], abs=0.2)
    assert strict == pytest.approx(even + np.log(3), abs=0.3)
