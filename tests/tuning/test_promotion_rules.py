"""Whether a candidate is promoted, by the values that two writers got on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
from pydantic import ValidationError

from taleward.core.frozen_model import FrozenDict
from taleward.evaluation.gates import Gate
from taleward.evaluation.metrics.base import MetricScore
from taleward.evaluation.result import Evaluation, MetricResult
from taleward.tuning.promotion_rules import PromotionRules, decide

NOW = datetime(2026, 11, 29, tzinfo=UTC)
Values = Sequence[float | None]


def evaluation(name: str, *, higher_is_better: bool = True, **values: Values) -> Evaluation:
    """An evaluation with these values per sample."""
    metrics = {
        metric: MetricResult(
            score=MetricScore(
                metric=metric,
                value=float(np.mean([v for v in numbers if v is not None])) if any(numbers) else 0.0,
                low=None,
                high=None,
                n=len(numbers),
                unit="share",
                higher_is_better=higher_is_better,
                signature=f"{metric}|by hand",
            ),
            values=tuple(numbers),
            statistics=tuple(() if v is None else (v, 1.0) for v in numbers),
        )
        for metric, numbers in values.items()
    }
    ids = tuple(map(str, range(len(next(iter(values.values()))))))
    return Evaluation(
        name=name, params=FrozenDict(), data="d", ids=ids, metrics=FrozenDict(metrics), started_at=NOW, finished_at=NOW
    )


def ones(count: int, n: int = 60) -> list[float]:
    return [1.0] * count + [0.0] * (n - count)


def test_better_in_one_metric_and_as_good_in_the_other_is_promoted() -> None:
    candidate = evaluation("new", judge_pass_rate=ones(58), value_coverage=[0.8] * 60)
    champion = evaluation("old", judge_pass_rate=ones(58), value_coverage=[0.6] * 60)
    decision = decide(candidate, champion, PromotionRules())
    assert decision.promoted, decision.results
    assert decision.samples_needed is None
    [better] = [result for result in decision.results if result.metric == "better"]
    assert "value_coverage +0.2 [0.2, 0.2] is better (p = 0.0002)" in better.message
    assert "judge_pass_rate +0 [0, 0] is not different beyond noise" in better.message
    assert "corrected for 2 metrics" in better.message


def test_the_same_again_is_not_better_and_more_samples_would_not_help() -> None:
    champion = evaluation("old", judge_pass_rate=ones(50), value_coverage=ones(40))
    decision = decide(champion.model_copy(update={"name": "new"}), champion, PromotionRules())
    assert not decision.promoted
    assert decision.samples_needed is None
    assert [result.metric for result in decision.results if not result.passed] == ["better"]


def test_a_gain_within_the_noise_says_how_many_samples_would_show_it() -> None:
    rng = np.random.default_rng(1)

    def pair(n: int) -> tuple[Evaluation, Evaluation]:
        before = rng.normal(0.6, 0.05, n)
        return (
            evaluation("new", judge_pass_rate=ones(n, n), value_coverage=(before + rng.normal(0.02, 0.08, n)).tolist()),
            evaluation("old", judge_pass_rate=ones(n, n), value_coverage=before.tolist()),
        )

    decision = decide(*pair(40), PromotionRules())
    assert not decision.promoted
    assert decision.samples_needed is not None
    assert decision.samples_needed > 40
    assert decide(*pair(2 * decision.samples_needed), PromotionRules()).promoted


def test_worse_stories_are_not_promoted_whatever_else_is_better() -> None:
    candidate = evaluation("new", judge_pass_rate=ones(45), value_coverage=[1.0] * 60)
    champion = evaluation("old", judge_pass_rate=ones(60), value_coverage=[0.5] * 60)
    decision = decide(candidate, champion, PromotionRules())
    assert not decision.promoted
    failed = [result.message for result in decision.results if not result.passed]
    assert any("0.75: significantly worse" in message for message in failed)
    assert decision.samples_needed is None


def test_a_drop_that_the_samples_cannot_exclude_counts_as_one() -> None:
    # 6 stories of 30 are lost and 4 gained: no significant difference, but 20 % fewer may pass.
    candidate = evaluation("new", judge_pass_rate=[0.0] * 6 + [1.0] * 24, value_coverage=[1.0] * 30)
    champion = evaluation("old", judge_pass_rate=[1.0] * 26 + [0.0] * 4, value_coverage=[0.5] * 30)
    decision = decide(candidate, champion, PromotionRules())
    assert not decision.promoted
    [failed] = [result for result in decision.results if not result.passed]
    assert "cannot be excluded with 30 samples; at most 0.1 may be lost" in failed.message
    assert decision.samples_needed is not None
    assert decision.samples_needed > 100
    assert decide(candidate, champion, PromotionRules(max_drop=0.5)).promoted


def test_for_a_metric_that_should_be_low_less_is_better() -> None:
    rules = PromotionRules(not_worse=("repetition",), better=("repetition",))
    low, high = ([value] * 40 for value in (0.1, 0.4))
    less, more = (evaluation("x", higher_is_better=False, repetition=values) for values in (low, high))
    assert decide(less, more, rules).promoted
    assert not decide(more, less, rules).promoted


def test_samples_without_a_value_do_not_count_for_a_decision() -> None:
    values: list[float | None] = [1.0] * 20 + [None] * 40
    candidate = evaluation("new", judge_pass_rate=values, value_coverage=[0.9] * 60)
    champion = evaluation("old", judge_pass_rate=ones(60), value_coverage=[0.5] * 60)
    decision = decide(candidate, champion, PromotionRules())
    assert [r.message for r in decision.results if not r.passed] == [
        "only 20 samples have a value in both; a decision needs 30"
    ]
    assert decision.samples_needed == 30


def test_thresholds_hold_besides() -> None:
    rules = PromotionRules(gates=(Gate(metric="judge_pass_rate", at_least=0.99),))
    candidate = evaluation("new", judge_pass_rate=ones(58), value_coverage=[0.8] * 60)
    champion = evaluation("old", judge_pass_rate=ones(58), value_coverage=[0.6] * 60)
    decision = decide(candidate, champion, rules)
    assert [result.metric for result in decision.results if not result.passed] == ["judge_pass_rate"]


def test_noise_is_rarely_promoted() -> None:
    rng = np.random.default_rng(0)
    rules = PromotionRules(max_drop=0.5)  # only "better" can stop these

    def draw() -> Evaluation:
        return evaluation("x", judge_pass_rate=rng.random(12).tolist(), value_coverage=rng.random(12).tolist())

    assert sum(decide(draw(), draw(), rules).promoted for _ in range(100)) <= 6


@pytest.mark.parametrize(
    ("options", "least"), [({}, 30), ({"max_drop": 0.5}, 7), ({"max_drop": 0.05}, 60), ({"better": ("words",)}, 30)]
)
def test_the_least_samples_exclude_the_drop_and_can_show_a_difference(options: dict[str, object], least: int) -> None:
    assert PromotionRules.model_validate(options).min_samples == least


def test_rules_that_decide_nothing_are_refused() -> None:
    with pytest.raises(ValidationError):
        PromotionRules(better=())
    with pytest.raises(ValidationError):
        PromotionRules(max_drop=0)
