"""Calibrations are correct on synthetic labels, report what cannot be fitted, and are applied by judges."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from taleward.core.errors import ConfigurationError, InvalidFile
from taleward.core.verdict import Finding
from taleward.moderation.calibration.calibration import Calibration, Isotonic, Platt, Target, load_calibration
from taleward.moderation.calibration.fit import FitError, fit_calibration, fit_category, fit_curve, pick_threshold
from taleward.moderation.calibration.labeled_texts import LabeledData, LabeledText
from taleward.moderation.judges import Assessment, judge
from taleward.moderation.judges.cached import CachedJudge
from taleward.moderation.judges.cascade import Cascade, relative_risk
from taleward.testing import FakeJudge

RECALL = Target(kind="recall", value=0.9)
FALSE_ALARMS = Target(kind="false_alarms", value=0.05)


def synthetic_scores(texts: int, seed: int = 0) -> tuple[Any, Any]:
    """Return labels and overconfident scores, with twice the log-odds of the true probabilities."""
    random = np.random.default_rng(seed)
    log_odds = random.normal(0.0, 3.0, texts)
    return random.random(texts) < 1 / (1 + np.exp(-log_odds / 2)), 1 / (1 + np.exp(-log_odds))


class NumberJudge(FakeJudge):
    """Score a text that is a number with that number, for violence and hate."""

    def __init__(self, findings: tuple[Finding, ...] = (), **fields: Any) -> None:
        def assess(passage: Any) -> Assessment:
            if not passage.text.replace(".", "").isdigit():
                return Assessment(outcome="unparsable")
            scores = {"violence": float(passage.text), "hate": float(passage.text)}
            return Assessment.model_validate({"scores": scores, "findings": findings, **fields})

        super().__init__(assess)


def labeled_data(texts: int = 400) -> LabeledData:
    truth, scores = synthetic_scores(texts)
    rows = [LabeledText(f"{s:.6f}", bool(t), ("violence",) if t else ()) for t, s in zip(truth, scores, strict=True)]
    rows += [LabeledText("no number", True, ("violence",)), LabeledText("0.99", True, ("hate",))]
    return LabeledData("made-up.csv", "0" * 64, tuple(rows))


def test_platt_finds_the_sigmoid_that_generated_the_labels() -> None:
    curve = fit_curve(*synthetic_scores(20_000), "platt")
    assert isinstance(curve, Platt)
    assert curve.slope == pytest.approx(0.5, abs=0.03)
    assert curve.intercept == pytest.approx(0.0, abs=0.06)


def test_platts_targets_keep_the_curve_of_separated_labels_finite() -> None:
    curve = fit_curve(np.array([False] * 5 + [True] * 5), np.array([0.2] * 5 + [0.8] * 5), "platt")
    assert curve(0.8) == pytest.approx(6 / 7, abs=1e-3)
    assert curve(0.2) == pytest.approx(1 / 7, abs=1e-3)


def test_isotonic_is_scikit_learns_curve_and_keeps_the_order() -> None:
    from sklearn.isotonic import IsotonicRegression

    truth, scores = synthetic_scores(300)
    curve = fit_curve(truth, scores, "isotonic")
    sklearn_curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, truth)
    points = np.linspace(0, 1, 201)
    probabilities = np.array([curve(x) for x in points])
    assert np.abs(probabilities - sklearn_curve.predict(points)).max() <= 0.0011
    assert (np.diff(probabilities) > 0).all()


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6), st.floats(0, 1), st.floats(0, 1))
def test_a_curve_stays_within_0_and_1_and_never_falls(knots: list[tuple[float, float]], a: float, b: float) -> None:
    at = sorted({k for k, _ in knots})
    isotonic = Isotonic(at=tuple(at), gives=tuple(sorted(g for _, g in knots)[: len(at)]))
    low, high = sorted((a, b))
    for curve in (isotonic, Platt(slope=0.1 + knots[0][0], intercept=knots[0][1])):
        assert 0.0 <= curve(low) <= curve(high) + 1e-12 <= 1.0 + 1e-12


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Target(kind="recall", value=0.6), 0.55),
        (Target(kind="recall", value=0.7), 0.35),
        (Target(kind="false_alarms", value=0.3), 0.75),
        (Target(kind="false_alarms", value=0.4), 0.55),
        (Target(kind="false_alarms", value=0.7), 0.35),
    ],
)
def test_a_threshold_lies_halfway_between_two_scores(target: Target, expected: float) -> None:
    truth = np.array([True, False, True, False, True, False])
    scores = np.array([0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    assert pick_threshold(truth, scores, target) == pytest.approx(expected)


def test_a_target_out_of_reach_is_reported() -> None:
    truth, scores = np.array([True, True, False, False]), np.array([0.9, 0.1, 0.9, 0.2])
    with pytest.raises(FitError, match=r"recall>=0\.9 would fail every harmless text too"):
        pick_threshold(truth, scores, RECALL)
    with pytest.raises(FitError, match=r"false_alarms<=0\.05 would let every harmful text pass"):
        pick_threshold(truth, scores, FALSE_ALARMS)
    with pytest.raises(FitError, match="do not rise with harm"):
        fit_curve(np.array([True] * 9 + [False] * 9), np.array([0.1] * 9 + [0.9] * 9), "platt")


@pytest.mark.parametrize("method", ["platt", "isotonic"])
@pytest.mark.parametrize("target", [RECALL, FALSE_ALARMS])
def test_targets_hold_on_new_texts_and_scores_become_probabilities(method: Any, target: Target) -> None:
    truth, scores = synthetic_scores(1500)
    fitted = fit_category(truth, scores, target, method=method, resamples=30)
    new_truth, new_scores = synthetic_scores(4000, seed=1)
    failed = np.array([fitted.curve(s) >= fitted.threshold.value for s in new_scores])
    reached = failed[new_truth].mean() if target.kind == "recall" else failed[~new_truth].mean()
    estimate = fitted.recall if target.kind == "recall" else fitted.false_alarms
    assert reached == pytest.approx(target.value, abs=0.04)
    assert estimate.low - 0.02 <= reached <= estimate.high + 0.02
    assert fitted.ece_after < 0.06 < fitted.ece_before
    again = fit_category(truth, scores, target, method=method, resamples=30)
    assert again == fitted
    assert fit_category(truth, scores, target, method=method, resamples=30, seed=1).recall != fitted.recall


def test_a_calibration_is_saved_with_its_data_and_reasons(tmp_path: Path) -> None:
    fitted = fit_calibration(NumberJudge(), labeled_data(), RECALL, resamples=40)
    assert list(fitted.categories) == ["violence"]
    assert fitted.left_alone["hate"] == "1 harmful and 212 harmless texts; 20 of each are needed"
    assert fitted.left_alone["drugs"] == "the judge gives no scores for it"
    assert (fitted.data.texts, fitted.data.unjudged) == (402, 1)
    assert "judge=fake|policy=kids@1:" in fitted.signature
    assert "target=recall>=0.9|method=platt" in fitted.signature
    fitted.save(tmp_path / "c.yaml")
    assert load_calibration(tmp_path / "c.yaml") == fitted
    text = (tmp_path / "c.yaml").read_text()
    (tmp_path / "c.yaml").write_text(text.replace("slope: 0", "slope: -0"))
    with pytest.raises(InvalidFile, match=r"line \d+: categories.violence.curve.platt.slope: .*greater than 0; got -0"):
        load_calibration(tmp_path / "c.yaml")


@cache
def fitted_once() -> Calibration:
    return fit_calibration(NumberJudge(), labeled_data(), RECALL, resamples=10)


def halving_calibration(threshold: float, **changes: Any) -> Calibration:
    """Create a calibration whose curve for violence halves the log-odds."""
    interval = {"value": threshold, "low": threshold, "high": threshold}
    data = fitted_once().model_dump()
    data["categories"]["violence"] |= {"curve": Platt(slope=0.5, intercept=0.0), "threshold": interval}
    return Calibration.model_validate(data | changes)


def test_a_calibrated_judge_uses_the_fitted_scores_and_thresholds() -> None:
    uncalibrated, fitted = NumberJudge(), NumberJudge().calibrated(halving_calibration(0.7))
    log_odds = 0.5 * math.log(0.8 / 0.2)
    verdict = fitted.invoke("0.8")
    assert verdict.scores["violence"] == pytest.approx(1 / (1 + math.exp(-log_odds)))
    assert verdict.scores["hate"] == 0.8
    assert uncalibrated.invoke("0.8").outcome == "fail"
    assert verdict.outcome == "fail"  # hate was not fitted, and 0.8 is above the policy's threshold
    strict = NumberJudge().calibrated(halving_calibration(0.3)).invoke("0.3")
    assert (uncalibrated.invoke("0.3").outcome, strict.outcome) == ("pass", "fail")
    assert strict.categories == ("violence",)
    assert "the fitted score 0.40 is at least 0.30" in strict.findings[0].rationale
    assert uncalibrated.calibration is None
    assert uncalibrated.invoke("0.8").calibration is None
    assert strict.calibration == halving_calibration(0.3).sha256[:12]


def test_the_score_decides_in_a_fitted_category_and_findings_fail_in_others() -> None:
    def severe(category: str) -> tuple[Finding, ...]:
        return (Finding(category=category, severity="severe"),)

    assert NumberJudge(severe("violence")).invoke("0.3").outcome == "fail"
    assert NumberJudge(severe("violence")).calibrated(halving_calibration(0.7)).invoke("0.3").outcome == "pass"
    assert NumberJudge(severe("hate")).calibrated(halving_calibration(0.7)).invoke("0.3").outcome == "fail"
    assert NumberJudge(outcome="fail").calibrated(halving_calibration(0.7)).invoke("0.3").outcome == "fail"
    assert NumberJudge().calibrated(halving_calibration(0.7)).invoke("words").outcome == "unparsable"


def test_a_verdict_cache_keeps_calibrations_apart(tmp_path: Path) -> None:
    uncalibrated = CachedJudge(NumberJudge(), tmp_path / "v.db")
    strict = uncalibrated.calibrated(halving_calibration(0.3))
    assert [uncalibrated.invoke("0.3").outcome, strict.invoke("0.3").outcome] == ["pass", "fail"]
    assert strict.invoke("0.3").cached
    assert strict.invoke("0.3").calibration == halving_calibration(0.3).sha256[:12]
    assert (strict.rules.threshold("violence", "6-8"), uncalibrated.rules.threshold("violence", "6-8")) == (0.3, 0.5)


def test_the_relative_risk_uses_the_fitted_thresholds() -> None:
    fitted = NumberJudge().calibrated(halving_calibration(0.3))
    verdict = fitted.invoke("0.3")
    assert relative_risk(verdict, fitted.rules, fitted.band) >= 0.5
    assert fitted.policy.threshold("violence", "6-8") == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"judge": "other"}, "fitted for judge 'other', not 'fake'"),
        ({"policy": "teen@1"}, "fitted for policy 'teen@1', not 'kids@1'"),
        ({"band": "3-5"}, "fitted for band '3-5', not '6-8'"),
        ({"policy_sha256": "abc"}, "fitted for policy content 'abc', not '"),
    ],
)
def test_a_calibration_for_another_judge_policy_or_band_is_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        NumberJudge().calibrated(halving_calibration(0.5, **changes))


def test_a_judge_is_created_with_the_path_of_a_calibration(tmp_path: Path) -> None:
    halving_calibration(0.5).save(tmp_path / "c.yaml")
    with pytest.raises(ConfigurationError, match="fitted for judge 'fake', not 'lexicon'"):
        judge("lexicon", calibration=tmp_path / "c.yaml")
    halving_calibration(0.9, judge="lexicon").save(tmp_path / "c.yaml")
    calibrated = judge("lexicon", calibration=tmp_path / "c.yaml")
    assert calibrated.rules.threshold("violence", "6-8") == 0.9
    with pytest.raises(ConfigurationError, match="combines the verdicts of others"):
        judge(["lexicon", NumberJudge()], calibration=tmp_path / "c.yaml")


def test_invalid_input_to_a_fit_is_rejected() -> None:
    data = labeled_data()
    with pytest.raises(ConfigurationError, match="'fake' has a calibration already"):
        fit_calibration(NumberJudge().calibrated(halving_calibration(0.5)), data, RECALL)
    with pytest.raises(ConfigurationError, match="resamples must be at least 10; got 0"):
        fit_calibration(NumberJudge(), data, RECALL, resamples=0)
    with pytest.raises(ConfigurationError, match="combines others"):
        fit_calibration(Cascade([NumberJudge(), NumberJudge()]), data, RECALL)
    without_categories = LabeledData("bare.csv", "0", tuple(LabeledText(r.text, r.harmful) for r in data.rows))
    with pytest.raises(ConfigurationError, match=r"no harmful text of bare\.csv has a category"):
        fit_calibration(NumberJudge(), without_categories, RECALL)


def test_the_threshold_of_the_lowest_cost_is_where_a_miss_and_a_false_alarm_cost_the_same() -> None:
    truth, scores = synthetic_scores(1500)
    target = Target(kind="cost", value=3)
    fitted = fit_category(truth, scores, target, resamples=10)
    assert fitted.threshold.value == 0.25

    def cost(threshold: float) -> float:
        failed = np.array([fitted.curve(s) for s in scores]) >= threshold
        return float(3 * (truth & ~failed).sum() + (~truth & failed).sum())

    assert cost(0.25) <= min(cost(0.1), cost(0.5), cost(0.75))
    with pytest.raises(FitError, match="a miss costing 3 false alarms would let every harmful text pass"):
        pick_threshold(np.array([True, False]), np.array([0.2, 0.1]), target)
    with pytest.raises(FitError, match="would fail every harmless text too"):
        pick_threshold(np.array([True, False]), np.array([0.5, 0.4]), target)
    with pytest.raises(ValueError, match="a share must be below 1"):
        Target(kind="recall", value=3)


@pytest.mark.parametrize("text", ["0.1", "0.3", "0.45", "0.8", "words"])
@pytest.mark.parametrize("forced", [None, "fail"])
def test_a_calibration_decides_from_a_verdict_what_it_decides_from_the_text(text: str, forced: Any) -> None:
    plain = NumberJudge(outcome=forced)
    calibrated = plain.calibrated(halving_calibration(0.4))
    assert calibrated.outcome_from(plain.invoke(text)) == calibrated.invoke(text).outcome
