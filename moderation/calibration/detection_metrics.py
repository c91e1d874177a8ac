"""Classification and calibration metrics of judges, as functions of lists or arrays.

`truth` is whether each text is harmful. A text is flagged if its score is at least a threshold. Recall is the share of
the harmful texts that are flagged, false alarms the share of the harmless ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Probability

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Truth = Sequence[bool] | npt.NDArray[np.bool_]
    Scores = Sequence[float] | Floats


class Bin(FrozenModel):
    """One bin of a reliability diagram.

    Attributes:
        low: Lower bound of the scores, 0..1.
        high: Upper bound, 0..1, which only the last bin includes.
        texts: Number of texts in the bin.
        score: Their mean score.
        harmful: Share of them that are harmful.
    """

    low: Probability
    high: Probability
    texts: int = Field(ge=1)
    score: Probability
    harmful: Probability


def roc(truth: Truth, scores: Scores) -> tuple[Floats, Floats, Floats]:
    """Return the points of the ROC curve, from no text flagged to all.

    Returns:
        Thresholds, false alarms and recalls: a first point with an infinite threshold, which flags nothing, then one
        for each distinct score in descending order.

    Raises:
        ConfigurationError: If the lengths differ, or all texts are harmful or all harmless.
    """
    import numpy as np

    harmful, values = np.asarray(truth, bool), np.asarray(scores, float)
    if len(harmful) != len(values):
        raise ConfigurationError(f"truth and scores must have the same length; got {len(harmful)} and {len(values)}.")
    if harmful.all() or not harmful.any():
        raise ConfigurationError(
            f"the metric needs both harmful and harmless texts; got {len(values)} texts of one label."
        )
    order = np.argsort(-values, kind="stable")
    harmful, values = harmful[order], values[order]
    # Texts with the same score are flagged together, so a point is only where the score changes.
    last_of_score = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    true_positives, false_positives = np.cumsum(harmful)[last_of_score], np.cumsum(~harmful)[last_of_score]
    zero = np.zeros(1)
    return (
        np.append(np.inf, values[last_of_score]),
        np.concatenate([zero, false_positives / (~harmful).sum()]),
        np.concatenate([zero, true_positives / harmful.sum()]),
    )


def auc(truth: Truth, scores: Scores) -> float:
    """Return the area under the ROC curve, 0..1 (Hanley and McNeil 1982).

    It is the probability that a random harmful text has a higher score than a random harmless one; ties count half.
    """
    import numpy as np

    _, false_alarms, recalls = roc(truth, scores)
    return float(np.trapezoid(recalls, false_alarms))


def precision_recall(truth: Truth, scores: Scores) -> tuple[Floats, Floats]:
    """Return precision and recall at each distinct score, in descending order of the scores."""
    import numpy as np

    _, false_alarms, recalls = roc(truth, scores)
    harmful = int(np.sum(np.asarray(truth, bool)))
    true_positives, false_positives = recalls[1:] * harmful, false_alarms[1:] * (len(truth) - harmful)
    return true_positives / (true_positives + false_positives), recalls[1:]


def average_precision(truth: Truth, scores: Scores) -> float:
    """Return the mean precision over the steps of recall, without interpolation, 0..1 (Davis and Goadrich 2006)."""
    import numpy as np

    precision, recall = precision_recall(truth, scores)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def false_alarms_at(truth: Truth, scores: Scores, recall: float) -> float:
    """Return the smallest share of false alarms, 0..1, at any threshold with at least this recall."""
    _, false_alarms, recalls = roc(truth, scores)
    # Shares are quotients: a recall of 0.9 can be 0.8999999999999999.
    return float(false_alarms[recalls >= recall - 1e-12].min())


def recall_at(truth: Truth, scores: Scores, false_alarms: float) -> float:
    """Return the highest recall, 0..1, at any threshold with at most this share of false alarms."""
    _, shares, recalls = roc(truth, scores)
    return float(recalls[shares <= false_alarms + 1e-12].max())


def share(of: Truth, among: Truth) -> float:
    """Return the share of the texts in `among` that are also in `of`, 0..1; 0 if `among` is empty."""
    import numpy as np

    selected = np.asarray(among, bool)
    return float(np.asarray(of, bool)[selected].mean()) if selected.any() else 0.0


def f1(truth: Truth, flagged: Truth) -> float:
    """Return the harmonic mean of precision and recall, 0..1; 0 if nothing is harmful and nothing is flagged."""
    import numpy as np

    actual, predicted = np.asarray(truth, bool), np.asarray(flagged, bool)
    positives = int(actual.sum() + predicted.sum())
    return 2 * int((actual & predicted).sum()) / positives if positives else 0.0


def reliability(truth: Truth, scores: Scores, bins: int = 10) -> tuple[Bin, ...]:
    """Return a reliability diagram with bins of equal width; empty bins are left out."""
    import numpy as np

    harmful, values = np.asarray(truth, bool), np.asarray(scores, float)
    bin_of_text = np.minimum((values * bins).astype(int), bins - 1)
    diagram = []
    for number in range(bins):
        inside = bin_of_text == number
        if inside.any():
            diagram.append(
                Bin(
                    low=number / bins,
                    high=(number + 1) / bins,
                    texts=int(inside.sum()),
                    score=float(values[inside].mean()),
                    harmful=float(harmful[inside].mean()),
                )
            )
    return tuple(diagram)


def ece(diagram: Sequence[Bin]) -> float:
    """Return the expected calibration error, 0..1 (Naeini et al. 2015).

    It is the mean gap between a bin's score and its share of harmful texts, weighted by the bin's texts.
    """
    texts = sum(b.texts for b in diagram)
    return sum(b.texts * abs(b.score - b.harmful) for b in diagram) / texts if texts else 0.0


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test that two judges are right equally often (McNemar 1947).

    Args:
        only_first: Number of texts that only the first judge decides correctly.
        only_second: Number of texts that only the second judge decides correctly.
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    # Integers: with thousands of texts, 2**total is beyond the range of a float.
    binomial = tail = 1
    for k in range(fewer):
        binomial = binomial * (total - k) // (k + 1)
        tail += binomial
    p: float = 2 * tail / 2**total
    return min(1.0, p)
