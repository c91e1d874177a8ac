"""Plots of evaluations and comparisons; needs the extra `calibration`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taleward.core.errors import MissingExtra
from taleward.evaluation.metrics.base import MetricScore
from taleward.evaluation.result import Evaluation
from taleward.moderation.calibration import detection_metrics as metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

_PANEL_INCHES = (4.0, 2.6)
_PANELS_PER_ROW = 3
_MAX_BINS = 30
_COLORS = ("#5b7ea6", "#b3554d", "#5f9e6e", "#8d6ba8", "#c08a3e", "#4f9da6", "#777777")
_DECIDED_OUTCOMES = ("pass", "fail")
_SHARE_UNIT = "share"


def evaluation_plots(evaluation: Evaluation) -> dict[str, Figure]:
    """Plot an evaluation.

    Returns:
        Figures by file name: shares of the samples, distributions of the other metrics, curves of a judge on labeled
        samples, and the categories in which texts failed.

    Raises:
        MissingExtra: If the extra `calibration` is not installed.
    """
    plots = {}
    values = {
        name: [v for v in result.values if v is not None and math.isfinite(v)]
        for name, result in evaluation.metrics.items()
    }
    scores = evaluation.scores
    # A share of 0 or 1 per sample has no distribution worth a histogram.
    shares = [n for n, v in values.items() if scores[n].unit == _SHARE_UNIT and v and {*v} <= {0.0, 1.0}]
    distributions = {name: v for name, v in values.items() if name not in shares and len(set(v)) > 1}
    if shares:
        plots["shares.png"] = _share_plot([scores[name] for name in shares])
    if distributions:
        plots["distributions.png"] = _distribution_plot(evaluation, distributions)
    plots |= _judge_plots(evaluation)
    plots |= _category_plot(evaluation)
    return plots


def comparison_plot(names: Sequence[str], scores: Mapping[str, Sequence[MetricScore]]) -> Figure:
    """Plot the values of evaluations with their intervals, in one panel per metric that has a value.

    Args:
        names: The names of the evaluations.
        scores: The scores of the evaluations, by metric name.
    """
    panels = {metric: row for metric, row in scores.items() if any(score.value is not None for score in row)}
    columns = max(1, min(_PANELS_PER_ROW, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    figure = _figure((_PANEL_INCHES[0] * columns, rows * (0.9 + 0.32 * len(names))))
    for panel, (metric, metric_scores) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, panel + 1)
        for y, score in enumerate(metric_scores):
            _draw_interval(axes, y, score, _COLORS[y % len(_COLORS)])
        axes.set(title=metric, yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5))
        axes.set_yticklabels(names if panel % columns == 0 else [""] * len(names))
        axes.locator_params(axis="x", nbins=5)
        axes.grid(alpha=0.3)
    return figure


def interval_plot(
    rows: Sequence[tuple[str, float, float, float]], *, title: str, reference: float, limits: tuple[float, float]
) -> Figure:
    """Plot values with their intervals, one below the other.

    Args:
        rows: Name, value, and the lower and upper end of the interval.
        title: The title.
        reference: Where a line is drawn to compare with.
        limits: The ends of the axis.

    Raises:
        MissingExtra: If the extra `calibration` is not installed.
    """
    figure = _figure((_PANEL_INCHES[0] * 2, 1.0 + 0.35 * len(rows)))
    axes = figure.add_subplot()
    axes.axvline(reference, color="black", alpha=0.4, linewidth=1)
    for y, (_, value, low, high) in enumerate(rows):
        color = _COLORS[y % len(_COLORS)]
        axes.errorbar([value], [y], xerr=[[value - low], [high - value]], fmt="o", capsize=4, color=color)
    axes.set(title=title, xlim=limits, yticks=range(len(rows)), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticklabels([name for name, *_ in rows])
    axes.grid(alpha=0.3)
    return figure


def _share_plot(scores: Sequence[MetricScore]) -> Figure:
    """Plot shares of the samples with their intervals."""
    figure = _figure((_PANEL_INCHES[0] * 2, 1.0 + 0.3 * len(scores)))
    axes = figure.add_subplot()
    for y, score in enumerate(scores):
        _draw_interval(axes, y, score, _COLORS[0])
    axes.set(title="shares of the samples", xlim=(-0.02, 1.02), yticks=range(len(scores)))
    axes.set(ylim=(len(scores) - 0.5, -0.5))
    axes.set_yticklabels([score.metric for score in scores])
    axes.grid(alpha=0.3)
    return figure


def _draw_interval(axes: Any, y: int, score: MetricScore, color: str) -> None:
    if score.value is not None and score.low is not None and score.high is not None:
        # An interval can miss its value, but matplotlib rejects negative lengths.
        error = [[max(0.0, score.value - score.low)], [max(0.0, score.high - score.value)]]
        axes.errorbar([score.value], [y], xerr=error, fmt="o", capsize=4, color=color)


def _distribution_plot(evaluation: Evaluation, distributions: Mapping[str, Sequence[float]]) -> Figure:
    """Plot a histogram of each metric's sample values, with a line at the corpus value and a band for its interval."""
    columns = min(_PANELS_PER_ROW, len(distributions))
    rows = math.ceil(len(distributions) / columns)
    figure = _figure((_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows))
    for panel, (name, values) in enumerate(distributions.items(), 1):
        axes, score = figure.add_subplot(rows, columns, panel), evaluation.scores[name]
        axes.hist(values, bins=min(_MAX_BINS, max(5, len(values) // 5)), color=_COLORS[0])
        if score.value is not None and score.low is not None and score.high is not None:
            axes.axvline(score.value, color="black")
            axes.axvspan(score.low, score.high, color="black", alpha=0.15)
        axes.set(title=name, xlabel=score.unit, ylabel="samples")
        axes.locator_params(axis="x", nbins=5)
        axes.yaxis.set_major_locator(_integer_ticks())
    return figure


def _judge_plots(evaluation: Evaluation) -> dict[str, Figure]:
    """Plot the precision-recall curve and reliability diagram of verdicts on samples labeled `pass` or `fail`."""
    labeled = [(s.label == "fail", s.verdict) for s in evaluation.samples if s.label in ("pass", "fail") and s.verdict]
    if len({harmful for harmful, _ in labeled}) < 2:
        return {}
    # Without a decision a text is not released at any threshold, so it ranks highest.
    scores = [max(v.scores.values(), default=1.0) if v.outcome in _DECIDED_OUTCOMES else 1.0 for _, v in labeled]
    truth = [harmful for harmful, _ in labeled]
    bins = metrics.reliability(truth, scores)
    precision, recall = metrics.precision_recall(truth, scores)
    curve, diagram = _figure((5.0, 5.0)), _figure((5.0, 5.0))
    axes = curve.add_subplot()
    average_precision = metrics.average_precision(truth, scores)
    axes.step(recall, precision, where="pre", color=_COLORS[0])
    axes.set(title=f"average precision {average_precision:.3f}", xlabel="recall", ylabel="precision")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes = diagram.add_subplot()
    axes.plot([0, 1], [0, 1], color="gray", linestyle=":")
    axes.plot([b.score for b in bins], [b.harmful for b in bins], marker="o", color=_COLORS[0])
    title = f"expected calibration error {metrics.ece(bins):.3f}"
    axes.set(title=title, xlabel="highest score", ylabel="share labeled fail", xlim=(0, 1), ylim=(0, 1.02))
    return {"precision-recall.png": curve, "reliability.png": diagram}


def _category_plot(evaluation: Evaluation) -> dict[str, Figure]:
    """Plot in how many texts each category was found: a guard's rejected drafts, or texts that a judge failed."""
    drafts = [attempt.verdict for s in evaluation.samples if s.tale for attempt in s.tale.attempts]
    texts = [s.verdict for s in evaluation.samples if s.verdict and not s.tale]
    counts = Counter(category for v in drafts + texts if not v.passed for category in v.categories)
    if not counts:
        return {}
    noun = "drafts" if drafts else "texts"
    figure = _figure((_PANEL_INCHES[0] * 2, 1.0 + 0.3 * len(counts)))
    axes = figure.add_subplot()
    ordered = sorted(counts.items(), key=lambda item: item[1])
    axes.barh([name for name, _ in ordered], [count for _, count in ordered], color=_COLORS[1])
    axes.set(title=f"rejected {noun} by category, of {len(drafts) + len(texts)} {noun}", xlabel=noun)
    axes.xaxis.set_major_locator(_integer_ticks())
    return {"categories.png": figure}


def _integer_ticks() -> MaxNLocator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, integer=True)


def _figure(size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("drawing plots", "calibration") from error
    figure: Figure = Figure(figsize=size, layout="constrained")
    return figure
