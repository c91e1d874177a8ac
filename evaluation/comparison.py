"""Compare evaluations on their common samples, with paired sign-flip tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import combinations
from typing import TYPE_CHECKING, Any

from taleward.core.errors import ConfigurationError, MissingExtra
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.html_tables import Html, notebook_box, notebook_table
from taleward.evaluation.metrics import METRICS, metric as metric_by_name
from taleward.evaluation.metrics.base import MeanMetric, Metric, MetricScore
from taleward.evaluation.report.html import format_interval, format_number, image_html, page_html, table_html
from taleward.evaluation.report.plots import comparison_plot
from taleward.evaluation.resampling import PairedTest, paired_test
from taleward.evaluation.result import Evaluation
from taleward.evaluation.sample import Sample
from taleward.evaluation.tracking.runs import load_evaluation, record_page
from taleward.evaluation.tracking.tale_recorder import DEFAULT_EXPERIMENT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_PAIR_COLUMNS = ("metric", "first", "second", "first minus second", "interval", "p", "n", "significant")
_FEW_SAMPLES = 20
_TIME_UNIT = "s"
_APART = "not tested: measured in different runs"


class PairwiseComparison(FrozenModel):
    """Two evaluations compared by one metric.

    Attributes:
        first: The name of the evaluation with the better value, or with the higher one if the metric has no better
            direction.
        second: The name of the other evaluation.
        test: The test of first minus second. Its `p` and its interval are corrected for the number of pairs
            (Bonferroni); both are `None` if one of the two has no value, or if times were not measured side by side.
    """

    first: str
    second: str
    test: PairedTest

    @property
    def significant(self) -> bool:
        """Whether the two differ significantly."""
        return self.test.significant

    @property
    def conclusion(self) -> str:
        """Whether the two differ significantly, or why that is not known."""
        test = self.test
        if test.difference is None:
            return "no value"
        if test.p is None:
            return test.remark or "not tested"
        if test.smallest_p > test.level:
            return "too few samples"
        return "significant" if test.significant else "no significant difference"


class MetricComparison(FrozenModel):
    """All evaluations compared by one metric.

    Attributes:
        metric: The metric's name.
        scores: The score of each evaluation on all of its own samples.
        pairs: Every pair of evaluations, compared on their common samples.
        winner: The evaluation that is significantly better than all others; `None` if there is none, or if the metric
            has no better direction.
    """

    metric: str
    scores: FrozenMapping[str, MetricScore]
    pairs: tuple[PairwiseComparison, ...]
    winner: str | None

    @property
    def conclusion(self) -> str:
        """The winner, or why there is none."""
        if self.winner:
            return self.winner
        if not any(pair.significant for pair in self.pairs):
            # The pair that was looked at most closely: a tested one rather than one without a value.
            order = ("no significant difference", "too few samples", _APART)
            conclusions = {pair.conclusion for pair in self.pairs}
            return next((conclusion for conclusion in order if conclusion in conclusions), "no value")
        return "differs" if next(iter(self.scores.values())).higher_is_better is None else "no clear winner"


class ComparisonResult(FrozenModel):
    """The result of `compare`; a notebook shows its tables and plot.

    Attributes:
        names: The names of the evaluations.
        metrics: The comparisons by metric name.
        n: The number of common samples.
        level: The significance level.
        warnings: What to keep in mind: few samples, times that were measured apart, partial evaluations.
    """

    names: tuple[str, ...]
    metrics: FrozenMapping[str, MetricComparison]
    n: int
    level: float
    warnings: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """How differences were tested, in words."""
        pairs = len(self.names) * (len(self.names) - 1) // 2
        correction = f"; corrected for {pairs} pairs (Bonferroni)" if pairs > 1 else ""
        return (
            f"paired sign-flip tests give both p and the {100 * (1 - self.level):g} % interval of a difference"
            f"{correction}; the brackets behind a value are the 95 % bootstrap interval of that system alone"
        )

    def table(self) -> pd.DataFrame:
        """Return a data frame with a row per metric and evaluation: value, interval, whether it wins."""
        import pandas as pd

        rows = [
            {
                "metric": metric,
                "evaluation": evaluation,
                "value": score.value,
                "low": score.low,
                "high": score.high,
                "n": score.n,
                "winner": comparison.winner == evaluation,
            }
            for metric, comparison in self.metrics.items()
            for evaluation, score in comparison.scores.items()
        ]
        return pd.DataFrame(rows)

    def pairs(self) -> pd.DataFrame:
        """Return a data frame with a row per metric and pair: difference, interval, corrected p-value, conclusion."""
        import pandas as pd

        return pd.DataFrame([dict(zip(_PAIR_COLUMNS, row, strict=True)) for row in self._pair_rows()])

    def plot(self) -> Figure:
        """Plot all values with their intervals."""
        scores = {metric: list(comparison.scores.values()) for metric, comparison in self.metrics.items()}
        return comparison_plot(self.names, scores)

    def html(self) -> str:
        """Return a self-contained HTML page with the tables and the plot."""
        summary = f"<p>{self.n} common samples.</p>" + "".join(
            f'<p class="bad">Warning: {escape(warning)}.</p>' for warning in self.warnings
        )
        scores = table_html(("metric", *self.names, "winner"), self._score_rows())
        pairs = table_html(_PAIR_COLUMNS, self._pair_rows())
        return page_html(
            " / ".join(self.names),
            f"{summary}{scores}{image_html(self.plot())}<h2>Pairwise comparisons</h2>"
            "<p>The first evaluation has the better value, or the higher one if neither direction is better. "
            f"Method: {escape(self.method)}.</p>{pairs}",
        )

    def record(self, *, tracking_uri: str | None = None, experiment: str = DEFAULT_EXPERIMENT) -> str:
        """Save the page, the plot and the winners as an MLflow run.

        Args:
            tracking_uri: The MLflow tracking URI; by default the store in `.taleward` in the working directory.
            experiment: The name of the MLflow experiment.

        Returns:
            The id of the run.
        """
        conclusions = {metric: comparison.conclusion for metric, comparison in self.metrics.items()}
        name = " / ".join(self.names)
        return record_page(
            name, self.html(), self.plot(), conclusions, tracking_uri=tracking_uri, experiment=experiment
        )

    def _repr_html_(self) -> str:
        pairs = [
            [format_number(cell) if isinstance(cell, float) else str(cell) for cell in row] for row in self._pair_rows()
        ]
        return notebook_box(
            " / ".join(self.names),
            f"{self.n} common samples.",
            *(f"Warning: {warning}." for warning in self.warnings),
            notebook_table(("metric", *self.names, "winner"), self._score_rows()),
            self._plot_html(),
            notebook_table(_PAIR_COLUMNS, pairs),
            f"Method: {self.method}.",
        )

    def _plot_html(self) -> Html:
        """Return the plot, or nothing without matplotlib."""
        try:
            return Html(image_html(self.plot()))
        except MissingExtra:
            return Html("")

    def _score_rows(self) -> list[tuple[str, ...]]:
        return [
            (metric, *(f"{format_number(s.value)} {format_interval(s)}" for s in c.scores.values()), c.conclusion)
            for metric, c in self.metrics.items()
        ]

    def _pair_rows(self) -> list[tuple[Any, ...]]:
        return [
            (
                metric,
                pair.first,
                pair.second,
                pair.test.difference,
                format_difference_interval(pair.test),
                pair.test.p,
                pair.test.n,
                pair.conclusion,
            )
            for metric, comparison in self.metrics.items()
            for pair in comparison.pairs
        ]


def format_difference_interval(test: PairedTest) -> str:
    """Format the interval of a difference in brackets; empty if there is none."""
    return "" if test.low is None else f"[{format_number(test.low)}, {format_number(test.high)}]"


def compare(
    runs: Sequence[Evaluation | str],
    *,
    metrics: Iterable[Metric] = (),
    level: float = 0.05,
    resamples: int = 9_999,
    seed: int = 0,
    tracking_uri: str | None = None,
) -> ComparisonResult:
    """Compare evaluations of the same dataset, such as different models, prompts or judges.

    Each metric is tested on its own: decide before which one counts. A metric in seconds is only tested if the
    evaluations were measured side by side, by `evaluate_side_by_side`: how busy the machine was in another run says
    nothing about a system.

    Args:
        runs: Two or more evaluations, or the ids of their MLflow runs.
        metrics: Metrics of your own, so that they are tested by their corpus value. A metric that is neither here nor
            built in is tested by the mean of its sample values.
        level: The significance level: p-values up to it are significant.
        resamples: The number of random sign flips for more than 14 samples; with fewer, all flips are looked at.
        seed: Seed of the random sign flips.
        tracking_uri: The MLflow tracking URI of runs given by id; by default the store in `.taleward` in the working
            directory.

    Raises:
        ConfigurationError: If there are fewer than two evaluations, if they have no sample or metric in common, or if a
            metric was measured with different settings.
        UnknownName: If there is no such run.
    """
    evaluations = [load_evaluation(run, tracking_uri) if isinstance(run, str) else run for run in runs]
    if len(evaluations) < 2:
        raise ConfigurationError(f"a comparison needs at least two evaluations; got {len(evaluations)}.")
    first, *others = evaluations
    ids = tuple(i for i in first.ids if all(i in set(other.ids) for other in others))
    common_metrics = [name for name in first.metrics if all(name in other.metrics for other in others)]
    if not ids or not common_metrics or len({e.data for e in evaluations}) > 1:
        raise ConfigurationError(
            "the evaluations do not share a dataset, a sample and a metric; they have "
            f"{len({e.data for e in evaluations})} datasets, {len(ids)} common samples and {len(common_metrics)} "
            "common metrics.",
            hint="Evaluate all systems on one dataset with the same metrics.",
        )
    names = _unique_names(evaluations)
    by_name = dict(zip(names, evaluations, strict=True))
    own_metrics = {metric.name: metric for metric in metrics}
    comparisons = {
        name: _compare_by_metric(name, by_name, own_metrics.get(name), level=level, resamples=resamples, seed=seed)
        for name in common_metrics
    }
    return ComparisonResult(
        names=tuple(names),
        metrics=FrozenDict(comparisons),
        n=len(ids),
        level=level,
        warnings=tuple(_warnings(by_name, comparisons, len(ids))),
    )


def compare_pair(
    name: str,
    first: Evaluation,
    second: Evaluation,
    metric: Metric | None = None,
    *,
    level: float = 0.05,
    comparisons: int = 1,
    resamples: int = 9_999,
    seed: int = 0,
) -> PairedTest:
    """Test the difference of two evaluations on their common samples; times only if measured side by side.

    Args:
        name: The metric's name in both evaluations.
        first: An evaluation.
        second: The evaluation that is subtracted from it.
        metric: The metric, if it is not a built-in one.
        level: The significance level.
        comparisons: The number of pairs that `p` and the interval are corrected for.
        resamples: The number of random sign flips for more than 14 samples.
        seed: Seed of the random sign flips.

    Raises:
        ConfigurationError: If the metric was measured with different settings, or on different datasets.
    """
    import numpy as np

    signatures = {_settings(evaluation.scores[name]) for evaluation in (first, second)}
    if len(signatures) > 1:
        raise ConfigurationError(
            f"{name!r} was measured with different settings: {sorted(signatures)}",
            hint="Evaluate both systems with the same settings and versions.",
        )
    second_ids = set(second.ids)
    ids = tuple(i for i in first.ids if i in second_ids)
    if not ids or first.data != second.data:
        raise ConfigurationError(f"{first.name!r} and {second.name!r} were not evaluated on the same dataset.")
    metric = metric or (metric_by_name(name) if name in METRICS else None)
    if metric is not None and metric.signature in signatures:
        a, b = first.statistics(name, ids), second.statistics(name, ids)
        # Without any value the number of statistics is unknown, see `Evaluation.statistics`.
        if a.shape != b.shape:
            a, b = np.full(a.shape, np.nan), np.full(a.shape, np.nan)
    else:
        # The metric is unknown here, or has other settings by default: only its sample values can be used.
        metric = _SampleMean(name)
        a, b = first.mean_statistics(name, ids), second.mean_statistics(name, ids)
    test = paired_test(metric, a, b, level=level, comparisons=comparisons, resamples=resamples, seed=seed)
    measured_apart = first.side_by_side is None or first.side_by_side != second.side_by_side
    if first.scores[name].unit == _TIME_UNIT and measured_apart and test.difference is not None:
        return test.model_copy(update={"p": None, "low": None, "high": None, "remark": _APART})
    return test


class _SampleMean(MeanMetric):
    """The mean of sample values that were measured elsewhere."""

    def __init__(self, name: str) -> None:
        self.name = name

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        raise ConfigurationError(f"{self.name!r} cannot be measured here: only its recorded values are known.")


def _compare_by_metric(
    name: str,
    evaluations: Mapping[str, Evaluation],
    metric: Metric | None,
    *,
    level: float,
    resamples: int,
    seed: int,
) -> MetricComparison:
    scores = {evaluation: result.scores[name] for evaluation, result in evaluations.items()}
    higher_is_better = next(iter(scores.values())).higher_is_better
    ranking = sorted(evaluations, key=lambda evaluation: _rank(scores[evaluation], higher_is_better), reverse=True)
    ranked_pairs = list(combinations(ranking, 2))
    pairs = [
        PairwiseComparison(
            first=a,
            second=b,
            test=compare_pair(
                name,
                evaluations[a],
                evaluations[b],
                metric,
                level=level,
                comparisons=len(ranked_pairs),
                resamples=resamples,
                seed=seed,
            ),
        )
        for a, b in ranked_pairs
    ]
    best = ranking[0]
    # On the common samples the better one may be another than on all samples of each.
    sign = -1 if higher_is_better is False else 1
    beaten = [p.second for p in pairs if p.first == best and p.significant and sign * (p.test.difference or 0.0) > 0]
    has_winner = higher_is_better is not None and len(beaten) == len(evaluations) - 1
    return MetricComparison(
        metric=name, scores=FrozenDict(scores), pairs=tuple(pairs), winner=best if has_winner else None
    )


def _warnings(
    evaluations: Mapping[str, Evaluation], comparisons: Mapping[str, MetricComparison], n: int
) -> Iterator[str]:
    """Yield what a reader of the comparison must know."""
    for name, evaluation in evaluations.items():
        if evaluation.missing:
            total = len(evaluation.ids) + len(evaluation.missing)
            yield f"{name} is partial: {len(evaluation.ids)} of {total} samples were run"
    tests = [pair.test for comparison in comparisons.values() for pair in comparison.pairs]
    if n < _FEW_SAMPLES:
        yield f"{n} common samples are few: below {_FEW_SAMPLES}, only large differences can be told from chance"
    few = [test for test in tests if test.p is not None and test.smallest_p > test.level]
    if few:
        test = min(few, key=lambda test: test.n)
        yield (
            f"{test.n} samples with a value cannot show any difference at the level {test.level:g}: the smallest "
            f"possible p is {test.smallest_p:.3g}"
        )
    times = sorted({test.metric for test in tests if test.remark == _APART})
    if times:
        yield (
            f"{', '.join(times)} not tested: the evaluations were not measured side by side, and a machine is not "
            "equally fast at all times; use evaluate_side_by_side, or taleward eval with several --model"
        )


def _settings(score: MetricScore) -> str:
    """Return the part of a signature that decides the value, without the bootstrap's settings."""
    return score.signature.split("|resamples:")[0]


def _rank(score: MetricScore, higher_is_better: bool | None) -> float:
    """Return a sort key that is higher for better scores, and lowest for those without a value."""
    if score.value is None:
        return float("-inf")
    return -score.value if higher_is_better is False else score.value


def _unique_names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return the names of the evaluations, numbered if two of them are the same."""
    names = [evaluation.name for evaluation in evaluations]
    if len(set(names)) == len(names):
        return names
    return [f"{name} ({number})" for number, name in enumerate(names, 1)]
