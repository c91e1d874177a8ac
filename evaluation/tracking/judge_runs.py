"""A bench as MLflow runs: one for the bench, below it one a judge."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from taleward.core.errors import BackendError, MissingExtra
from taleward.evaluation.judge_bench.result import BenchReport, JudgeMetrics
from taleward.evaluation.tracking.recorder import DEFAULT_EXPERIMENT, experiment_id, quiet
from taleward.moderation.calibration.bootstrap import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PARENT = "mlflow.parentRunId"


def record_bench(
    report: BenchReport,
    tracking_uri: str,
    plots: Mapping[str, Figure] | None = None,
    *,
    experiment: str = DEFAULT_EXPERIMENT,
) -> str:
    """Write a bench: metrics and parameters a judge, the report, the table of judges, the plots. No text is recorded.

    Args:
        report: What the bench found.
        tracking_uri: An MLflow tracking URI, see `default_tracking_uri`.
        plots: Figures by file name.
        experiment: The experiment's name; made when it is missing.

    Returns:
        The id of the bench's run.

    Raises:
        MissingExtra: MLflow is not installed.
        BackendError: The store does not hold what was written.
    """
    try:
        import mlflow
    except ImportError as error:
        raise MissingExtra("recording a bench", "mlflow") from error
    with quiet():
        client = mlflow.MlflowClient(tracking_uri=tracking_uri)
        where = experiment_id(client, tracking_uri, experiment)
        top = client.create_run(where, run_name=f"judge-bench {report.data}", tags={"taleward.kind": "judge-bench"})
        run_id = str(top.info.run_id)
        shared = {
            "data": report.data,
            "data_sha256": report.data_sha256,
            "texts": report.texts,
            "harmful": report.harmful,
            "at_recall": report.at_recall,
            "at_false_alarms": report.at_false_alarms,
        }
        _params(mlflow, client, run_id, {**shared, "judges": ", ".join(j.judge for j in report.judges)})
        client.set_tag(run_id, "signature", report.signature)
        for judge in report.judges:
            _judge(mlflow, client, where, run_id, judge, shared)
        client.log_dict(run_id, report.model_dump(mode="json"), "report.json")
        client.log_table(run_id, _table(report), "judges.json")
        for name, figure in (plots or {}).items():
            client.log_figure(run_id, figure, name)
        client.set_terminated(run_id)
        stored = {a.path for a in client.list_artifacts(run_id)}
    missing = {"report.json", "judges.json", *(plots or {})} - stored
    if missing:
        raise BackendError(f"MLflow at {tracking_uri} did not keep {sorted(missing)} of run {run_id}.")
    return run_id


def figures_of(judge: JudgeMetrics) -> dict[str, float]:
    """All figures of a judge as flat names and numbers; those that it lacks are left out."""
    found: dict[str, float] = {f"outcomes/{name}": float(count) for name, count in judge.outcomes.items()}
    for name in type(judge).model_fields:
        value = getattr(judge, name)
        if isinstance(value, Interval):
            found |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        elif isinstance(value, (int, float)):
            found[name] = float(value)
    for category, figures in judge.categories.items():
        found |= {f"{category}/{name}": float(value) for name, value in figures.model_dump().items()}
    return found


def _judge(
    mlflow: Any, client: Any, where: str, parent: str, judge: JudgeMetrics, shared: Mapping[str, object]
) -> None:
    run = client.create_run(where, run_name=judge.judge, tags={_PARENT: parent, "taleward.kind": "judge"})
    own = {"judge": judge.judge, "policy": judge.policy, "band": judge.band, "calibration": judge.calibration or "none"}
    _params(mlflow, client, run.info.run_id, {**shared, **own})
    now = int(time.time() * 1000)
    figures = figures_of(judge)
    client.log_batch(run.info.run_id, [mlflow.entities.Metric(n, v, now, 0) for n, v in figures.items()])
    client.set_terminated(run.info.run_id)
    kept = client.get_run(run.info.run_id).data.metrics
    if len(kept) != len(figures):
        raise BackendError(f"MLflow kept {len(kept)} of {len(figures)} figures of judge {judge.judge!r}.")


def _params(mlflow: Any, client: Any, run_id: str, values: Mapping[str, object]) -> None:
    client.log_batch(run_id, params=[mlflow.entities.Param(name, str(value)) for name, value in values.items()])


def _table(report: BenchReport) -> dict[str, list[Any]]:
    """A column a figure, a row a judge."""
    rows = [{"judge": j.judge, "policy": j.policy, "band": j.band, **figures_of(j)} for j in report.judges]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}
