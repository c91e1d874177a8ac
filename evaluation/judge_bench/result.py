"""The results of a judge benchmark."""

from __future__ import annotations

from taleward.core.frozen_model import FrozenMapping, FrozenModel
from taleward.core.html_tables import notebook_box, notebook_table
from taleward.moderation.calibration.bootstrap import Interval
from taleward.moderation.calibration.detection_metrics import Bin


class CategoryMetrics(FrozenModel):
    """A judge's metrics in one category: its score on texts harmful in that category, and on harmless texts.

    Attributes:
        texts: The number of texts with a score in the category.
        harmful: How many of them are harmful in the category.
        f1: F1 at the judge's threshold, 0..1.
        recall: The share of harmful texts with a score at or above the threshold.
        false_alarms: The share of harmless texts with a score at or above the threshold.
        auc: Area under the ROC curve.
        average_precision: Area under the precision-recall curve.
        ece: Expected calibration error of the score.
    """

    texts: int
    harmful: int
    f1: float
    recall: float
    false_alarms: float
    auc: float
    average_precision: float
    ece: float


class JudgeMetrics(FrozenModel):
    """The metrics of one judge, with 95 % percentile bootstrap intervals.

    Attributes:
        judge: The judge's name in the report.
        policy: The id of its policy.
        band: Its age band.
        calibration: The signature of its calibration, if it has one.
        outcomes: The number of texts by outcome.
        f1: F1 of its decisions, 0..1.
        precision: The share of the texts it did not pass that are harmful.
        recall: The share of harmful texts that it did not pass.
        false_alarms: The share of harmless texts that it did not pass.
        auc: Area under the ROC curve of its `risk_score`.
        average_precision: Area under the precision-recall curve of its `risk_score`.
        false_alarms_at_recall: The fewest false alarms at the report's fixed recall.
        recall_at_false_alarms: The highest recall at the report's fixed share of false alarms.
        ece: Expected calibration error of its highest score, on the texts with scores; `None` if there are none.
        latency_p50_s: Median latency per text in seconds.
        latency_p95_s: 95th percentile of the latency in seconds.
        cost_usd: Total cost in US dollars of the verdicts that state one; `None` if none does.
        costs_known: The number of verdicts that state a cost.
        cached: The number of verdicts from a cache; their latency and cost are the cache's.
        precision_recall: At most 200 points of the precision-recall curve, as pairs of recall and precision.
        reliability: The reliability diagram from which `ece` is computed.
        categories: The metrics by category, if the dataset names categories.
    """

    judge: str
    policy: str
    band: str
    calibration: str | None
    outcomes: FrozenMapping[str, int]
    f1: Interval
    precision: Interval
    recall: Interval
    false_alarms: Interval
    auc: Interval
    average_precision: Interval
    false_alarms_at_recall: Interval
    recall_at_false_alarms: Interval
    ece: float | None
    latency_p50_s: float
    latency_p95_s: float
    cost_usd: float | None
    costs_known: int
    cached: int
    precision_recall: tuple[tuple[float, float], ...]
    reliability: tuple[Bin, ...]
    categories: FrozenMapping[str, CategoryMetrics]


class MetricDifference(FrozenModel):
    """The difference of two judges in one metric, on the same resamples.

    Attributes:
        value: First judge minus second judge.
        low: Lower end of the 95 % bootstrap interval.
        high: Upper end of the 95 % bootstrap interval.
        p: Two-sided bootstrap p-value.
    """

    value: float
    low: float
    high: float
    p: float


class JudgeComparison(FrozenModel):
    """Two judges compared on the same texts.

    Attributes:
        first: The first judge's name.
        second: The second judge's name.
        only_first_right: The number of texts that only the first judge decides correctly.
        only_second_right: The number of texts that only the second judge decides correctly.
        mcnemar_p: Two-sided exact p-value of the null hypothesis that both are correct equally often (McNemar 1947).
        differences: The differences in `f1`, `auc` and `average_precision`.
    """

    first: str
    second: str
    only_first_right: int
    only_second_right: int
    mcnemar_p: float
    differences: FrozenMapping[str, MetricDifference]


class BenchReport(FrozenModel):
    """The results of a judge benchmark.

    Attributes:
        data: The name of the dataset's file.
        data_sha256: SHA-256 of the file's content, in hexadecimal.
        texts: The number of texts.
        harmful: How many of them are harmful.
        at_recall: The fixed recall, 0..1.
        at_false_alarms: The fixed share of false alarms, 0..1.
        signature: All settings and versions that are needed to reproduce the report, in one line.
        judges: The judges, in the given order.
        comparisons: All pairs of judges.
    """

    data: str
    data_sha256: str
    texts: int
    harmful: int
    at_recall: float
    at_false_alarms: float
    signature: str
    judges: tuple[JudgeMetrics, ...]
    comparisons: tuple[JudgeComparison, ...]

    def _repr_html_(self) -> str:
        titles = {
            "F1": "f1",
            "precision": "precision",
            "recall": "recall",
            "false alarms": "false_alarms",
            "AUC": "auc",
            "average precision": "average_precision",
            f"false alarms at recall {self.at_recall:g}": "false_alarms_at_recall",
            f"recall at false alarms {self.at_false_alarms:g}": "recall_at_false_alarms",
        }
        rows = [[title, *(_interval(getattr(judge, name)) for judge in self.judges)] for title, name in titles.items()]
        rows += [
            ["ECE of the scores", *("-" if j.ece is None else f"{j.ece:.3f}" for j in self.judges)],
            ["latency p50", *(f"{j.latency_p50_s * 1000:,.3g} ms" for j in self.judges)],
            ["latency p95", *(f"{j.latency_p95_s * 1000:,.3g} ms" for j in self.judges)],
            ["cost", *("-" if j.cost_usd is None else f"${j.cost_usd:.4f}" for j in self.judges)],
            ["outcomes", *(", ".join(f"{n} {name}" for name, n in j.outcomes.items()) for j in self.judges)],
        ]
        return notebook_box(
            f"{self.data}: {self.texts} texts, {self.harmful} of them harmful",
            notebook_table(["", *(judge.judge for judge in self.judges)], rows),
            "95 % bootstrap intervals in brackets.",
        )


def _interval(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
