"""Compare evaluations on their common samples, with paired significance tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.evaluation.metrics import METRICS, metric as metric_by_name
from taleward.evaluation.metrics.base import MeanMetric, Metric, MetricScore
from taleward.evaluation.report.html import format_interval, format_number, image_html, page_html, table_html
from taleward.evaluation.report.plots import comparison_plot
from taleward.evaluation.result import Evaluation
from taleward.evaluation.sample import Sample
from taleward.evaluation.significance import PairedTest, paired_test
from taleward.evaluation.tracking.recorder import DEFAULT_EXPERIMENT
from taleward.evaluation.tracking.runs import load_evaluation, record_page

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_PAIR_COLUMNS = ("metric", "first", "second", "first minus second", "interval", "p", "significant")


class PairwiseComparison(FrozenModel):
    """Two evaluations compared by one metric.

    Attributes:
        first: The name of the evaluation with the better value, or with the higher one if the metric has no better
            direction.
        second: The name of the other evaluation.
        test: The test of first minus second. Its `p` is corrected for the number of pairs (Holm 1979), and `None` if
            one of the two has no value.
        significant: Whether `p` is below the significance level.
    """

    first: str
    second: str
    test: PairedTest
    significant: bool


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
        if all(pair.test.difference is None for pair in self.pairs):
            return "no value"
        any_significant = any(pair.significant for pair in self.pairs)
        if next(iter(self.scores.values())).higher_is_better is None:
            return "differs" if any_significant else "no difference"
        return "no clear winner" if any_significant else "no difference"


class ComparisonResult(FrozenModel):
    """The result of `compare`; a notebook shows it as a page.

    Attributes:
        names: The names of the evaluations.
        metrics: The comparisons by metric name.
        n: The number of common samples.
        level: The significance level.
    """

    names: tuple[str, ...]
    metrics: FrozenMapping[str, MetricComparison]
    n: int
    level: float

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
        """Return a data frame with a row per metric and pair: difference, interval, corrected p-value."""
        import pandas as pd

        return pd.DataFrame([dict(zip(_PAIR_COLUMNS, row, strict=True)) for row in self._pair_rows()])

    def plot(self) -> Figure:
        """Plot all values with their intervals."""
        scores = {metric: list(comparison.scores.values()) for metric, comparison in self.metrics.items()}
        return comparison_plot(self.names, scores)

    def html(self) -> str:
        """Return a self-contained HTML page with the tables and the plot."""
        rows = [
            (metric, *(f"{format_number(s.value)} {format_interval(s)}" for s in c.scores.values()), c.conclusion)
            for metric, c in self.metrics.items()
        ]
        summary = f"<p>{self.n} common samples; 95 % bootstrap intervals in brackets.</p>"
        scores = table_html(("metric", *self.names, "winner"), rows)
        pairs = table_html(_PAIR_COLUMNS, self._pair_rows())
        return page_html(
            " / ".join(self.names),
            f"{summary}{scores}{image_html(self.plot())}<h2>Pairwise comparisons</h2>"
            "<p>Paired bootstrap on the common samples. The first evaluation has the better value, or the higher one "
            f"if neither direction is better. P-values are corrected for the number of pairs (Holm).</p>{pairs}",
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
        return self.html()

    def _pair_rows(self) -> list[tuple[Any, ...]]:
        return [
            (
                metric,
                pair.first,
                pair.second,
                pair.test.difference,
                ""
                if pair.test.difference is None
                else f"[{format_number(pair.test.low)}, {format_number(pair.test.high)}]",
                pair.test.p,
                "yes" if pair.significant else "no value" if pair.test.difference is None else "no difference",
            )
            for metric, comparison in self.metrics.items()
            for pair in comparison.pairs
        ]


def compare(
    runs: Sequence[Evaluation | str],
    *,
    metrics: Iterable[Metric] = (),
    level: float = 0.05,
    resamples: int = 1000,
    seed: int = 0,
    tracking_uri: str | None = None,
) -> ComparisonResult:
    """Compare evaluations of the same dataset, such as different models, prompts or judges.

    Args:
        runs: Two or more evaluations, or the ids of their MLflow runs.
        metrics: Metrics of your own, so that they are tested by their corpus value. A metric that is neither here nor
            built in is tested by the mean of its sample values.
        level: The significance level: smaller p-values are significant.
        resamples: The number of bootstrap resamples.
        seed: Seed of the resamples.
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
    return ComparisonResult(names=tuple(names), metrics=FrozenDict(comparisons), n=len(ids), level=level)


def compare_pair(
    name: str,
    first: Evaluation,
    second: Evaluation,
    metric: Metric | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> PairedTest:
    """Test the difference of two evaluations on their common samples.

    Args:
        name: The metric's name in both evaluations.
        first: An evaluation.
        second: The evaluation that is subtracted from it.
        metric: The metric, if it is not a built-in one.
        resamples: The number of bootstrap resamples.
        seed: Seed of the resamples.

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
        return paired_test(metric, a, b, resamples=resamples, seed=seed)
    # The metric is unknown here, or has other settings by default: only its sample values can be used.
    a, b = first.mean_statistics(name, ids), second.mean_statistics(name, ids)
    return paired_test(_SampleMean(name), a, b, resamples=resamples, seed=seed)


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
    tests = {
        (a, b): compare_pair(name, evaluations[a], evaluations[b], metric, resamples=resamples, seed=seed)
        for a, b in combinations(ranking, 2)
    }
    pairs = _holm_corrected(tests, level)
    best = ranking[0]
    beaten = [pair.second for pair in pairs if pair.first == best and pair.significant]
    has_winner = higher_is_better is not None and len(beaten) == len(evaluations) - 1
    return MetricComparison(
        metric=name, scores=FrozenDict(scores), pairs=tuple(pairs), winner=best if has_winner else None
    )


def _holm_corrected(tests: Mapping[tuple[str, str], PairedTest], level: float) -> list[PairwiseComparison]:
    """Raise the p-values so that the chance of any false alarm among the pairs stays below the level (Holm 1979)."""
    raw = {pair: test.p for pair, test in tests.items() if test.p is not None}
    corrected, highest = {}, 0.0
    for rank, (pair, p) in enumerate(sorted(raw.items(), key=lambda item: item[1])):
        # A corrected p-value is never smaller than that of a more significant pair.
        highest = max(highest, min(1.0, p * (len(raw) - rank)))
        corrected[pair] = highest
    return [
        PairwiseComparison(
            first=first,
            second=second,
            test=test.model_copy(update={"p": corrected.get((first, second))}),
            significant=corrected.get((first, second), 1.0) < level,
        )
        for (first, second), test in tests.items()
    ]


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
