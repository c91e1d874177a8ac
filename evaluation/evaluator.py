"""`evaluate`: run a system on a data set, measure what comes out, and keep it all as one MLflow run."""

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
from taleward.evaluation.journal import DEFAULT_SPOOL, Journal, locked, open_journal
from taleward.evaluation.metrics import Metric, metrics_of
from taleward.evaluation.metrics.base import DATASET_NEEDS
from taleward.evaluation.report.html import write_files
from taleward.evaluation.result import Evaluation, MetricResult
from taleward.evaluation.sample import Sample
from taleward.evaluation.system import System, asked_sha256, asking
from taleward.evaluation.tracking.recorder import DEFAULT_EXPERIMENT, default_tracking_uri
from taleward.evaluation.tracking.runs import check_mlflow, deliver, upload_pending


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
    """Run a system on every sample, measure, and keep it as one MLflow run.

    What is finished is on disk at once. The same call after a kill goes on where it was. When MLflow cannot be reached
    the call returns all the same, and `taleward eval --deliver` or the next evaluation delivers.

    Args:
        system: A Runnable or a function from a sample's inputs to an answer, or a list of answers. An answer is a text,
            a message, a tale, a verdict, a classification or a summary.
        dataset: What `load_dataset` takes: a file, rows, samples, an MLflow data set; `mlflow:NAME` is looked for in
            the store that the run goes to. A judge gets the samples' outputs to judge, any other system their inputs.
        metrics: What to measure: metrics, or names of Taleward's own.
        name: Of the run; by default what kind of system it is.
        params: More parameters of the run. With the system's own they tell one evaluation from another: a system that
            is not of ours has to be told from others here, or by the name.
        input_key: The input that the system is given alone, where it takes a text and not a mapping. Classifiers,
            summarizers and language models get the only one if there is one.
        concurrency: Samples at once.
        resume: Whether to go on with a killed evaluation of the same system, samples and metrics, or to begin again.
        resamples: Bootstrap resamples behind the intervals.
        seed: Of the resamples.
        progress: Whether to show a bar, where a person watches.
        tracking_uri: An MLflow tracking URI; by default that of `.taleward` in this folder.
        experiment: The experiment's name.
        spool: Where evaluations are kept until MLflow has them.

    Raises:
        ConfigurationError: There is no sample or no metric, a name is there twice, a sample lacks what a metric needs
            (what the data has to bring is looked at before anything is run, the rest once the first answer is there),
            a number is out of its range, or every sample failed.
        MissingExtra: MLflow is not installed.
    """
    check_mlflow()
    if concurrency < 1 or resamples < 0:
        raise ConfigurationError(f"concurrency is 1 or more, resamples 0 or more; got {concurrency} and {resamples}.")
    place = tracking_uri or default_tracking_uri()
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset, tracking_uri=place)
    rows, measures = data.samples, metrics_of(metrics)
    if not rows:
        raise ConfigurationError("an evaluation needs at least one sample; the data set has none.")
    for metric in measures:
        metric.check(rows, DATASET_NEEDS)
    ask, about = asking(system, rows, input_key)
    plan: dict[str, Any] = {
        "name": name or about["system"],
        "params": {**about, **(params or {})},
        "metrics": {m.name: m.signature for m in measures},
        "dataset": data.name,
        "data": asked_sha256(system, rows),
        "dataset_sha256": data.sha256,
        "total": len(rows),
        "uri": place,
        "experiment": experiment,
        "resamples": resamples,
        "seed": seed,
        "taleward": version("taleward"),
    }
    journal = open_journal(spool, plan, resume=resume)
    with locked(journal):
        if journal.finished:
            found = Evaluation.model_validate(journal.result)
        else:
            done, failed = _run(ask, rows, journal, measures, concurrency, progress)
            finished = [done.get(r.id) or r.model_copy(update={"error": failed[r.id]}) for r in rows]
            found = _measured(plan, finished, failed, measures, journal)
            write_files(found, journal.files)
            journal.finish(found.model_dump(mode="json"))
        found = deliver(journal, found)
    if found.run_id is not None:  # the store is there: what it missed before can go too
        upload_pending(spool, str(plan["uri"]))
    return found


def _run(
    ask: Callable[[Sample], Awaitable[Sample]],
    rows: Sequence[Sample],
    journal: Journal,
    metrics: Sequence[Metric],
    concurrency: int,
    progress: bool,
) -> tuple[dict[str, Sample], dict[str, str]]:
    """All samples that are finished now or were before, and those that failed."""
    done = journal.samples(Sample.model_validate)
    failed: dict[str, str] = {}
    lacking: list[ConfigurationError] = []
    todo = iter([row for row in rows if row.id not in done])

    async def work(keep: Callable[[str], None], step: Callable[[], None]) -> None:
        for row in todo:
            if lacking:
                return
            try:
                made = await ask(row)
            except Exception as error:  # noqa: BLE001  told as failed; the others go on
                failed[row.id] = format_error(error)
            else:
                keep(made.model_dump_json())
                if not done:  # told by the first answer, not when all of them are paid for
                    lacking.extend(_lacking(made, metrics))
                done[row.id] = made
            step()

    async def all_of_them() -> None:
        with _bar(progress, len(rows), len(done)) as step, journal.appending() as keep:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(work(keep, step))

    _run_async(all_of_them)
    if lacking:
        raise lacking[0]
    if not done:
        raise ConfigurationError(f"all {len(failed)} samples failed; the first: {next(iter(failed.values()))}")
    return done, failed


def _lacking(sample: Sample, metrics: Iterable[Metric]) -> Iterator[ConfigurationError]:
    """What a metric needs and such an answer does not bring."""
    for metric in metrics:
        try:
            metric.check([sample], metric.needs)
        except ConfigurationError as error:
            yield error


def _run_async(work: Callable[[], Awaitable[None]]) -> None:
    async def entered() -> None:
        await work()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(entered())
    else:
        # In a notebook a loop is running already, and cannot be entered twice.
        with ThreadPoolExecutor(1) as beside:
            beside.submit(asyncio.run, entered()).result()


def _measured(
    plan: Mapping[str, Any],
    samples: Sequence[Sample],
    failed: Mapping[str, str],
    metrics: Iterable[Metric],
    journal: Journal,
) -> Evaluation:
    import numpy as np

    found = {}
    for metric in metrics:
        rows = metric.measure(samples)
        found[metric.name] = MetricResult(
            score=metric.score_rows(rows, resamples=plan["resamples"], seed=plan["seed"]),
            values=tuple(metric.sample_value(row) for row in rows),
            statistics=tuple(tuple(row.tolist()) if np.isfinite(row).all() else () for row in rows),
        )
    return Evaluation.model_validate(
        {
            "name": plan["name"],
            "params": plan["params"],
            "data": plan["data"],
            "ids": [s.id for s in samples],
            "metrics": found,
            "failed": failed,
            "started_at": datetime.fromtimestamp((journal.folder / "plan.json").stat().st_mtime, UTC),
            "finished_at": datetime.now(UTC),
            "samples": samples,
        }
    )


@contextmanager
def _bar(shown: bool, total: int, done: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error, where a person watches."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not (shown and sys.stderr.isatty()))
    with bar:
        task = bar.add_task("evaluating", total=total, completed=done)
        yield lambda: bar.update(task, advance=1)
