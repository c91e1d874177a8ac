"""What became of all tales that were recorded in a folder, as numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from taleward.evaluation.tracking.recorder import DEFAULT_EXPERIMENT, default_tracking_uri, quiet


def guard_counts(folder: Path, experiment: str = DEFAULT_EXPERIMENT) -> dict[str, float]:
    """The counts of all recorders that wrote to the folder's MLflow store, see `Counters`; empty where there are none.

    Args:
        folder: The project's folder.
        experiment: The experiment's name.
    """
    if not (folder / "mlflow.db").is_file():
        return {}
    with quiet():
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=default_tracking_uri(folder))
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return {}
        counts: Counter[str] = Counter()
        token = None
        while True:
            runs = client.search_runs([found.experiment_id], "tags.mlflow.runName = 'guard'", page_token=token)
            for run in runs:
                counts.update(run.data.metrics)
            token = runs.token
            if not token:
                return {name: float(count) for name, count in sorted(counts.items())}
