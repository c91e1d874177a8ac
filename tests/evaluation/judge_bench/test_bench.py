"""Judge benchmarks on texts with known scores and labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from taleward.core.errors import ConfigurationError
from taleward.evaluation.judge_bench.bench import benchmark_judges, risk_score
from taleward.evaluation.judge_bench.plots import bench_plots, save_plots
from taleward.evaluation.judge_bench.result import BenchReport
from taleward.evaluation.tracking.judge_runs import flat_metrics, record_bench
from taleward.evaluation.tracking.tale_recorder import default_tracking_uri
from taleward.moderation.calibration.labeled_texts import LabeledData, LabeledText
from taleward.moderation.judges import Assessment
from taleward.testing import FakeJudge

SCORES = np.round(np.random.default_rng(0).random(120), 3)
TRUTH = np.random.default_rng(1).random(120) < SCORES
ROWS = tuple(
    LabeledText(str(s), bool(t), ("violence",) if t else ())
    for s, t in zip(SCORES.tolist(), TRUTH.tolist(), strict=True)
)
DATA = LabeledData("known.csv", "ab" * 32, ROWS)


def scoring_judge(score: Any = float, cost: float | None = None) -> FakeJudge:
    """A judge that scores a text, which is a number, by a function of it."""
    return FakeJudge(lambda p: Assessment.model_validate({"scores": {"violence": score(p.text)}, "cost_usd": cost}))


def threshold_judge(threshold: float) -> FakeJudge:
    """A judge without scores."""
    return FakeJudge(lambda p: Assessment(outcome="fail" if float(p.text) >= threshold else "pass"))


@pytest.fixture(scope="module")
def report() -> BenchReport:
    judges = {"good": scoring_judge(cost=0.01), "flat": scoring_judge(lambda _: 0.2), "bare": threshold_judge(0.5)}
    return benchmark_judges(judges, DATA, resamples=100, at_recall=0.9, at_false_alarms=0.1)


def test_metrics_equal_scikit_learn(report: BenchReport) -> None:
    good, flat, bare = report.judges
    flagged = SCORES >= 0.5
    assert good.auc.value == pytest.approx(sklearn_metrics.roc_auc_score(TRUTH, SCORES))
    assert good.average_precision.value == pytest.approx(sklearn_metrics.average_precision_score(TRUTH, SCORES))
    assert good.f1.value == bare.f1.value == pytest.approx(sklearn_metrics.f1_score(TRUTH, flagged))
    assert good.precision.value == pytest.approx(sklearn_metrics.precision_score(TRUTH, flagged))
    alarms, recalls, _ = sklearn_metrics.roc_curve(TRUTH, SCORES, drop_intermediate=False)
    assert good.false_alarms_at_recall.value == pytest.approx(alarms[recalls >= 0.9].min())
    assert good.recall_at_false_alarms.value == pytest.approx(recalls[alarms <= 0.1].max())
    assert good.auc.low < good.auc.value < good.auc.high
    assert (flat.auc.value, flat.f1.value, flat.false_alarms.value) == (0.5, 0.0, 0.0)
    assert bare.auc.value == pytest.approx(sklearn_metrics.roc_auc_score(TRUTH, flagged))
    assert (bare.ece, bare.reliability) == (None, ())
    assert good.categories["violence"].auc == pytest.approx(good.auc.value)
    assert good.categories["violence"].ece == pytest.approx(good.ece or 0)
    assert good.cost_usd == pytest.approx(1.2)
    assert (flat.cost_usd, flat.costs_known) == (None, 0)


def test_judges_are_compared_on_the_same_texts(report: BenchReport) -> None:
    first = report.comparisons[0]
    assert (first.first, first.second) == ("good", "flat")
    flagged = SCORES >= 0.5
    assert first.only_first_right == int(((flagged == TRUTH) & TRUTH).sum())
    assert first.only_second_right == int(((flagged != TRUTH) & ~TRUTH).sum())
    assert first.mcnemar_p < 0.01
    gap = first.differences["auc"]
    assert gap.value == pytest.approx(report.judges[0].auc.value - 0.5)
    assert gap.low > 0
    assert gap.p == 0.0
    same = next(c for c in report.comparisons if (c.first, c.second) == ("good", "bare"))
    assert (same.only_first_right, same.mcnemar_p, same.differences["f1"].value) == (0, 1.0, 0.0)


def test_errors_count_as_not_released_and_are_reported() -> None:
    def broken(passage: Any) -> Assessment:
        if float(passage.text) < 0.2:
            raise RuntimeError("no connection")
        return Assessment.model_validate({"scores": {"violence": float(passage.text)}})

    broken_metrics = benchmark_judges({"broken": FakeJudge(broken)}, DATA, resamples=0).judges[0]
    assert broken_metrics.outcomes["error"] == int((SCORES < 0.2).sum())
    flagged = (SCORES >= 0.5) | (SCORES < 0.2)
    assert broken_metrics.f1.value == pytest.approx(sklearn_metrics.f1_score(TRUTH, flagged))
    assert broken_metrics.false_alarms.value == pytest.approx(flagged[~TRUTH].mean())
    risks = np.where(SCORES < 0.2, 1.0, SCORES)
    assert broken_metrics.auc.value == pytest.approx(sklearn_metrics.roc_auc_score(TRUTH, risks))
    judge = FakeJudge(broken)
    assert risk_score(judge.invoke("0.1"), judge) == 1.0


def test_the_same_seed_gives_the_same_report() -> None:
    def measured(seed: int, concurrency: int = 1) -> dict[str, Any]:
        report = benchmark_judges({"good": scoring_judge()}, DATA, resamples=20, seed=seed, concurrency=concurrency)
        return report.judges[0].model_dump(exclude={"latency_p50_s", "latency_p95_s"})

    assert measured(0) == measured(0) == measured(0, concurrency=4)
    assert measured(0) != measured(1)


def test_datasets_with_one_label_and_no_judges_are_errors() -> None:
    calm = LabeledData("calm.csv", "0", (LabeledText("0.1", False),))
    with pytest.raises(ConfigurationError, match=r"calm\.csv has 0 harmful of 1"):
        benchmark_judges({"good": scoring_judge()}, calm)
    with pytest.raises(ConfigurationError, match="at least one judge"):
        benchmark_judges({}, DATA)


def test_a_report_survives_json(report: BenchReport) -> None:
    assert BenchReport.model_validate_json(report.model_dump_json()) == report
    assert "data=known.csv:abababababab|n=120" in report.signature


def test_plots_show_every_judge(report: BenchReport, tmp_path: Path) -> None:
    plots = bench_plots(report)
    labels = [str(line.get_label()) for line in plots["precision-recall.png"].axes[0].get_lines()]
    assert [label.split(" ")[0] for label in labels] == ["good", "flat", "bare", "by"]
    assert len(plots["reliability.png"].axes[0].get_lines()) == 3
    save_plots(plots, tmp_path / "new")
    assert all((tmp_path / "new" / name).stat().st_size > 10_000 for name in plots)


# MLflow's own code warns on import and when it creates its store.
@pytest.mark.filterwarnings("default")
def test_a_benchmark_is_recorded_with_a_child_run_per_judge(report: BenchReport, tmp_path: Path) -> None:
    import mlflow

    uri = default_tracking_uri(tmp_path)
    run_id = record_bench(report, uri, bench_plots(report))
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("taleward")
    children = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{run_id}'")
    by_judge = {run.data.params["judge"]: run.data for run in children}
    assert set(by_judge) == {"good", "flat", "bare"}
    assert by_judge["good"].metrics == pytest.approx(flat_metrics(report.judges[0]))
    assert math.isclose(by_judge["good"].metrics["violence/auc"], report.judges[0].auc.value)
    assert by_judge["good"].params["data_sha256"] == DATA.sha256
    artifacts = {a.path for a in client.list_artifacts(run_id)}
    assert artifacts == {"report.json", "judges.json", "precision-recall.png", "reliability.png"}
    table = mlflow.artifacts.load_dict(f"{client.get_run(run_id).info.artifact_uri}/judges.json")
    assert table["columns"][0] == "judge"
    assert client.get_run(run_id).info.status == "FINISHED"
