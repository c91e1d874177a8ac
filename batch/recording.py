"""Record a batch in MLflow: one run with its parameters, counts, a table of its chunks, and plots."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.backends.base.mlflow_store import mlflow_settings, quiet
from taleward.batch.ledger import Ledger
from taleward.batch.result import BatchResult
from taleward.core.redaction import format_error
from taleward.evaluation.tracking.tale_recorder import default_tracking_uri, get_or_create_experiment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TAG = "taleward.batch"
_MAX_PARAM_CHARACTERS = 500
_PARAMS_PER_REQUEST = 100  # MLflow's limit
_MAX_TABLE_ROWS = 2_000
_COLORS = {"pass": "#2e7d32", "released": "#2e7d32", "done": "#2e7d32", "fail": "#c62828", "refused": "#c62828"}
_OTHER_COLOR, _ERROR_COLOR = "#f9a825", "#6a1b9a"


def record_batch(ledger: Ledger, result: BatchResult, experiment: str, tracking_uri: str | None) -> BatchResult:
    """Record a batch as one MLflow run; a later call for the same batch updates its run. Never raises.

    Nothing of the rows is recorded, only counts: the results are in the batch's folder.

    Args:
        ledger: The ledger.
        result: The result of the call.
        experiment: The name of the MLflow experiment.
        tracking_uri: The MLflow tracking URI; `None` for the store in `.taleward` in the working directory.

    Returns:
        The result with its `run_id`; or with the error in `not_recorded`.
    """
    try:
        with quiet(), mlflow_settings():
            run_id = _write_run(ledger, result, experiment, tracking_uri or default_tracking_uri())
    except Exception as error:  # noqa: BLE001  whatever the store raises; the batch itself is finished
        return result.model_copy(update={"not_recorded": format_error(error)})
    return result.model_copy(update={"run_id": run_id})


def _write_run(ledger: Ledger, result: BatchResult, experiment: str, uri: str) -> str:
    import mlflow
    from mlflow.entities import Param

    manifest = ledger.manifest
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment_id = get_or_create_experiment(client, uri, experiment)
    earlier = client.search_runs([experiment_id], f"tags.`{_TAG}` = '{manifest.job_id}'")
    if earlier:
        run_id = str(earlier[0].info.run_id)
    else:
        tags = {_TAG: manifest.job_id, "taleward.kind": "batch"}
        run_id = str(client.create_run(experiment_id, tags=tags, run_name=f"batch-{manifest.task}").info.run_id)
        values = {**manifest.fingerprint, "source": manifest.source, "rows": manifest.rows, "chunk": manifest.chunk}
        params = [Param(_name(name), str(value)[:_MAX_PARAM_CHARACTERS]) for name, value in values.items()]
        for start in range(0, len(params), _PARAMS_PER_REQUEST):
            client.log_batch(run_id, params=params[start : start + _PARAMS_PER_REQUEST])
    client.set_tag(run_id, "taleward.partial", str(result.partial).lower())
    for name, value in _metrics(result).items():
        client.log_metric(run_id, name, value)
    with tempfile.TemporaryDirectory() as folder:
        _write_files(Path(folder), ledger, result)
        client.log_artifacts(run_id, folder)
    # With this tag MLflow's UI shows the file as a table.
    client.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps([{"path": "chunks.json", "type": "table"}]))
    client.set_terminated(run_id, "KILLED" if result.partial else "FINISHED")
    return run_id


def _metrics(result: BatchResult) -> dict[str, float]:
    metrics = {
        "finished": float(result.finished),
        "errors": float(result.errors),
        "tokens": float(result.tokens),
        **{f"outcome/{_name(name)}": float(count) for name, count in result.outcomes.items()},
        **{_name(name): value for name, value in result.scores.items()},
    }
    if result.cost_usd is not None:
        metrics["cost_usd"] = result.cost_usd
    if result.rows_run:
        metrics["rows_per_second"] = result.rows_run / max(result.seconds, 1e-9)
    return metrics


def _write_files(folder: Path, ledger: Ledger, result: BatchResult) -> None:
    columns = ["chunk", "rows", "errors", "outcomes", "cost_usd", "tokens", "seconds"]
    chunks = [ledger.summaries[number] for number in sorted(ledger.summaries)][:_MAX_TABLE_ROWS]
    data = [
        [c.number, c.rows, c.errors, json.dumps(dict(c.outcomes)), c.cost_usd, c.tokens, round(c.seconds, 3)]
        for c in chunks
    ]
    (folder / "chunks.json").write_text(json.dumps({"columns": columns, "data": data}), encoding="utf-8")
    (folder / "result.json").write_text(result.model_dump_json(indent=1), encoding="utf-8")
    try:
        figure = _plot(ledger, result)
    except ImportError:  # without matplotlib there are no plots
        return
    figure.savefig(folder / "batch.png", dpi=110)


def _plot(ledger: Ledger, result: BatchResult) -> Figure:
    """Draw the outcomes, and how the chunks' times are distributed."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = list(result.outcomes)
    counts = [result.outcomes[name] for name in names]
    colors = [_ERROR_COLOR if name == "error" else _COLORS.get(name, _OTHER_COLOR) for name in names]
    bars = left.barh(names[::-1], counts[::-1], color=colors[::-1])
    left.bar_label(bars, [f"{count:,}" for count in counts[::-1]], padding=3)
    left.margins(x=0.15)
    left.set_title(f"{result.finished:,} of {result.rows:,} rows")
    left.set_xlabel("rows")
    times: list[Any] = [1000 * summary.seconds / summary.rows for summary in ledger.summaries.values() if summary.rows]
    right.hist(times, bins=min(30, max(1, len(times))), color="#3f51b5")
    right.set_title("time per row, by chunk")
    right.set_xlabel("ms per row")
    right.set_ylabel("chunks")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _name(name: str) -> str:
    """Replace the characters that MLflow does not accept in names."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)
