"""How far judges and people agree, beyond chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import Metric, ratio
from taleward.evaluation.metrics.classification import ConfusionCounts, checked, place
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    from taleward.evaluation.metrics.base import Floats

KappaWeights = Literal["none", "linear", "quadratic"]
AlphaLevel = Literal["nominal", "ordinal", "interval"]

VERDICT_LABELS = ("pass", "fail")
"""What a verdict says as a prediction."""


class Kappa(ConfusionCounts):
    """Cohen's kappa (1960) of label and prediction: 1 is full agreement, 0 what chance would give.

    Undefined where both sides have one and the same class alone.

    Args:
        labels: All classes, in their order; by default those that judges predict.
        weights: How far apart two classes are: `none` takes all differences alike, `linear` and `quadratic` go by
            their places in `labels` (Cohen 1968).
    """

    name = "kappa"
    higher_is_better = True

    def __init__(self, labels: Sequence[str] = VERDICT_LABELS, weights: KappaWeights = "none") -> None:
        super().__init__(checked(labels, 2))
        if weights not in get_args(KappaWeights):
            raise ConfigurationError(f"weights is one of {', '.join(get_args(KappaWeights))}; got {weights!r}.")
        self.weights = weights

    @property
    def options(self) -> Mapping[str, object]:
        """The classes and their distances."""
        return {"labels": self.labels, "weights": self.weights}

    def value(self, total: Floats) -> Floats:
        """Kappa of summed confusions."""
        import numpy as np

        size = len(self.labels)
        gap = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(float)
        apart = {"none": (gap > 0).astype(float), "linear": gap, "quadratic": gap**2}[self.weights]
        table = total.reshape(*total.shape[:-1], size, size)
        chance = table.sum(axis=-1)[..., :, None] * table.sum(axis=-2)[..., None, :]
        seen = (apart * table).sum(axis=(-1, -2)) * table.sum(axis=(-1, -2))
        return 1 - ratio(seen, (apart * chance).sum(axis=(-1, -2)))


class Alpha(Metric):
    """Krippendorff's alpha (2004) of all ratings of a sample: 1 is full agreement, 0 what chance would give.

    Any number of raters, and any of them may be missing; a sample with fewer than two ratings is left out. Undefined
    where all ratings are one and the same.

    Args:
        labels: All ratings, in their order; by default those of judges. Numbers as text for `interval`.
        level: How far apart two ratings are: `nominal` takes all differences alike, `ordinal` goes by the ratings
            between them, `interval` by their numbers.
    """

    name = "alpha"
    higher_is_better = True
    needs = ("ratings",)

    def __init__(self, labels: Sequence[str] = VERDICT_LABELS, level: AlphaLevel = "nominal") -> None:
        self.labels = checked(labels, 2)
        if level not in get_args(AlphaLevel):
            raise ConfigurationError(f"level is one of {', '.join(get_args(AlphaLevel))}; got {level!r}.")
        self.level = level
        try:
            self._numbers = [float(label) for label in labels] if level == "interval" else []
        except ValueError as error:
            raise ConfigurationError(f"for the level interval labels are numbers; got {list(labels)}.") from error

    @property
    def options(self) -> Mapping[str, object]:
        """The ratings and their distances."""
        return {"labels": self.labels, "level": self.level}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """The coincidence matrix of each sample, row by row."""
        import numpy as np

        size = len(self.labels)
        rows = np.full((len(samples), size, size), np.nan)
        for row, s in zip(rows, samples, strict=True):
            if len(s.ratings) < 2:
                continue
            counts = np.zeros(size)
            for label, count in Counter(s.ratings.values()).items():
                counts[place(label, self.labels, s.id)] = count
            row[:] = (np.outer(counts, counts) - np.diag(counts)) / (len(s.ratings) - 1)
        return rows.reshape(len(samples), -1)

    def value(self, total: Floats) -> Floats:
        """Alpha of summed coincidences."""
        size = len(self.labels)
        table = total.reshape(*total.shape[:-1], size, size)
        each = table.sum(axis=-1)
        apart = self._apart(each)
        seen = (apart * table).sum(axis=(-1, -2))
        chance = (apart * each[..., :, None] * each[..., None, :]).sum(axis=(-1, -2))
        return 1 - ratio(seen * (each.sum(axis=-1) - 1), chance)

    def _apart(self, each: Floats) -> Floats:
        """Squared distances of ratings, shape (..., labels, labels), for their numbers of occurrences."""
        import numpy as np

        if self.level == "nominal":
            return 1 - np.eye(len(self.labels))
        # Ordinal distances run along the ratings: half of both ends, and all between.
        at = np.cumsum(each, axis=-1) - each / 2 if self.level == "ordinal" else np.array(self._numbers)
        found: Floats = (at[..., :, None] - at[..., None, :]) ** 2
        return found
