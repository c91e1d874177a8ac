"""A metric for tests: the mean of a function's value on each sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.sample import Sample


class MeanOf(MeanMetric):
    unit = "points"

    def __init__(
        self,
        name: str,
        function: Callable[[Sample], float],
        *,
        higher_is_better: bool | None = True,
        edition: str = "1",
    ) -> None:
        self.name, self.function, self.higher_is_better, self.edition = name, function, higher_is_better, edition

    @property
    def options(self) -> Mapping[str, object]:
        return {"edition": self.edition}

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        return [self.function(sample) for sample in samples]


def size() -> MeanOf:
    return MeanOf("size", lambda sample: len(sample.text))
