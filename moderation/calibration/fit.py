"""Fit calibration curves and thresholds to labeled texts; needs the extra `calibration`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from taleward.core.errors import ConfigurationError, MissingExtra
from taleward.core.frozen_model import FrozenDict
from taleward.core.verdict import Verdict
from taleward.moderation.calibration import detection_metrics as metrics
from taleward.moderation.calibration.bootstrap import percentile_interval, stratified_resamples
from taleward.moderation.calibration.calibration import (
    Calibration,
    FittedCategory,
    FittingData,
    Isotonic,
    Platt,
    Target,
)
from taleward.moderation.calibration.labeled_texts import LabeledData, LabeledText
from taleward.moderation.judges.base import Judge

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

Method = Literal["platt", "isotonic"]
_FOLDS = 5
_MIN_RESAMPLES = 10


class FitError(Exception):
    """Raised if a category cannot be fitted; the message gives the reason."""


def fit_calibration(
    judge: Judge,
    data: LabeledData,
    target: Target,
    *,
    method: Method = "platt",
    min_texts: int = 20,
    resamples: int = 200,
    seed: int = 0,
    verdicts: Sequence[Verdict] | None = None,
) -> Calibration:
    """Fit the scores and thresholds of a judge, category by category.

    A category is fitted to the texts labeled with it and to those that are harmless. Texts that are harmful for
    another reason are left out, since their labels do not say whether the category applies. A category with too few
    texts, or whose target cannot be reached, is not fitted; `Calibration.left_alone` gives the reason.

    Fit on texts like those to be judged, in length too: a streaming guard judges single sentences.

    Args:
        judge: A judge that gives scores, without a calibration.
        data: Labeled texts with categories.
        target: What each threshold must reach.
        method: `platt` for few texts, `isotonic` for a thousand or more (Niculescu-Mizil and Caruana 2005).
        min_texts: The fewest harmful texts, and the fewest harmless ones, that a category is fitted on.
        resamples: Number of bootstrap resamples for the intervals, at least 10.
        seed: Seed of the resamples and folds.
        verdicts: The judge's verdicts on the texts, one per text, if you already have them.

    Raises:
        ConfigurationError: If the judge has a calibration or cannot have one, no text has a category, or `resamples`
            is below 10.
        MissingExtra: If the extra `calibration` is not installed.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingExtra("fitting a calibration", "calibration") from error
    if resamples < _MIN_RESAMPLES:
        raise ConfigurationError(f"resamples must be at least {_MIN_RESAMPLES}; got {resamples}.")
    if not judge.calibratable or judge.calibration is not None:
        raise ConfigurationError(
            f"judge {judge.spec!r} {'has a calibration already' if judge.calibration else 'combines others'}.",
            hint="Fit each judge on its own, without a calibration.",
        )
    if not any(row.categories for row in data.rows):
        raise ConfigurationError(
            f"no harmful text of {data.name} has a category, and thresholds are fitted per category.",
            hint="Name the column of categories (Columns(category=...), --category-column), or the category of all "
            "harmful texts (category=, --category).",
        )
    if verdicts is None:
        verdicts = [judge.invoke(row.text) for row in data.rows]
    judged = [(r, v.scores) for r, v in zip(data.rows, verdicts, strict=True) if v.outcome in ("pass", "fail")]
    fitted: dict[str, FittedCategory] = {}
    left_alone: dict[str, str] = {}
    for category in judge.policy.categories:
        try:
            truth, scores = _truth_and_scores(judged, category, min_texts)
            fitted[category] = fit_category(truth, scores, target, method=method, resamples=resamples, seed=seed)
        except FitError as error:
            left_alone[category] = str(error)
    harmful = sum(row.harmful for row in data.rows)
    settings = {
        "judge": judge.spec,
        "policy": f"{judge.policy.id}:{judge.policy.sha256[:12]}",
        "band": judge.band,
        "target": str(target),
        "method": method,
        "least": min_texts,
        "data": f"{data.name}:{data.sha256[:12]}",
        "n": len(data.rows),
        "harmful": harmful,
        "resamples": resamples,
        "seed": seed,
        "taleward": version("taleward"),
        "scikit-learn": version("scikit-learn"),
    }
    return Calibration(
        judge=judge.spec,
        policy=judge.policy.id,
        policy_sha256=judge.policy.sha256,
        band=judge.band,
        target=target,
        method=method,
        data=FittingData(
            name=data.name,
            sha256=data.sha256,
            texts=len(data.rows),
            harmful=harmful,
            unjudged=len(data.rows) - len(judged),
        ),
        seed=seed,
        resamples=resamples,
        fitted_at=datetime.now(UTC).replace(microsecond=0),
        signature="|".join(f"{key}={value}" for key, value in settings.items()),
        categories=FrozenDict(fitted),
        left_alone=FrozenDict(left_alone),
    )


def fit_category(
    truth: Bools, scores: Floats, target: Target, *, method: Method = "platt", resamples: int = 200, seed: int = 0
) -> FittedCategory:
    """Fit the curve and threshold of one category.

    Args:
        truth: Whether each text is harmful, shape (n,); at least five texts are, and at least five are not.
        scores: The judge's scores, shape (n,), 0..1.
        target: What the threshold must reach.
        method: The kind of curve.
        resamples: Number of bootstrap resamples for the intervals.
        seed: Seed of the resamples and folds.

    Raises:
        FitError: If the scores do not rise with harm, or the target cannot be reached.
    """
    import numpy as np

    curve = fit_curve(truth, scores, method)
    threshold = pick_threshold(truth, _map_scores(curve, scores), target)
    thresholds, recalls, false_alarms = [], [], []
    for drawn in stratified_resamples(truth, resamples, seed):
        out_of_bag = np.setdiff1d(np.arange(len(truth)), drawn)
        # Without both labels there is no recall, or no share of false alarms.
        if truth[out_of_bag].all() or not truth[out_of_bag].any():
            continue
        try:
            resample_curve = fit_curve(truth[drawn], scores[drawn], method)
            resample_threshold = pick_threshold(truth[drawn], _map_scores(resample_curve, scores[drawn]), target)
        except FitError:
            continue
        failed = _map_scores(resample_curve, scores[out_of_bag]) >= resample_threshold
        thresholds.append(resample_threshold)
        recalls.append(metrics.share(failed, truth[out_of_bag]))
        false_alarms.append(metrics.share(failed, ~truth[out_of_bag]))
    # If most resamples fail, the rest are those that happened to be easy, and their intervals would be too good.
    if len(thresholds) < resamples / 2:
        raise FitError(f"only {len(thresholds)} of {resamples} resamples could be fitted to {target}")
    cross_validated = _cross_validated_scores(truth, scores, method, seed)
    before, after = metrics.reliability(truth, scores), metrics.reliability(truth, cross_validated)
    return FittedCategory(
        curve=curve,
        threshold=percentile_interval(threshold, thresholds),
        recall=percentile_interval(float(np.mean(recalls)), recalls),
        false_alarms=percentile_interval(float(np.mean(false_alarms)), false_alarms),
        texts=len(truth),
        harmful=int(truth.sum()),
        auc=metrics.auc(truth, scores),
        average_precision=metrics.average_precision(truth, scores),
        ece_before=metrics.ece(before),
        ece_after=metrics.ece(after),
        reliability_before=before,
        reliability_after=after,
    )


def fit_curve(truth: Bools, scores: Floats, method: Method) -> Platt | Isotonic:
    """Fit the curve from scores to the probability of harm.

    `platt` is a sigmoid of the score's log-odds, fitted to the targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2) of Platt
    1999. With them the curve stays finite even if the scores separate the labels perfectly.

    Raises:
        FitError: If the scores do not rise with harm.
    """
    import numpy as np
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    if method == "isotonic":
        isotonic = IsotonicRegression(y_min=0.0, y_max=1.0, increasing=True, out_of_bounds="clip").fit(scores, truth)
        if isotonic.y_thresholds_[-1] <= isotonic.y_thresholds_[0]:
            raise FitError("the judge's scores do not rise with harm")
        knots = zip(isotonic.X_thresholds_, isotonic.y_thresholds_, strict=True)
        at, gives = zip(*((float(x), float(y)) for x, y in knots), strict=True)
        return Isotonic(at=at, gives=gives)
    harmful = int(truth.sum())
    # LogisticRegression takes no fractional targets: each text counts as harmful and as harmless, weighted.
    targets = np.where(truth, (harmful + 1) / (harmful + 2), 1 / (len(truth) - harmful + 2))
    clipped = np.clip(scores, 1e-6, 1 - 1e-6)
    log_odds = np.log(clipped / (1 - clipped)).reshape(-1, 1)
    sigmoid = LogisticRegression(C=1e6, max_iter=1000).fit(
        np.concatenate([log_odds, log_odds]),
        np.repeat([1, 0], len(truth)),
        sample_weight=np.concatenate([targets, 1 - targets]),
    )
    slope = float(sigmoid.coef_[0, 0])
    if slope <= 1e-6:
        raise FitError("the judge's scores do not rise with harm")
    return Platt(slope=slope, intercept=float(sigmoid.intercept_[0]))


def pick_threshold(truth: Bools, scores: Floats, target: Target) -> float:
    """Return the threshold that meets the target: for shares halfway between two of the scores.

    For a cost of w per miss it is 1 / (1 + w), the probability from which on it costs less to fail a text than to pass
    it (Elkan 2001), so the scores must be calibrated. On few texts that is steadier than the threshold with the lowest
    cost on them.

    Raises:
        FitError: If only a threshold that fails every harmless text, or passes every harmful one, meets the target.
    """
    import numpy as np

    if target.kind == "cost":
        break_even = 1 / (1 + target.value)
        flagged = scores >= break_even
        if flagged[~truth].all():
            raise FitError(f"the {target} would fail every harmless text too")
        if not flagged[truth].any():
            raise FitError(f"the {target} would let every harmful text pass")
        return break_even
    thresholds, false_alarms, recalls = metrics.roc(truth, scores)
    if target.kind == "recall":
        chosen = int(np.argmax(recalls >= target.value - 1e-12))
        if false_alarms[chosen] >= 1.0:
            raise FitError(f"{target} would fail every harmless text too")
    else:
        chosen = int(np.flatnonzero(false_alarms <= target.value + 1e-12)[-1])
        if recalls[chosen] <= 0.0:
            raise FitError(f"{target} would let every harmful text pass")
    next_lower = thresholds[chosen + 1] if chosen + 1 < len(thresholds) else 0.0
    halfway = float((thresholds[chosen] + next_lower) / 2)
    # Between neighboring floats there is no halfway: it would be rounded to the lower one.
    return halfway if halfway > next_lower else float(thresholds[chosen])


def _truth_and_scores(
    judged: Sequence[tuple[LabeledText, Mapping[str, float]]], category: str, min_texts: int
) -> tuple[Bools, Floats]:
    import numpy as np

    pairs = [
        (category in text.categories, scores[category])
        for text, scores in judged
        if (category in text.categories or not text.harmful) and category in scores
    ]
    if not pairs and judged:
        raise FitError("the judge gives no scores for it")
    truth, scores = np.array([t for t, _ in pairs], bool), np.array([s for _, s in pairs], float)
    harmful = int(truth.sum())
    if min(harmful, len(truth) - harmful) < max(min_texts, _FOLDS):
        raise FitError(
            f"{harmful} harmful and {len(truth) - harmful} harmless texts; {max(min_texts, _FOLDS)} of each are needed"
        )
    return truth, scores


def _map_scores(curve: Platt | Isotonic, scores: Floats) -> Floats:
    import numpy as np

    distinct, inverse = np.unique(scores, return_inverse=True)
    mapped: Floats = np.array([curve(float(s)) for s in distinct])[inverse]
    return mapped


def _cross_validated_scores(truth: Bools, scores: Floats, method: Method, seed: int) -> Floats:
    """Map each score by a curve that was fitted on the other folds."""
    import numpy as np
    from sklearn.model_selection import StratifiedKFold

    mapped = np.empty_like(scores)
    for rest, fold in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(scores, truth):
        mapped[fold] = _map_scores(fit_curve(truth[rest], scores[rest], method), scores[fold])
    return mapped
