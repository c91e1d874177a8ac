"""Errors before and after tuning, and when a judge is promoted."""

from __future__ import annotations

import pytest

from taleward.moderation.calibration.labeled_texts import LabeledText
from taleward.tuning.judge_report import decide_promotion, mean_cost, measure_change
from taleward.tuning.settings import JudgeTuningSettings

SETTINGS = JudgeTuningSettings(resamples=500)


def labeled(band: str, harmful: int, harmless: int) -> list[LabeledText]:
    return [LabeledText(f"{n}", n < harmful, band=band) for n in range(harmful + harmless)]


def test_both_sides_errors_are_measured_with_intervals() -> None:
    texts = labeled("6-8", 40, 60)
    before = [n < 20 for n in range(100)]  # half of the harmful ones pass, no good one is turned down
    after = [n < 36 or n >= 94 for n in range(100)]
    bands, total = measure_change(texts, before, after, SETTINGS)
    assert bands["6-8"] == total
    assert (total.texts, total.harmful) == (100, 40)
    assert total.missed_before is not None
    assert total.missed_after is not None
    assert total.turned_down_after is not None
    assert (total.missed_before.value, total.missed_after.value) == pytest.approx((0.5, 0.1))
    assert total.turned_down_after.value == pytest.approx(0.1)
    assert total.cost_before.value == pytest.approx(3 * 20 / 100)
    assert total.cost_after.value == pytest.approx((3 * 4 + 6) / 100)
    assert total.cost_difference.value == pytest.approx(-0.42)
    assert total.cost_after.value == pytest.approx(mean_cost(texts, after, 3.0))
    assert 0.3 < total.missed_before.low < 0.5 < total.missed_before.high < 0.7
    assert total.cost_difference.high < 0
    assert decide_promotion(bands, total)[0]
    assert measure_change(texts, before, after, SETTINGS) == (bands, total)


def test_the_difference_is_paired() -> None:
    # The same 30 errors before and after, but for three that are gone: the intervals of the costs overlap.
    texts = labeled("6-8", 200, 200)
    before, after = [30 <= n < 200 for n in range(400)], [20 <= n < 200 for n in range(400)]
    bands, total = measure_change(texts, before, after, SETTINGS)
    assert total.cost_after.high > total.cost_before.low
    assert total.cost_difference.high < 0
    assert decide_promotion(bands, total)[0]


def test_a_change_within_noise_is_not_promoted() -> None:
    texts = labeled("6-8", 20, 20)
    before, after = [n < 19 for n in range(40)], [n < 20 for n in range(40)]
    promoted, reason = decide_promotion(*measure_change(texts, before, after, SETTINGS))
    assert not promoted
    assert "does not fall beyond noise: -0.075 [" in reason
    assert not decide_promotion(*measure_change(texts, before, before, SETTINGS))[0]


def test_a_judge_that_gets_worse_for_one_band_is_not_promoted() -> None:
    texts = labeled("3-5", 100, 100) + labeled("6-8", 20, 20)
    before = [False] * 200 + [n < 20 for n in range(40)]
    after = [n < 100 for n in range(200)] + [True] * 40
    bands, total = measure_change(texts, before, after, SETTINGS)
    assert total.cost_difference.high < 0
    promoted, reason = decide_promotion(bands, total)
    assert not promoted
    assert reason.endswith("but rises for 6-8")


def test_without_texts_of_a_label_its_share_is_unknown() -> None:
    _, total = measure_change(labeled("6-8", 0, 10), [True] * 10, [False] * 10, SETTINGS)
    assert total.missed_before is None
    assert total.cost_difference.value == -1.0
