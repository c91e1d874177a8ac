"""BatchPlan: the chunks of a batch and the spec of its workers, for `run_batch` and for schedulers of your own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.runnables import Runnable

from taleward.batch.chunks import PARTS, Chunk, encode_chunk
from taleward.batch.fingerprint import job_fingerprint
from taleward.batch.ledger import Ledger, prepare_ledger
from taleward.batch.sources import BatchSource, open_source
from taleward.batch.storage import BatchFolder
from taleward.batch.tasks import BatchTask, task_from
from taleward.batch.worker import WorkerSpec
from taleward.core.errors import ConfigurationError, InvalidFile


class BatchPlan:
    """What is to be done in a batch.

    Args:
        ledger: The ledger of the batch.
        source: Its rows.

    Attributes:
        ledger: The ledger of the batch.
        source: Its rows.
        spec: What each `Worker` is made from; plain data that goes to any machine.
    """

    def __init__(self, ledger: Ledger, source: BatchSource) -> None:
        manifest = ledger.manifest
        self.ledger, self.source = ledger, source
        self.spec = WorkerSpec(
            task=manifest.task,
            settings=manifest.settings,
            out=ledger.folder.uri,
            seed=manifest.seed,
            job_id=manifest.job_id,
        )

    @classmethod
    def open(cls, out: str | os.PathLike[str]) -> BatchPlan:
        """Open the plan of a batch that `plan_batch` or `run_batch` has begun, from files; also on another machine.

        Raises:
            InvalidFile: If there is no batch, its rows were not read from files, or these are not the same any more.
        """
        ledger = Ledger.open(out)
        manifest = ledger.manifest
        if not manifest.signature:
            raise InvalidFile(
                f"the rows of the batch in {out} were in the memory of the program that began it.",
                hint="Write them to a file, which every machine can read.",
            )
        source = open_source(manifest.source, manifest.fingerprint["id column"])
        if tuple(map(tuple, source.signature)) != manifest.signature:
            raise InvalidFile(
                f"{manifest.source} is not the file that the batch in {out} began with, or was moved or written again.",
                hint="Call plan_batch again, which compares the content.",
            )
        return cls(ledger, source)

    def pending(self, *, retry_errors: bool = False) -> list[int]:
        """Return the numbers of the chunks to run, ascending.

        Args:
            retry_errors: Whether chunks with rows that have an error are run again.
        """
        return self.ledger.pending(retry_errors=retry_errors)

    def chunks(self, numbers: Sequence[int]) -> Iterator[Chunk]:
        """Read chunks.

        Args:
            numbers: Their numbers, ascending.
        """
        for number, batch in self.source.chunks(self.ledger.manifest.chunk, numbers):
            yield Chunk(number, encode_chunk(batch), only_errors=number in self.ledger.summaries)


def plan_batch(
    task: BatchTask | str,
    source: str | os.PathLike[str] | Iterable[Mapping[str, Any]],
    out: str | os.PathLike[str],
    *,
    chunk: int | None = None,
    id_column: str | None = None,
    seed: int | None = None,
) -> BatchPlan:
    """Begin a batch, or go on with one, without running anything: for a scheduler of your own.

    Give each chunk of the plan to a `Worker(plan.spec)` in any process of any machine that can write to `out`. Let only
    one scheduler at a time run a batch, and end its workers before the next one.

    Args:
        task: A task such as `JudgeTask(band="3-5")`, or the name of one.
        source: The rows; see `run_batch`.
        out: The folder of the batch, a path that all machines have or the URI of an object store.
        chunk: Rows in a chunk; by default what the folder has, or 200.
        id_column: The column of the ids.
        seed: The seed of the batch.

    Raises:
        ConfigurationError: If an option is wrong, or the folder holds another job or is in use.
        InvalidFile: If the source cannot be read, or ids are missing or repeated.
        MissingExtra: If a library is not installed.
    """
    if chunk is not None and chunk < 1:
        raise ConfigurationError(f"chunk must be at least 1; got {chunk}.")
    made_task = as_task(task, is_here=False)
    rows, folder = open_source(source, id_column), BatchFolder(out)
    folder.create(PARTS)
    with folder.lock():
        return prepare_plan(made_task, rows, folder, chunk=chunk, seed=seed)


def prepare_plan(
    task: BatchTask, source: BatchSource, folder: BatchFolder, *, chunk: int | None, seed: int | None
) -> BatchPlan:
    """Open the ledger of a job, or begin it; only while the folder is locked. See `prepare_ledger`."""
    fingerprint = job_fingerprint(task, seed=seed, id_column=source.id_column, source_format=source.format)
    return BatchPlan(prepare_ledger(folder, source, task, fingerprint, chunk), source)


def as_task(task: BatchTask | str | Runnable[Any, Any] | Callable[[Any], Any], *, is_here: bool) -> BatchTask:
    """Return a task with the content of its files.

    Args:
        task: A task, the name of one, or an object of this process.
        is_here: Whether it runs in this process.

    Raises:
        ConfigurationError: If there is no such task, an option is wrong, or it cannot be sent to workers.
    """
    if isinstance(task, str):
        task = task_from(task, {})
    if not isinstance(task, BatchTask):
        from taleward.batch.tasks.live import LiveTask

        if not (isinstance(task, Runnable) or callable(task)):
            raise ConfigurationError(
                f"a batch runs a task, the name of one, a Runnable or a function; got a {type(task).__name__}.",
                hint="For example tw.batch.JudgeTask(band='6-8').",
            )
        if not is_here:
            raise ConfigurationError(
                f"a {type(task).__name__} of this process cannot be sent to the workers, each of which builds its own "
                "models.",
                hint="Describe it with tw.batch.TellTask(...), JudgeTask(...) or another task, name a function with "
                "FunctionTask(function='MODULE:NAME'), or run it here with engine='inline'.",
            )
        task = LiveTask(system=task)
    resolved = task.resolved()
    # The settings are written to the manifest, and sent to the workers.
    base_url = getattr(resolved, "base_url", None)
    if base_url and "@" in base_url.partition("://")[2].partition("/")[0]:
        raise ConfigurationError(
            "base_url holds a user name or a password, which would be written to the batch's folder.",
            hint="Give the server's key in the environment.",
        )
    return resolved
