"""Judge benchmarks in MLflow: one run per benchmark, with a nested run per judge."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from taleward.backends.base.mlflow_store import quiet
from taleward.core.errors import BackendError, MissingExtra
from taleward.core.redaction import redact
from taleward.evaluation.judge_bench.result import BenchReport, JudgeMetrics
from taleward.evaluation.tracking.tale_recorder import DEFAULT_EXPERIMENT, get_or_create_experiment
from taleward.moderation.calibration.bootstrap import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PARENT_TAG = "mlflow.parentRunId"


def record_bench(
    report: BenchReport,
    tracking_uri: str,
    plots: Mapping[str, Figure] | None = None,
    *,
    experiment: str = DEFAULT_EXPERIMENT,
) -> str:
    """Record a judge benchmark: metrics and parameters per judge, the report, the table of judges, the plots.

    The texts are not recorded.

    Args:
        report: The report of the benchmark.
        tracking_uri: The MLflow tracking URI, see `default_tracking_uri`.
        plots: Figures by file name.
        experiment: The name of the MLflow experiment; created if missing.

    Returns:
        The id of the benchmark's run.

    Raises:
        MissingExtra: If MLflow is not installed.
        BackendError: If MLflow did not store everything.
    """
    try:
        import mlflow
    except ImportError as error:
        raise MissingExtra("recording a benchmark", "mlflow") from error
    with quiet():
        client = mlflow.MlflowClient(tracking_uri=tracking_uri)
        experiment_id = get_or_create_experiment(client, tracking_uri, experiment)
        tags = {"taleward.kind": "judge-bench"}
        run_id = str(client.create_run(experiment_id, run_name=f"judge-bench {report.data}", tags=tags).info.run_id)
        shared_params = {
            "data": report.data,
            "data_sha256": report.data_sha256,
            "texts": report.texts,
            "harmful": report.harmful,
            "at_recall": report.at_recall,
            "at_false_alarms": report.at_false_alarms,
        }
        _log_params(mlflow, client, run_id, {**shared_params, "judges": ", ".join(j.judge for j in report.judges)})
        client.set_tag(run_id, "signature", report.signature)
        for judge in report.judges:
            _record_judge(mlflow, client, experiment_id, run_id, judge, shared_params)
        client.log_dict(run_id, report.model_dump(mode="json"), "report.json")
        client.log_table(run_id, _judge_table(report), "judges.json")
        for name, figure in (plots or {}).items():
            client.log_figure(run_id, figure, name)
        client.set_terminated(run_id)
        stored_files = {artifact.path for artifact in client.list_artifacts(run_id)}
    missing = {"report.json", "judges.json", *(plots or {})} - stored_files
    if missing:
        missing_names = ", ".join(sorted(missing))
        raise BackendError(f"MLflow at {redact(tracking_uri)} did not store {missing_names} of run {run_id}.")
    return run_id


def flat_metrics(judge: JudgeMetrics) -> dict[str, float]:
    """Return all metrics of a judge by a flat name, such as `recall/low` or `violence/auc`, without undefined ones."""
    metrics: dict[str, float] = {f"outcomes/{name}": float(count) for name, count in judge.outcomes.items()}
    for name in type(judge).model_fields:
        value = getattr(judge, name)
        if isinstance(value, Interval):
            metrics |= {name: value.value, f"{name}/low": value.low, f"{name}/high": value.high}
        elif isinstance(value, (int, float)):
            metrics[name] = float(value)
    for category, category_metrics in judge.categories.items():
        metrics |= {f"{category}/{name}": float(value) for name, value in category_metrics.model_dump().items()}
    return metrics


def _record_judge(
    mlflow: Any,
    client: Any,
    experiment_id: str,
    parent_run_id: str,
    judge: JudgeMetrics,
    shared_params: Mapping[str, object],
) -> None:
    tags = {_PARENT_TAG: parent_run_id, "taleward.kind": "judge"}
    run_id = client.create_run(experiment_id, run_name=judge.judge, tags=tags).info.run_id
    judge_params = {
        "judge": judge.judge,
        "policy": judge.policy,
        "band": judge.band,
        "calibration": judge.calibration or "none",
    }
    _log_params(mlflow, client, run_id, {**shared_params, **judge_params})
    now_ms = int(time.time() * 1000)
    metrics = flat_metrics(judge)
    client.log_batch(run_id, [mlflow.entities.Metric(name, value, now_ms, 0) for name, value in metrics.items()])
    client.set_terminated(run_id)
    # MLflow only warns about metrics that it loses.
    stored = client.get_run(run_id).data.metrics
    if len(stored) != len(metrics):
        raise BackendError(f"MLflow stored {len(stored)} of {len(metrics)} metrics of judge {judge.judge!r}.")


def _log_params(mlflow: Any, client: Any, run_id: str, values: Mapping[str, object]) -> None:
    client.log_batch(run_id, params=[mlflow.entities.Param(name, str(value)) for name, value in values.items()])


def _judge_table(report: BenchReport) -> dict[str, list[Any]]:
    """Return the columns of a table with one row per judge, as MLflow's `log_table` takes them."""
    rows = [{"judge": j.judge, "policy": j.policy, "band": j.band, **flat_metrics(j)} for j in report.judges]
    # Judges differ in their metrics: only some have scores or categories.
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return {column: [row.get(column) for row in rows] for column in columns}
