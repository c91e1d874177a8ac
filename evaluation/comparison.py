"""Evaluations against each other, on the samples that all of them have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.evaluation.metrics import METRICS, metric as known_metric
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

_HEAD = ("metric", "first", "second", "first minus second", "interval", "p", "significant")


class PairwiseComparison(FrozenModel):
    """Two evaluations by one metric.

    Attributes:
        first: The one with the better value; the higher one where neither way is better.
        second: The other one.
        test: The first minus the second; its `p` is corrected for the number of pairs (Holm 1979). `None` where one of
            them has no value.
        significant: Whether that is below the level.
    """

    first: str
    second: str
    test: PairedTest
    significant: bool


class MetricComparison(FrozenModel):
    """All evaluations by one metric.

    Attributes:
        metric: Its name.
        scores: By evaluation, each on all of its own samples.
        pairs: Each two of them, on the samples that all have.
        winner: The one that is significantly better than every other; `None` where there is none, or no better way.
    """

    metric: str
    scores: FrozenDict[str, MetricScore]
    pairs: tuple[PairwiseComparison, ...]
    winner: str | None

    @property
    def conclusion(self) -> str:
        """The winner, or why there is none."""
        if self.winner:
            return self.winner
        if all(p.test.difference is None for p in self.pairs):
            return "no value"
        if next(iter(self.scores.values())).higher_is_better is None:
            return "differs" if any(p.significant for p in self.pairs) else "no difference"
        return "no clear winner" if any(p.significant for p in self.pairs) else "no difference"


class ComparisonResult(FrozenModel):
    """Evaluations against each other; a notebook shows it as a page.

    Attributes:
        names: Of the evaluations.
        metrics: By metric.
        n: Samples that all have.
        level: Below which a p-value counts as significant.
    """

    names: tuple[str, ...]
    metrics: FrozenDict[str, MetricComparison]
    n: int
    level: float

    def table(self) -> pd.DataFrame:
        """A row for each metric and evaluation: value, interval, whether it wins."""
        import pandas as pd

        rows = [
            {
                "metric": name,
                "evaluation": which,
                "value": score.value,
                "low": score.low,
                "high": score.high,
                "n": score.n,
                "winner": comparison.winner == which,
            }
            for name, comparison in self.metrics.items()
            for which, score in comparison.scores.items()
        ]
        return pd.DataFrame(rows)

    def pairs(self) -> pd.DataFrame:
        """A row for each metric and two evaluations, see `PairwiseComparison`: difference, interval, corrected p-value."""
        import pandas as pd

        return pd.DataFrame([dict(zip(_HEAD, row, strict=True)) for row in self._pairs()])

    def plot(self) -> Figure:
        """All values with their intervals."""
        rows = {name: list(comparison.scores.values()) for name, comparison in self.metrics.items()}
        return comparison_plot(self.names, rows)

    def html(self) -> str:
        """A page with the tables and the plot; nothing in it is loaded from elsewhere."""
        head = ("metric", *self.names, "winner")
        rows = [
            (name, *(f"{format_number(s.value)} {format_interval(s)}" for s in c.scores.values()), c.conclusion)
            for name, c in self.metrics.items()
        ]
        body = f"<p>{self.n} samples that all have; 95 % bootstrap intervals in brackets.</p>"
        pairs = table_html(_HEAD, self._pairs())
        return page_html(
            " / ".join(self.names),
            f"{body}{table_html(head, rows)}{image_html(self.plot())}<h2>Pair by pair</h2>"
            "<p>Paired bootstrap on the same samples. The first one has the better value; the higher one where neither "
            f"way is better. P-values corrected for the number of pairs (Holm).</p>{pairs}",
        )

    def record(self, *, tracking_uri: str | None = None, experiment: str = DEFAULT_EXPERIMENT) -> str:
        """Keep it as an MLflow run with the page, the plot and the winners; the run's id.

        Args:
            tracking_uri: An MLflow tracking URI; by default that of `.taleward` in this folder.
            experiment: The experiment's name.
        """
        won = {name: comparison.conclusion for name, comparison in self.metrics.items()}
        return record_page(
            " / ".join(self.names), self.html(), self.plot(), won, tracking_uri=tracking_uri, experiment=experiment
        )

    def _repr_html_(self) -> str:
        return self.html()

    def _pairs(self) -> list[tuple[Any, ...]]:
        return [
            (
                name,
                p.first,
                p.second,
                p.test.difference,
                "" if p.test.difference is None else f"[{format_number(p.test.low)}, {format_number(p.test.high)}]",
                p.test.p,
                "yes" if p.significant else "no value" if p.test.difference is None else "no difference",
            )
            for name, comparison in self.metrics.items()
            for p in comparison.pairs
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
    """Compare evaluations of the same data set: models, prompts, judges, whatever was evaluated.

    Args:
        runs: Evaluations, or ids of their MLflow runs.
        metrics: Those that are not Taleward's own, to test by their corpus value; without them such a metric is tested
            by the mean of its values a sample.
        level: Below which a p-value counts as significant.
        resamples: Bootstrap resamples.
        seed: Of the resamples.
        tracking_uri: Where runs given by id are: an MLflow tracking URI; by default that of `.taleward` in this folder.

    Raises:
        ConfigurationError: There are fewer than two, they have no sample or metric in common, or a metric was measured
            with other settings.
        UnknownName: There is no such run.
    """
    found = [load_evaluation(run, tracking_uri) if isinstance(run, str) else run for run in runs]
    if len(found) < 2:
        raise ConfigurationError(f"a comparison needs two evaluations or more; got {len(found)}.")
    ids = tuple(i for i in found[0].ids if all(i in set(other.ids) for other in found[1:]))
    shared = [name for name in found[0].metrics if all(name in other.metrics for other in found[1:])]
    if not ids or not shared or len({e.data for e in found}) > 1:
        raise ConfigurationError(
            "the evaluations are not of the same data set, or have no sample or no metric in common; "
            f"{len(ids)} samples and {len(shared)} metrics are."
        )
    names = _names(found)
    own = {metric.name: metric for metric in metrics}
    compared = {
        name: _compared(name, dict(zip(names, found, strict=True)), ids, own.get(name), (level, resamples, seed))
        for name in shared
    }
    return ComparisonResult(names=tuple(names), metrics=FrozenDict(compared), n=len(ids), level=level)


def against(
    name: str,
    first: Evaluation,
    second: Evaluation,
    metric: Metric | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> PairedTest:
    """The first evaluation against the second one by a metric, on the samples that both have.

    Raises:
        ConfigurationError: The metric was measured with other settings, or on another data set.
    """
    import numpy as np

    signatures = {_settings(e.scores[name]) for e in (first, second)}
    if len(signatures) > 1:
        raise ConfigurationError(f"{name!r} was measured in two ways and cannot be compared: {sorted(signatures)}")
    other = set(second.ids)
    ids = tuple(i for i in first.ids if i in other)
    if not ids or first.data != second.data:
        raise ConfigurationError(f"{first.name!r} and {second.name!r} are not of the same data set.")
    by = metric or (known_metric(name) if name in METRICS else None)
    if by is not None and by.signature in signatures:
        a, b = first.statistics(name, ids), second.statistics(name, ids)
        if a.shape != b.shape:  # in one of them no sample has a value
            a, b = np.full(a.shape, np.nan), np.full(a.shape, np.nan)
        return paired_test(by, a, b, resamples=resamples, seed=seed)
    means = (first.means(name, ids), second.means(name, ids))
    return paired_test(_SampleMean(name), *means, resamples=resamples, seed=seed)


class _SampleMean(MeanMetric):
    """Stands for a metric that is not here: the mean of its values a sample."""

    def __init__(self, name: str) -> None:
        self.name = name

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        raise ConfigurationError(f"{self.name!r} cannot be measured here; its values were read.")


def _compared(
    name: str,
    found: dict[str, Evaluation],
    ids: tuple[str, ...],
    metric: Metric | None,
    how: tuple[float, int, int],
) -> MetricComparison:
    level, resamples, seed = how
    scores = {which: e.scores[name] for which, e in found.items()}
    better = next(iter(scores.values())).higher_is_better
    ranked = sorted(found, key=lambda which: _order(scores[which], better), reverse=True)
    tests = {
        (a, b): against(name, found[a], found[b], metric, resamples=resamples, seed=seed)
        for a, b in combinations(ranked, 2)
    }
    pairs = _corrected(tests, level)
    beaten = [p.second for p in pairs if p.first == ranked[0] and p.significant]
    wins = better is not None and len(beaten) == len(found) - 1
    return MetricComparison(
        metric=name, scores=FrozenDict(scores), pairs=tuple(pairs), winner=ranked[0] if wins else None
    )


def _corrected(tests: dict[tuple[str, str], PairedTest], level: float) -> list[PairwiseComparison]:
    """P-values raised so that one false alarm among all pairs stays below the level (Holm 1979)."""
    raised, highest = {}, 0.0
    plain = {pair: test.p for pair, test in tests.items() if test.p is not None}
    for rank, (pair, p) in enumerate(sorted(plain.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, p * (len(plain) - rank)))
        raised[pair] = highest
    return [
        PairwiseComparison(
            first=a,
            second=b,
            test=test.model_copy(update={"p": raised.get((a, b))}),
            significant=raised.get((a, b), 1.0) < level,
        )
        for (a, b), test in tests.items()
    ]


def _settings(score: MetricScore) -> str:
    return score.signature.split("|resamples:")[0]


def _order(score: MetricScore, higher_is_better: bool | None) -> float:
    """Higher is better; what has no value comes last."""
    if score.value is None:
        return float("-inf")
    return -score.value if higher_is_better is False else score.value


def _names(found: Sequence[Evaluation]) -> list[str]:
    """Their names, numbered where two have the same."""
    names = [e.name for e in found]
    if len(set(names)) == len(names):
        return names
    return [f"{name} ({n})" for n, name in enumerate(names, 1)]
