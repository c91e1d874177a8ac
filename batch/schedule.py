"""The scheduler: which chunk goes to which worker, what runs again, and when it is enough. The same for all engines."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from taleward.batch.chunks import Chunk, ChunkSummary
from taleward.batch.engines.base import (
    BatchEngine,
    ChunkDone,
    EngineReport,
    WorkerFailed,
    WorkerLost,
    WorkerReady,
    WorkerWaiting,
)
from taleward.core.errors import BackendError, ConfigurationError, DeadlineExceeded
from taleward.core.frozen_model import FrozenModel

MAX_HANGS = 2
"""How often a chunk may take too long before its rows are recorded as errors."""
MAX_LOSSES = 5
"""How many workers may die over a chunk before its rows are recorded as errors."""
_MAX_FAILED_STARTS = 3
_START_TIMEOUT_S = 900.0
_CHUNKS_PER_WORKER = 2
_POLL_S = 0.5


class BatchBudget(FrozenModel):
    """What one call may use; what earlier calls used for the same batch does not count.

    Attributes:
        max_cost_usd: US dollars; `None` for no limit.
        max_seconds: Seconds; `None` for no limit.
    """

    max_cost_usd: float | None = None
    max_seconds: float | None = None


@dataclass
class _Seat:
    """A worker as the scheduler sees it.

    Attributes:
        chunks: Its chunks, the one that it runs first.
        is_ready: Whether it has loaded its models.
        since_s: When it started, or began its first chunk, in seconds of `time.monotonic`.
        failed_starts: How often it died before it was ready, in a row.
    """

    chunks: deque[Chunk] = field(default_factory=deque)
    is_ready: bool = False
    since_s: float = field(default_factory=time.monotonic)
    failed_starts: int = 0


class ChunkScheduler:
    """Runs chunks on an engine.

    Args:
        engine: An engine that was started.
        workers: Its workers.
        chunk_timeout_s: Seconds after which a chunk counts as hung; `None` for no limit.
        budget: What may be used.
        on_done: Called with the counts of each chunk that was committed.
        give_up: Commits a chunk that no worker could finish as rows with an error, and returns its counts.
    """

    def __init__(
        self,
        engine: BatchEngine,
        workers: int,
        *,
        chunk_timeout_s: float | None,
        budget: BatchBudget,
        on_done: Callable[[ChunkSummary], None],
        give_up: Callable[[Chunk, Exception], ChunkSummary],
    ) -> None:
        self._engine, self._seats = engine, [_Seat() for _ in range(workers)]
        # What a worker holds is paid for, also when the limit on costs is reached meanwhile.
        self._chunks_per_worker = _CHUNKS_PER_WORKER if budget.max_cost_usd is None else 1
        self._chunk_timeout_s, self._budget = chunk_timeout_s, budget
        self._on_done, self._give_up = on_done, give_up
        self._again: deque[Chunk] = deque()
        self._hangs: dict[int, int] = {}
        self._losses: dict[int, int] = {}
        self._spent_usd = 0.0
        self._started_s = time.monotonic()

    def run(self, chunks: Iterator[Chunk]) -> str | None:
        """Run all chunks, or those that the budget allows.

        At most two chunks for each worker are read ahead, so that memory does not depend on their number.

        Returns:
            What is used up, in words, if not all chunks were run.

        Raises:
            BackendError: If workers cannot start or commit.
            ConfigurationError: If the models cannot be loaded, or costs are limited but unknown.
        """
        stopped = None
        while True:
            stopped = stopped or self._used_up()
            has_more = stopped is None and self._fill(chunks)
            if not has_more and not any(seat.chunks for seat in self._seats):
                # Nothing is under way, and nothing is left, unless the budget is used up just now.
                return stopped if stopped and self._is_left(chunks) else None
            for report in self._engine.wait(_POLL_S):
                self._take(report)
            self._check_times()

    def _is_left(self, chunks: Iterator[Chunk]) -> bool:
        return bool(self._again) or next(chunks, None) is not None

    def _fill(self, chunks: Iterator[Chunk]) -> bool:
        """Give chunks to workers that can take one; return whether there are workers to wait for."""
        while True:
            ready = [seat for seat in self._seats if seat.is_ready and len(seat.chunks) < self._chunks_per_worker]
            if not ready:
                return True
            chunk = self._again.popleft() if self._again else next(chunks, None)
            if chunk is None:
                return False
            seat = min(ready, key=lambda seat: len(seat.chunks))
            if not seat.chunks:
                seat.since_s = time.monotonic()
            seat.chunks.append(chunk)
            self._engine.submit(self._seats.index(seat), chunk)

    def _take(self, report: EngineReport) -> None:
        seat = self._seats[report.worker]
        match report:
            case WorkerReady():
                seat.is_ready, seat.failed_starts = True, 0
            case WorkerWaiting():
                # As long as others work; if nobody does, somebody has to look at it.
                if any(other.is_ready for other in self._seats):
                    seat.since_s = time.monotonic()
            case ChunkDone():
                if seat.chunks and seat.chunks[0].number == report.summary.number:
                    seat.chunks.popleft()
                    seat.since_s = time.monotonic()
                    self._finish(report.summary)
            case WorkerLost():
                self._lose(report)
            case WorkerFailed():
                error = f"a worker cannot go on: {report.error_type}: {report.message}"
                # Wrong use keeps its exit code.
                kind = BackendError if report.error_type in _BACKEND_ERRORS else ConfigurationError
                raise kind(error, hint=report.hint)

    def _finish(self, summary: ChunkSummary) -> None:
        self._spent_usd += summary.cost_usd
        self._on_done(summary)
        if self._budget.max_cost_usd is not None and summary.unknown_costs:
            raise ConfigurationError(
                f"{summary.unknown_costs} rows of chunk {summary.number} have an unknown cost, so that a limit on "
                "costs cannot be kept.",
                hint="Leave the limit out, or use a model whose price is known; local models have none. The chunk is "
                "finished and kept.",
            )

    def _lose(self, report: WorkerLost) -> None:
        seat = self._seats[report.worker]
        if not seat.is_ready:
            seat.failed_starts += 1
            if seat.failed_starts == _MAX_FAILED_STARTS:
                raise BackendError(
                    f"worker {report.worker} died {_MAX_FAILED_STARTS} times while it loaded its models: "
                    f"{report.reason}.",
                    hint="The machine may have too little memory: use fewer workers, or a smaller model.",
                )
        current = seat.chunks[0] if seat.chunks else None
        self._restart(report.worker)
        if current is not None:
            losses = self._losses[current.number] = self._losses.get(current.number, 0) + 1
            if losses >= MAX_LOSSES:
                self._record(current, BackendError(f"{losses} workers died over this chunk; the last {report.reason}."))

    def _check_times(self) -> None:
        now_s = time.monotonic()
        for number, seat in enumerate(self._seats):
            waited_s = now_s - seat.since_s
            if not seat.is_ready and waited_s > _START_TIMEOUT_S:
                raise BackendError(f"worker {number} has not loaded its models in {_START_TIMEOUT_S:g} s.")
            if not seat.chunks or self._chunk_timeout_s is None or waited_s <= self._chunk_timeout_s:
                continue
            current = seat.chunks[0]
            self._restart(number)
            hangs = self._hangs[current.number] = self._hangs.get(current.number, 0) + 1
            if hangs >= MAX_HANGS:
                limit = f"{self._chunk_timeout_s:g} s"
                self._record(current, DeadlineExceeded(f"the chunk took longer than {limit}; it ran {hangs} times."))

    def _restart(self, worker: int) -> None:
        """Start a worker again, and put its chunks back."""
        seat = self._seats[worker]
        self._again.extendleft(reversed(seat.chunks))
        self._seats[worker] = _Seat(failed_starts=seat.failed_starts)
        self._engine.restart(worker)

    def _record(self, chunk: Chunk, error: Exception) -> None:
        """Record a chunk as rows with an error."""
        self._again.remove(chunk)
        self._finish(self._give_up(chunk, error))

    def _used_up(self) -> str | None:
        cost, seconds = self._budget.max_cost_usd, self._budget.max_seconds
        if cost is not None and self._spent_usd >= cost:
            return f"the limit of {cost:g} USD is reached ({self._spent_usd:.4g} USD spent)"
        if seconds is not None and time.monotonic() - self._started_s >= seconds:
            return f"the limit of {seconds:g} seconds is reached"
        return None


_BACKEND_ERRORS = frozenset(
    {"BackendError", "RateLimited", "DeadlineExceeded", "RequestRejected", "OSError", "MemoryError", "RuntimeError"}
)
