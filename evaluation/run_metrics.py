"""Metrics that come from the run itself: how tales ended, how long texts are, how long they took."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.tale import Tale
from taleward.evaluation.sample import Sample
from taleward.evaluation.scoring import Metric

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class RunMetric:
    """The mean of a number a sample.

    Attributes:
        name: Its name.
        unit: Its unit.
        higher_is_better: Which way is better; `None` where neither is.
        signature: What tells it from other metrics.
    """

    def __init__(self, name: str, unit: str, higher_is_better: bool | None, of: Callable[[Sample], float]) -> None:
        self.name, self.unit, self.higher_is_better = name, unit, higher_is_better
        self.signature = f"run:{name}|v=1"
        self._of = of

    def measure(self, samples: Sequence[Sample]) -> npt.NDArray[np.float64]:
        """The number and 1 for each sample.

        Raises:
            ConfigurationError: A sample lacks what is measured.
        """
        import numpy as np

        return np.array([(self._of(sample), 1.0) for sample in samples], float)

    def value(self, statistics: npt.NDArray[np.float64]) -> float:
        """The mean."""
        return float(statistics[0] / statistics[1])


def _tale(sample: Sample) -> Tale:
    if sample.tale is None:
        raise ConfigurationError(
            f"sample {sample.id!r} has no tale, and this metric is of tales.", hint="Evaluate a guard: tw.Guard(...)."
        )
    return sample.tale


def _latency(sample: Sample) -> float:
    if sample.latency_s is None:
        raise ConfigurationError(f"sample {sample.id!r} has no latency: its output was there already.")
    return sample.latency_s


def _passed_at_once(tale: Tale) -> bool:
    return bool(tale.attempts) and tale.attempts[0].verdict.passed


_TABLE = {
    m.name: m
    for m in (
        RunMetric("judge_pass_rate", "share", True, lambda s: _passed_at_once(_tale(s))),
        RunMetric("revision_rate", "share", False, lambda s: _tale(s).released and not _passed_at_once(_tale(s))),
        RunMetric("refusal_rate", "share", False, lambda s: not _tale(s).released),
        RunMetric("length", "words", None, lambda s: len((s.output or "").split())),
        RunMetric("latency", "seconds", False, _latency),
    )
}


def metrics_of(metrics: Iterable[Metric | str]) -> list[Metric]:
    """Metrics, those given by name looked up.

    Raises:
        UnknownName: There is none of that name.
    """
    found: list[Metric] = []
    for metric in metrics:
        if isinstance(metric, str) and metric not in _TABLE:
            raise UnknownName("metric", metric, _TABLE)
        found.append(_TABLE[metric] if isinstance(metric, str) else metric)
    return found
