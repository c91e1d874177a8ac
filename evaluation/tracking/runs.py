"""Evaluations as MLflow runs: uploads that can be repeated, and are read back before they count as stored."""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.backends.base.mlflow_store import mlflow_settings, quiet
from taleward.core.errors import BackendError, MissingExtra, UnknownName
from taleward.core.redaction import format_error, redact
from taleward.core.verdict import Verdict
from taleward.evaluation.journal import DEFAULT_SPOOL, Journal, JournalLocked, journal_lock, journals
from taleward.evaluation.result import Evaluation
from taleward.evaluation.sample import Sample
from taleward.evaluation.tracking.assessments import AssessmentData, round_significant, verdict_assessments
from taleward.evaluation.tracking.label_schemas import ensure_label_schemas
from taleward.evaluation.tracking.tale_recorder import default_tracking_uri, get_or_create_experiment
from taleward.evaluation.tracking.traces import SpanData, TraceData, tale_trace, write_traces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)

# The files that `taleward.evaluation.report.html.write_files` writes.
_SAMPLES_FILE = "samples.json"
_REPORT_FILE = "report.html"
_EVALUATION_FILE = "evaluation.json"

_SAMPLE_COLUMNS = ("id", "inputs", "output", "label", "prediction", "error")
_EVALUATION_TAG = "taleward.evaluation"
_MAX_PARAM_CHARACTERS = 500
_PARAMS_PER_REQUEST = 100  # MLflow's limit
_MAX_LOGGED_CHARACTERS = 200  # `Evaluation.undelivered` has the whole error
_TRACES_PER_PAGE = 500


def check_mlflow() -> None:
    """Raise an error if MLflow is not installed, before an evaluation takes hours and cannot be recorded.

    Raises:
        MissingExtra: If MLflow is not installed.
    """
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise MissingExtra("recording an evaluation", "mlflow") from error


def upload(journal: Journal, evaluation: Evaluation) -> Evaluation:
    """Upload a finished evaluation to MLflow and remove its journal; never raises.

    Args:
        journal: The journal of the evaluation; kept if the upload fails.
        evaluation: The evaluation.

    Returns:
        The evaluation with its `run_id`; or with the error in `undelivered` if the upload failed.
    """
    try:
        with quiet(), mlflow_settings():
            run_id = _write_run(journal, evaluation)
    except Exception as error:  # noqa: BLE001  whatever the store raises; the journal keeps the evaluation
        reason = format_error(error)
        _log.warning(
            "evaluation %r was not uploaded and is kept in %s; once MLflow can be reached, run: "
            "taleward eval --upload-pending (%s)",
            evaluation.name,
            journal.folder,
            reason.splitlines()[0][:_MAX_LOGGED_CHARACTERS],
        )
        return evaluation.model_copy(update={"undelivered": reason})
    journal.remove()
    return evaluation.model_copy(update={"run_id": run_id})


def upload_pending(spool: Path = DEFAULT_SPOOL, tracking_uri: str | None = None) -> list[Evaluation]:
    """Upload finished evaluations that MLflow has not stored yet.

    Args:
        spool: The folder of all journals.
        tracking_uri: Upload only to this store; by default each evaluation goes to the store that it was meant for.

    Returns:
        The evaluations that were tried; `Evaluation.undelivered` says which of them failed.
    """
    evaluations = []
    for journal in journals(spool):
        if journal.finished and tracking_uri in (None, journal.plan["uri"]):
            # Another process may be uploading it.
            with suppress(JournalLocked), journal_lock(journal):
                evaluations.append(upload(journal, Evaluation.model_validate(journal.result)))
    return evaluations


def load_evaluation(run_id: str, tracking_uri: str | None = None, *, samples: bool = False) -> Evaluation:
    """Load an evaluation from MLflow.

    Args:
        run_id: The id of the MLflow run.
        tracking_uri: The MLflow tracking URI; by default the store in `.taleward` in the working directory.
        samples: Whether to load the samples, too: their ids, inputs, outputs, labels and predictions, for `arena`.

    Raises:
        MissingExtra: If MLflow is not installed.
        UnknownName: If there is no such run, or it is not an evaluation.
    """
    check_mlflow()
    import mlflow

    with quiet(), mlflow_settings(), tempfile.TemporaryDirectory() as folder:
        client = mlflow.MlflowClient(tracking_uri=tracking_uri or default_tracking_uri())
        try:
            file = client.download_artifacts(run_id, _EVALUATION_FILE, folder)
        except Exception as error:
            raise UnknownName("evaluation run", run_id, None, hint=redact(f"MLflow says: {error}")) from error
        evaluation = Evaluation.model_validate_json(Path(file).read_bytes())
        found: dict[str, Any] = {"run_id": run_id}
        if samples:
            table = json.loads(Path(client.download_artifacts(run_id, _SAMPLES_FILE, folder)).read_bytes())
            rows = (dict(zip(table["columns"], row, strict=True)) for row in table["data"])
            found["samples"] = tuple(
                Sample.model_validate({name: row[name] for name in _SAMPLE_COLUMNS if name in row}) for row in rows
            )
        return evaluation.model_copy(update=found)


def record_page(
    name: str, page: str, plot: Figure, params: Mapping[str, str], *, tracking_uri: str | None, experiment: str
) -> str:
    """Record the HTML page and the plot of a comparison as an MLflow run.

    Args:
        name: The name of the run.
        page: The HTML page.
        plot: The plot.
        params: Parameters of the run: the conclusion by metric.
        tracking_uri: The MLflow tracking URI; by default the store in `.taleward` in the working directory.
        experiment: The name of the MLflow experiment.

    Returns:
        The id of the run.
    """
    check_mlflow()
    import mlflow

    uri = tracking_uri or default_tracking_uri()
    with quiet(), mlflow_settings(), tempfile.TemporaryDirectory() as folder:
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiment_id = get_or_create_experiment(client, uri, experiment)
        run = client.create_run(experiment_id, tags={"taleward.kind": "comparison"}, run_name=name)
        run_id = str(run.info.run_id)
        _log_params(client, run_id, params)
        (Path(folder) / "comparison.html").write_text(page, encoding="utf-8")
        plot.savefig(Path(folder) / "comparison.png", dpi=110)
        client.log_artifacts(run_id, folder)
        client.set_terminated(run_id)
    return run_id


def _write_run(journal: Journal, evaluation: Evaluation) -> str:
    import mlflow
    from mlflow.entities import Metric

    plan = journal.plan
    client = mlflow.MlflowClient(tracking_uri=plan["uri"])
    experiment_id = get_or_create_experiment(client, plan["uri"], plan["experiment"])
    started_ms, finished_ms = (int(at.timestamp() * 1000) for at in (evaluation.started_at, evaluation.finished_at))
    # An earlier upload may have stored everything, and only its confirmation got lost: write to the same run again.
    earlier_runs = client.search_runs([experiment_id], f"tags.`{_EVALUATION_TAG}` = '{plan['id']}'")
    if earlier_runs:
        run_id = str(earlier_runs[0].info.run_id)
    else:
        # The last tag marks MLflow's own evaluations, so that its pages treat this run as one.
        tags = {_EVALUATION_TAG: plan["id"], "taleward.kind": "evaluation", "mlflow.runType": "genai_evaluate"}
        run_id = str(client.create_run(experiment_id, started_ms, tags, plan["name"]).info.run_id)
    params = {
        **plan["params"],
        "data": plan["dataset_sha256"][:12],
        "samples": str(len(evaluation.ids)),
        "taleward": plan["taleward"],
    }
    dataset = mlflow.entities.Dataset(plan["dataset"], plan["dataset_sha256"][:12], "taleward", plan["dataset"])
    client.log_inputs(run_id, [mlflow.entities.DatasetInput(dataset)])
    _log_params(client, run_id, params)
    for name, score in evaluation.scores.items():
        client.set_tag(run_id, f"signature.{_mlflow_name(name)}", score.signature)
    ensure_label_schemas(plan["uri"], experiment_id)
    traces = [_sample_trace(plan["id"], evaluation, index) for index in range(len(evaluation.samples))]
    # A repeated upload stores nothing twice: traces have equal ids, and metrics equal times and values.
    write_traces(plan["uri"], experiment_id, traces, run_id)
    client.log_artifacts(run_id, str(journal.files))
    # With this tag MLflow's UI shows the file as a table.
    client.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps([{"path": _SAMPLES_FILE, "type": "table"}]))
    metrics = {_mlflow_name(name): value for name, value in _run_metrics(evaluation).items()}
    client.log_batch(run_id, [Metric(name, value, finished_ms, 0) for name, value in metrics.items()])
    _check(client, experiment_id, run_id, traces, set(metrics))
    # Last, so that a run is marked as finished only if it is complete.
    client.set_terminated(run_id, end_time=finished_ms)
    return run_id


def _log_params(client: Any, run_id: str, values: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    params = [Param(_mlflow_name(name), value[:_MAX_PARAM_CHARACTERS]) for name, value in values.items()]
    for start in range(0, len(params), _PARAMS_PER_REQUEST):
        client.log_batch(run_id, params=params[start : start + _PARAMS_PER_REQUEST])


def _run_metrics(evaluation: Evaluation) -> dict[str, float]:
    """Return the metrics of the run by name: every score, the ends of its interval, flakiness, and failed samples.

    Numbers are rounded, for people who read them in MLflow; the file of the evaluation has all digits.
    """
    metrics = {"failed": float(len(evaluation.failed))}
    for name, score in evaluation.scores.items():
        values = {name: score.value, f"{name}/low": score.low, f"{name}/high": score.high}
        if flakiness := evaluation.metrics[name].flakiness:
            values |= {f"{name}/changed": flakiness.changed, f"{name}/std": flakiness.std}
        metrics |= {key: round_significant(value) for key, value in values.items() if value is not None}
    return metrics


def _check(client: Any, experiment_id: str, run_id: str, traces: Sequence[TraceData], metric_names: set[str]) -> None:
    """Read back what was written, because MLflow only warns about rows that it loses.

    Raises:
        BackendError: If anything is missing.
    """
    stored_assessments: dict[str, set[str]] = {}
    page_token = None
    while True:
        page = client.search_traces(
            locations=[experiment_id],
            run_id=run_id,
            max_results=_TRACES_PER_PAGE,
            page_token=page_token,
            include_spans=False,
        )
        stored_assessments |= {t.info.trace_id: {a.assessment_id for a in t.info.assessments} for t in page}
        page_token = page.token
        if not page_token:
            break
    missing = [f"sample {trace.tags['sample']}" for trace in traces if trace.id not in stored_assessments]
    missing += [
        f"{assessment.name} of sample {trace.tags['sample']}"
        for trace in traces
        for assessment in trace.assessments
        if assessment.id(trace.id, run_id) not in stored_assessments.get(trace.id, ())
    ]
    missing += sorted(metric_names - set(client.get_run(run_id).data.metrics))
    files = {artifact.path for artifact in client.list_artifacts(run_id)}
    missing += sorted({_SAMPLES_FILE, _REPORT_FILE, _EVALUATION_FILE} - files)
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BackendError(f"MLflow did not store {missing[0]}{others} of run {run_id}.")


def _sample_trace(evaluation_id: str, evaluation: Evaluation, index: int) -> TraceData:
    sample = evaluation.samples[index]
    scores = {name: result.run_values[index] for name, result in evaluation.metrics.items()}
    if sample.tale is not None:
        trace = tale_trace(sample.tale, sample.inputs)
        root = replace(trace.root, attributes={**trace.root.attributes, "scores": scores})
        assessments = (*trace.assessments, *_score_assessments(evaluation, index))
        return TraceData(trace.key, root, {**trace.tags, "sample": sample.id}, assessments)
    end_ns = int(evaluation.finished_at.timestamp() * 1e9)
    start_ns = end_ns - int((sample.latency_s or 0.0) * 1e9)
    judge_spans = () if sample.verdict is None else (_judge_span(sample.verdict, sample.output, start_ns, end_ns),)
    outputs = sample.output if sample.error is None else {"error": sample.error}
    root = SpanData("sample", "CHAIN", start_ns, end_ns, dict(sample.inputs), outputs, {"scores": scores}, judge_spans)
    verdict = () if sample.verdict is None else verdict_assessments(sample.verdict)
    assessments = (*verdict, *_score_assessments(evaluation, index))
    trace = TraceData(f"{evaluation_id} {sample.id}", root, {"sample": sample.id}, assessments)
    # Feedback finds traces by their tag `tale_id`; a sample without a tale uses the trace's own id.
    return replace(trace, tags={**trace.tags, "tale_id": trace.id})


def _score_assessments(evaluation: Evaluation, index: int) -> Iterator[AssessmentData]:
    """Yield the scores of one of the samples; a metric without a finite value for it has none."""
    for name, result in evaluation.metrics.items():
        value = result.run_values[index]
        if value is not None and math.isfinite(value):  # MLflow cannot return others
            metadata = {"signature": result.score.signature}
            yield AssessmentData(
                _mlflow_name(name), round_significant(value), "CODE", f"taleward/{name}", None, metadata
            )


def _judge_span(verdict: Verdict, text: str | None, start_ns: int, end_ns: int) -> SpanData:
    return SpanData("judge", "EVALUATOR", start_ns, end_ns, text, verdict.model_dump(mode="json"))


def _mlflow_name(name: str) -> str:
    """Replace the characters that MLflow does not accept in names."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)
