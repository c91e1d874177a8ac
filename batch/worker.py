"""The worker: builds the models of a task once, then runs chunks and commits them. Every engine runs this one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from taleward.batch.chunks import (
    Chunk,
    ChunkSummary,
    commit_chunk,
    decode_chunk,
    read_part,
    results_table,
    summarize_results,
)
from taleward.batch.sources.base import BatchRow, decode_rows
from taleward.batch.storage import BatchFolder
from taleward.batch.tasks import BatchTask, RowResult, RowSeeds, TaskRunner, task_from
from taleward.batch.tasks.base import failed_row
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel

if TYPE_CHECKING:
    from pyarrow import Table


class WorkerSpec(FrozenModel):
    """All that a worker needs, as plain data that goes to any machine.

    Attributes:
        task: The name of the task.
        settings: The task's settings.
        out: The folder of the batch: a path that the worker can write to, or a URI.
        seed: The seed of the batch, see `RowSeeds`.
        job_id: The batch's id in its manifest, for workers on other machines; see `check_machine`.
    """

    task: str
    settings: FrozenMapping[str, Any] = FrozenDict()
    out: str
    seed: int | None = None
    job_id: str | None = None


class Worker:
    """Runs chunks of one batch.

    Any scheduler can use it: make one for each process, and give each chunk to one of them. A chunk that is run twice
    replaces its own file.

    Args:
        spec: The worker's task, as plain data; or a task of this process, with `out` and `seed`.
        task: A task that is not plain data, in place of the one in the spec.

    Raises:
        TalewardError: If the models cannot be loaded.
    """

    def __init__(self, spec: WorkerSpec, task: BatchTask | None = None) -> None:
        self._task = task_from(spec.task, spec.settings) if task is None else task
        self._folder, self._seeds = BatchFolder(spec.out), RowSeeds(spec.seed)
        self._runner: TaskRunner = self._task.load()

    def chunk(self, chunk: Chunk) -> ChunkSummary:
        """Run a chunk and commit its file.

        Rows that fail are rows with an error.

        Raises:
            OSError: If the file cannot be written.
        """
        started_s = time.perf_counter()
        rows = decode_rows(decode_chunk(chunk.data))
        if chunk.only_errors:
            return self._run_again(chunk.number, rows, started_s)
        results = self._run_rows(rows)
        table = results_table([row.id for row in rows], results, self._task.extra_columns)
        summary = summarize_results(chunk.number, results, time.perf_counter() - started_s)
        return commit_chunk(self._folder, table, summary)

    def _run_rows(self, rows: list[BatchRow]) -> list[RowResult]:
        try:
            return self._runner.run(rows, self._seeds)
        except Exception as error:  # noqa: BLE001  a row that a task did not expect must not end the batch
            return [failed_row(error) for _ in rows]

    def _run_again(self, number: int, rows: list[BatchRow], started_s: float) -> ChunkSummary:
        """Run only the rows that have an error in the chunk's file, and replace the file."""
        before = read_part(self._folder, number)
        failed = [error is not None for error in before.column("error_type").to_pylist()]
        again = [row for row, has_failed in zip(rows, failed, strict=True) if has_failed]
        fresh = iter(self._run_rows(again))
        results = [
            next(fresh) if has_failed else kept for has_failed, kept in zip(failed, _kept_results(before), strict=True)
        ]
        table = results_table([row.id for row in rows], results, self._task.extra_columns)
        summary = summarize_results(number, results, time.perf_counter() - started_s)
        return commit_chunk(self._folder, table, summary)


def _kept_results(table: Table) -> list[RowResult]:
    """Return the results in a chunk's file."""
    records = table.drop_columns(["id"]).to_pylist()
    return [RowResult(**{**record, "categories": tuple(record["categories"] or ())}) for record in records]


def ids_of(data: bytes) -> list[str]:
    """Return the ids of the rows of a chunk."""
    return [row.id for row in decode_rows(decode_chunk(data))]
