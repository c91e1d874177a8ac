"""Benchmark judges on labeled texts.

A text that a judge does not pass counts as flagged. That includes `abstain`, `unparsable` and `error`, because they
release nothing: they are correct on harmful texts and false alarms on harmless ones. `JudgeMetrics.outcomes` has their
numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import combinations
from typing import TYPE_CHECKING

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.core.verdict import Verdict
from taleward.evaluation.judge_bench.result import (
    BenchReport,
    CategoryMetrics,
    JudgeComparison,
    JudgeMetrics,
    MetricDifference,
)
from taleward.moderation.calibration import detection_metrics as metrics
from taleward.moderation.calibration.bootstrap import percentile_interval, stratified_resamples
from taleward.moderation.calibration.labeled_texts import LabeledData
from taleward.moderation.judges.base import Judge
from taleward.moderation.judges.cascade import relative_risk

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    DrawsByMetric = Mapping[str, Sequence[float]]

_MAX_CURVE_POINTS = 200
_MIN_CATEGORY_TEXTS = 5


def benchmark_judges(
    judges: Mapping[str, Judge],
    dataset: LabeledData,
    *,
    at_recall: float = 0.95,
    at_false_alarms: float = 0.05,
    resamples: int = 500,
    seed: int = 0,
    concurrency: int = 1,
    step: Callable[[str], None] = lambda _: None,
) -> BenchReport:
    """Run every judge on every text of a labeled dataset.

    Args:
        judges: The judges by name.
        dataset: The labeled texts.
        at_recall: The recall at which false alarms are compared, 0..1.
        at_false_alarms: The share of false alarms at which recall is compared, 0..1.
        resamples: The number of bootstrap resamples, drawn within each label.
        seed: Seed of the resamples.
        concurrency: How many texts a judge gets at once. More than 1 is faster for hosted models; the latency of a
            local model is then that of a shared machine.
        step: Called with the judge's name after each verdict.

    Raises:
        ConfigurationError: If there are no judges, or all texts have the same label.
    """
    import numpy as np

    if not judges:
        raise ConfigurationError("a benchmark needs at least one judge; got none.")
    truth = np.array([row.harmful for row in dataset.rows], bool)
    if truth.all() or not truth.any():
        raise ConfigurationError(
            f"a benchmark needs harmful and harmless texts; {dataset.name} has {int(truth.sum())} harmful of "
            f"{len(truth)}."
        )
    # The same resamples for all judges, so that their differences are paired.
    resampled = list(stratified_resamples(truth, resamples, seed))
    all_metrics, all_draws, all_flagged = [], [], []
    for name, judge in judges.items():
        verdicts = _judge_texts(name, judge, dataset, concurrency, step)
        flagged = np.array([not v.passed for v in verdicts], bool)
        fixed = (at_recall, at_false_alarms)
        judge_metrics, draws = _measure_judge(name, judge, dataset, verdicts, flagged, resampled, fixed)
        all_metrics.append(judge_metrics)
        all_draws.append(draws)
        all_flagged.append(flagged)
    settings = {
        "data": f"{dataset.name}:{dataset.sha256[:12]}",
        "n": len(truth),
        "harmful": int(truth.sum()),
        "judges": ",".join(judges),
        "at_recall": at_recall,
        "at_false_alarms": at_false_alarms,
        "resamples": resamples,
        "seed": seed,
        "workers": concurrency,
        "taleward": version("taleward"),
    }
    return BenchReport(
        data=dataset.name,
        data_sha256=dataset.sha256,
        texts=len(truth),
        harmful=int(truth.sum()),
        at_recall=at_recall,
        at_false_alarms=at_false_alarms,
        signature="|".join(f"{key}={value}" for key, value in settings.items()),
        judges=tuple(all_metrics),
        comparisons=tuple(
            _compare(
                (all_metrics[a], all_metrics[b]),
                (all_draws[a], all_draws[b]),
                (all_flagged[a] == truth, all_flagged[b] == truth),
            )
            for a, b in combinations(range(len(all_metrics)), 2)
        ),
    )


def risk_score(verdict: Verdict, judge: Judge) -> float:
    """Return the score, 0..1, by which texts are ranked: the judge's `relative_risk`, at least 0.5 unless it passed.

    An outcome other than `pass` and `fail` has the score 1, because no threshold releases such a text.
    """
    if verdict.outcome not in ("pass", "fail"):
        return 1.0
    risk = relative_risk(verdict, judge.rules, judge.band)
    return risk if verdict.passed else max(0.5, risk)


def _judge_texts(
    name: str, judge: Judge, dataset: LabeledData, concurrency: int, step: Callable[[str], None]
) -> list[Verdict]:
    def judge_text(text: str) -> Verdict:
        verdict = judge.invoke(text)
        step(name)
        return verdict

    texts = [row.text for row in dataset.rows]
    if concurrency == 1:
        return [judge_text(text) for text in texts]
    with ThreadPoolExecutor(concurrency) as pool:
        return list(pool.map(judge_text, texts))


def _measure_judge(
    name: str,
    judge: Judge,
    dataset: LabeledData,
    verdicts: Sequence[Verdict],
    flagged: Bools,
    resampled: Iterable[npt.NDArray[np.intp]],
    fixed: tuple[float, float],
) -> tuple[JudgeMetrics, DrawsByMetric]:
    """Return the metrics of a judge, and the values of each metric on the resamples."""
    import numpy as np

    at_recall, at_false_alarms = fixed
    truth = np.array([row.harmful for row in dataset.rows], bool)
    risks = np.array([risk_score(verdict, judge) for verdict in verdicts], float)
    functions: Mapping[str, Callable[[Bools, Bools, Floats], float]] = {
        "f1": lambda t, f, _: metrics.f1(t, f),
        "precision": lambda t, f, _: metrics.share(t, f),
        "recall": lambda t, f, _: metrics.share(f, t),
        "false_alarms": lambda t, f, _: metrics.share(f, ~t),
        "auc": lambda t, _, r: metrics.auc(t, r),
        "average_precision": lambda t, _, r: metrics.average_precision(t, r),
        "false_alarms_at_recall": lambda t, _, r: metrics.false_alarms_at(t, r, at_recall),
        "recall_at_false_alarms": lambda t, _, r: metrics.recall_at(t, r, at_false_alarms),
    }
    draws = {key: [f(truth[i], flagged[i], risks[i]) for i in resampled] for key, f in functions.items()}
    intervals = {key: percentile_interval(f(truth, flagged, risks), draws[key]) for key, f in functions.items()}
    scored = [(t, max(v.scores.values())) for t, v in zip(truth, verdicts, strict=True) if v.scores]
    diagram = metrics.reliability([t for t, _ in scored], [s for _, s in scored]) if scored else ()
    precision, recall = metrics.precision_recall(truth, risks)
    curve = np.unique(np.linspace(0, len(recall) - 1, min(_MAX_CURVE_POINTS, len(recall))).astype(int))
    latencies = [v.latency_s for v in verdicts]
    costs = [v.cost_usd for v in verdicts if v.cost_usd is not None]
    judge_metrics = JudgeMetrics(
        judge=name,
        policy=judge.policy.id,
        band=judge.band,
        calibration=judge.calibration.signature if judge.calibration else None,
        outcomes=FrozenDict(dict(sorted(Counter(v.outcome for v in verdicts).items()))),
        ece=metrics.ece(diagram) if diagram else None,
        latency_p50_s=float(np.quantile(latencies, 0.5)),
        latency_p95_s=float(np.quantile(latencies, 0.95)),
        cost_usd=sum(costs) if costs else None,
        costs_known=len(costs),
        cached=sum(v.cached for v in verdicts),
        precision_recall=tuple((float(recall[k]), float(precision[k])) for k in curve),
        reliability=diagram,
        categories=FrozenDict(_measure_categories(judge, dataset, verdicts)),
        **intervals,
    )
    return judge_metrics, draws


def _measure_categories(judge: Judge, dataset: LabeledData, verdicts: Sequence[Verdict]) -> dict[str, CategoryMetrics]:
    """Measure the categories with at least five harmful and five harmless texts that have a score."""
    import numpy as np

    categories = {}
    for category in judge.policy.categories:
        # A text that is harmful only for another reason may or may not belong to this category, so it is left out.
        labels_and_scores = [
            (category in row.categories, v.scores[category])
            for row, v in zip(dataset.rows, verdicts, strict=True)
            if category in v.scores and (category in row.categories or not row.harmful)
        ]
        truth = np.array([label for label, _ in labels_and_scores], bool)
        scores = np.array([score for _, score in labels_and_scores], float)
        harmful = int(truth.sum())
        if min(harmful, len(truth) - harmful) < _MIN_CATEGORY_TEXTS:
            continue
        flagged = scores >= judge.rules.threshold(category, judge.band)
        categories[category] = CategoryMetrics(
            texts=len(truth),
            harmful=harmful,
            f1=metrics.f1(truth, flagged),
            recall=metrics.share(flagged, truth),
            false_alarms=metrics.share(flagged, ~truth),
            auc=metrics.auc(truth, scores),
            average_precision=metrics.average_precision(truth, scores),
            ece=metrics.ece(metrics.reliability(truth, scores)),
        )
    return categories


def _compare(
    judges: tuple[JudgeMetrics, JudgeMetrics],
    draws: tuple[DrawsByMetric, DrawsByMetric],
    is_right: tuple[Bools, Bools],
) -> JudgeComparison:
    """Compare two judges, given the metrics' values on the resamples and which texts each decided correctly."""
    import numpy as np

    first, second = judges
    only_first = int((is_right[0] & ~is_right[1]).sum())
    only_second = int((is_right[1] & ~is_right[0]).sum())
    differences = {}
    for key in ("f1", "auc", "average_precision"):
        gaps = np.subtract(draws[0][key], draws[1][key])
        interval = percentile_interval(getattr(first, key).value - getattr(second, key).value, gaps)
        # Twice the smaller tail: the level at which the percentile interval just touches 0.
        p = min(1.0, 2 * min(float((gaps <= 0).mean()), float((gaps >= 0).mean()))) if len(gaps) else 1.0
        differences[key] = MetricDifference(value=interval.value, low=interval.low, high=interval.high, p=p)
    return JudgeComparison(
        first=first.judge,
        second=second.judge,
        only_first_right=only_first,
        only_second_right=only_second,
        mcnemar_p=metrics.mcnemar(only_first, only_second),
        differences=FrozenDict(differences),
    )
