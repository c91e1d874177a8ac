"""The base classes of all metrics: sufficient statistics per sample, a corpus value, an interval, a signature."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar, Literal

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.evaluation.resampling import bootstrap
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

Need = Literal["output", "inputs", "reference", "label", "prediction", "ratings", "tale", "verdict", "latency"]
"""What a metric reads from a sample. A sample that lacks it is an error that names the sample; it never counts as 0.

If the system raised, or a guard released nothing, there is no output to measure. Metrics that read outputs, verdicts,
predictions, tales or latencies leave such a sample out, and count it in `MetricScore.left_out`.
"""

DATASET_NEEDS: tuple[Need, ...] = ("inputs", "reference", "label", "ratings")
"""Needs that no system can meet: the dataset must."""

_MAX_LISTED_IDS = 5


class MetricScore(FrozenModel):
    """The value of a metric on a corpus.

    Attributes:
        metric: The metric's name.
        value: The corpus value; `None` if it is undefined, for example because no sample has a value.
        low: Lower end of the bootstrap interval.
        high: Upper end of the bootstrap interval.
        n: The number of measured samples.
        left_out: The number of samples without a value, see `Need`.
        unit: The unit.
        higher_is_better: Whether higher values are better; `None` if neither direction is.
        signature: The metric with all settings and versions that are needed to reproduce the value.
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
    """A corpus metric that is computed from the sum of its samples' statistics (after sacrebleu, Post 2018).

    Because statistics add up, one measurement gives the corpus value, bootstrap intervals and paired tests. A subclass
    sets `name` and implements `statistics` and `value`; everything that changes the value belongs in `options`.

    Attributes:
        name: The metric's name in tables: letters, digits, `_`, `-`, `.` and `/`.
        unit: The unit; empty for a plain number.
        higher_is_better: Whether higher values are better; `None` if neither direction is.
        needs: What the metric reads from a sample.
    """

    name: str
    unit: str = ""
    higher_is_better: bool | None = None
    needs: ClassVar[tuple[Need, ...]] = ("output",)

    @abstractmethod
    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Compute the sufficient statistics of samples.

        Args:
            samples: Samples that have everything the metric needs.

        Returns:
            One row per sample, shape (samples, k). A row of NaN leaves the sample out.
        """

    @abstractmethod
    def value(self, total: Floats) -> Floats:
        """Compute values from sums of statistics.

        Args:
            total: Sums of statistics, shape (..., k).

        Returns:
            The values, shape (...); NaN where the value is undefined.
        """

    def over(self, rows: Floats, weights: Floats) -> Floats:
        """Compute the corpus values of weighted samples.

        Override this if the value does not follow from sums, as for a quantile.

        Args:
            rows: Statistics, shape (n, k).
            weights: How often each sample counts, shape (resamples, n).

        Returns:
            One value per resample, shape (resamples,).
        """
        return self.value(weights @ rows)

    def sample_value(self, row: Floats) -> float | None:
        """Compute the value of one sample from its statistics, shape (k,); `None` if it is undefined."""
        import numpy as np

        if not np.isfinite(row).all():
            return None
        value = float(self.value(row))
        return value if np.isfinite(value) else None

    @property
    def options(self) -> Mapping[str, object]:
        """Everything that changes the value, by name, including versions of libraries."""
        return {}

    @property
    def signature(self) -> str:
        """The metric's name with its options and versions, in one line."""
        parts = {**self.options, "taleward": version("taleward")}
        return "|".join([self.name, *(f"{key}:{_format_option(option)}" for key, option in parts.items())])

    def measure(self, samples: Sequence[Sample]) -> Floats:
        """Compute the statistics of all samples.

        Args:
            samples: At least one sample.

        Returns:
            One row per sample, shape (samples, k), with NaN for samples that are left out, see `Need`.

        Raises:
            ConfigurationError: If there are no samples, or some lack what the metric needs; the message names them.
        """
        import numpy as np

        if not samples:
            raise ConfigurationError(f"{self.name} needs at least one sample; got none.")
        measurable = self.check(samples, self.needs)
        statistics = self.statistics([s for s, is_measurable in zip(samples, measurable, strict=True) if is_measurable])
        rows = np.full((len(samples), statistics.shape[1] if statistics.ndim == 2 else 1), np.nan)
        if any(measurable):
            rows[np.array(measurable)] = statistics
        return rows

    def check(self, samples: Sequence[Sample], needs: Sequence[Need]) -> list[bool]:
        """Tell for each sample whether it can be measured.

        Args:
            samples: The samples.
            needs: The needs to check; those that the metric does not have are ignored.

        Returns:
            `False` for samples that are left out, see `Need`.

        Raises:
            ConfigurationError: If samples lack what the metric needs; the message names them.
        """
        checked_needs = [need for need in self.needs if need in needs]
        measurable = [not any(_is_left_out(sample, need) for need in checked_needs) for sample in samples]
        for need in checked_needs:
            lacking = [
                sample.id
                for sample, is_measurable in zip(samples, measurable, strict=True)
                if is_measurable and not _has(sample, need)
            ]
            if lacking:
                more = f" and {len(lacking) - _MAX_LISTED_IDS} more" if len(lacking) > _MAX_LISTED_IDS else ""
                raise ConfigurationError(
                    f"{self.name} needs {_NEED_NAMES[need]}; {len(lacking)} of {len(samples)} samples have none: "
                    f"{', '.join(repr(i) for i in lacking[:_MAX_LISTED_IDS])}{more}.",
                    hint="Add it to these samples, or remove the samples or the metric.",
                )
        return measurable

    def score(
        self, samples: Sequence[Sample], *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
    ) -> MetricScore:
        """Measure samples and compute their corpus value with its bootstrap interval; see `measure`, `score_rows`."""
        rows = self.measure(samples)
        return self.score_rows(rows, resamples=resamples, seed=seed, confidence=confidence)

    def score_rows(
        self, rows: Floats, *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
    ) -> MetricScore:
        """Compute the corpus value of measured statistics, with its bootstrap interval.

        Args:
            rows: Statistics from `measure`, shape (samples, k).
            resamples: The number of bootstrap resamples.
            seed: Seed of the resamples; 0 is a seed.
            confidence: The share of the resamples within the interval, between 0 and 1.

        Raises:
            ConfigurationError: If `resamples` or `confidence` is out of range.
        """
        import numpy as np

        complete = rows[np.isfinite(rows).all(axis=1)]
        interval = bootstrap(self, complete, resamples=resamples, seed=seed, confidence=confidence)
        return MetricScore(
            metric=self.name,
            value=interval.value if interval else None,
            low=interval.low if interval else None,
            high=interval.high if interval else None,
            n=len(complete),
            left_out=len(rows) - len(complete),
            unit=self.unit,
            higher_is_better=self.higher_is_better,
            signature=f"{self.signature}|resamples:{resamples}|seed:{seed}|confidence:{confidence:g}",
        )


class MeanMetric(Metric):
    """A metric that is the mean of one number per sample; a subclass implements `numbers`."""

    @abstractmethod
    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return one number per sample; NaN leaves the sample out."""

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Return each sample's number and 1."""
        import numpy as np

        numbers = np.asarray(self.numbers(samples), float)
        return np.stack([numbers, np.where(np.isfinite(numbers), 1.0, np.nan)], axis=-1)

    def value(self, total: Floats) -> Floats:
        """Return the mean."""
        return ratio(total[..., 0], total[..., 1])


def ratio(numerator: Floats, denominator: Floats, empty: float = float("nan")) -> Floats:
    """Divide element by element; the result is `empty` where the denominator is 0."""
    import numpy as np

    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    return np.where(denominator == 0, empty, numerator / np.where(denominator == 0, 1.0, denominator))


def _is_left_out(sample: Sample, need: Need) -> bool:
    """Tell whether a sample lacks something because the system raised or a guard released nothing."""
    if need in ("inputs", "reference", "label", "tale", "ratings"):
        return need == "tale" and sample.tale is None and sample.error is not None
    nothing_released = sample.output is None and (sample.tale is not None or sample.verdict is not None)
    is_refusal = need in ("output", "verdict") and nothing_released
    return not _has(sample, need) and (sample.error is not None or is_refusal)


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


_NEED_NAMES: Mapping[Need, str] = {
    "output": "an output",
    "inputs": "inputs",
    "reference": "a reference",
    "label": "a label",
    "prediction": "a prediction",
    "ratings": "ratings",
    "tale": "a guard's tale",
    "verdict": "a verdict (from a guard or from `judge=...`)",
    "latency": "`latency_s` (seconds from inputs to output)",
}


def _format_option(option: object) -> str:
    return ",".join(map(str, option)) if isinstance(option, (tuple, list)) else str(option)
