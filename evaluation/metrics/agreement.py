"""Agreement beyond chance between judges and people: Cohen's kappa, Krippendorff's alpha."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import Metric, ratio
from taleward.evaluation.metrics.classification import ConfusionCounts, check_labels, label_index
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    from taleward.evaluation.metrics.base import Floats

KappaWeights = Literal["none", "linear", "quadratic"]
AlphaLevel = Literal["nominal", "ordinal", "interval"]

VERDICT_LABELS = ("pass", "fail")
"""The classes that a verdict predicts."""


class Kappa(ConfusionCounts):
    """Cohen's kappa (1960) of label and prediction: 1 for full agreement, 0 for agreement by chance.

    It is undefined if all labels and predictions are of the same class.

    Args:
        labels: All classes, in their order; by default those of verdicts.
        weights: The distance of two classes (Cohen 1968): `none` for the same distance between all classes, `linear` or
            `quadratic` for their distance in `labels`.
    """

    name = "kappa"
    higher_is_better = True

    def __init__(self, labels: Sequence[str] = VERDICT_LABELS, weights: KappaWeights = "none") -> None:
        super().__init__(check_labels(labels, 2))
        if weights not in get_args(KappaWeights):
            raise ConfigurationError(f"weights must be one of {', '.join(get_args(KappaWeights))}; got {weights!r}.")
        self.weights = weights

    @property
    def options(self) -> Mapping[str, object]:
        """The classes and their distances."""
        return {"labels": self.labels, "weights": self.weights}

    def value(self, total: Floats) -> Floats:
        """Compute kappa from summed confusion matrices."""
        import numpy as np

        size = len(self.labels)
        steps = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(float)
        distances = {"none": (steps > 0).astype(float), "linear": steps, "quadratic": steps**2}[self.weights]
        matrix = total.reshape(*total.shape[:-1], size, size)
        expected = matrix.sum(axis=-1)[..., :, None] * matrix.sum(axis=-2)[..., None, :]
        observed = (distances * matrix).sum(axis=(-1, -2)) * matrix.sum(axis=(-1, -2))
        return 1 - ratio(observed, (distances * expected).sum(axis=(-1, -2)))


class Alpha(Metric):
    """Krippendorff's alpha (2004) of all ratings of a sample: 1 for full agreement, 0 for agreement by chance.

    There can be any number of raters, and ratings can be missing; samples with fewer than two ratings are left out. It
    is undefined if all ratings are the same.

    Args:
        labels: All ratings, in their order; by default those of verdicts. For the level `interval`, numbers as text.
        level: The distance of two ratings: `nominal` for the same distance between all ratings, `ordinal` for the
            number of ratings between them, `interval` for the difference of their numbers.
    """

    name = "alpha"
    higher_is_better = True
    needs = ("ratings",)

    def __init__(self, labels: Sequence[str] = VERDICT_LABELS, level: AlphaLevel = "nominal") -> None:
        self.labels = check_labels(labels, 2)
        if level not in get_args(AlphaLevel):
            raise ConfigurationError(f"level must be one of {', '.join(get_args(AlphaLevel))}; got {level!r}.")
        self.level = level
        try:
            self._numbers = [float(label) for label in labels] if level == "interval" else []
        except ValueError as error:
            raise ConfigurationError(f"the level 'interval' needs numbers as labels; got {list(labels)}.") from error

    @property
    def options(self) -> Mapping[str, object]:
        """The ratings and their distances."""
        return {"labels": self.labels, "level": self.level}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Return the coincidence matrix of each sample, flattened."""
        import numpy as np

        size = len(self.labels)
        rows = np.full((len(samples), size, size), np.nan)
        for row, sample in zip(rows, samples, strict=True):
            if len(sample.ratings) < 2:
                continue
            counts = np.zeros(size)
            for label, count in Counter(sample.ratings.values()).items():
                counts[label_index(label, self.labels, sample.id)] = count
            row[:] = (np.outer(counts, counts) - np.diag(counts)) / (len(sample.ratings) - 1)
        return rows.reshape(len(samples), -1)

    def value(self, total: Floats) -> Floats:
        """Compute alpha from summed coincidence matrices."""
        size = len(self.labels)
        matrix = total.reshape(*total.shape[:-1], size, size)
        counts = matrix.sum(axis=-1)
        distances = self._distances(counts)
        observed = (distances * matrix).sum(axis=(-1, -2))
        expected = (distances * counts[..., :, None] * counts[..., None, :]).sum(axis=(-1, -2))
        return 1 - ratio(observed * (counts.sum(axis=-1) - 1), expected)

    def _distances(self, counts: Floats) -> Floats:
        """Return the squared distances of ratings, shape (..., labels, labels), given how often each occurs."""
        import numpy as np

        if self.level == "nominal":
            return 1 - np.eye(len(self.labels))
        # An ordinal distance is the number of ratings from one to the other, with both ends counted half.
        ordinal = np.cumsum(counts, axis=-1) - counts / 2
        positions = ordinal if self.level == "ordinal" else np.array(self._numbers)
        distances: Floats = (positions[..., :, None] - positions[..., None, :]) ** 2
        return distances
