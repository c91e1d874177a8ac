"""The scheduler, with an engine that does nothing by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest

from taleward.batch.chunks import Chunk, ChunkSummary
from taleward.batch.engines.base import ChunkDone, EngineReport, WorkerFailed, WorkerLost, WorkerReady, WorkerWaiting
from taleward.batch.schedule import MAX_HANGS, MAX_LOSSES, BatchBudget, ChunkScheduler
from taleward.batch.worker import WorkerSpec
from taleward.core.errors import BackendError, ConfigurationError
from taleward.core.frozen_model import FrozenDict


class ScriptedEngine:
    """Finishes one chunk of each worker whenever it is waited for, except those that it is told to lose or to hang."""

    def __init__(self, workers: int, *, lose: dict[int, int] | None = None, hang: dict[int, int] | None = None) -> None:
        self.queues: list[list[Chunk]] = [[] for _ in range(workers)]
        self.starting = set(range(workers))
        self.lose, self.hang = lose or {}, hang or {}
        self.most = 0
        self.restarts = 0

    def start(self, spec: WorkerSpec, workers: int) -> None: ...

    def submit(self, worker: int, chunk: Chunk) -> None:
        assert worker not in self.starting
        self.queues[worker].append(chunk)
        self.most = max(self.most, sum(map(len, self.queues)))

    def wait(self, timeout_s: float) -> Sequence[EngineReport]:
        reports: list[EngineReport] = [WorkerReady(worker) for worker in self.starting]
        self.starting.clear()
        for worker, queue in enumerate(self.queues):
            if not queue:
                continue
            number = queue[0].number
            if self.lose.get(number):
                self.lose[number] -= 1
                reports.append(WorkerLost(worker, "ended by signal 9"))
            elif self.hang.get(number):
                continue
            else:
                queue.pop(0)
                reports.append(ChunkDone(worker, summary(number)))
        return reports

    def restart(self, worker: int) -> None:
        for chunk in self.queues[worker][:1]:
            if self.hang.get(chunk.number):
                self.hang[chunk.number] -= 1
        self.queues[worker].clear()
        self.starting.add(worker)
        self.restarts += 1

    def close(self) -> None: ...


def summary(number: int, error: str | None = None) -> ChunkSummary:
    return ChunkSummary(number=number, rows=1, error_types=FrozenDict({error: 1} if error else {}))


def chunks(count: int) -> Iterator[Chunk]:
    return (Chunk(number, b"") for number in range(count))


def schedule(engine: ScriptedEngine, count: int, timeout_s: float | None = None) -> list[tuple[int, int]]:
    """Run chunks; return the numbers of the finished ones with their errors."""
    finished: list[tuple[int, int]] = []
    scheduler = ChunkScheduler(
        engine,
        len(engine.queues),
        chunk_timeout_s=timeout_s,
        budget=BatchBudget(),
        on_done=lambda done: finished.append((done.number, done.errors)),
        give_up=lambda chunk, error: summary(chunk.number, type(error).__name__),
    )
    assert scheduler.run(chunks(count)) is None
    return sorted(finished)


def test_at_most_two_chunks_for_each_worker_are_under_way() -> None:
    engine = ScriptedEngine(3)
    assert schedule(engine, 50) == [(n, 0) for n in range(50)]
    assert engine.most <= 6


def test_the_chunks_of_a_dead_worker_run_again() -> None:
    engine = ScriptedEngine(2, lose={4: 2, 7: MAX_LOSSES - 1})
    assert schedule(engine, 20) == [(n, 0) for n in range(20)]
    assert engine.restarts == 2 + MAX_LOSSES - 1


def test_a_chunk_over_which_workers_keep_dying_is_recorded_as_errors() -> None:
    engine = ScriptedEngine(2, lose={4: 99})
    assert schedule(engine, 20) == [(n, int(n == 4)) for n in range(20)]
    assert engine.restarts == MAX_LOSSES


def test_a_hung_chunk_runs_once_more_and_is_then_recorded_as_errors() -> None:
    once, forever = ScriptedEngine(2, hang={4: 1}), ScriptedEngine(2, hang={4: 99})
    assert schedule(once, 20, 0.01) == [(n, 0) for n in range(20)]
    assert schedule(forever, 20, 0.01) == [(n, int(n == 4)) for n in range(20)]
    assert forever.restarts >= MAX_HANGS


def test_workers_that_cannot_start_end_the_batch() -> None:
    class Dying(ScriptedEngine):
        def wait(self, timeout_s: float) -> Sequence[EngineReport]:
            return [WorkerLost(0, "ended by signal 9")]

    class Failing(ScriptedEngine):
        def wait(self, timeout_s: float) -> Sequence[EngineReport]:
            return [WorkerFailed(0, "MissingExtra", "it needs a library", "Run: pip install it")]

    with pytest.raises(BackendError, match="worker 0 died 3 times while it loaded its models: ended by signal 9"):
        schedule(Dying(1), 3)
    with pytest.raises(ConfigurationError, match="MissingExtra: it needs a library") as caught:
        schedule(Failing(1), 3)
    assert caught.value.hint == "Run: pip install it"


def test_a_worker_without_a_machine_is_waited_for_as_long_as_others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taleward.batch.schedule._START_TIMEOUT_S", 0.05)

    class Waiting(ScriptedEngine):
        """The last worker gets no machine."""

        def wait(self, timeout_s: float) -> Sequence[EngineReport]:
            time.sleep(0.02)
            last = len(self.queues) - 1
            reports = [report for report in super().wait(timeout_s) if report.worker != last]
            return [*reports, WorkerWaiting(last)]

    assert schedule(Waiting(2), 10) == [(n, 0) for n in range(10)]
    with pytest.raises(BackendError, match="worker 0 has not loaded its models"):
        schedule(Waiting(1), 10)
