"""Sum the counts of all tales recorded in a folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from taleward.backends.base.mlflow_store import quiet
from taleward.evaluation.tracking.tale_recorder import DEFAULT_EXPERIMENT, default_tracking_uri


def guard_counts(folder: Path, experiment: str = DEFAULT_EXPERIMENT) -> dict[str, float]:
    """Return the counts of all recorders that wrote to a folder's MLflow store.

    Args:
        folder: The folder with the store, such as `.taleward`.
        experiment: The name of the MLflow experiment.

    Returns:
        Counts by name, see `TaleCounts`; empty if nothing was recorded.
    """
    # Opening a store that does not exist would create it.
    if not (folder / "mlflow.db").is_file():
        return {}
    with quiet():
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=default_tracking_uri(folder))
        recorded = client.get_experiment_by_name(experiment)
        if recorded is None:
            return {}
        counts: Counter[str] = Counter()
        page_token = None
        while True:
            runs = client.search_runs([recorded.experiment_id], "tags.mlflow.runName = 'guard'", page_token=page_token)
            for run in runs:
                counts.update(run.data.metrics)
            page_token = runs.token
            if not page_token:
                return {name: float(count) for name, count in sorted(counts.items())}
