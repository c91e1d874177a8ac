"""Open the feedback store that the options of a command name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taleward.evaluation.feedback.mlflow_store import FeedbackStore


def open_feedback_store(tracking_uri: str | None, folder: Path, experiment: str) -> FeedbackStore:
    """Open the store of an MLflow experiment.

    Args:
        tracking_uri: The MLflow tracking URI; `None` for the store in the folder.
        folder: The folder.
        experiment: The name of the experiment.
    """
    from taleward.evaluation.feedback.mlflow_store import FeedbackStore
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri

    return FeedbackStore(tracking_uri or default_tracking_uri(folder), experiment)
