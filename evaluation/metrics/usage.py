"""What the outputs took: seconds, tokens, money. Where nobody said how much, a sample is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import MeanMetric, Metric
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    from taleward.evaluation.metrics.base import Floats


class Latency(MeanMetric):
    """Mean seconds from inputs to output."""

    name = "latency"
    unit = "s"
    higher_is_better = False
    needs = ("latency",)

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Seconds of each."""
        return [_number(s.latency_s) for s in samples]


class LatencyQuantile(Metric):
    """The seconds within which a share of the samples was done: the smallest that this share does not exceed.

    Args:
        at: The share, above 0 up to 1; 0.95 is the 95th percentile.
    """

    unit = "s"
    higher_is_better = False
    needs = ("latency",)

    def __init__(self, at: float = 0.95) -> None:
        if not 0 < at <= 1:
            raise ConfigurationError(f"at is a share above 0 and up to 1; got {at}.")
        self.at = at
        self.name = f"latency_p{100 * at:g}"

    @property
    def options(self) -> Mapping[str, object]:
        """Which quantile, and how it is taken."""
        return {"at": self.at, "quantile": "inverted_cdf"}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Seconds of each."""
        import numpy as np

        return np.array([[_number(s.latency_s)] for s in samples], float).reshape(-1, 1)

    def value(self, total: Floats) -> Floats:
        """The seconds of one sample; sums of several have no quantile, see `over`."""
        return total[..., 0]

    def over(self, rows: Floats, weights: Floats) -> Floats:
        """The quantile of weighted samples."""
        import numpy as np

        order = np.argsort(rows[:, 0], kind="stable")
        reached = np.cumsum(weights[:, order], axis=1)
        first = np.argmax(reached >= self.at * reached[:, -1:] - 1e-9, axis=1)
        found: Floats = rows[order[first], 0]
        return found


class OutputTokens(MeanMetric):
    """Mean tokens that were written, drafts that were turned down included."""

    name = "tokens"
    unit = "tokens"
    higher_is_better = None
    needs = ()

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Tokens of each."""
        return [_number(s.tokens) for s in samples]


class Cost(MeanMetric):
    """Mean cost of a sample."""

    name = "cost"
    unit = "USD"
    higher_is_better = False
    needs = ()

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Cost of each."""
        return [_number(s.cost_usd) for s in samples]


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
