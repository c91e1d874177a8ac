"""Plots of evaluations; needs the extra `calibration`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taleward.core.errors import MissingExtra
from taleward.evaluation.findings import Evaluation
from taleward.evaluation.metrics.base import Score
from taleward.moderation import metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCH = (4.0, 2.6)
_ACROSS = 3
_BARS = 30
_PLAIN = ("pass", "fail")


def evaluation_plots(found: Evaluation) -> dict[str, Figure]:
    """How each metric is spread over the samples, and which categories turned drafts down, by file name.

    Raises:
        MissingExtra: The extra `calibration` is not installed.
    """
    plots = {}
    spread = {n: [v for v in m.values if v is not None and math.isfinite(v)] for n, m in found.metrics.items()}
    spread = {name: values for name, values in spread.items() if len(set(values)) > 1}
    if spread:
        plots["distributions.png"] = _distributions(found, spread)
    plots |= _judged(found)
    verdicts = [a.verdict for s in found.samples if s.tale for a in s.tale.attempts]
    counts = Counter(c for v in verdicts if not v.passed for c in v.categories)
    if counts:
        plots["categories.png"] = _bars(counts, f"drafts turned down, of {len(verdicts)}")
    return plots


def comparison_plot(names: Sequence[str], rows: Mapping[str, Sequence[Score]]) -> Figure:
    """A row of points with their intervals for each metric.

    Args:
        names: Of the evaluations.
        rows: The scores of the evaluations, by metric.
    """
    figure = _figure((2.4 + 2.4 * len(rows), 1.2 + 0.35 * len(names)))
    for n, (metric, scores) in enumerate(rows.items(), 1):
        axes = figure.add_subplot(1, len(rows), n)
        for at, score in enumerate(scores):
            if score.value is not None and score.low is not None and score.high is not None:
                error = [[max(0.0, score.value - score.low)], [max(0.0, score.high - score.value)]]
                axes.errorbar([score.value], [at], xerr=error, fmt="o", capsize=4, color="#5b7ea6")
        axes.set(title=metric, yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5))
        axes.set_yticklabels(names if n == 1 else [""] * len(names))
        axes.grid(alpha=0.3)
    return figure


def _distributions(found: Evaluation, spread: Mapping[str, Sequence[float]]) -> Figure:
    across = min(_ACROSS, len(spread))
    down = math.ceil(len(spread) / across)
    figure = _figure((_INCH[0] * across, _INCH[1] * down))
    for n, (name, values) in enumerate(spread.items(), 1):
        axes, score = figure.add_subplot(down, across, n), found.scores[name]
        axes.hist(values, bins=min(_BARS, max(5, len(values) // 5)), color="#5b7ea6")
        if score.value is not None and score.low is not None and score.high is not None:
            axes.axvline(score.value, color="black")
            axes.axvspan(score.low, score.high, color="black", alpha=0.15)
        axes.set(title=name, xlabel=score.unit, ylabel="samples")
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


def _bars(counts: Mapping[str, int], title: str) -> Figure:
    figure = _figure((6.0, 1.0 + 0.35 * len(counts)))
    axes = figure.add_subplot()
    ordered = sorted(counts.items(), key=lambda pair: pair[1])
    axes.barh([name for name, _ in ordered], [count for _, count in ordered], color="#b3554d")
    axes.set(title=title)
    return figure


def _figure(size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("drawing plots", "calibration") from error
    made: Figure = Figure(figsize=size, layout="constrained")
    return made
