"""`run_batch`: run a task over the rows of a source, and go on where an earlier call stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from langchain_core.runnables import Runnable

from taleward.batch.chunks import PARTS, Chunk, ChunkSummary, encode_chunk, failed_chunk
from taleward.batch.engines import ENGINES, BatchEngine, make_engine
from taleward.batch.engines.inline import InlineEngine
from taleward.batch.fingerprint import job_fingerprint
from taleward.batch.ledger import Ledger, prepare_ledger
from taleward.batch.progress import batch_progress
from taleward.batch.result import BatchResult, batch_result
from taleward.batch.schedule import BatchBudget, ChunkScheduler
from taleward.batch.sinks import check_sink, write_results
from taleward.batch.sources import BatchSource, open_source
from taleward.batch.storage import BatchFolder
from taleward.batch.tasks import BatchTask, task_from
from taleward.batch.tasks.live import LiveTask
from taleward.batch.worker import WorkerSpec, ids_of
from taleward.core.concurrency.cores import usable_cores
from taleward.core.errors import ConfigurationError, UnknownName

DEFAULT_CHUNK_TIMEOUT_S = 3600.0


def run_batch(
    task: BatchTask | str | Runnable[Any, Any] | Callable[[Any], Any],
    source: str | os.PathLike[str] | Iterable[Mapping[str, Any]],
    out: str | os.PathLike[str],
    *,
    engine: str | BatchEngine = "local",
    workers: int | None = None,
    chunk: int | None = None,
    id_column: str | None = None,
    seed: int | None = None,
    retry_errors: bool = False,
    merge: str | os.PathLike[str] | None = None,
    errors_file: str | os.PathLike[str] | None = None,
    max_cost_usd: float | None = None,
    max_seconds: float | None = None,
    chunk_timeout_s: float | None = DEFAULT_CHUNK_TIMEOUT_S,
    progress: bool = True,
    experiment: str | None = None,
    tracking_uri: str | None = None,
    engine_options: Mapping[str, Any] | None = None,
) -> BatchResult:
    """Run a task over the rows of a source; finished chunks are kept, and the same call goes on where one stopped.

    Each chunk of rows is committed as one file in `out`. Whatever is killed, and whenever: a row is never lost and
    never there twice. A row that fails has a result that says so, and does not end the batch.

    Ids that are missing or repeated are refused before anything runs. So is another job in the same folder: another
    task, model, policy, template, seed or other data.

    Args:
        task: A task such as `JudgeTask(band="3-5")`, or the name of one, for its default settings. A Runnable or a
            function of this process runs with the engine `inline` only, because it cannot be sent to other processes.
        source: The path or URI of a Parquet, JSON Lines, CSV or OpenAI batch file, or of a folder; or rows as mappings.
        out: The folder of the batch: a path, or the URI of an object store.
        engine: `local` for processes of this machine, `inline` for this process, or another name in `ENGINES`, or an
            engine.
        workers: Processes, each with models of its own; by default one per core. `local` with one worker is `inline`.
        chunk: Rows in a chunk; by default what the folder has, or 200.
        id_column: The column of the ids; by default `id`, or `custom_id` in OpenAI batch files.
        seed: The seed of the batch. A row's seed follows from it and the row's id. `None` is 0 for models that run
            here, and no seed for others.
        retry_errors: Whether rows with an error are run again.
        merge: Write all results to this file once they are complete: `.parquet`, `.jsonl` or `.csv`. Those of an OpenAI
            batch file become answers in its format, if it ends in `.jsonl`.
        errors_file: Write the rows with an error to this file, and leave them out of `merge`.
        max_cost_usd: The most US dollars to spend in this call; chunks that have begun are finished.
        max_seconds: The most seconds in which this call starts chunks.
        chunk_timeout_s: Seconds after which a chunk counts as hung: its worker is ended and the chunk run once more,
            and then its rows are recorded as errors. `None` for no limit; `inline` has none.
        progress: Whether to show a progress bar if standard error is a terminal.
        experiment: Name of the MLflow experiment in which the batch is one run; `None` to record nothing.
        tracking_uri: The MLflow tracking URI; by default the store in `.taleward` in the working directory.
        engine_options: Options of the engine.

    Raises:
        ConfigurationError: If an option is wrong, the folder holds another job or is in use, or the models cannot be
            loaded.
        InvalidFile: If the source cannot be read, or ids are missing or repeated.
        BackendError: If workers cannot start, or the results cannot be written.
        KeyboardInterrupt: If you interrupt it; a note says what is kept.
        MissingExtra: If a library is not installed.
    """
    started_s = time.monotonic()
    _check_numbers(workers, chunk, max_cost_usd, max_seconds, chunk_timeout_s)
    made_task = _as_task(task, engine).resolved()
    _check_settings(made_task)
    if experiment is not None:
        from taleward.evaluation.tracking.runs import check_mlflow

        check_mlflow()
    rows, folder = open_source(source, id_column), BatchFolder(out)
    for file in (merge, errors_file):
        if file is not None:
            check_sink(file)
    fingerprint = job_fingerprint(made_task, seed=seed, id_column=rows.id_column, source_format=rows.format)
    folder.create(PARTS)
    with folder.lock() as lock:
        ledger = prepare_ledger(folder, rows, made_task, fingerprint, chunk)
        pending = ledger.pending(retry_errors=retry_errors)
        count = min(workers or usable_cores(), max(1, len(pending)))
        ran: list[ChunkSummary] = []
        stopped = None
        if pending:
            made_engine, count = _make_engine(engine, made_task, count, lock, engine_options or {})
            budget = BatchBudget(max_cost_usd=max_cost_usd, max_seconds=max_seconds)
            spec = WorkerSpec(
                task=made_task.name,
                settings=ledger.manifest.settings,
                out=folder.uri,
                seed=seed,
            )
            run = _Run(ledger, rows, made_task, spec, budget, chunk_timeout_s, progress)
            try:
                stopped = run.run(made_engine, count, pending)
            except KeyboardInterrupt as interrupt:
                finished = sum(summary.rows for summary in ledger.summaries.values())
                interrupt.add_note(
                    f"{finished:,} of {ledger.manifest.rows:,} rows are finished and kept in {folder}; the same call "
                    "goes on from there"
                )
                raise
            finally:
                ran = run.ran
                if ledger.unsaved:
                    ledger.save_summaries()
        elif ledger.unsaved:
            ledger.save_summaries()
        result = batch_result(ledger, ran=ran, seconds=time.monotonic() - started_s, stopped=stopped)
        if not result.partial and (merge is not None or errors_file is not None):
            write_results(ledger, merge, errors_file)
            files = {"merged": merge and os.fspath(merge), "errors_file": errors_file and os.fspath(errors_file)}
            result = result.model_copy(update=files)
    if experiment is not None:
        from taleward.batch.recording import record_batch

        result = record_batch(ledger, result, experiment, tracking_uri)
    return result


class _Run:
    """One call's work on the chunks that are not finished."""

    def __init__(
        self,
        ledger: Ledger,
        source: BatchSource,
        task: BatchTask,
        spec: WorkerSpec,
        budget: BatchBudget,
        chunk_timeout_s: float | None,
        progress: bool,
    ) -> None:
        self._ledger, self._source, self._task, self._spec = ledger, source, task, spec
        self._budget, self._chunk_timeout_s, self._progress = budget, chunk_timeout_s, progress
        self.ran: list[ChunkSummary] = []

    def run(self, engine: BatchEngine, workers: int, pending: list[int]) -> str | None:
        """Run chunks; return what is used up, if not all were run."""
        ledger, done_before = self._ledger, self._ledger.summaries
        with ExitStack() as stack:
            to_run = set(pending)
            kept = [summary for number, summary in done_before.items() if number not in to_run]
            advance, describe = stack.enter_context(batch_progress(self._progress, ledger.manifest.rows, kept))
            describe("loading the models")
            stack.callback(engine.close)
            engine.start(self._spec, workers)

            def on_done(summary: ChunkSummary) -> None:
                ledger.add(summary)
                self.ran.append(summary)
                advance(summary)

            def give_up(chunk: Chunk, error: Exception) -> ChunkSummary:
                return failed_chunk(ledger.folder, ids_of(chunk.data), chunk, error, self._task.extra_columns)

            scheduler = ChunkScheduler(
                engine,
                workers,
                chunk_timeout_s=self._chunk_timeout_s,
                budget=self._budget,
                on_done=on_done,
                give_up=give_up,
            )
            return scheduler.run(self._chunks(pending))

    def _chunks(self, pending: list[int]) -> Iterator[Chunk]:
        for number, batch in self._source.chunks(self._ledger.manifest.chunk, pending):
            yield Chunk(number, encode_chunk(batch), only_errors=number in self._ledger.summaries)


def _as_task(task: object, engine: str | BatchEngine) -> BatchTask:
    if isinstance(task, BatchTask):
        return task
    if isinstance(task, str):
        return task_from(task, {})
    if not (isinstance(task, Runnable) or callable(task)):
        raise ConfigurationError(
            f"a batch runs a task, the name of one, a Runnable or a function; got a {type(task).__name__}.",
            hint="For example tw.batch.JudgeTask(band='6-8').",
        )
    if not (engine == "inline" or isinstance(engine, InlineEngine)):
        raise ConfigurationError(
            f"a {type(task).__name__} of this process cannot be sent to the workers of the engine {engine!r}, each of "
            "which builds its own models.",
            hint="Describe it with tw.batch.TellTask(...), JudgeTask(...) or another task, name a function with "
            "FunctionTask(function='MODULE:NAME'), or run it here with engine='inline'.",
        )
    return LiveTask(system=task)


def _make_engine(
    engine: str | BatchEngine, task: BatchTask, workers: int, lock: int | None, options: Mapping[str, Any]
) -> tuple[BatchEngine, int]:
    """Return an engine that is not started, and its workers."""
    if not isinstance(engine, str):
        return engine, 1 if isinstance(engine, InlineEngine) else workers
    if engine not in ENGINES:
        raise UnknownName("engine", engine, ENGINES)
    if engine == "inline" or (engine == "local" and workers == 1):
        return InlineEngine(task), 1
    if engine == "local":
        return make_engine(engine, lock=lock, **options), workers
    return make_engine(engine, **options), workers


def _check_numbers(
    workers: int | None,
    chunk: int | None,
    max_cost_usd: float | None,
    max_seconds: float | None,
    chunk_timeout_s: float | None,
) -> None:
    whole = {"workers": workers, "chunk": chunk}
    for name, value in whole.items():
        if value is not None and value < 1:
            raise ConfigurationError(f"{name} must be at least 1; got {value}.")
    limits = {"max_cost_usd": max_cost_usd, "max_seconds": max_seconds, "chunk_timeout_s": chunk_timeout_s}
    for name, limit in limits.items():
        if limit is not None and not limit > 0:
            raise ConfigurationError(f"{name} must be above 0; got {limit}.")


def _check_settings(task: BatchTask) -> None:
    """Check that nothing secret is in a task: its settings are written to the manifest."""
    base_url = getattr(task, "base_url", None)
    if base_url and "@" in base_url.partition("://")[2].partition("/")[0]:
        raise ConfigurationError(
            "base_url holds a user name or a password, which would be written to the batch's folder.",
            hint="Give the server's key in the environment.",
        )
