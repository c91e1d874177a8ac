"""A metric for tests: the mean of what a function says of a sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.sample import Sample


class MeanOf(MeanMetric):
    unit = "points"

    def __init__(
        self, name: str, of: Callable[[Sample], float], *, better: bool | None = True, edition: str = "1"
    ) -> None:
        self.name, self.of, self.higher_is_better, self.edition = name, of, better, edition

    @property
    def options(self) -> Mapping[str, object]:
        return {"edition": self.edition}

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        return [self.of(s) for s in samples]


def size() -> MeanOf:
    return MeanOf("size", lambda s: len(s.text))
