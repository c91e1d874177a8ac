"""Resource usage of outputs: latency, tokens, cost. Samples without the number are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import MeanMetric, Metric
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    from taleward.evaluation.metrics.base import Floats


class Latency(MeanMetric):
    """The mean latency from inputs to output, in seconds."""

    name = "latency"
    unit = "s"
    higher_is_better = False
    needs = ("latency",)

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return the latency of each sample."""
        return [_or_nan(s.latency_s) for s in samples]


class LatencyQuantile(Metric):
    """A quantile of the latency in seconds: the shortest latency that at least this share of samples does not exceed.

    Args:
        at: The share, above 0 and up to 1; 0.95 is the 95th percentile.
    """

    unit = "s"
    higher_is_better = False
    needs = ("latency",)

    def __init__(self, at: float = 0.95) -> None:
        if not 0 < at <= 1:
            raise ConfigurationError(f"at must be a share above 0 and up to 1; got {at}.")
        self.at = at
        self.name = f"latency_p{100 * at:g}"

    @property
    def options(self) -> Mapping[str, object]:
        """The share, and the definition of the quantile."""
        return {"at": self.at, "quantile": "inverted_cdf"}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Return the latency of each sample."""
        import numpy as np

        return np.array([[_or_nan(s.latency_s)] for s in samples], float).reshape(-1, 1)

    def value(self, total: Floats) -> Floats:
        """Return the latency of one sample; the quantile of several is computed by `over`."""
        return total[..., 0]

    def over(self, rows: Floats, weights: Floats) -> Floats:
        """Compute the quantile of weighted samples."""
        import numpy as np

        order = np.argsort(rows[:, 0], kind="stable")
        cumulative = np.cumsum(weights[:, order], axis=1)
        # The tolerance keeps rounding from skipping a sample that reaches the share exactly.
        first = np.argmax(cumulative >= self.at * cumulative[:, -1:] - 1e-9, axis=1)
        quantiles: Floats = rows[order[first], 0]
        return quantiles


class OutputTokens(MeanMetric):
    """The mean number of generated tokens, including those of rejected drafts."""

    name = "tokens"
    unit = "tokens"
    higher_is_better = None
    needs = ()

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return the tokens of each sample."""
        return [_or_nan(s.tokens) for s in samples]


class Cost(MeanMetric):
    """The mean cost of a sample in US dollars."""

    name = "cost"
    unit = "USD"
    higher_is_better = False
    needs = ()

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return the cost of each sample."""
        return [_or_nan(s.cost_usd) for s in samples]


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
