"""Classes that were given against classes that are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.evaluation.metrics.base import MeanMetric, Metric, ratio
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    from taleward.evaluation.metrics.base import Floats


class Accuracy(MeanMetric):
    """Share of the samples whose prediction is the label."""

    name = "accuracy"
    unit = "share"
    higher_is_better = True
    needs = ("label", "prediction")

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """1 where they are the same."""
        return [float(s.label == s.prediction) for s in samples]


class MacroAverage(Metric):
    """A figure of one class, or the mean over several (macro).

    A class that is neither labelled nor predicted in a corpus has no figure there, and is left out of the mean. One
    that is on one side alone has the figure 0.

    Args:
        labels: The classes that count; by default `fail`, as judges predict it.
    """

    unit = "share"
    higher_is_better = True
    needs = ("label", "prediction")

    def __init__(self, labels: Sequence[str] = ("fail",)) -> None:
        self.labels = checked(labels, 1)

    @property
    def options(self) -> Mapping[str, object]:
        """The classes."""
        return {"labels": self.labels}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Hits, false alarms and misses of each class."""
        import numpy as np

        label = np.array([[s.label == one for one in self.labels] for s in samples], bool).reshape(-1, len(self.labels))
        given = np.array([[s.prediction == one for one in self.labels] for s in samples], bool).reshape(label.shape)
        parts = np.stack([label & given, ~label & given, label & ~given], axis=-1)
        return parts.reshape(len(samples), 3 * len(self.labels)).astype(float)

    def value(self, total: Floats) -> Floats:
        """The mean over the classes that occur."""
        import numpy as np

        hits, alarms, misses = np.moveaxis(total.reshape(*total.shape[:-1], len(self.labels), 3), -1, 0)
        there = hits + alarms + misses > 0
        return ratio(np.where(there, self.figure(hits, alarms, misses), 0.0).sum(axis=-1), there.sum(axis=-1))

    def figure(self, hits: Floats, alarms: Floats, misses: Floats) -> Floats:
        """The figure of classes that occur, of any shape."""
        raise NotImplementedError


class MacroPrecision(MacroAverage):
    """Share of the predictions of a class that are right; see `MacroAverage`."""

    name = "precision"

    def figure(self, hits: Floats, alarms: Floats, misses: Floats) -> Floats:
        """Hits among predictions."""
        return ratio(hits, hits + alarms, 0.0)


class MacroRecall(MacroAverage):
    """Share of the samples of a class that were found; see `MacroAverage`."""

    name = "recall"

    def figure(self, hits: Floats, alarms: Floats, misses: Floats) -> Floats:
        """Hits among labels."""
        return ratio(hits, hits + misses, 0.0)


class MacroF1(MacroAverage):
    """Harmonic mean of precision and recall; see `MacroAverage`."""

    name = "f1"

    def figure(self, hits: Floats, alarms: Floats, misses: Floats) -> Floats:
        """Twice the hits among labels and predictions together."""
        return ratio(2 * hits, 2 * hits + alarms + misses, 0.0)


class ConfusionMatrix(FrozenModel):
    """How often which class was given for which.

    Attributes:
        labels: The classes, of rows and columns.
        counts: A row a right class, a column a predicted one.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def confusion_matrix(samples: Sequence[Sample], labels: Sequence[str] | None = None) -> ConfusionMatrix:
    """Count labels against predictions; samples in which the system raised are left out.

    Args:
        samples: With label and prediction each.
        labels: The classes in their order; those that occur, sorted, where it is not given.

    Raises:
        ConfigurationError: A sample has no label or no prediction, or one that is not among `labels`.
    """
    occur = sorted({word for s in samples for word in (s.label, s.prediction) if word is not None})
    table = ConfusionCounts(checked(occur if labels is None else labels, 1))
    rows = table.measure(samples)
    counts = rows[~(rows != rows).any(axis=1)].sum(axis=0).reshape(len(table.labels), -1)
    return ConfusionMatrix(labels=table.labels, counts=tuple(tuple(map(int, row)) for row in counts))


class ConfusionCounts(Metric):
    """The confusion of labels and predictions as statistics."""

    name = "confusion"
    needs = ("label", "prediction")

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = checked(labels, 1)

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """One 1 in the cell of label and prediction, row by row."""
        import numpy as np

        size = len(self.labels)
        rows = np.zeros((len(samples), size * size))
        for row, s in zip(rows, samples, strict=True):
            row[place(s.label, self.labels, s.id) * size + place(s.prediction, self.labels, s.id)] = 1
        return rows

    def value(self, total: Floats) -> Floats:
        """How many there are."""
        found: Floats = total.sum(axis=-1)
        return found


def checked(labels: Sequence[str], fewest: int) -> tuple[str, ...]:
    """Classes, different ones and enough of them.

    Raises:
        ConfigurationError: They are not.
    """
    if isinstance(labels, str) or len(set(labels)) < max(fewest, len(labels)):
        raise ConfigurationError(f"labels are {fewest} or more different classes, as a list; got {labels!r}.")
    return tuple(labels)


def place(label: str | None, labels: Sequence[str], sample: str) -> int:
    """Where a class stands among classes.

    Raises:
        ConfigurationError: It is none of them.
    """
    if label not in labels:
        raise ConfigurationError(
            f"sample {sample!r} has the class {label!r}; taken: {', '.join(labels)}.",
            hint="Name all with labels=[...].",
        )
    return labels.index(label)
