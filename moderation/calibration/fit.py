"""Curves and thresholds from labelled texts; needs the extra `calibration`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from taleward.core.errors import ConfigurationError, MissingExtra
from taleward.core.frozen_model import FrozenDict
from taleward.core.verdict import Verdict
from taleward.moderation.calibration import metrics
from taleward.moderation.calibration.bootstrap import percentile_interval, stratified_resamples
from taleward.moderation.calibration.calibration import (
    Calibration,
    FittedCategory,
    FittedOn,
    Isotonic,
    Platt,
    Target,
)
from taleward.moderation.calibration.labeled_data import LabeledData, LabeledText
from taleward.moderation.judges.base import Judge

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

Method = Literal["platt", "isotonic"]
_FOLDS = 5
_FEWEST = 10


class Unfit(Exception):
    """A category cannot be fitted; the message says why."""


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

    A category's harmful texts are those that name it; its harmless ones are those that are harmless altogether. Texts
    that are harmful for something else say nothing about it and are left out of it. A category with too few labels, or
    where the target cannot be reached, is left alone, and the result says why.

    Fit on texts like those that will be judged, in length too: a guard that streams asks about single sentences.

    Args:
        judge: A judge that gives scores, without a calibration.
        data: Labeled texts with categories.
        target: What each threshold has to reach.
        method: `platt` for few texts; `isotonic` where there are a thousand or more (Niculescu-Mizil, Caruana 2005).
        min_texts: How many harmful, and how many harmless, texts a category needs.
        resamples: Bootstrap resamples for the ranges, at least 10.
        seed: Of the resamples and folds.
        verdicts: The judge's verdicts on the texts, where it has been asked already.

    Raises:
        ConfigurationError: The judge has a calibration or cannot have one, no text names a category, or a number is out
            of its range.
        MissingExtra: The extra `calibration` is not installed.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingExtra("fitting a calibration", "calibration") from error
    if resamples < _FEWEST:
        raise ConfigurationError(f"resamples must be at least {_FEWEST}; got {resamples}.")
    if not judge.calibratable or judge.calibration is not None:
        raise ConfigurationError(
            f"judge {judge.spec!r} {'has a calibration already' if judge.calibration else 'combines others'}.",
            hint="Fit each judge by itself, without a calibration.",
        )
    if not any(row.categories for row in data.rows):
        raise ConfigurationError(
            f"no harmful text of {data.name} names a category, and thresholds are fitted by category.",
            hint="Name their column (Columns(category=...), --category-column), or what all of them are harmful for "
            "(category=, --category).",
        )
    answers = list(verdicts) if verdicts is not None else [judge.invoke(row.text) for row in data.rows]
    plain = [(r, v.scores) for r, v in zip(data.rows, answers, strict=True) if v.outcome in ("pass", "fail")]
    fitted: dict[str, FittedCategory] = {}
    left: dict[str, str] = {}
    for category in judge.policy.categories:
        try:
            truth, scores = _labels(plain, category, min_texts)
            fitted[category] = fit_category(truth, scores, target, method=method, resamples=resamples, seed=seed)
        except Unfit as why:
            left[category] = str(why)
    harmful = sum(row.harmful for row in data.rows)
    counts = (len(data.rows), harmful, len(data.rows) - len(plain))
    parts = {
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
        data=FittedOn(name=data.name, sha256=data.sha256, texts=counts[0], harmful=counts[1], unjudged=counts[2]),
        seed=seed,
        resamples=resamples,
        fitted_at=datetime.now(UTC).replace(microsecond=0),
        signature="|".join(f"{key}={value}" for key, value in parts.items()),
        categories=FrozenDict(fitted),
        left_alone=FrozenDict(left),
    )


def fit_category(
    truth: Bools, scores: Floats, target: Target, *, method: Method = "platt", resamples: int = 200, seed: int = 0
) -> FittedCategory:
    """Fit one category.

    Args:
        truth: Whether each text is harmful; both labels at least five times.
        scores: The judge's scores, 0..1.
        target: What the threshold has to reach.
        method: The kind of the curve.
        resamples: Bootstrap resamples for the ranges.
        seed: Of the resamples and folds.

    Raises:
        Unfit: The scores do not rise with harm, or the target cannot be reached.
    """
    import numpy as np

    curve = fit_curve(truth, scores, method)
    chances = _through(curve, scores)
    threshold = pick_threshold(truth, chances, target)
    thresholds, recalls, alarms = [], [], []
    for drawn in stratified_resamples(truth, resamples, seed):
        out = np.setdiff1d(np.arange(len(truth)), drawn)
        if truth[out].all() or not truth[out].any():
            continue
        try:
            again = fit_curve(truth[drawn], scores[drawn], method)
            at = pick_threshold(truth[drawn], _through(again, scores[drawn]), target)
        except Unfit:
            continue
        failed = _through(again, scores[out]) >= at
        thresholds.append(at)
        recalls.append(metrics.share(failed, truth[out]))
        alarms.append(metrics.share(failed, ~truth[out]))
    if len(thresholds) < resamples / 2:
        raise Unfit(f"only {len(thresholds)} of {resamples} resamples could be fitted to {target}")
    unseen = _out_of_fold(truth, scores, method, seed)
    before, after = metrics.reliability(truth, scores), metrics.reliability(truth, unseen)
    return FittedCategory(
        curve=curve,
        threshold=percentile_interval(threshold, thresholds),
        recall=percentile_interval(float(np.mean(recalls)), recalls),
        false_alarms=percentile_interval(float(np.mean(alarms)), alarms),
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
    """The curve from score to chance of harm.

    `platt` follows Platt 1999 with his targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2), so that labels that scores part
    completely do not make it infinitely steep; it is a sigmoid of the log-odds of the score.

    Raises:
        Unfit: The scores do not rise with harm.
    """
    import numpy as np
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    if method == "isotonic":
        line = IsotonicRegression(y_min=0.0, y_max=1.0, increasing=True, out_of_bounds="clip").fit(scores, truth)
        if line.y_thresholds_[-1] <= line.y_thresholds_[0]:
            raise Unfit("the judge's scores do not rise with harm here")
        knots = zip(line.X_thresholds_, line.y_thresholds_, strict=True)
        at, gives = zip(*((float(x), float(y)) for x, y in knots), strict=True)
        return Isotonic(at=at, gives=gives)
    harmful = int(truth.sum())
    sure = np.where(truth, (harmful + 1) / (harmful + 2), 1 / (len(truth) - harmful + 2))
    near = np.clip(scores, 1e-6, 1 - 1e-6)
    odds = np.log(near / (1 - near)).reshape(-1, 1)
    labels, weights = np.repeat([1, 0], len(truth)), np.concatenate([sure, 1 - sure])
    sigmoid = LogisticRegression(C=1e6, max_iter=1000).fit(np.concatenate([odds, odds]), labels, sample_weight=weights)
    slope = float(sigmoid.coef_[0, 0])
    if slope <= 1e-6:
        raise Unfit("the judge's scores do not rise with harm here")
    return Platt(slope=slope, intercept=float(sigmoid.intercept_[0]))


def pick_threshold(truth: Bools, scores: Floats, target: Target) -> float:
    """The score from which a text fails, halfway between two scores that were seen, so that the target is met.

    Raises:
        Unfit: No such threshold lets any text pass, or catches any.
    """
    import numpy as np

    at, alarms, recalls = metrics.roc(truth, scores)
    if target.kind == "recall":
        chosen = int(np.argmax(recalls >= target.value - 1e-12))
        if alarms[chosen] >= 1.0:
            raise Unfit(f"{target} would fail every harmless text too")
    else:
        chosen = int(np.flatnonzero(alarms <= target.value + 1e-12)[-1])
        if recalls[chosen] <= 0.0:
            raise Unfit(f"{target} would let every harmful text pass")
    below = at[chosen + 1] if chosen + 1 < len(at) else 0.0
    halfway = float((at[chosen] + below) / 2)
    return halfway if halfway > below else float(at[chosen])


def _labels(
    plain: Sequence[tuple[LabeledText, Mapping[str, float]]], category: str, min_texts: int
) -> tuple[Bools, Floats]:
    import numpy as np

    told = [(category in r.categories, r.harmful, s.get(category)) for r, s in plain]
    used = [(mine, score) for mine, harmful, score in told if (mine or not harmful) and score is not None]
    if not used and plain:
        raise Unfit("the judge gives no score here")
    truth, scores = np.array([t for t, _ in used], bool), np.array([s for _, s in used], float)
    harmful = int(truth.sum())
    if min(harmful, len(truth) - harmful) < max(min_texts, _FOLDS):
        raise Unfit(
            f"{harmful} harmful and {len(truth) - harmful} harmless texts; {max(min_texts, _FOLDS)} of each are needed"
        )
    return truth, scores


def _through(curve: Platt | Isotonic, scores: Floats) -> Floats:
    import numpy as np

    different, where = np.unique(scores, return_inverse=True)
    found: Floats = np.array([curve(float(s)) for s in different])[where]
    return found


def _out_of_fold(truth: Bools, scores: Floats, method: Method, seed: int) -> Floats:
    """Each score through a curve that was fitted on the other folds."""
    import numpy as np
    from sklearn.model_selection import StratifiedKFold

    found = np.empty_like(scores)
    for known, unseen in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(scores, truth):
        found[unseen] = _through(fit_curve(truth[known], scores[known], method), scores[unseen])
    return found
