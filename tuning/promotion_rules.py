"""What a candidate must show to be promoted: not worse, somewhere better beyond noise, with samples that support it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from pydantic import Field

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.evaluation.comparison import compare_pair, format_difference_interval
from taleward.evaluation.gates import Gate, GateResult, check_gates
from taleward.evaluation.metrics.base import Metric
from taleward.evaluation.report.html import format_number
from taleward.evaluation.resampling import PairedTest
from taleward.evaluation.result import Evaluation

NOT_WORSE = ("judge_pass_rate", "value_coverage")
"""The metrics that must not get worse, by default."""
BETTER = NOT_WORSE
"""The metrics of which one must get better, by default."""
_SHARE = "share"
_RULE_OF_THREE = 3.0  # of n samples without an event, at most 3 / n have one, at 95 % (Hanley and Lippman-Hand 1983)


class PromotionRules(FrozenModel):
    """The rules by which a candidate is promoted.

    Attributes:
        gates: Thresholds that the candidate's metrics must meet.
        not_worse: Metrics that must not be significantly worse than the champion's.
        better: Metrics of which at least one must be significantly better, corrected for their number (Bonferroni).
        max_drop: A metric in `not_worse` that is a share must not have dropped by more than this, by the interval of
            the difference: what the samples cannot exclude counts as dropped.
        level: The significance level.
    """

    gates: tuple[Gate, ...] = ()
    not_worse: tuple[str, ...] = NOT_WORSE
    better: tuple[str, ...] = Field(default=BETTER, min_length=1)
    max_drop: float = Field(default=0.1, gt=0.0, le=0.5)
    level: float = Field(default=0.05, gt=0.0, lt=1.0)

    @property
    def min_samples(self) -> int:
        """The least samples with which a candidate can be promoted, however good it is."""
        excludes_drop = math.ceil(_RULE_OF_THREE / self.max_drop)
        shows_difference = math.ceil(1 + math.log2(len(self.better) / self.level))
        return max(excludes_drop, shows_difference)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics that the rules look at."""
        return tuple(dict.fromkeys([*self.not_worse, *self.better, *(gate.metric for gate in self.gates)]))

    def check_metrics(self, metrics: Iterable[Metric]) -> None:
        """Check that the metrics of the rules can be compared.

        Raises:
            ConfigurationError: If one has no better direction.
        """
        for metric in metrics:
            if metric.name in {*self.not_worse, *self.better} and metric.higher_is_better is None:
                raise ConfigurationError(
                    f"{metric.name!r} is neither better nor worse when it is higher, so that it cannot decide.",
                    hint=f"Set a threshold for it: {metric.name} = {{at_most = ...}} in the gates.",
                )


class PromotionDecision(FrozenModel):
    """What the rules say about a candidate.

    Attributes:
        results: One result per rule.
        samples_needed: About how many samples would have supported a promotion, if the differences stay as they are;
            `None` if the candidate is promoted, or if more samples would not help.
    """

    results: tuple[GateResult, ...]
    samples_needed: int | None

    @property
    def promoted(self) -> bool:
        """Whether all rules are met."""
        return all(result.passed for result in self.results)


def decide(
    candidate: Evaluation, champion: Evaluation, rules: PromotionRules, metrics: Sequence[Metric] = ()
) -> PromotionDecision:
    """Apply the rules to two evaluations on the same samples.

    Args:
        candidate: The evaluation of the candidate.
        champion: The evaluation of the champion.
        rules: The rules.
        metrics: The metrics that both were measured with.

    Raises:
        ConfigurationError: If the two were not measured on the same samples, or with the same settings.
    """
    by_name = {metric.name: metric for metric in metrics}
    guarded = {name: result for name, result in champion.metrics.items() if name in rules.not_worse}
    baseline = champion.model_copy(update={"metrics": FrozenDict(guarded)})
    gates = check_gates(candidate, rules.gates, baseline, metrics=metrics, level=rules.level)
    checks: list[_Check] = [(result, None) for result in gates]
    for name in dict.fromkeys([*rules.not_worse, *rules.better]):
        test = compare_pair(name, candidate, champion, by_name.get(name), level=rules.level)
        if test.n < rules.min_samples:
            message = f"only {test.n} samples have a value in both; a decision needs {rules.min_samples}"
            checks.append((GateResult(metric=name, passed=False, message=message), rules.min_samples))
        elif name in rules.not_worse and candidate.scores[name].unit == _SHARE:
            checks.append(_check_drop(test, rules, candidate.scores[name].higher_is_better))
    checks.append(_check_better(candidate, champion, rules, by_name))
    needed = [samples for result, samples in checks if not result.passed]
    # More samples help only if they could change every result that speaks against the candidate.
    samples_needed = max((n for n in needed if n is not None), default=None) if None not in needed else None
    return PromotionDecision(results=tuple(result for result, _ in checks), samples_needed=samples_needed)


_Check: TypeAlias = tuple[GateResult, int | None]
"""A result, and about how many samples would make it a pass; `None` if it is one, or no number would."""


def _check_drop(test: PairedTest, rules: PromotionRules, higher_is_better: bool | None) -> _Check:
    """Check that the samples exclude a drop of more than `max_drop`."""
    gain, (low, _) = _gain(test, higher_is_better)
    allowed = f"at most {format_number(rules.max_drop)} may be lost"
    if low is None:
        return GateResult(metric=test.metric, passed=False, message=f"a drop cannot be excluded; {allowed}"), None
    if low >= -rules.max_drop:
        message = f"at most {format_number(max(0.0, -low))} was lost, by the whole interval; {allowed}"
        return GateResult(metric=test.metric, passed=True, message=message), None
    message = f"a drop of {format_number(-low)} cannot be excluded with {test.n} samples; {allowed}"
    samples = _samples_for(test.n, gain - low, gain + rules.max_drop)
    return GateResult(metric=test.metric, passed=False, message=message), samples


def _check_better(
    candidate: Evaluation, champion: Evaluation, rules: PromotionRules, metrics: Mapping[str, Metric]
) -> _Check:
    """Check that at least one metric is better beyond noise."""
    parts, needed, passed = [], [], False
    for name in rules.better:
        test = compare_pair(
            name, candidate, champion, metrics.get(name), level=rules.level, comparisons=len(rules.better)
        )
        if test.difference is None or test.p is None:
            parts.append(f"{name} {test.remark or 'has no value in both'}")
            continue
        gain, (low, _) = _gain(test, candidate.scores[name].higher_is_better)
        is_better = gain > 0 and test.significant
        passed = passed or is_better
        verdict = "better" if is_better else "worse" if test.significant else "not different beyond noise"
        parts.append(
            f"{name} {test.difference:+.3g} {format_difference_interval(test)} is {verdict} (p = {test.p:.2g})"
        )
        samples = None if low is None else _samples_for(test.n, gain - low, gain)
        if samples is not None:
            needed.append(samples)
    corrected = f"; corrected for {len(rules.better)} metrics" if len(rules.better) > 1 else ""
    outcome = GateResult(metric="better", passed=passed, message="; ".join(parts) + corrected)
    return outcome, None if passed else min(needed, default=None)


def _gain(test: PairedTest, higher_is_better: bool | None) -> tuple[float, tuple[float | None, float | None]]:
    """Return by how much the candidate is better, with the interval: negative if it is worse."""
    difference = test.difference or 0.0
    if higher_is_better is False:
        return -difference, (None if test.high is None else -test.high, None if test.low is None else -test.low)
    return difference, (test.low, test.high)


def _samples_for(n: int, width: float, wanted: float) -> int | None:
    """Return how many samples make an interval that reaches `width` below its value reach only `wanted` below it.

    Intervals shrink with the square root of the number of samples.
    """
    return None if wanted <= 0 else max(n + 1, math.ceil(n * (width / wanted) ** 2))
