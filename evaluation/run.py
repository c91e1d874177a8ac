"""`evaluate`: run a system on a data set, measure what comes out, and keep it all as one MLflow run."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableLambda

from taleward.core.errors import ConfigurationError
from taleward.core.redact import redact
from taleward.core.tale import Tale
from taleward.evaluation.described import described
from taleward.evaluation.findings import Evaluation, Measured
from taleward.evaluation.recorder import DEFAULT_EXPERIMENT, store_uri
from taleward.evaluation.report import write_files
from taleward.evaluation.run_metrics import metrics_of
from taleward.evaluation.run_store import check_mlflow, deliver, deliver_spooled
from taleward.evaluation.sample import Sample
from taleward.evaluation.scoring import Metric, score
from taleward.evaluation.spool import DEFAULT_SPOOL, Journal, locked, open_journal

System = Runnable[Any, Any] | Callable[[Any], Any] | Sequence[str | None]
"""What can be evaluated: a Runnable or a function from inputs to an output, or the outputs themselves."""


def evaluate(
    system: System,
    dataset: Iterable[Sample | Mapping[str, Any]],
    metrics: Iterable[Metric | str],
    *,
    name: str | None = None,
    params: Mapping[str, str] | None = None,
    concurrency: int = 8,
    resume: bool = True,
    resamples: int = 500,
    seed: int = 0,
    progress: bool = True,
    uri: str | None = None,
    experiment: str = DEFAULT_EXPERIMENT,
    spool: Path = DEFAULT_SPOOL,
) -> Evaluation:
    """Run a system on every sample, measure, and keep it as one MLflow run.

    What is finished is on disk at once. The same call after a kill goes on where it was. When MLflow cannot be reached
    the call returns all the same, and `taleward eval --deliver` or the next evaluation delivers.

    Args:
        system: A Runnable or a function from a sample's inputs to an output, or a list of outputs.
        dataset: Samples, or their fields as mappings; a mapping without `inputs` is the inputs.
        metrics: What to measure: metrics, or names of Taleward's own.
        name: Of the run; by default what kind of system it is.
        params: More parameters of the run. With the system's own they tell one evaluation from another: a system that
            is not of ours has to be told from others here, or by the name.
        concurrency: Samples at once.
        resume: Whether to go on with a killed evaluation of the same system, samples and metrics, or to begin again.
        resamples: Bootstrap resamples behind the intervals.
        seed: Of the resamples.
        progress: Whether to show a bar, where a person watches.
        uri: An MLflow tracking URI; by default that of `.taleward` in this folder.
        experiment: The experiment's name.
        spool: Where evaluations are kept until MLflow has them.

    Raises:
        ConfigurationError: There is no sample or no metric, names are there twice, or every sample failed.
        MissingExtra: MLflow is not installed.
    """
    check_mlflow()
    rows, measures = samples_of(dataset), metrics_of(metrics)
    names = [m.name for m in measures]
    if not rows or not measures or len(set(names)) < len(names):
        raise ConfigurationError(
            f"an evaluation needs samples and metrics, each metric once; got {len(rows)} samples and {names}."
        )
    ask, about = _asked(system, rows)
    plan: dict[str, Any] = {
        "name": name or about["system"],
        "params": {**about, **(params or {})},
        "metrics": {m.name: m.signature for m in measures},
        "data": hashlib.sha256("".join(row.model_dump_json() for row in rows).encode()).hexdigest(),
        "total": len(rows),
        "uri": uri or store_uri(Path(".taleward")),
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
            done, failed = _run(ask, rows, journal, concurrency, progress)
            found = _measured(plan, [done[r.id] for r in rows if r.id in done], failed, measures, journal)
            write_files(found, journal.files)
            journal.finish(found.model_dump(mode="json"))
        found = deliver(journal, found)
    if found.run_id is not None:  # the store is there: what it missed before can go too
        deliver_spooled(spool, str(plan["uri"]))
    return found


def samples_of(dataset: Iterable[Sample | Mapping[str, Any]]) -> list[Sample]:
    """A data set's samples; those without an id are numbered from 1.

    Raises:
        ConfigurationError: A row is neither a sample nor a mapping, or an id is there twice.
    """
    rows = []
    for number, row in enumerate(dataset, 1):
        if isinstance(row, Sample):
            rows.append(row)
        elif isinstance(row, Mapping):
            fields = dict(row) if "inputs" in row else {"inputs": dict(row)}
            rows.append(Sample.model_validate({"id": str(number), **fields}))
        else:
            raise ConfigurationError(f"sample {number} is a {type(row).__name__}; taken: a Sample, or a mapping.")
    ids = [row.id for row in rows]
    twice = next((i for i in ids if ids.count(i) > 1), None) if len(set(ids)) < len(ids) else None
    if twice is not None:
        raise ConfigurationError(f"two samples have the id {twice!r}; each needs its own.")
    return rows


def _asked(system: System, rows: Sequence[Sample]) -> tuple[Callable[[Sample], Awaitable[Any]], dict[str, str]]:
    """How a sample is answered, and what by."""
    if isinstance(system, Runnable) or callable(system):
        runnable: Runnable[Any, Any] = system if isinstance(system, Runnable) else RunnableLambda(system)
        return (lambda sample: runnable.ainvoke(sample.inputs)), described(system)
    if len(system) != len(rows):
        raise ConfigurationError(f"there are {len(system)} outputs for {len(rows)} samples; give one for each.")
    outputs = {row.id: output for row, output in zip(rows, system, strict=True)}
    digest = hashlib.sha256(json.dumps(list(system)).encode()).hexdigest()

    async def given(sample: Sample) -> str | None:
        return outputs[sample.id]

    return given, {"system": "outputs", "outputs": digest[:12]}


def _run(
    ask: Callable[[Sample], Awaitable[Any]],
    rows: Sequence[Sample],
    journal: Journal,
    concurrency: int,
    progress: bool,
) -> tuple[dict[str, Sample], dict[str, str]]:
    """All samples that are finished now or were before, and those that failed."""
    done = journal.samples(Sample.model_validate)
    failed: dict[str, str] = {}
    todo = iter([row for row in rows if row.id not in done])

    async def work(keep: Callable[[str], None], step: Callable[[], None]) -> None:
        for row in todo:
            try:
                made = await _answered(ask, row)
            except Exception as error:  # noqa: BLE001  told as failed; the others go on
                failed[row.id] = redact(f"{type(error).__name__}: {error}")
            else:
                keep(made.model_dump_json())
                done[row.id] = made
            step()

    async def all_of_them() -> None:
        with _bar(progress, len(rows), len(done)) as step, journal.appending() as keep:
            async with asyncio.TaskGroup() as group:
                for _ in range(max(1, concurrency)):
                    group.create_task(work(keep, step))

    _run_async(all_of_them)
    if not done:
        raise ConfigurationError(f"all {len(failed)} samples failed; the first: {next(iter(failed.values()))}")
    return done, failed


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


async def _answered(ask: Callable[[Sample], Awaitable[Any]], row: Sample) -> Sample:
    begun = time.perf_counter()
    output = await ask(row)
    fields: dict[str, Any] = {"latency_s": time.perf_counter() - begun}
    match output:
        case Tale():
            fields |= {"tale": output, "output": output.released_text}
        case BaseMessage():
            fields["output"] = output.text
        case str() | None:
            fields["output"] = output
        case _:
            raise ConfigurationError(f"the system gave a {type(output).__name__}; taken: text, a message, a Tale.")
    return row.model_copy(update=fields)


def _measured(
    plan: Mapping[str, Any],
    samples: Sequence[Sample],
    failed: Mapping[str, str],
    metrics: Iterable[Metric],
    journal: Journal,
) -> Evaluation:
    found = {}
    for metric in metrics:
        rows = metric.measure(samples)
        found[metric.name] = Measured(
            score=score(metric, rows, resamples=plan["resamples"], seed=plan["seed"]),
            values=tuple(metric.value(row) for row in rows),
            statistics=tuple(tuple(map(float, row)) for row in rows),
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
