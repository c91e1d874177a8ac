"""Tales in MLflow: one trace a tale, and counts of them all."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from taleward.core.errors import MissingExtra
from taleward.core.tale import Tale
from taleward.evaluation.tracking.tale_counts import TaleCounts
from taleward.evaluation.tracking.traces import tale_trace, write_traces

DEFAULT_EXPERIMENT = "taleward"
_lock = threading.Lock()


def default_tracking_uri(folder: str | Path = ".taleward") -> str:
    """The tracking URI of the SQLite store in a project's folder; the folder is made when it is missing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(folder / 'mlflow.db').resolve()}"


def experiment_id(client: Any, tracking_uri: str, name: str) -> str:
    """The experiment of that name, made when it is missing.

    Its artifacts lie beside a SQLite store, not in whatever folder the process runs in.
    """
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    _, sqlite, file = tracking_uri.partition("sqlite:///")
    return str(client.create_experiment(name, (Path(file).resolve().parent / "artifacts").as_uri() if sqlite else None))


class MlflowRecorder:
    """Records finished tales in an MLflow tracking store.

    A trace holds the inputs, every draft with its verdict, and the lineage; its tag `tale_id` is the tale's id. Of a
    tale that was streamed it also holds each sentence's decision, and how long the sentence was held. Texts that were
    refused are in it: the store is for the people who run the app. A run named `guard` has the counts of this
    recorder's tales as metrics, see `TaleCounts`.

    Args:
        tracking_uri: An MLflow tracking URI, see `default_tracking_uri`.
        experiment: The experiment's name; made when it is missing.

    Raises:
        MissingExtra: MLflow is not installed.
    """

    def __init__(self, tracking_uri: str, experiment: str = DEFAULT_EXPERIMENT) -> None:
        if find_spec("mlflow") is None:
            raise MissingExtra("recording tales", "mlflow")
        self.tracking_uri, self.experiment = tracking_uri, experiment
        self._counters = TaleCounts()
        self._run_id: str | None = None

    def record(self, tale: Tale, inputs: Mapping[str, Any]) -> None:
        """Write one trace and wait until it is stored."""
        import mlflow

        with quiet():
            self._record(mlflow, tale, inputs)

    def _record(self, mlflow: Any, tale: Tale, inputs: Mapping[str, Any]) -> None:
        client = mlflow.MlflowClient(tracking_uri=self.tracking_uri)
        where = experiment_id(client, self.tracking_uri, self.experiment)
        with _lock:
            write_traces(self.tracking_uri, where, [tale_trace(tale, inputs)])
            self._count(mlflow, client, where, tale)

    def _count(self, mlflow: Any, client: Any, experiment_id: str, tale: Tale) -> None:
        if self._run_id is None:
            run = client.create_run(experiment_id, run_name="guard", tags={"taleward": tale.lineage.taleward})
            self._run_id = run.info.run_id
        counts, now = self._counters.add(tale), int(tale.lineage.started_at.timestamp() * 1000)
        step = int(counts["tales"])
        metrics = [mlflow.entities.Metric(name, count, now, step) for name, count in counts.items()]
        client.log_batch(self._run_id, metrics)


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
