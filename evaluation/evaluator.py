"""Run a system on a dataset, measure its outputs, and record everything as one MLflow run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from taleward.core.errors import ConfigurationError
from taleward.core.redaction import format_error
from taleward.evaluation.datasets import Dataset, load_dataset
from taleward.evaluation.journal import DEFAULT_SPOOL, Journal, journal_lock, open_journal
from taleward.evaluation.metrics import Metric, resolve_metrics
from taleward.evaluation.metrics.base import DATASET_NEEDS
from taleward.evaluation.report.html import write_files
from taleward.evaluation.result import Evaluation, MetricResult
from taleward.evaluation.sample import Sample
from taleward.evaluation.system import System, dataset_sha256, prepare_system
from taleward.evaluation.tracking.recorder import DEFAULT_EXPERIMENT, default_tracking_uri
from taleward.evaluation.tracking.runs import check_mlflow, upload, upload_pending


def evaluate(
    system: System,
    dataset: str | Path | Iterable[Sample | Mapping[str, Any]] | Any,
    metrics: Iterable[Metric | str],
    *,
    name: str | None = None,
    params: Mapping[str, str] | None = None,
    input_key: str | None = None,
    concurrency: int = 8,
    resume: bool = True,
    resamples: int = 500,
    seed: int = 0,
    progress: bool = True,
    tracking_uri: str | None = None,
    experiment: str = DEFAULT_EXPERIMENT,
    spool: Path = DEFAULT_SPOOL,
) -> Evaluation:
    """Run a system on every sample of a dataset, measure its outputs, and record everything as one MLflow run.

    Finished samples are on disk at once: if the process is killed, the same call continues where it stopped. If MLflow
    cannot be reached, the call returns all the same, and `taleward eval --upload-pending` or the next evaluation
    uploads the result. Samples on which the system raises are listed in `Evaluation.failed`.

    Args:
        system: A Runnable or a function from a sample's inputs to an output, or a list of outputs. An output is a text,
            a message, a tale, a verdict, a classification or a summary. A judge gets each sample's output to judge.
        dataset: Anything that `load_dataset` takes; `mlflow:NAME` is looked up in the store that records the run.
        metrics: Metrics, or names of built-in ones.
        name: The name of the run; by default the name of the function or of the system's type.
        params: More parameters of the run. Together with the system's own they identify the evaluation, so pass
            whatever tells two versions of your own function or Runnable apart.
        input_key: The input to pass to a system that takes one text instead of a mapping. Classifiers, summarizers and
            language models default to the samples' only input.
        concurrency: How many samples run at once.
        resume: Whether to continue a killed evaluation of the same system, dataset and metrics; otherwise it starts
            again.
        resamples: The number of bootstrap resamples for the intervals.
        seed: Seed of the resamples.
        progress: Whether to show a progress bar if standard error is a terminal.
        tracking_uri: The MLflow tracking URI; by default the store in `.taleward` in the working directory.
        experiment: The name of the MLflow experiment.
        spool: The folder where evaluations are kept until MLflow has stored them.

    Raises:
        ConfigurationError: If there are no samples or no metrics, a metric is given twice, a sample lacks what a metric
            needs, a number is out of range, or every sample failed. What the dataset must provide is checked before the
            system runs, what the system must provide at its first output.
        JournalLocked: If another process is running the same evaluation.
        KeyboardInterrupt: If you interrupt it; a note says what is kept.
        MissingExtra: If MLflow is not installed.
    """
    check_mlflow()
    if concurrency < 1 or resamples < 0:
        raise ConfigurationError(
            f"concurrency must be at least 1 and resamples at least 0; got {concurrency} and {resamples}."
        )
    uri = tracking_uri or default_tracking_uri()
    loaded = dataset if isinstance(dataset, Dataset) else load_dataset(dataset, tracking_uri=uri)
    samples, resolved_metrics = loaded.samples, resolve_metrics(metrics)
    if not samples:
        raise ConfigurationError("an evaluation needs at least one sample; the dataset is empty.")
    for metric in resolved_metrics:
        metric.check(samples, DATASET_NEEDS)
    run_system, system_params = prepare_system(system, samples, input_key)
    # Equal plans share a journal: the plan holds all that decides the result, and nothing else.
    plan: dict[str, Any] = {
        "name": name or system_params["system"],
        "params": {**system_params, **(params or {})},
        "metrics": {metric.name: metric.signature for metric in resolved_metrics},
        "dataset": loaded.name,
        "data": dataset_sha256(system, samples),
        "dataset_sha256": loaded.sha256,
        "total": len(samples),
        "uri": uri,
        "experiment": experiment,
        "resamples": resamples,
        "seed": seed,
        "taleward": version("taleward"),
    }
    journal = open_journal(spool, plan, resume=resume)
    with journal_lock(journal), _note_of_what_is_kept(journal, len(samples)):
        if journal.finished:
            evaluation = Evaluation.model_validate(journal.result)
        else:
            finished, failed = _run_samples(run_system, samples, journal, resolved_metrics, concurrency, progress)
            outputs = [finished.get(s.id) or s.model_copy(update={"error": failed[s.id]}) for s in samples]
            evaluation = _measure(plan, outputs, failed, resolved_metrics, journal)
            write_files(evaluation, journal.files)
            journal.finish(evaluation.model_dump(mode="json"))
        evaluation = upload(journal, evaluation)
    if evaluation.run_id is not None:
        # The store can be reached, so upload what it missed before.
        upload_pending(spool, str(plan["uri"]))
    return evaluation


@contextmanager
def _note_of_what_is_kept(journal: Journal, total: int) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        kept = len(journal.samples(lambda row: row))
        interrupt.add_note(
            f"{kept} of {total} samples are finished and kept in {journal.folder}; the same call goes on from there, "
            "and resume=False starts again."
        )
        raise


def _run_samples(
    run_system: Callable[[Sample], Awaitable[Sample]],
    samples: Sequence[Sample],
    journal: Journal,
    metrics: Sequence[Metric],
    concurrency: int,
    progress: bool,
) -> tuple[dict[str, Sample], dict[str, str]]:
    """Run the system on the samples that the journal lacks.

    Returns:
        All finished samples by id, and the error messages of the failed ones by id.
    """
    finished = journal.samples(Sample.model_validate)
    failed: dict[str, str] = {}
    unmet_needs: list[ConfigurationError] = []
    # All workers take from one iterator, so that each sample runs once.
    remaining = iter([sample for sample in samples if sample.id not in finished])

    async def worker(append: Callable[[str], None], advance: Callable[[], None]) -> None:
        for sample in remaining:
            if unmet_needs:
                return
            try:
                output = await run_system(sample)
            except Exception as error:  # noqa: BLE001  reported as failed; the other samples go on
                failed[sample.id] = format_error(error)
            else:
                append(output.model_dump_json())
                if not finished:  # fail at the first output, not when all of them are paid for
                    unmet_needs.extend(_unmet_needs(output, metrics))
                finished[sample.id] = output
            advance()

    async def run_workers() -> None:
        with _progress_bar(progress, len(samples), len(finished)) as advance, journal.open_samples() as append:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(concurrency):
                        group.create_task(worker(append, advance))
            except ExceptionGroup as errors:  # several workers may have met the same full disk
                raise errors.exceptions[0] from None

    _run_async(run_workers)
    if unmet_needs:
        raise unmet_needs[0]
    if not finished:
        raise ConfigurationError(f"all {len(failed)} samples failed; the first: {next(iter(failed.values()))}")
    return finished, failed


def _unmet_needs(sample: Sample, metrics: Iterable[Metric]) -> Iterator[ConfigurationError]:
    """Yield an error for each metric that cannot measure a finished sample."""
    for metric in metrics:
        try:
            metric.check([sample], metric.needs)
        except ConfigurationError as error:
            yield error


def _run_async(function: Callable[[], Awaitable[None]]) -> None:
    # `asyncio.run` takes only coroutines, not other awaitables.
    async def main() -> None:
        await function()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(main())
    else:
        # A notebook runs an event loop already, and a loop cannot be entered twice.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, main()).result()


def _measure(
    plan: Mapping[str, Any],
    samples: Sequence[Sample],
    failed: Mapping[str, str],
    metrics: Iterable[Metric],
    journal: Journal,
) -> Evaluation:
    import numpy as np

    results = {}
    for metric in metrics:
        rows = metric.measure(samples)
        results[metric.name] = MetricResult(
            score=metric.score_rows(rows, resamples=plan["resamples"], seed=plan["seed"]),
            values=tuple(metric.sample_value(row) for row in rows),
            statistics=tuple(tuple(row.tolist()) if np.isfinite(row).all() else () for row in rows),
        )
    return Evaluation.model_validate(
        {
            "name": plan["name"],
            "params": plan["params"],
            "data": plan["data"],
            "ids": [sample.id for sample in samples],
            "metrics": results,
            "failed": failed,
            # The plan is as old as the evaluation, even if it was killed and resumed.
            "started_at": datetime.fromtimestamp((journal.folder / "plan.json").stat().st_mtime, UTC),
            "finished_at": datetime.now(UTC),
            "samples": samples,
        }
    )


@contextmanager
def _progress_bar(enabled: bool, total: int, completed: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar on standard error if it is a terminal; yield a function that advances it."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    disable = not (enabled and sys.stderr.isatty())
    bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=disable)
    with bar:
        task = bar.add_task("evaluating", total=total, completed=completed)
        yield lambda: bar.update(task, advance=1)
