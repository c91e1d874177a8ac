"""`run_batch`: run a task over the rows of a source, and go on where an earlier call stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

from langchain_core.runnables import Runnable

from taleward.batch.chunks import PARTS, Chunk, ChunkSummary, failed_chunk
from taleward.batch.engines import BatchEngine, make_engine
from taleward.batch.engines.inline import InlineEngine
from taleward.batch.plan import BatchPlan, as_task, prepare_plan
from taleward.batch.progress import batch_progress
from taleward.batch.result import BatchResult, batch_result
from taleward.batch.schedule import BatchBudget, ChunkScheduler
from taleward.batch.sinks import check_sink, write_results
from taleward.batch.sources import open_source
from taleward.batch.storage import BatchFolder
from taleward.batch.tasks import BatchTask
from taleward.batch.worker import ids_of
from taleward.core.concurrency.cores import usable_cores
from taleward.core.errors import ConfigurationError

DEFAULT_CHUNK_TIMEOUT_S = 3600.0
_OWN_ENGINES = ("inline", "local")


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
    made_task = as_task(task, is_here=engine == "inline" or isinstance(engine, InlineEngine))
    engine = _engine_by_name(engine, engine_options or {})
    if experiment is not None:
        from taleward.evaluation.tracking.runs import check_mlflow

        check_mlflow()
    rows, folder = open_source(source, id_column), BatchFolder(out)
    for file in (merge, errors_file):
        if file is not None:
            check_sink(file)
    folder.create(PARTS)
    with folder.lock() as lock:
        plan = prepare_plan(made_task, rows, folder, chunk=chunk, seed=seed)
        ledger, pending = plan.ledger, plan.pending(retry_errors=retry_errors)
        count = min(workers or usable_cores(), max(1, len(pending)))
        ran: list[ChunkSummary] = []
        stopped = None
        if pending:
            made_engine, count = _make_engine(engine, made_task, count, lock)
            budget = BatchBudget(max_cost_usd=max_cost_usd, max_seconds=max_seconds)
            run = _Run(plan, made_task, budget, chunk_timeout_s, progress)
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
                folder.remove_temporary(PARTS)  # of workers that were killed
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
        plan: BatchPlan,
        task: BatchTask,
        budget: BatchBudget,
        chunk_timeout_s: float | None,
        progress: bool,
    ) -> None:
        self._plan, self._task = plan, task
        self._budget, self._chunk_timeout_s, self._progress = budget, chunk_timeout_s, progress
        self.ran: list[ChunkSummary] = []

    def run(self, engine: BatchEngine, workers: int, pending: list[int]) -> str | None:
        """Run chunks; return what is used up, if not all were run."""
        ledger, done_before = self._plan.ledger, self._plan.ledger.summaries
        with ExitStack() as stack:
            to_run = set(pending)
            kept = [summary for number, summary in done_before.items() if number not in to_run]
            advance, describe = stack.enter_context(batch_progress(self._progress, ledger.manifest.rows, kept))
            describe("loading the models")
            stack.callback(engine.close)
            engine.start(self._plan.spec, workers)

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
            return scheduler.run(self._plan.chunks(pending))


def _engine_by_name(engine: str | BatchEngine, options: Mapping[str, Any]) -> str | BatchEngine:
    """Make an engine from its name, except those that need what is known later."""
    if isinstance(engine, str) and engine not in _OWN_ENGINES:
        return make_engine(engine, **options)
    if options:
        shown = engine if isinstance(engine, str) else type(engine).__name__
        raise ConfigurationError(
            f"the engine {shown!r} takes no options here; got {', '.join(options)}.",
            hint="Options such as the address of a cluster are for --engine ray, or engine='ray' in Python.",
        )
    return engine


def _make_engine(engine: str | BatchEngine, task: BatchTask, workers: int, lock: int | None) -> tuple[BatchEngine, int]:
    """Return an engine that is not started, and its workers."""
    if not isinstance(engine, str):
        return engine, 1 if isinstance(engine, InlineEngine) else workers
    if engine == "inline" or workers == 1:
        return InlineEngine(task), 1
    return make_engine(engine, lock=lock), workers


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
