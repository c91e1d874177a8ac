"""Tales as MLflow traces: one trace a tale, one span an attempt, under it the writing and the verdict."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from taleward.core.errors import MissingExtra
from taleward.core.tale import Attempt, Tale
from taleward.evaluation.counters import Counters

DEFAULT_EXPERIMENT = "taleward"
_QUEUE = "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"
_lock = threading.Lock()


def store_uri(folder: Path) -> str:
    """The tracking URI of the SQLite store in a project's folder; the folder is made when it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(folder / 'mlflow.db').resolve()}"


def experiment_id(client: Any, uri: str, name: str) -> str:
    """The experiment of that name, made when it is missing.

    Its artifacts lie beside a SQLite store, not in whatever folder the process runs in.
    """
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    _, sqlite, file = uri.partition("sqlite:///")
    return str(client.create_experiment(name, (Path(file).resolve().parent / "artifacts").as_uri() if sqlite else None))


class MlflowRecorder:
    """Records finished tales in an MLflow tracking store.

    A trace holds the inputs, every draft with its verdict, and the lineage; its tag `tale_id` is the tale's id. Of a
    tale that was streamed it also holds each sentence's decision, and how long the sentence was held. Texts that were
    refused are in it: the store is for the people who run the app. A run named `guard` has the counts of this
    recorder's tales as metrics, see `Counters`.

    Args:
        uri: An MLflow tracking URI, see `store_uri`.
        experiment: The experiment's name; made when it is missing.
    """

    def __init__(self, uri: str, experiment: str = DEFAULT_EXPERIMENT) -> None:
        self.uri, self.experiment = uri, experiment
        self._counters = Counters()
        self._run_id: str | None = None

    def record(self, tale: Tale, inputs: Mapping[str, Any]) -> None:
        """Write one trace and wait until it is stored.

        Raises:
            MissingExtra: MLflow is not installed.
        """
        try:
            import mlflow
        except ImportError as error:
            raise MissingExtra("recording tales", "mlflow") from error
        with quiet():
            self._record(mlflow, tale, inputs)

    def _record(self, mlflow: Any, tale: Tale, inputs: Mapping[str, Any]) -> None:
        client = mlflow.MlflowClient(tracking_uri=self.uri)
        where = experiment_id(client, self.uri, self.experiment)
        before = mlflow.get_tracking_uri()
        with _lock, _synchronous():
            mlflow.set_tracking_uri(self.uri)
            try:
                self._write(mlflow, where, tale, inputs)
            finally:
                mlflow.set_tracking_uri(before)
            self._count(mlflow, client, where, tale)

    def _count(self, mlflow: Any, client: Any, experiment_id: str, tale: Tale) -> None:
        if self._run_id is None:
            run = client.create_run(experiment_id, run_name="guard", tags={"taleward": tale.lineage.taleward})
            self._run_id = run.info.run_id
        counts, now = self._counters.add(tale), _ns(tale.lineage.started_at) // 1_000_000
        step = int(counts["tales"])
        metrics = [mlflow.entities.Metric(name, count, now, step) for name, count in counts.items()]
        client.log_batch(self._run_id, metrics)

    @staticmethod
    def _write(mlflow: Any, experiment_id: str, tale: Tale, inputs: Mapping[str, Any]) -> None:
        start = tale.lineage.started_at
        root = mlflow.start_span_no_context(
            name="tale",
            span_type="CHAIN",
            inputs=dict(inputs),
            attributes={"lineage": tale.lineage.model_dump(mode="json")},
            tags={
                "tale_id": tale.id,
                "released": str(tale.released),
                "band": tale.lineage.band,
                "policy": tale.lineage.policy,
            },
            experiment_id=experiment_id,
            start_time_ns=_ns(start),
        )
        clock = start
        for attempt in tale.attempts:
            after = clock + timedelta(seconds=attempt.writing_s + attempt.verdict.latency_s)
            span = mlflow.start_span_no_context(
                name=f"attempt {attempt.number}", span_type="CHAIN", parent_span=root, start_time_ns=_ns(clock)
            )
            _attempt(mlflow, span, attempt, clock)
            span.end(outputs={"outcome": attempt.verdict.outcome}, end_time_ns=_ns(after))
            clock = after
        refusal = tale.refusal.model_dump(mode="json") if tale.refusal else None
        outputs = {"released": tale.released, "text": tale.released_text, "refusal": refusal}
        root.end(outputs=outputs, end_time_ns=_ns(start + timedelta(seconds=tale.lineage.duration_s)))


def _attempt(mlflow: Any, parent: Any, attempt: Attempt, begun: Any) -> None:
    clock = begun
    if attempt.calls:
        written = begun + timedelta(seconds=attempt.writing_s)
        span = mlflow.start_span_no_context(
            name="write",
            span_type="LLM",
            parent_span=parent,
            attributes={"calls": [c.model_dump(mode="json") for c in attempt.calls]},
            start_time_ns=_ns(begun),
        )
        span.end(outputs=attempt.draft, end_time_ns=_ns(written))
        clock = written
    for number, decision in enumerate(attempt.decisions, 1):
        decided = begun + timedelta(seconds=decision.at_s)
        held = mlflow.start_span_no_context(
            name=f"hold sentence {number}",
            span_type="GUARDRAIL",
            parent_span=parent,
            inputs=None if attempt.draft is None else attempt.draft[decision.start : decision.end],
            start_time_ns=_ns(decided - timedelta(seconds=decision.held_s)),
        )
        held.end(outputs=decision.model_dump(mode="json"), end_time_ns=_ns(decided))
    span = mlflow.start_span_no_context(
        name="judge", span_type="EVALUATOR", parent_span=parent, inputs=attempt.draft, start_time_ns=_ns(clock)
    )
    after = clock + timedelta(seconds=attempt.verdict.latency_s)
    span.end(outputs=attempt.verdict.model_dump(mode="json"), end_time_ns=_ns(after))


@contextlib.contextmanager
def _synchronous() -> Iterator[None]:
    """Traces are stored before they are let go; MLflow's queue takes a second to end, and may lose them."""
    before = os.environ.get(_QUEUE)
    os.environ[_QUEUE] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_QUEUE]
        else:
            os.environ[_QUEUE] = before


def _ns(moment: Any) -> int:
    return int(moment.timestamp() * 1e9)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """MLflow and Alembic tell of every table they make; nobody here asked."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
