"""What workers in other processes answer: plain data, so that no object of theirs is read here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taleward.batch.chunks import ChunkSummary
from taleward.batch.engines.base import ChunkDone, EngineReport, WorkerFailed, WorkerReady
from taleward.core.redaction import redact


def ready_answer() -> dict[str, Any]:
    """Return the answer of a worker that has loaded its models."""
    return {}


def summary_answer(summary: ChunkSummary) -> dict[str, Any]:
    """Return the answer of a worker that has committed a chunk."""
    return {"summary": summary.model_dump(mode="json")}


def failure_answer(error: Exception) -> dict[str, Any]:
    """Return the answer of a worker that raised, without secrets."""
    hint = getattr(error, "hint", None)
    return {"error_type": type(error).__name__, "message": redact(str(error)), "hint": hint and redact(hint)}


def report_of(worker: int, answer: Mapping[str, Any]) -> EngineReport:
    """Return what a worker's answer says.

    Args:
        worker: The worker's number.
        answer: One of the answers above.
    """
    if "summary" in answer:
        return ChunkDone(worker, ChunkSummary.model_validate(answer["summary"]))
    if "error_type" in answer:
        return WorkerFailed(worker, answer["error_type"], answer["message"], answer["hint"])
    return WorkerReady(worker)
