"""Plots of evaluations; needs the extra `calibration`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taleward.core.errors import MissingExtra
from taleward.evaluation.metrics.base import MetricScore
from taleward.evaluation.result import Evaluation
from taleward.moderation.calibration import metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

_INCH = (4.0, 2.6)
_ACROSS = 3
_BARS = 30
_COLOURS = ("#5b7ea6", "#b3554d", "#5f9e6e", "#8d6ba8", "#c08a3e", "#4f9da6", "#777777")
_PLAIN = ("pass", "fail")
_SHARE = "share"


def evaluation_plots(found: Evaluation) -> dict[str, Figure]:
    """By file name: how each metric is spread, shares of the samples, and the categories that spoke against texts.

    Raises:
        MissingExtra: The extra `calibration` is not installed.
    """
    plots = {}
    values = {n: [v for v in m.values if v is not None and math.isfinite(v)] for n, m in found.metrics.items()}
    shares = [n for n, seen in values.items() if found.scores[n].unit == _SHARE and seen and {*seen} <= {0.0, 1.0}]
    spread = {name: seen for name, seen in values.items() if name not in shares and len(set(seen)) > 1}
    if shares:
        plots["shares.png"] = _shares([found.scores[name] for name in shares])
    if spread:
        plots["distributions.png"] = _distributions(found, spread)
    plots |= _judged(found)
    plots |= _categories(found)
    return plots


def comparison_plot(names: Sequence[str], rows: Mapping[str, Sequence[MetricScore]]) -> Figure:
    """Points with their intervals, a panel for each metric that has a value.

    Args:
        names: Of the evaluations.
        rows: The scores of the evaluations, by metric.
    """
    shown = {metric: scores for metric, scores in rows.items() if any(s.value is not None for s in scores)}
    across = max(1, min(_ACROSS, len(shown)))
    down = max(1, math.ceil(len(shown) / across))
    figure = _figure((_INCH[0] * across, down * (0.9 + 0.32 * len(names))))
    for n, (metric, scores) in enumerate(shown.items()):
        axes = figure.add_subplot(down, across, n + 1)
        for at, score in enumerate(scores):
            _point(axes, at, score, _COLOURS[at % len(_COLOURS)])
        axes.set(title=metric, yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5))
        axes.set_yticklabels(names if n % across == 0 else [""] * len(names))
        axes.locator_params(axis="x", nbins=5)
        axes.grid(alpha=0.3)
    return figure


def _shares(scores: Sequence[MetricScore]) -> Figure:
    """Shares of the samples with their intervals, one below the other."""
    figure = _figure((_INCH[0] * 2, 1.0 + 0.3 * len(scores)))
    axes = figure.add_subplot()
    for at, score in enumerate(scores):
        _point(axes, at, score, _COLOURS[0])
    axes.set(title="shares of the samples", xlim=(-0.02, 1.02), yticks=range(len(scores)))
    axes.set(ylim=(len(scores) - 0.5, -0.5))
    axes.set_yticklabels([score.metric for score in scores])
    axes.grid(alpha=0.3)
    return figure


def _point(axes: Any, at: int, score: MetricScore, colour: str) -> None:
    if score.value is not None and score.low is not None and score.high is not None:
        error = [[max(0.0, score.value - score.low)], [max(0.0, score.high - score.value)]]
        axes.errorbar([score.value], [at], xerr=error, fmt="o", capsize=4, color=colour)


def _distributions(found: Evaluation, spread: Mapping[str, Sequence[float]]) -> Figure:
    """A histogram of the samples' values for each metric; the line is the corpus value, the band its interval."""
    across = min(_ACROSS, len(spread))
    down = math.ceil(len(spread) / across)
    figure = _figure((_INCH[0] * across, _INCH[1] * down))
    for n, (name, values) in enumerate(spread.items(), 1):
        axes, score = figure.add_subplot(down, across, n), found.scores[name]
        axes.hist(values, bins=min(_BARS, max(5, len(values) // 5)), color=_COLOURS[0])
        if score.value is not None and score.low is not None and score.high is not None:
            axes.axvline(score.value, color="black")
            axes.axvspan(score.low, score.high, color="black", alpha=0.15)
        axes.set(title=name, xlabel=score.unit, ylabel="samples")
        axes.locator_params(axis="x", nbins=5)
        axes.yaxis.set_major_locator(_counts())
    return figure


def _judged(found: Evaluation) -> dict[str, Figure]:
    """Of verdicts on samples labelled `pass` or `fail`: how well scores tell them apart, and how true they are."""
    labelled = [(s.label == "fail", s.verdict) for s in found.samples if s.label in ("pass", "fail") and s.verdict]
    if len({harmful for harmful, _ in labelled}) < 2:
        return {}
    # Without a plain answer a text is not released, at no threshold.
    scores = [max(v.scores.values(), default=1.0) if v.outcome in _PLAIN else 1.0 for _, v in labelled]
    truth = [harmful for harmful, _ in labelled]
    bins = metrics.reliability(truth, scores)
    precision, recall = metrics.precision_recall(truth, scores)
    curve, diagram = _figure((5.0, 5.0)), _figure((5.0, 5.0))
    axes = curve.add_subplot()
    area = metrics.average_precision(truth, scores)
    axes.step(recall, precision, where="pre", color="#5b7ea6")
    axes.set(title=f"average precision {area:.3f}", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes = diagram.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.plot([b.score for b in bins], [b.harmful for b in bins], marker="o", color="#5b7ea6")
    title = f"calibration error {metrics.ece(bins):.3f}"
    axes.set(title=title, xlabel="highest score", ylabel="share labelled fail", xlim=(0, 1), ylim=(0, 1.02))
    return {"precision-recall.png": curve, "reliability.png": diagram}


def _categories(found: Evaluation) -> dict[str, Figure]:
    """How many texts each category spoke against: a guard's drafts, or what a judge was given."""
    drafts = [attempt.verdict for s in found.samples if s.tale for attempt in s.tale.attempts]
    texts = [s.verdict for s in found.samples if s.verdict and not s.tale]
    counts = Counter(category for v in drafts + texts if not v.passed for category in v.categories)
    if not counts:
        return {}
    what = "drafts" if drafts else "texts"
    figure = _figure((_INCH[0] * 2, 1.0 + 0.3 * len(counts)))
    axes = figure.add_subplot()
    ordered = sorted(counts.items(), key=lambda pair: pair[1])
    axes.barh([name for name, _ in ordered], [count for _, count in ordered], color=_COLOURS[1])
    axes.set(title=f"{what} turned down by category, of {len(drafts) + len(texts)} {what}", xlabel=what)
    axes.xaxis.set_major_locator(_counts())
    return {"categories.png": figure}


def _counts() -> MaxNLocator:
    """Ticks at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, integer=True)


def _figure(size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("drawing plots", "calibration") from error
    made: Figure = Figure(figsize=size, layout="constrained")
    return made
