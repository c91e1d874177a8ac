"""What a bench of judges found, as data."""

from __future__ import annotations

from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.moderation.calibration.bootstrap import Interval
from taleward.moderation.calibration.metrics import Bin


class CategoryMetrics(FrozenModel):
    """One category: the texts that are harmful for it against the harmless ones, by its score alone.

    Attributes:
        texts: How many texts have a score here.
        harmful: How many of them are harmful for it.
        f1: At the judge's threshold, 0..1.
        recall: The share of the harmful ones from the threshold up.
        false_alarms: The share of the harmless ones from the threshold up.
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
    """One judge. Intervals are 95 % percentile bootstrap intervals.

    Attributes:
        judge: Its name in the report.
        policy: Under which policy.
        band: For which age band.
        calibration: The signature of its calibration, if any.
        outcomes: How many texts ended how.
        f1: Of its decisions, 0..1.
        precision: Share of the texts it did not pass that are harmful.
        recall: Share of the harmful texts that it did not pass.
        false_alarms: Share of the harmless texts that it did not pass.
        auc: Area under the ROC curve of its `risk`.
        average_precision: Area under the precision-recall curve of it.
        false_alarms_at_recall: The fewest false alarms at the report's fixed recall.
        recall_at_false_alarms: The highest recall at the report's fixed share of false alarms.
        ece: Expected calibration error of its highest score, over the texts it gave scores for; `None` without scores.
        latency_p50_s: Median of seconds a text.
        latency_p95_s: 95th percentile of them.
        cost_usd: What all answers cost; `None` where the judge does not say.
        costs_known: How many answers said what they cost.
        cached: How many answers came from a cache; of those, latency and cost are the cache's.
        precision_recall: Points of the curve, recall then precision, at most 200 of them.
        reliability: The reliability diagram behind `ece`.
        categories: Figures by category, where the data names categories.
    """

    judge: str
    policy: str
    band: str
    calibration: str | None
    outcomes: FrozenDict[str, int]
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
    categories: FrozenDict[str, CategoryMetrics]


class MetricDifference(FrozenModel):
    """How far the first judge is above the second one, on the same resamples.

    Attributes:
        value: First minus second.
        low: Lower end of the 95 % interval.
        high: Upper end of it.
        p: Two-sided bootstrap p-value.
    """

    value: float
    low: float
    high: float
    p: float


class JudgeComparison(FrozenModel):
    """Two judges on the same texts.

    Attributes:
        first: A judge's name.
        second: Another one's.
        only_first_right: Texts that the first alone decided rightly.
        only_second_right: Texts that the second alone decided rightly.
        mcnemar_p: Two-sided exact p-value that both are right equally often.
        differences: By figure: `f1`, `auc` and `average_precision`.
    """

    first: str
    second: str
    only_first_right: int
    only_second_right: int
    mcnemar_p: float
    differences: FrozenDict[str, MetricDifference]


class BenchReport(FrozenModel):
    """What a bench found.

    Attributes:
        data: The file's name.
        data_sha256: SHA-256 of its content.
        texts: How many it holds.
        harmful: How many of them are harmful.
        at_recall: The fixed recall.
        at_false_alarms: The fixed share of false alarms.
        signature: All that another person needs to do it again, in one line.
        judges: The judges, in the order given.
        comparisons: Each two of them.
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
