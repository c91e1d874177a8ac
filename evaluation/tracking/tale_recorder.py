"""Record tales in MLflow: one trace per tale, and running counts."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from taleward.backends.base.mlflow_store import quiet
from taleward.core.errors import MissingExtra
from taleward.core.tale import Tale
from taleward.evaluation.tracking.label_schemas import ensure_label_schemas
from taleward.evaluation.tracking.outcome_counts import TaleCounts
from taleward.evaluation.tracking.traces import tale_trace, write_traces

DEFAULT_EXPERIMENT = "taleward"
# Guards run in many threads, and the counts of a run must be logged in the order in which they were counted.
_lock = threading.Lock()


def default_tracking_uri(folder: str | Path = ".taleward") -> str:
    """Return the MLflow tracking URI of the SQLite store in a folder; the folder is created if missing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(folder / 'mlflow.db').resolve()}"


def get_or_create_experiment(client: Any, tracking_uri: str, name: str) -> str:
    """Return the id of an MLflow experiment; the experiment is created if missing.

    Args:
        client: An `MlflowClient` of the tracking URI.
        tracking_uri: The MLflow tracking URI.
        name: The name of the experiment.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment:
        return str(experiment.experiment_id)
    # By default MLflow puts the artifacts of a SQLite store into the working directory of whoever runs first.
    _, sqlite, file = tracking_uri.partition("sqlite:///")
    return str(client.create_experiment(name, (Path(file).resolve().parent / "artifacts").as_uri() if sqlite else None))


class MlflowRecorder:
    """Record finished tales in an MLflow tracking store; pass it to a guard as `recorder`.

    A trace holds the inputs, what the writer's model was sent for the first draft, every draft with its verdict, and
    the lineage; its tag `tale_id` is the tale's id. The
    last verdict is also an assessment, which MLflow shows as a column. The experiment gets label schemas for feedback.
    The trace of a streamed tale also holds the decision on each sentence and how long the sentence was held back.
    Refused texts are included: the store is for those who run the app, not for its readers. A run named `guard` has the
    counts of this recorder's tales as metrics, see `TaleCounts`; it is finished after each tale and ends with the
    latest one.

    Args:
        tracking_uri: The MLflow tracking URI, see `default_tracking_uri`.
        experiment: The name of the MLflow experiment; created if missing.

    Raises:
        MissingExtra: If MLflow is not installed.
    """

    def __init__(self, tracking_uri: str, experiment: str = DEFAULT_EXPERIMENT) -> None:
        # Importing MLflow takes seconds; a guard that never records does not need to wait for it.
        if find_spec("mlflow") is None:
            raise MissingExtra("recording tales", "mlflow")
        self.tracking_uri, self.experiment = tracking_uri, experiment
        self._counts = TaleCounts()
        self._run_id: str | None = None

    def record(self, tale: Tale, inputs: Mapping[str, Any]) -> None:
        """Write the trace of a tale and update the counts; returns when both are stored."""
        import mlflow

        with quiet():
            # A client of its own: MLflow's fluent functions would change the app's tracking URI and active run.
            client = mlflow.MlflowClient(tracking_uri=self.tracking_uri)
            experiment_id = get_or_create_experiment(client, self.tracking_uri, self.experiment)
            with _lock:
                if self._run_id is None:
                    ensure_label_schemas(self.tracking_uri, experiment_id)
                write_traces(self.tracking_uri, experiment_id, [tale_trace(tale, inputs)])
                self._log_counts(mlflow, client, experiment_id, tale)

    def _log_counts(self, mlflow: Any, client: Any, experiment_id: str, tale: Tale) -> None:
        if self._run_id is None:
            # Only now: a recorder that records nothing leaves no empty run.
            run = client.create_run(experiment_id, run_name="guard", tags={"taleward": tale.lineage.taleward})
            self._run_id = run.info.run_id
        counts = self._counts.add(tale)
        timestamp_ms = int(tale.lineage.started_at.timestamp() * 1000)
        step = int(counts["tales"])
        metrics = [mlflow.entities.Metric(name, count, timestamp_ms, step) for name, count in counts.items()]
        try:
            client.log_batch(self._run_id, metrics)
        finally:
            # After each tale, because nobody tells a recorder which tale is its last. MLflow accepts metrics of
            # finished runs, so the next tale only moves the end.
            with _without_link():
                client.set_terminated(self._run_id)


@contextlib.contextmanager
def _without_link() -> Iterator[None]:
    """Keep MLflow from printing a link to a run that ends, which it does for every server; needs `_lock`."""
    name = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"
    if name in os.environ:  # as the user wants it
        yield
        return
    os.environ[name] = "true"
    try:
        yield
    finally:
        os.environ.pop(name, None)
