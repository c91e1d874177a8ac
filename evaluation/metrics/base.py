"""What every metric shares: statistics by sample, a corpus value, an interval, a signature."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar, Literal

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.evaluation.sample import Sample
from taleward.evaluation.significance import bootstrap

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

Need = Literal["output", "inputs", "reference", "label", "prediction", "ratings", "tale", "verdict", "latency"]
"""What a metric reads of a sample. A sample without it is an error that names the sample, never a zero.

Where the system raised, or a guard released nothing, there is no output: such a sample is left out of the metrics that
read outputs, verdicts, predictions and seconds, and `MetricScore.left_out` counts it.
"""

DATASET_NEEDS: tuple[Need, ...] = ("inputs", "reference", "label", "ratings")
"""What no system brings: the data set has it, or nobody has."""

_TOLD = 5


class MetricScore(FrozenModel):
    """A metric's value on a corpus.

    Attributes:
        metric: The metric's name.
        value: The corpus value; `None` where it is undefined: no sample has a value, or the metric says so.
        low: Lower end of the bootstrap interval.
        high: Upper end of it.
        n: Samples that were measured.
        left_out: Samples that have no value, see `Need`.
        unit: The unit.
        higher_is_better: Whether more is better; `None` where that depends on what one wants.
        signature: All that another person needs to get the same value.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    left_out: int = 0
    unit: str = ""
    higher_is_better: bool | None = None
    signature: str


class Metric(ABC):
    """A number for a corpus, by sums of statistics of its samples (after sacrebleu, Post 2018).

    A subclass names itself and answers `statistics` and `value`. Whatever changes the number goes into `options`.

    Attributes:
        name: What the metric is called in tables; letters, digits, `_`, `-`, `.` and `/`.
        unit: The unit, empty for a plain number.
        higher_is_better: Whether more is better; `None` where that depends on what one wants.
        needs: What it reads of a sample.
    """

    name: str
    unit: str = ""
    higher_is_better: bool | None = None
    needs: ClassVar[tuple[Need, ...]] = ("output",)

    @abstractmethod
    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Sufficient statistics of samples that have what the metric needs, shape (samples, k); NaN: has no value."""

    @abstractmethod
    def value(self, total: Floats) -> Floats:
        """Values, shape (...), from sums of statistics, shape (..., k); NaN where there is none."""

    def over(self, rows: Floats, weights: Floats) -> Floats:
        """Corpus values, shape (resamples,), of rows (n, k) drawn as often as the weights (resamples, n) say.

        A metric whose value does not follow from sums (a quantile) answers this itself.
        """
        return self.value(weights @ rows)

    def sample_value(self, row: Floats) -> float | None:
        """The value of one sample's statistics, shape (k,); `None` where it has none."""
        import numpy as np

        if not np.isfinite(row).all():
            return None
        value = float(self.value(row))
        return value if np.isfinite(value) else None

    @property
    def options(self) -> Mapping[str, object]:
        """What changes the number, by name, the versions of libraries among it."""
        return {}

    @property
    def signature(self) -> str:
        """The metric with its options and versions, in one line."""
        parts = {**self.options, "taleward": version("taleward")}
        return "|".join([self.name, *(f"{key}:{_said(part)}" for key, part in parts.items())])

    def measure(self, samples: Sequence[Sample]) -> Floats:
        """Statistics of every sample, shape (samples, k); NaN in the rows of those left out, see `Need`.

        Raises:
            ConfigurationError: There are no samples, or some lack what the metric needs; the message names them.
        """
        import numpy as np

        if not samples:
            raise ConfigurationError(f"{self.name} needs at least one sample; got none.")
        present = self.check(samples, self.needs)
        found = self.statistics([s for s, there in zip(samples, present, strict=True) if there])
        rows = np.full((len(samples), found.shape[1] if found.ndim == 2 else 1), np.nan)
        if any(present):
            rows[np.array(present)] = found
        return rows

    def check(self, samples: Sequence[Sample], needs: Sequence[Need]) -> list[bool]:
        """For each sample whether it is measured; the others rightly lack something, see `Need`.

        Args:
            samples: The samples.
            needs: Which of the metric's needs are looked at.

        Raises:
            ConfigurationError: Some lack what the metric needs; the message names them.
        """
        looked = [need for need in self.needs if need in needs]
        present = [all(not _silent(sample, need) for need in looked) for sample in samples]
        for need in looked:
            lacking = [s.id for s, there in zip(samples, present, strict=True) if there and not _has(s, need)]
            if lacking:
                more = f" and {len(lacking) - _TOLD} more" if len(lacking) > _TOLD else ""
                raise ConfigurationError(
                    f"{self.name} needs {_WORDS[need]}; {len(lacking)} of {len(samples)} samples have none: "
                    f"{', '.join(repr(i) for i in lacking[:_TOLD])}{more}.",
                    hint="Give it to these samples, leave them out, or leave this metric out.",
                )
        return present

    def score(
        self, samples: Sequence[Sample], *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
    ) -> MetricScore:
        """The value on a corpus, with its bootstrap interval; see `measure` and `score_rows`."""
        rows = self.measure(samples)
        return self.score_rows(rows, resamples=resamples, seed=seed, confidence=confidence)

    def score_rows(
        self, rows: Floats, *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
    ) -> MetricScore:
        """The value of statistics that `measure` gave, shape (samples, k), with its bootstrap interval."""
        import numpy as np

        whole = rows[np.isfinite(rows).all(axis=1)]
        found = bootstrap(self, whole, resamples=resamples, seed=seed, confidence=confidence)
        return MetricScore(
            metric=self.name,
            value=found.value if found else None,
            low=found.low if found else None,
            high=found.high if found else None,
            n=len(whole),
            left_out=len(rows) - len(whole),
            unit=self.unit,
            higher_is_better=self.higher_is_better,
            signature=f"{self.signature}|resamples:{resamples}|seed:{seed}|confidence:{confidence:g}",
        )


class MeanMetric(Metric):
    """A metric that is the mean of one number a sample; a subclass answers `numbers`."""

    @abstractmethod
    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """One number a sample; NaN where it has none."""

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """The number, and 1."""
        import numpy as np

        numbers = np.asarray(self.numbers(samples), float)
        return np.stack([numbers, np.where(np.isfinite(numbers), 1.0, np.nan)], axis=-1)

    def value(self, total: Floats) -> Floats:
        """The mean."""
        return ratio(total[..., 0], total[..., 1])


def ratio(above: Floats, below: Floats, empty: float = float("nan")) -> Floats:
    """A quotient, element by element; `empty` where the divisor is 0."""
    import numpy as np

    above, below = np.asarray(above, float), np.asarray(below, float)
    return np.where(below == 0, empty, above / np.where(below == 0, 1.0, below))


def _silent(sample: Sample, need: Need) -> bool:
    """Whether a sample rightly lacks something: the system raised, or a guard released nothing."""
    if need in ("inputs", "reference", "label", "tale", "ratings"):
        return need == "tale" and sample.tale is None and sample.error is not None
    held_back = sample.output is None and (sample.tale is not None or sample.verdict is not None)
    refused = need in ("output", "verdict") and held_back
    return not _has(sample, need) and (sample.error is not None or refused)


def _has(sample: Sample, need: Need) -> bool:
    match need:
        case "output":
            return sample.output is not None
        case "inputs":
            return bool(sample.inputs)
        case "reference":
            return bool(sample.references)
        case "label":
            return sample.label is not None
        case "prediction":
            return sample.prediction is not None
        case "ratings":
            return len(sample.ratings) > 0
        case "tale":
            return sample.tale is not None
        case "verdict":
            return sample.verdict is not None
        case "latency":
            return sample.latency_s is not None


_WORDS: Mapping[Need, str] = {
    "output": "an output",
    "inputs": "inputs",
    "reference": "a reference",
    "label": "a label",
    "prediction": "a prediction",
    "ratings": "ratings",
    "tale": "the tale of a guard",
    "verdict": "a verdict (of a guard, or of `judge=...`)",
    "latency": "the seconds it took",
}


def _said(part: object) -> str:
    return ",".join(map(str, part)) if isinstance(part, (tuple, list)) else str(part)
