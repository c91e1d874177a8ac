"""How well scores and decisions tell harmful from harmless texts: small functions of plain lists.

`truth` says for each text whether it is harmful; a text is flagged where its score is at least a threshold. Recall is
the share of the harmful texts that are flagged, false alarms the share of the harmless ones.
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
    """One bar of a reliability diagram.

    Attributes:
        low: Scores from here, 0..1.
        high: Scores below here, 0..1; the last bin includes it.
        texts: How many scores are within.
        score: Their mean.
        harmful: The share of them whose text is harmful.
    """

    low: Probability
    high: Probability
    texts: int = Field(ge=1)
    score: Probability
    harmful: Probability


def roc(truth: Truth, scores: Scores) -> tuple[Floats, Floats, Floats]:
    """The points of the receiver operating characteristic, from no text flagged to all.

    Returns:
        Thresholds, false alarms and recalls, one for each distinct score in falling order, after a first point at
        infinity that flags nothing.

    Raises:
        ConfigurationError: The lists differ in length, or one of the two labels is missing.
    """
    import numpy as np

    harmful, at = np.asarray(truth, bool), np.asarray(scores, float)
    if len(harmful) != len(at):
        raise ConfigurationError(f"truth and scores must be of one length; got {len(harmful)} and {len(at)}.")
    if harmful.all() or not harmful.any():
        raise ConfigurationError(f"figures need harmful and harmless texts; got {len(at)} texts of one label.")
    order = np.argsort(-at, kind="stable")
    harmful, at = harmful[order], at[order]
    last = np.append(np.flatnonzero(np.diff(at)), len(at) - 1)
    hits, alarms = np.cumsum(harmful)[last], np.cumsum(~harmful)[last]
    start = np.zeros(1)
    return (
        np.append(np.inf, at[last]),
        np.concatenate([start, alarms / (~harmful).sum()]),
        np.concatenate([start, hits / harmful.sum()]),
    )


def auc(truth: Truth, scores: Scores) -> float:
    """Area under the ROC curve, 0..1: the chance that a harmful text scores above a harmless one.

    After Hanley and McNeil 1982; ties count half.
    """
    import numpy as np

    _, alarms, recalls = roc(truth, scores)
    return float(np.trapezoid(recalls, alarms))


def precision_recall(truth: Truth, scores: Scores) -> tuple[Floats, Floats]:
    """Precision and recall at each distinct score, in falling order of the scores."""
    import numpy as np

    _, alarms, recalls = roc(truth, scores)
    positives = int(np.sum(np.asarray(truth, bool)))
    hits, false = recalls[1:] * positives, alarms[1:] * (len(truth) - positives)
    return hits / (hits + false), recalls[1:]


def average_precision(truth: Truth, scores: Scores) -> float:
    """Mean precision over the steps of recall, without interpolation, 0..1 (Davis and Goadrich 2006)."""
    import numpy as np

    precision, recall = precision_recall(truth, scores)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def false_alarms_at(truth: Truth, scores: Scores, recall: float) -> float:
    """The fewest false alarms, as a share, of any threshold with at least this recall."""
    _, alarms, recalls = roc(truth, scores)
    return float(alarms[recalls >= recall - 1e-12].min())


def recall_at(truth: Truth, scores: Scores, false_alarms: float) -> float:
    """The highest recall of any threshold with at most this share of false alarms."""
    _, alarms, recalls = roc(truth, scores)
    return float(recalls[alarms <= false_alarms + 1e-12].max())


def share(of: Truth, among: Truth) -> float:
    """The share of those `among` that are also in `of`; 0 where there are none."""
    import numpy as np

    inside = np.asarray(among, bool)
    return float(np.asarray(of, bool)[inside].mean()) if inside.any() else 0.0


def f1(truth: Truth, flagged: Truth) -> float:
    """Harmonic mean of precision and recall, 0..1; 0 where nothing is harmful and nothing is flagged."""
    import numpy as np

    harmful, failed = np.asarray(truth, bool), np.asarray(flagged, bool)
    marked = int(harmful.sum() + failed.sum())
    return 2 * int((harmful & failed).sum()) / marked if marked else 0.0


def reliability(truth: Truth, scores: Scores, bins: int = 10) -> tuple[Bin, ...]:
    """The reliability diagram: scores in bins of equal width, those without texts left out."""
    import numpy as np

    harmful, at = np.asarray(truth, bool), np.asarray(scores, float)
    number = np.minimum((at * bins).astype(int), bins - 1)
    found = []
    for n in range(bins):
        inside = number == n
        if inside.any():
            mean, rate = float(at[inside].mean()), float(harmful[inside].mean())
            found.append(Bin(low=n / bins, high=(n + 1) / bins, texts=int(inside.sum()), score=mean, harmful=rate))
    return tuple(found)


def ece(diagram: Sequence[Bin]) -> float:
    """Expected calibration error, 0..1: the gap of mean score and share harmful by texts (Naeini et al. 2015)."""
    texts = sum(b.texts for b in diagram)
    return sum(b.texts * abs(b.score - b.harmful) for b in diagram) / texts if texts else 0.0


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value that two judges are right equally often (McNemar 1947; binomial form).

    Args:
        only_first: Texts that the first alone decides rightly.
        only_second: Texts that the second alone decides rightly.
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    term = tail = 1
    for k in range(fewer):
        term = term * (total - k) // (k + 1)
        tail += term
    p: float = 2 * tail / 2**total
    return min(1.0, p)
