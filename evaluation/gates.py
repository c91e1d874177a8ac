"""Gates: thresholds and baselines that an evaluation must meet, for continuous integration.

Gates are read from `taleward.toml`:

    [gates]
    judge_pass_rate = {at_least = 0.95}
    latency = {at_most = 3.0, sure = true}

With `sure`, the worse end of the 95 % interval must meet the threshold, not only the value. Compared with a baseline, a
metric fails only if it got significantly worse.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError, model_validator

from taleward.core.errors import InvalidFile
from taleward.core.frozen_model import FrozenModel
from taleward.evaluation.comparison import compare_pair
from taleward.evaluation.metrics.base import Metric, MetricScore
from taleward.evaluation.report.html import format_interval, format_number
from taleward.evaluation.result import Evaluation

GATES_FILE = Path("taleward.toml")
_EXAMPLE = "[gates]\njudge_pass_rate = {at_least = 0.95}"


class Gate(FrozenModel):
    """The thresholds of one metric.

    Attributes:
        metric: The metric's name.
        at_least: The lowest value that passes.
        at_most: The highest value that passes.
        sure: Whether the worse end of the interval must meet the thresholds, too.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    sure: bool = False

    @model_validator(mode="after")
    def _has_threshold(self) -> Gate:
        if self.at_least is None and self.at_most is None:
            msg = "a gate needs at_least or at_most"
            raise ValueError(msg)
        return self


class GateResult(FrozenModel):
    """The outcome of one gate, or of one metric compared with the baseline.

    Attributes:
        metric: The metric's name.
        passed: Whether the metric passed.
        message: The measured value and what is required.
    """

    metric: str
    passed: bool
    message: str


def load_gates(path: str | Path = GATES_FILE) -> tuple[Gate, ...]:
    """Load the gates of a TOML file.

    Args:
        path: The file; the gates are in its table `[gates]`.

    Raises:
        InvalidFile: If the file cannot be read, has no gates, or has invalid ones; the message lists all problems.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # the last one for deep nesting
        raise InvalidFile(
            f"the gates file {path} cannot be read: {error}",
            hint=f"Write it as TOML, for example:\n{_EXAMPLE}",
        ) from error
    table = content.get("gates")
    if not isinstance(table, dict) or not table:
        raise InvalidFile(f"the gates file {path} has no table [gates].", hint=f"Add one:\n{_EXAMPLE}")
    gates, problems = [], []
    for name, fields in table.items():
        try:
            gates.append(Gate.model_validate({"metric": name, **fields} if isinstance(fields, dict) else fields))
        except ValidationError as error:
            problems += [_format_problem(name, fields, e["msg"], e["loc"]) for e in error.errors()]
    if problems:
        raise InvalidFile(f"the gates file {path} has problems:" + "".join(f"\n  - {p}" for p in problems))
    return tuple(gates)


def check_gates(
    evaluation: Evaluation,
    gates: Sequence[Gate],
    baseline: Evaluation | None = None,
    *,
    metrics: Iterable[Metric] = (),
    level: float = 0.05,
) -> list[GateResult]:
    """Check an evaluation against gates, and against a baseline.

    Args:
        evaluation: The evaluation to check. It fails if the system raised on any sample, or if it is partial.
        gates: The thresholds of its metrics.
        baseline: An evaluation on the same dataset. Each metric of both that has a better direction must not be
            significantly worse; one in seconds is only tested if both were measured side by side.
        metrics: Metrics of your own, as in `compare`.
        level: The significance level: p-values up to it are significant.

    Returns:
        One result per gate, then one per metric compared with the baseline.

    Raises:
        ConfigurationError: If a metric of the baseline was measured with other settings, or on other samples.
    """
    results = [_check_gate(evaluation, gate) for gate in gates]
    if evaluation.failed:
        message = f"{len(evaluation.failed)} of {len(evaluation.ids)} samples failed"
        results.append(GateResult(metric="failed", passed=False, message=message))
    if evaluation.missing:
        results.append(GateResult(metric="complete", passed=False, message=evaluation.partial_note))
    if baseline is None:
        return results
    own_metrics = {metric.name: metric for metric in metrics}
    for name, score in evaluation.scores.items():
        if score.higher_is_better is not None and name in baseline.metrics:
            results.append(_check_against_baseline(evaluation, baseline, score, own_metrics.get(name), level))
    return results


def _check_gate(evaluation: Evaluation, gate: Gate) -> GateResult:
    score = evaluation.scores.get(gate.metric)
    if score is None:
        message = f"was not measured; measured: {', '.join(evaluation.scores)}"
        return GateResult(metric=gate.metric, passed=False, message=message)
    low, high = (score.low, score.high) if gate.sure else (score.value, score.value)
    if low is None or high is None:
        message = f"has no value; {score.left_out} samples were left out"
        return GateResult(metric=gate.metric, passed=False, message=message)
    required = []
    passed = True
    if gate.at_least is not None:
        passed &= low >= gate.at_least
        required.append(f"at least {format_number(gate.at_least)}")
    if gate.at_most is not None:
        passed &= high <= gate.at_most
        required.append(f"at most {format_number(gate.at_most)}")
    whole_interval = ", by the whole interval" if gate.sure else ""
    value = f"{format_number(score.value)} {format_interval(score)}"
    message = f"{value}, required: {' and '.join(required)}{whole_interval}"
    return GateResult(metric=gate.metric, passed=passed, message=message)


def _check_against_baseline(
    evaluation: Evaluation, baseline: Evaluation, score: MetricScore, metric: Metric | None, level: float
) -> GateResult:
    name = score.metric
    before = baseline.scores[name].value
    values = f"{format_number(before)} in {baseline.name}, now {format_number(score.value)}"
    test = compare_pair(name, evaluation, baseline, metric, level=level)
    if test.difference is None or test.p is None:
        # No sample can be compared, but a metric that lost all of its values has got worse.
        message = f"{values}: {test.remark or 'no sample has a value in both'}"
        return GateResult(metric=name, passed=before is None or score.value is not None, message=message)
    is_worse = test.difference < 0 if score.higher_is_better else test.difference > 0
    is_significant = is_worse and test.significant
    outcome = "significantly worse" if is_significant else "not significantly worse"
    message = f"{values}: {outcome} (p = {test.p:.2g}, {test.n} samples)"
    return GateResult(metric=name, passed=not is_significant, message=message)


def _format_problem(name: str, fields: object, message: str, location: Sequence[object]) -> str:
    if not isinstance(fields, dict):
        return f"{name}: got {fields!r}; expected a table as in {name} = {{at_least = 0.9}}"
    path = ".".join([name, *map(str, location)])
    return f"{path}: {message.removeprefix('Value error, ')}; known fields: at_least, at_most, sure"
