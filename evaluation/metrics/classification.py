"""Classification metrics: accuracy, precision, recall, F1, and the confusion matrix."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.evaluation.metrics.base import MeanMetric, Metric, ratio
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    from taleward.evaluation.metrics.base import Floats


class Accuracy(MeanMetric):
    """The share of samples whose prediction equals the label."""

    name = "accuracy"
    unit = "share"
    higher_is_better = True
    needs = ("label", "prediction")

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return 1 if the prediction is correct, else 0."""
        return [float(s.label == s.prediction) for s in samples]


class MacroAverage(Metric):
    """The base class of metrics that are computed per class and averaged over classes (macro average).

    A class that occurs neither as a label nor as a prediction is left out of the average. A class that occurs only as
    one of them has the value 0.

    Args:
        labels: The classes to average over; by default only `fail`, as judges predict it.
    """

    unit = "share"
    higher_is_better = True
    needs = ("label", "prediction")

    def __init__(self, labels: Sequence[str] = ("fail",)) -> None:
        self.labels = check_labels(labels, 1)

    @property
    def options(self) -> Mapping[str, object]:
        """The classes."""
        return {"labels": self.labels}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Return true positives, false positives and false negatives of each class."""
        import numpy as np

        shape = (len(samples), len(self.labels))
        actual = np.array([[s.label == label for label in self.labels] for s in samples], bool).reshape(shape)
        predicted = np.array([[s.prediction == label for label in self.labels] for s in samples], bool).reshape(shape)
        counts = np.stack([actual & predicted, ~actual & predicted, actual & ~predicted], axis=-1)
        return counts.reshape(len(samples), 3 * len(self.labels)).astype(float)

    def value(self, total: Floats) -> Floats:
        """Compute the mean over the classes that occur."""
        import numpy as np

        counts = total.reshape(*total.shape[:-1], len(self.labels), 3)
        true_positives, false_positives, false_negatives = np.moveaxis(counts, -1, 0)
        occurs = counts.sum(axis=-1) > 0
        values = self.class_values(true_positives, false_positives, false_negatives)
        return ratio(np.where(occurs, values, 0.0).sum(axis=-1), occurs.sum(axis=-1))

    @abstractmethod
    def class_values(self, true_positives: Floats, false_positives: Floats, false_negatives: Floats) -> Floats:
        """Compute the value of each class; all arrays have the same shape."""


class MacroPrecision(MacroAverage):
    """The share of predictions of a class that are correct; see `MacroAverage`."""

    name = "precision"

    def class_values(self, true_positives: Floats, false_positives: Floats, false_negatives: Floats) -> Floats:
        """Compute the precision of each class."""
        return ratio(true_positives, true_positives + false_positives, 0.0)


class MacroRecall(MacroAverage):
    """The share of samples of a class that are predicted as such; see `MacroAverage`."""

    name = "recall"

    def class_values(self, true_positives: Floats, false_positives: Floats, false_negatives: Floats) -> Floats:
        """Compute the recall of each class."""
        return ratio(true_positives, true_positives + false_negatives, 0.0)


class MacroF1(MacroAverage):
    """The harmonic mean of precision and recall; see `MacroAverage`."""

    name = "f1"

    def class_values(self, true_positives: Floats, false_positives: Floats, false_negatives: Floats) -> Floats:
        """Compute the F1 score of each class."""
        return ratio(2 * true_positives, 2 * true_positives + false_positives + false_negatives, 0.0)


class ConfusionMatrix(FrozenModel):
    """A confusion matrix.

    Attributes:
        labels: The classes of rows and columns.
        counts: The number of samples by label (row) and prediction (column).
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def confusion_matrix(samples: Sequence[Sample], labels: Sequence[str] | None = None) -> ConfusionMatrix:
    """Count samples by label and prediction; samples on which the system raised are left out.

    Args:
        samples: Samples with label and prediction.
        labels: The classes in their order; by default all that occur, sorted.

    Raises:
        ConfigurationError: If a sample has no label or prediction, or one that is not in `labels`.
    """
    occurring = sorted({label for s in samples for label in (s.label, s.prediction) if label is not None})
    metric = ConfusionCounts(check_labels(occurring if labels is None else labels, 1))
    rows = metric.measure(samples)
    # Only NaN differs from itself: these are the rows of samples that are left out.
    total = rows[~(rows != rows).any(axis=1)].sum(axis=0).reshape(len(metric.labels), -1)
    return ConfusionMatrix(labels=metric.labels, counts=tuple(tuple(map(int, row)) for row in total))


class ConfusionCounts(Metric):
    """The confusion matrix as statistics, for metrics that are computed from it."""

    name = "confusion"
    needs = ("label", "prediction")

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = check_labels(labels, 1)

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Return the confusion matrix of each sample, flattened: 1 in the cell of its label and prediction."""
        import numpy as np

        size = len(self.labels)
        rows = np.zeros((len(samples), size * size))
        for row, sample in zip(rows, samples, strict=True):
            actual = label_index(sample.label, self.labels, sample.id)
            predicted = label_index(sample.prediction, self.labels, sample.id)
            row[actual * size + predicted] = 1
        return rows

    def value(self, total: Floats) -> Floats:
        """Return the number of samples."""
        count: Floats = total.sum(axis=-1)
        return count


def check_labels(labels: Sequence[str], min_labels: int) -> tuple[str, ...]:
    """Return classes as a tuple.

    Raises:
        ConfigurationError: If `labels` is not a list of at least `min_labels` different classes.
    """
    if isinstance(labels, str) or len(set(labels)) < max(min_labels, len(labels)):
        raise ConfigurationError(f"labels must be a list of {min_labels} or more different classes; got {labels!r}.")
    return tuple(labels)


def label_index(label: str | None, labels: Sequence[str], sample_id: str) -> int:
    """Return the position of a class.

    Raises:
        ConfigurationError: If `label` is not in `labels`.
    """
    if label not in labels:
        raise ConfigurationError(
            f"sample {sample_id!r} has the unknown class {label!r}; known: {', '.join(labels)}.",
            hint="List all classes with labels=[...].",
        )
    return labels.index(label)
