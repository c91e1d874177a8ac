"""Thresholds that an evaluation has to hold, for continuous integration; they stand in `taleward.toml`.

    [gates]
    judge_pass_rate = {at_least = 0.95}
    latency = {at_most = 3.0, sure = true}

With `sure` the worse end of the 95 % interval has to hold it, not the value alone. Against a baseline a metric fails
only where it fell significantly.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError, model_validator

from taleward.core.errors import InvalidFile
from taleward.core.frozen_model import FrozenModel
from taleward.evaluation.comparison import against
from taleward.evaluation.metrics.base import Metric
from taleward.evaluation.report.html import format_interval, format_number
from taleward.evaluation.result import Evaluation

GATES_FILE = Path("taleward.toml")


class Gate(FrozenModel):
    """What one metric has to hold.

    Attributes:
        metric: Its name.
        at_least: The lowest value that passes.
        at_most: The highest value that passes.
        sure: Whether the worse end of the interval has to hold it.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    sure: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Gate:
        if self.at_least is None and self.at_most is None:
            msg = "a gate needs at_least or at_most"
            raise ValueError(msg)
        return self


class GateResult(FrozenModel):
    """What became of one gate.

    Attributes:
        metric: Its metric.
        passed: Whether it holds.
        message: What was measured, and what is wanted.
    """

    metric: str
    passed: bool
    message: str


def load_gates(path: str | Path = GATES_FILE) -> tuple[Gate, ...]:
    """The gates of a TOML file.

    Raises:
        InvalidFile: It cannot be read, has no gates, or gates that are wrong; all of them are named.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidFile(
            f"the gates file {path} cannot be read: {error}",
            hint="It is TOML, for example:\n[gates]\njudge_pass_rate = {at_least = 0.95}",
        ) from error
    written = content.get("gates")
    if not isinstance(written, dict) or not written:
        raise InvalidFile(f"the gates file {path} has no table [gates].", hint="judge_pass_rate = {at_least = 0.95}")
    gates, problems = [], []
    for name, fields in written.items():
        try:
            gates.append(Gate.model_validate({"metric": name, **fields} if isinstance(fields, dict) else fields))
        except ValidationError as error:
            problems += [_said(name, fields, e["msg"], e["loc"]) for e in error.errors()]
    if problems:
        raise InvalidFile(f"the gates file {path} has problems:" + "".join(f"\n  - {p}" for p in problems))
    return tuple(gates)


def check_gates(
    found: Evaluation,
    gates: Sequence[Gate],
    baseline: Evaluation | None = None,
    *,
    metrics: Iterable[Metric] = (),
    level: float = 0.05,
) -> list[GateResult]:
    """What became of each gate, and of each metric against the baseline.

    Args:
        found: What is to pass.
        gates: What it has to hold.
        baseline: What it may not be significantly worse than, by any metric that has a better way.
        metrics: As in `compare`.
        level: Below which a p-value counts as significant.

    Raises:
        ConfigurationError: A metric of the baseline was measured with other settings, or on other samples.
    """
    lines = [_held(found, gate) for gate in gates]
    if found.failed:
        said = f"{len(found.failed)} of {len(found.ids)} samples failed"
        lines.append(GateResult(metric="failed", passed=False, message=said))
    if baseline is None:
        return lines
    own = {metric.name: metric for metric in metrics}
    for name, score in found.scores.items():
        if score.higher_is_better is None or name not in baseline.metrics:
            continue
        test = against(name, found, baseline, own.get(name))
        if test.difference is None or test.p is None:
            before, now = baseline.scores[name].value, score.value
            said = (
                f"{format_number(before)} in {baseline.name}, now {format_number(now)}: no sample has a value in both"
            )
            lines.append(GateResult(metric=name, passed=before is None or now is not None, message=said))
            continue
        worse = test.difference < 0 if score.higher_is_better else test.difference > 0
        fell = worse and test.p < level
        what = "significantly worse" if fell else "no significant fall"
        said = (
            f"{format_number(baseline.scores[name].value)} in {baseline.name}, now {format_number(score.value)}: {what}"
        )
        lines.append(GateResult(metric=name, passed=not fell, message=f"{said} (p = {test.p:.2g}, {test.n} samples)"))
    return lines


def _held(found: Evaluation, gate: Gate) -> GateResult:
    score = found.scores.get(gate.metric)
    if score is None:
        said = f"was not measured; measured: {', '.join(found.scores)}"
        return GateResult(metric=gate.metric, passed=False, message=said)
    low, high = (score.low, score.high) if gate.sure else (score.value, score.value)
    if low is None or high is None:
        return GateResult(
            metric=gate.metric, passed=False, message=f"has no value; {score.left_out} samples were left out"
        )
    wanted = []
    passed = True
    if gate.at_least is not None:
        passed &= low >= gate.at_least
        wanted.append(f"at least {format_number(gate.at_least)}")
    if gate.at_most is not None:
        passed &= high <= gate.at_most
        wanted.append(f"at most {format_number(gate.at_most)}")
    by = ", by the interval's worse end" if gate.sure else ""
    said = f"{format_number(score.value)} {format_interval(score)}, wanted {' and '.join(wanted)}{by}"
    return GateResult(metric=gate.metric, passed=passed, message=said)


def _said(name: str, fields: object, message: str, place: Sequence[object]) -> str:
    if not isinstance(fields, dict):
        return f"{name}: got {fields!r}; taken: a table as in {name} = {{at_least = 0.9}}"
    where = ".".join([name, *map(str, place)])
    return f"{where}: {message.removeprefix('Value error, ')}; taken: at_least, at_most, sure"
