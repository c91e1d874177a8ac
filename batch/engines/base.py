"""What an engine is: workers with numbers, chunks that go to one of them, and what they report.

An engine decides nothing. Which chunk goes where, what runs again after a worker died or took too long, and when a
budget is used up: the scheduler decides it, for all engines alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from taleward.batch.chunks import Chunk, ChunkSummary
from taleward.batch.worker import WorkerSpec


class WorkerReady(NamedTuple):
    """A worker has loaded its models.

    Attributes:
        worker: The worker's number.
    """

    worker: int


class WorkerWaiting(NamedTuple):
    """A worker has no machine yet, so that the time in which it must load its models does not begin.

    Attributes:
        worker: The worker's number.
    """

    worker: int


class ChunkDone(NamedTuple):
    """A worker has committed a chunk.

    Attributes:
        worker: The worker's number.
        summary: The counts of the chunk.
    """

    worker: int
    summary: ChunkSummary


class WorkerLost(NamedTuple):
    """A worker died, with all chunks that it had not reported.

    Attributes:
        worker: The worker's number.
        reason: What is known about its death, such as `signal 9`.
    """

    worker: int
    reason: str


class WorkerFailed(NamedTuple):
    """A worker raised, so that no other worker could do better: the models cannot be loaded, or the disk is full.

    Attributes:
        worker: The worker's number.
        error_type: The class of the exception.
        message: What went wrong, without secrets.
        hint: What to do next, or `None`.
    """

    worker: int
    error_type: str
    message: str
    hint: str | None = None


EngineReport = WorkerReady | WorkerWaiting | ChunkDone | WorkerLost | WorkerFailed


class BatchEngine(Protocol):
    """Runs chunks on workers that are numbered from 0.

    A worker runs the chunks that it has been given one after the other, in their order. To add an engine, write a file
    with these five methods, and add a line to `ENGINES`.
    """

    def start(self, spec: WorkerSpec, workers: int) -> None:
        """Start workers, each with a `Worker` of its own; returns before their models are loaded."""

    def submit(self, worker: int, chunk: Chunk) -> None:
        """Give a chunk to a worker that is ready; it may have another one before it. Does not block."""

    def wait(self, timeout_s: float) -> Sequence[EngineReport]:
        """Wait until there are reports, for so many seconds at most, and return them."""

    def restart(self, worker: int) -> None:
        """End a worker, whatever it does, and start another one under its number. Its chunks are not reported."""

    def close(self) -> None:
        """End all workers at once."""
