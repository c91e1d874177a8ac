"""Assessments of many traces stored in one transaction, where the store is a database of this process.

MLflow stores the assessments of one trace per call, each with a transaction of its own: on a disk that is a few dozen
traces a second. This file alone rests on MLflow's database classes; where they are different, it uses the public call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def write_assessments(client: Any, infos: Sequence[Any]) -> None:
    """Store the assessments of traces that exist; those that are stored already stay as they are.

    Args:
        client: MLflow's `TracingClient`.
        infos: MLflow's `TraceInfo` of each trace, with assessments that have ids.

    Raises:
        Exception: Whatever MLflow raises if it cannot store them.
    """
    if not _write_rows(client.store, infos):
        for info in infos:
            # MLflow calls this starting a trace; for a trace that exists, it adds what is new.
            client.start_trace(info)


def _write_rows(store: Any, infos: Sequence[Any]) -> bool:
    """Insert rows into MLflow's own database; returns whether it could."""
    try:
        from mlflow.environment_variables import MLFLOW_SQL_TRACE_ROLLUPS_ENABLED
        from mlflow.store.tracking.dbmodels.models import SqlAssessments
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    except ImportError:
        return False
    # Subclasses keep workspaces apart, and precomputed sums must be told of new rows.
    if type(store) is not SqlAlchemyStore or MLFLOW_SQL_TRACE_ROLLUPS_ENABLED.get():
        return False
    if not hasattr(SqlAssessments, "trace_timestamp_ms"):
        return False
    with store.ManagedSessionMaker(read_only=False) as session:
        trace_ids = [info.trace_id for info in infos]
        query = session.query(SqlAssessments.assessment_id).filter(SqlAssessments.trace_id.in_(trace_ids))
        stored_ids = {assessment_id for (assessment_id,) in query}
        for info in infos:
            for assessment in info.assessments:
                if assessment.assessment_id not in stored_ids:
                    row = SqlAssessments.from_mlflow_entity(assessment)
                    row.experiment_id = int(info.experiment_id)
                    row.trace_timestamp_ms = info.request_time
                    session.add(row)
    return True
