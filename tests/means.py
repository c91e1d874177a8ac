"""A metric for tests: the mean of what a function says of a sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from taleward.evaluation.sample import Sample


class Mean:
    unit = "points"

    def __init__(
        self, name: str, of: Callable[[Sample], float], *, better: bool | None = True, version: str = "1"
    ) -> None:
        self.name, self.of, self.higher_is_better, self.signature = name, of, better, f"mean:{name}|v={version}"

    def measure(self, samples: Sequence[Sample]) -> npt.NDArray[np.float64]:
        return np.array([[self.of(s), 1.0] for s in samples], float)

    def value(self, statistics: npt.NDArray[np.float64]) -> float:
        return float(statistics[0] / statistics[1])


def length() -> Mean:
    return Mean("length", lambda s: len(s.output or ""))
