"""Evaluations in MLflow: written so that writing again is safe, read back before they count as written."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.core.errors import BackendError, MissingExtra, UnknownName
from taleward.core.redaction import format_error, redact
from taleward.core.verdict import Verdict
from taleward.evaluation.journal import DEFAULT_SPOOL, Journal, JournalLocked, journal_lock, journals
from taleward.evaluation.result import Evaluation
from taleward.evaluation.tracking.recorder import default_tracking_uri, experiment_id, quiet
from taleward.evaluation.tracking.traces import SpanData, TraceData, tale_trace, write_traces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)

TABLE = "samples.json"
REPORT = "report.html"
FOUND = "evaluation.json"

_TAG = "taleward.evaluation"
_LONGEST = 500  # characters of a parameter
_MOST = 100  # parameters in a request
_SHOWN = 200  # characters of an error in the log; all of it is in `Evaluation.undelivered`
# A server that is not there is known soon; MLflow would knock for minutes, but the spool can wait longer.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def check_mlflow() -> None:
    """Tell before hours of work that nothing can be kept.

    Raises:
        MissingExtra: MLflow is not installed.
    """
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise MissingExtra("recording an evaluation", "mlflow") from error


def deliver(journal: Journal, found: Evaluation) -> Evaluation:
    """Write a finished evaluation to MLflow and remove its journal; where that fails the journal stays."""
    try:
        with quiet(), _settings():
            run_id = _write(journal, found)
    except Exception as error:  # noqa: BLE001  whatever a store raises; the journal keeps it all
        why = format_error(error)
        _log.warning(
            "evaluation %r is kept in %s; once MLflow is there, type: taleward eval --deliver (%s)",
            found.name,
            journal.folder,
            why.splitlines()[0][:_SHOWN],
        )
        return found.model_copy(update={"undelivered": why})
    journal.remove()
    return found.model_copy(update={"run_id": run_id})


def upload_pending(spool: Path = DEFAULT_SPOOL, tracking_uri: str | None = None) -> list[Evaluation]:
    """Try again to deliver what is finished.

    Args:
        spool: The folder of all journals.
        tracking_uri: Only what goes to this store.

    Returns:
        What was tried; see `Evaluation.undelivered`.
    """
    tried = []
    for journal in journals(spool):
        if journal.finished and tracking_uri in (None, journal.plan["uri"]):
            with suppress(JournalLocked), journal_lock(journal):
                tried.append(deliver(journal, Evaluation.model_validate(journal.result)))
    return tried


def load_evaluation(run_id: str, tracking_uri: str | None = None) -> Evaluation:
    """An evaluation that MLflow holds; without its samples.

    Args:
        run_id: The run's id.
        tracking_uri: An MLflow tracking URI; by default that of `.taleward` in this folder.

    Raises:
        UnknownName: There is no such run, or it is no evaluation.
    """
    check_mlflow()
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=tracking_uri or default_tracking_uri())
    with quiet(), _settings(), tempfile.TemporaryDirectory() as folder:
        try:
            file = client.download_artifacts(run_id, FOUND, folder)
        except Exception as error:
            raise UnknownName("evaluation run", run_id, None, hint=redact(f"MLflow says: {error}")) from error
        return Evaluation.model_validate_json(Path(file).read_bytes()).model_copy(update={"run_id": run_id})


def record_page(
    name: str, page: str, plot: Figure, params: Mapping[str, str], *, tracking_uri: str | None, experiment: str
) -> str:
    """Keep a comparison's page and plot as a run of their own; the run's id."""
    check_mlflow()
    import mlflow
    from mlflow.entities import Param

    place = tracking_uri or default_tracking_uri()
    client = mlflow.MlflowClient(tracking_uri=place)
    with quiet(), _settings(), tempfile.TemporaryDirectory() as folder:
        where = experiment_id(client, place, experiment)
        run_id = str(client.create_run(where, tags={"taleward.kind": "comparison"}, run_name=name).info.run_id)
        held = [Param(_named(metric), said[:_LONGEST]) for metric, said in params.items()]
        for at in range(0, len(held), _MOST):
            client.log_batch(run_id, params=held[at : at + _MOST])
        (Path(folder) / "comparison.html").write_text(page, encoding="utf-8")
        plot.savefig(Path(folder) / "comparison.png", dpi=110)
        client.log_artifacts(run_id, folder)
        client.set_terminated(run_id)
    return run_id


def _write(journal: Journal, found: Evaluation) -> str:
    import mlflow
    from mlflow.entities import Metric, Param

    plan = journal.plan
    client = mlflow.MlflowClient(tracking_uri=plan["uri"])
    where = experiment_id(client, plan["uri"], plan["experiment"])
    known = client.search_runs([where], f"tags.`{_TAG}` = '{plan['id']}'")
    begun, ended = (int(at.timestamp() * 1000) for at in (found.started_at, found.finished_at))
    if known:
        run_id = str(known[0].info.run_id)
    else:
        tags = {_TAG: plan["id"], "taleward.kind": "evaluation"}
        run_id = str(client.create_run(where, begun, tags, plan["name"]).info.run_id)
    params = {
        **plan["params"],
        "data": plan["dataset_sha256"][:12],
        "samples": str(len(found.ids)),
        "taleward": plan["taleward"],
    }
    data = mlflow.entities.Dataset(plan["dataset"], plan["dataset_sha256"][:12], "taleward", plan["dataset"])
    client.log_inputs(run_id, [mlflow.entities.DatasetInput(data)])
    held = [Param(_named(name), value[:_LONGEST]) for name, value in params.items()]
    for at in range(0, len(held), _MOST):
        client.log_batch(run_id, params=held[at : at + _MOST])
    for name, score in found.scores.items():
        client.set_tag(run_id, f"signature.{_named(name)}", score.signature)
    write_traces(plan["uri"], where, [_trace(plan["id"], found, n) for n in range(len(found.samples))], run_id)
    client.log_artifacts(run_id, str(journal.files))
    client.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps([{"path": TABLE, "type": "table"}]))
    numbers = figures(found)
    client.log_batch(run_id, [Metric(_named(name), value, ended, 0) for name, value in numbers.items()])
    _check(client, where, run_id, found, {_named(name) for name in numbers})
    client.set_terminated(run_id, end_time=ended)
    return run_id


def figures(found: Evaluation) -> dict[str, float]:
    """All figures by name; a metric's interval beside it."""
    numbers = {"failed": float(len(found.failed))}
    for name, score in found.scores.items():
        parts = {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
        numbers |= {part: value for part, value in parts.items() if value is not None}
    return numbers


def _check(client: Any, where: str, run_id: str, found: Evaluation, numbers: set[str]) -> None:
    """Read back what was written.

    Raises:
        BackendError: Something is missing.
    """
    kept, token = set(), None
    while True:
        page = client.search_traces(
            locations=[where], run_id=run_id, max_results=500, page_token=token, include_spans=False
        )
        kept |= {trace.info.tags.get("sample") for trace in page}
        token = page.token
        if not token:
            break
    missing = [f"sample {i}" for i in found.ids if i not in kept]
    missing += sorted(numbers - set(client.get_run(run_id).data.metrics))
    missing += sorted({TABLE, REPORT, FOUND} - {a.path for a in client.list_artifacts(run_id)})
    if missing:
        raise BackendError(f"MLflow did not keep {missing[0]} and {len(missing) - 1} more of run {run_id}.")


def _trace(evaluation: str, found: Evaluation, number: int) -> TraceData:
    sample = found.samples[number]
    scores = {name: m.values[number] for name, m in found.metrics.items()}
    if sample.tale is not None:
        made = tale_trace(sample.tale, sample.inputs)
        root = replace(made.root, attributes={**made.root.attributes, "scores": scores})
        return TraceData(made.of, root, {**made.tags, "sample": sample.id})
    end = int(found.finished_at.timestamp() * 1e9)
    start = end - int((sample.latency_s or 0.0) * 1e9)
    judged = () if sample.verdict is None else (_judged(sample.verdict, sample.output, start, end),)
    format_error = sample.output if sample.error is None else {"error": sample.error}
    root = SpanData("sample", "CHAIN", start, end, dict(sample.inputs), format_error, {"scores": scores}, judged)
    of = f"{evaluation} {sample.id}"
    return TraceData(of, root, {"sample": sample.id, "tale_id": TraceData(of, root, {}).id})


def _judged(verdict: Verdict, text: str | None, start: int, end: int) -> SpanData:
    return SpanData("judge", "EVALUATOR", start, end, text, verdict.model_dump(mode="json"))


def _named(name: str) -> str:
    """A name that MLflow takes."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)


@contextmanager
def _settings() -> Iterator[None]:
    """MLflow with our settings, where the user has none."""
    ours = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
