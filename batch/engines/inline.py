"""The engine `inline`: one worker in this process. No other process is started, and a hung chunk is not ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from taleward.batch.chunks import Chunk
from taleward.batch.engines.base import ChunkDone, EngineReport, WorkerReady
from taleward.batch.tasks import BatchTask
from taleward.batch.worker import Worker, WorkerSpec


class InlineEngine:
    """Runs chunks in this process, when the scheduler waits for them.

    Args:
        task: A task of this process that is not plain data.
    """

    def __init__(self, task: BatchTask | None = None) -> None:
        self._task = task
        self._worker: Worker | None = None
        self._chunks: deque[Chunk] = deque()

    def start(self, spec: WorkerSpec, workers: int) -> None:
        """Load the models; however many workers are asked for, there is one."""
        self._worker = Worker(spec, self._task)
        self._is_reported = False

    def submit(self, worker: int, chunk: Chunk) -> None:
        """Keep a chunk until `wait`."""
        self._chunks.append(chunk)

    def wait(self, timeout_s: float) -> Sequence[EngineReport]:
        """Run the next chunk, however long it takes."""
        if not self._is_reported:
            self._is_reported = True
            return [WorkerReady(0)]
        if not self._chunks or self._worker is None:
            return []
        return [ChunkDone(0, self._worker.chunk(self._chunks.popleft()))]

    def restart(self, worker: int) -> None:
        """Do nothing: nothing but this process could end what runs in it."""

    def close(self) -> None:
        """Forget the models and the chunks."""
        self._worker = None
        self._chunks.clear()
