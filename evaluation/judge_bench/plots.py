"""Plots of judge benchmarks and calibrations; needs the extra `calibration`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.core.errors import MissingExtra
from taleward.evaluation.judge_bench.result import BenchReport
from taleward.moderation.calibration.calibration import Calibration
from taleward.moderation.calibration.detection_metrics import Bin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE_INCHES = 6.0


def check_plots() -> None:
    """Check that plots can be drawn, before hours of judging.

    Raises:
        MissingExtra: If the extra `calibration` is not installed.
    """
    _square_figure("", "", "")


def bench_plots(report: BenchReport) -> dict[str, Figure]:
    """Plot the precision-recall curves and the reliability diagram of all judges.

    Returns:
        The figures by file name.

    Raises:
        MissingExtra: If the extra `calibration` is not installed.
    """
    title = f"{report.data}, {report.harmful} of {report.texts} texts harmful"
    curves, axes = _square_figure("recall", "precision", title)
    for judge in report.judges:
        recalls, precisions = zip(*judge.precision_recall, strict=True)
        average_precision = judge.average_precision.value
        axes.step(recalls, precisions, where="pre", label=f"{judge.judge} (AP {average_precision:.3f})")
    axes.axhline(report.harmful / report.texts, color="gray", linestyle=":", label="by chance")
    axes.legend()
    diagrams = {f"{j.judge} (ECE {j.ece:.3f})": j.reliability for j in report.judges if j.ece is not None}
    return {"precision-recall.png": curves, "reliability.png": _reliability_plot(report.data, diagrams)}


def calibration_plots(calibration: Calibration) -> dict[str, Figure]:
    """Plot a reliability diagram for each fitted category, before and after the fit.

    Returns:
        The figures by file name.

    Raises:
        MissingExtra: If the extra `calibration` is not installed.
    """
    return {
        f"reliability-{name}.png": _reliability_plot(
            f"{calibration.judge}, {name}, ages {calibration.band}",
            {
                f"before (ECE {fitted.ece_before:.3f})": fitted.reliability_before,
                f"after, unseen texts (ECE {fitted.ece_after:.3f})": fitted.reliability_after,
            },
        )
        for name, fitted in calibration.categories.items()
    }


def save_plots(plots: Mapping[str, Figure], folder: Path) -> None:
    """Write plots to a folder; it is created if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in plots.items():
        figure.savefig(folder / name, dpi=150)


def _reliability_plot(title: str, diagrams: Mapping[str, Iterable[Bin]]) -> Figure:
    figure, axes = _square_figure("score (mean of the bin)", "share of harmful texts", title)
    axes.plot([0, 1], [0, 1], color="gray", linestyle=":", label="calibrated")
    for label, bins in diagrams.items():
        axes.plot([b.score for b in bins], [b.harmful for b in bins], marker="o", label=label)
    axes.legend()
    return figure


def _square_figure(x_label: str, y_label: str, title: str) -> tuple[Figure, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("drawing plots", "calibration") from error
    figure = Figure(figsize=(_SIZE_INCHES, _SIZE_INCHES), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x_label, ylabel=y_label, title=title, xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    return figure, axes
