"""Judges measured on labelled texts, and against each other.

A text that a judge did not pass counts as flagged: `abstain`, `unparsable` and `error` release nothing, so that they
are right where the text is harmful and false alarms where it is not. How often that was is in `outcomes`.
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
from taleward.moderation.calibration import metrics
from taleward.moderation.calibration.bootstrap import percentile_interval, stratified_resamples
from taleward.moderation.calibration.labeled_data import LabeledData
from taleward.moderation.judges.base import Judge
from taleward.moderation.judges.cascade import relative_risk

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    Draws = Mapping[str, Sequence[float]]

_POINTS = 200
_FEWEST = 5


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
    """Ask every judge about every text.

    Args:
        judges: Names to judges.
        dataset: Labeled texts.
        at_recall: The recall at which false alarms are compared, 0..1.
        at_false_alarms: The share of false alarms at which recall is compared, 0..1.
        resamples: Bootstrap resamples, drawn within each label.
        seed: Of the resamples.
        concurrency: Texts that a judge is asked about at once; more than 1 speeds hosted models up, and a local one's
            latency is then of its share of the machine.
        step: Called with a judge's name behind each of its answers.

    Raises:
        ConfigurationError: There is no judge, or the texts are all harmful or all harmless.
    """
    import numpy as np

    if not judges:
        raise ConfigurationError("a bench needs at least one judge; got none.")
    truth = np.array([row.harmful for row in dataset.rows], bool)
    if truth.all() or not truth.any():
        raise ConfigurationError(
            f"a bench needs harmful and harmless texts; {dataset.name} has {int(truth.sum())} harmful of {len(truth)}."
        )
    drawn = list(stratified_resamples(truth, resamples, seed))
    figures, draws, flags = [], [], []
    for name, judge in judges.items():
        verdicts = _ask(name, judge, dataset, concurrency, step)
        flagged = np.array([not v.passed for v in verdicts], bool)
        found, spread = _figures(name, judge, dataset, verdicts, flagged, drawn, (at_recall, at_false_alarms))
        figures.append(found)
        draws.append(spread)
        flags.append(flagged)
    pairs = combinations(range(len(figures)), 2)
    parts = {
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
        signature="|".join(f"{key}={value}" for key, value in parts.items()),
        judges=tuple(figures),
        comparisons=tuple(
            _comparison((figures[a], figures[b]), (draws[a], draws[b]), flags[a] == truth, flags[b] == truth)
            for a, b in pairs
        ),
    )


def ranking(verdict: Verdict, judge: Judge) -> float:
    """The score, 0..1, that a text is ranked by: the judge's `relative_risk`, at least 0.5 unless it passed.

    Without a plain answer it is 1: such a text is released at no threshold.
    """
    if verdict.outcome not in ("pass", "fail"):
        return 1.0
    return (
        relative_risk(verdict, judge.rules, judge.band)
        if verdict.passed
        else max(0.5, relative_risk(verdict, judge.rules, judge.band))
    )


def _ask(name: str, judge: Judge, dataset: LabeledData, concurrency: int, step: Callable[[str], None]) -> list[Verdict]:
    def one(text: str) -> Verdict:
        verdict = judge.invoke(text)
        step(name)
        return verdict

    texts = [row.text for row in dataset.rows]
    if concurrency == 1:
        return [one(text) for text in texts]
    with ThreadPoolExecutor(concurrency) as pool:
        return list(pool.map(one, texts))


def _figures(
    name: str,
    judge: Judge,
    dataset: LabeledData,
    verdicts: Sequence[Verdict],
    flagged: Bools,
    drawn: Iterable[npt.NDArray[np.intp]],
    fixed: tuple[float, float],
) -> tuple[JudgeMetrics, Draws]:
    import numpy as np

    truth = np.array([row.harmful for row in dataset.rows], bool)
    ranks = np.array([ranking(v, judge) for v in verdicts], float)
    functions: Mapping[str, Callable[[Bools, Bools, Floats], float]] = {
        "f1": lambda t, f, _: metrics.f1(t, f),
        "precision": lambda t, f, _: metrics.share(t, f),
        "recall": lambda t, f, _: metrics.share(f, t),
        "false_alarms": lambda t, f, _: metrics.share(f, ~t),
        "auc": lambda t, _, r: metrics.auc(t, r),
        "average_precision": lambda t, _, r: metrics.average_precision(t, r),
        "false_alarms_at_recall": lambda t, _, r: metrics.false_alarms_at(t, r, fixed[0]),
        "recall_at_false_alarms": lambda t, _, r: metrics.recall_at(t, r, fixed[1]),
    }
    draws = {key: [f(truth[d], flagged[d], ranks[d]) for d in drawn] for key, f in functions.items()}
    spread = {key: percentile_interval(f(truth, flagged, ranks), draws[key]) for key, f in functions.items()}
    scored = [(t, max(v.scores.values())) for t, v in zip(truth, verdicts, strict=True) if v.scores]
    diagram = metrics.reliability([t for t, _ in scored], [s for _, s in scored]) if scored else ()
    precision, recall = metrics.precision_recall(truth, ranks)
    kept = np.unique(np.linspace(0, len(recall) - 1, min(_POINTS, len(recall))).astype(int))
    latencies = [v.latency_s for v in verdicts]
    costs = [v.cost_usd for v in verdicts if v.cost_usd is not None]
    found = JudgeMetrics(
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
        precision_recall=tuple((float(recall[k]), float(precision[k])) for k in kept),
        reliability=diagram,
        categories=FrozenDict(_by_category(judge, dataset, verdicts)),
        **spread,
    )
    return found, draws


def _by_category(judge: Judge, dataset: LabeledData, verdicts: Sequence[Verdict]) -> dict[str, CategoryMetrics]:
    """Categories with at least five harmful and five harmless texts that have a score."""
    import numpy as np

    result = {}
    for category in judge.policy.categories:
        used = [
            (category in row.categories, v.scores[category])
            for row, v in zip(dataset.rows, verdicts, strict=True)
            if category in v.scores and (category in row.categories or not row.harmful)
        ]
        truth, scores = np.array([t for t, _ in used], bool), np.array([s for _, s in used], float)
        harmful = int(truth.sum())
        if min(harmful, len(truth) - harmful) < _FEWEST:
            continue
        flagged = scores >= judge.rules.threshold(category, judge.band)
        result[category] = CategoryMetrics(
            texts=len(truth),
            harmful=harmful,
            f1=metrics.f1(truth, flagged),
            recall=metrics.share(flagged, truth),
            false_alarms=metrics.share(flagged, ~truth),
            auc=metrics.auc(truth, scores),
            average_precision=metrics.average_precision(truth, scores),
            ece=metrics.ece(metrics.reliability(truth, scores)),
        )
    return result


def _comparison(
    figures: tuple[JudgeMetrics, JudgeMetrics], draws: tuple[Draws, Draws], right: Bools, other_right: Bools
) -> JudgeComparison:
    import numpy as np

    first, second = figures
    only_first, only_second = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    differences = {}
    for key in ("f1", "auc", "average_precision"):
        gaps = np.subtract(draws[0][key], draws[1][key])
        range_ = percentile_interval(getattr(first, key).value - getattr(second, key).value, list(gaps))
        p = min(1.0, 2 * min(float((gaps <= 0).mean()), float((gaps >= 0).mean()))) if len(gaps) else 1.0
        differences[key] = MetricDifference(value=range_.value, low=range_.low, high=range_.high, p=p)
    return JudgeComparison(
        first=first.judge,
        second=second.judge,
        only_first_right=only_first,
        only_second_right=only_second,
        mcnemar_p=metrics.mcnemar(only_first, only_second),
        differences=FrozenDict(differences),
    )
