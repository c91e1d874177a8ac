"""Run planned evaluations: journals, measurements, files, and one MLflow run each."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from taleward.core.errors import ConfigurationError
from taleward.evaluation.flakiness import measure_repeats, repeat_id
from taleward.evaluation.journal import journal_lock, open_journal
from taleward.evaluation.metrics import Metric
from taleward.evaluation.report.html import write_files
from taleward.evaluation.result import Evaluation, MetricResult
from taleward.evaluation.run_samples import EvaluationBudget, SystemRun, run_samples
from taleward.evaluation.sample import Sample
from taleward.evaluation.tracking.runs import upload, upload_pending

RunSample = Callable[[Any], Awaitable[Sample]]
"""Runs a system on a sample, and returns the sample with its output."""


def make_plan(
    *,
    name: str,
    params: Mapping[str, str],
    metrics: Iterable[Metric],
    dataset: tuple[str, str],
    data: str,
    total: int,
    repeat: int,
    uri: str,
    experiment: str,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return the plan of an evaluation: all that decides its result, and nothing else. Equal plans share a journal.

    Args:
        name: The name of the run.
        params: Its parameters.
        metrics: The metrics.
        dataset: The name of the dataset and its SHA-256 in hexadecimal.
        data: The SHA-256 of everything that the samples give to the system and the metrics.
        total: The number of samples.
        repeat: How often each sample is run.
        uri: The MLflow tracking URI.
        experiment: The name of the MLflow experiment.
        resamples: The number of bootstrap resamples.
        seed: Seed of the resamples.
    """
    return {
        "name": name,
        "params": dict(params),
        "metrics": {metric.name: metric.signature for metric in metrics},
        "dataset": dataset[0],
        "data": data,
        "dataset_sha256": dataset[1],
        "total": total,
        "repeat": repeat,
        "uri": uri,
        "experiment": experiment,
        "resamples": resamples,
        "seed": seed,
        "taleward": version("taleward"),
    }


def run_evaluations(
    prepared: Sequence[tuple[Mapping[str, Any], RunSample]],
    samples: Sequence[Sample],
    metrics: Sequence[Metric],
    *,
    budget: EvaluationBudget,
    concurrency: int,
    resume: bool,
    progress: bool,
    spool: Path,
    sample_type: type[Sample] = Sample,
    write: Callable[[Evaluation, Path], None] = write_files,
) -> tuple[Evaluation, ...]:
    """Run planned evaluations, and record each as an MLflow run, see `evaluate`.

    Args:
        prepared: Plans with the same samples and store, from `make_plan`, and what runs their systems.
        samples: The samples.
        metrics: The metrics.
        budget: What may be used.
        concurrency: How many samples run at once.
        resume: Whether to continue killed evaluations.
        progress: Whether to show a progress bar.
        spool: The folder of all journals.
        sample_type: The type of the samples.
        write: Writes the files of a finished evaluation's run into a folder.
    """
    repeat = int(prepared[0][0]["repeat"])
    all_samples = _with_repeats(samples, repeat)
    # What was measured alone, or next to other systems, was not measured next to these.
    together = [[plan["name"], plan["params"]] for plan, _ in prepared] if len(prepared) > 1 else []
    plans = [{**plan, "side_by_side": together} for plan, _ in prepared]
    runs = [
        SystemRun(plan, run_system, open_journal(spool, plan, resume=resume), sample_type)
        for plan, (_, run_system) in zip(plans, prepared, strict=True)
    ]
    with ExitStack() as locks:
        for run in runs:
            locks.enter_context(journal_lock(run.journal))
        locks.enter_context(_note_of_what_is_kept(runs, len(all_samples)))
        unfinished = [run for run in runs if not run.journal.finished]
        stopped = None
        if unfinished:
            stopped = run_samples(
                unfinished,
                all_samples,
                metrics,
                concurrency=concurrency,
                budget=budget,
                progress=progress,
            )
        side_by_side = _group_id(runs) if together else None
        evaluations = []
        for run in runs:
            if run.journal.finished:
                evaluation = Evaluation.model_validate(run.journal.result)
            else:
                evaluation = _measure(run, samples, repeat, metrics, stopped, side_by_side)
                if not evaluation.missing:
                    write(evaluation, run.journal.files)
                    run.journal.finish(evaluation.model_dump(mode="json"))
            evaluations.append(evaluation)
        # A partial evaluation stays in its journal, so that it can go on.
        uploaded = tuple(
            evaluation if evaluation.missing else upload(run.journal, evaluation)
            for run, evaluation in zip(runs, evaluations, strict=True)
        )
    if any(evaluation.run_id is not None for evaluation in uploaded):
        # The store can be reached, so upload what it missed before.
        upload_pending(spool, runs[0].plan["uri"])
    return uploaded


def _with_repeats(samples: Sequence[Sample], repeat: int) -> list[Sample]:
    """Return all samples, then those of each further repeat under ids of their own."""
    repeated = [
        sample if number == 1 else sample.model_copy(update={"id": repeat_id(sample.id, number)})
        for number in range(1, repeat + 1)
        for sample in samples
    ]
    ids = {sample.id for sample in samples}
    taken = next((sample.id for sample in repeated[len(samples) :] if sample.id in ids), None)
    if taken is not None:
        raise ConfigurationError(f"the id {taken!r} of a sample is that of a repeat.", hint="Give it another id.")
    return repeated


def _group_id(runs: Sequence[SystemRun]) -> str:
    """Return an id of evaluations that are run together, the same if they are resumed."""
    return hashlib.sha256(" ".join(run.journal.plan["id"] for run in runs).encode()).hexdigest()[:16]


@contextmanager
def _note_of_what_is_kept(runs: Sequence[SystemRun], total: int) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        kept = sum(len(run.journal.samples(lambda row: row)) for run in runs)
        folders = ", ".join(str(run.journal.folder) for run in runs)
        interrupt.add_note(
            f"{kept} of {total * len(runs)} samples are finished and kept in {folders}; the same call goes on from "
            "there, and resume=False starts again."
        )
        raise


def _measure(
    run: SystemRun,
    samples: Sequence[Sample],
    repeat: int,
    metrics: Iterable[Metric],
    stopped: str | None,
    side_by_side: str | None,
) -> Evaluation:
    import numpy as np

    if not run.finished:
        if run.failed:
            raise ConfigurationError(
                f"all {len(run.failed)} samples failed; the first: {next(iter(run.failed.values()))}"
            )
        raise ConfigurationError(f"no sample was finished: {stopped}.", hint="Raise the limit.")
    runs: list[dict[str, Sample]] = []
    for number in range(1, repeat + 1):
        outputs = {}
        for sample in samples:
            run_id = repeat_id(sample.id, number)
            if run_id in run.finished:
                outputs[sample.id] = run.finished[run_id]
            elif run_id in run.failed:
                outputs[sample.id] = sample.model_copy(update={"id": run_id, "error": run.failed[run_id]})
        runs.append(outputs)
    ids = [sample.id for sample in samples if any(sample.id in outputs for outputs in runs)]
    results = {}
    for metric in metrics:
        rows, values_by_run, flakiness = measure_repeats(metric, ids, runs)
        results[metric.name] = MetricResult(
            score=metric.score_rows(rows, resamples=run.plan["resamples"], seed=run.plan["seed"]),
            values=tuple(metric.sample_value(row) for row in rows),
            statistics=tuple(tuple(row.tolist()) if np.isfinite(row).all() else () for row in rows),
            repeated=tuple(value for values in values_by_run for value in values) if repeat > 1 else (),
            flakiness=flakiness if repeat > 1 else None,
        )
    missing = [sample.id for sample in samples if not all(sample.id in outputs for outputs in runs)]
    return Evaluation.model_validate(
        {
            "name": run.plan["name"],
            "params": run.plan["params"],
            "data": run.plan["data"],
            "dataset": f"{run.plan['dataset']}@{run.plan['dataset_sha256'][:12]}",
            "ids": ids,
            "metrics": results,
            "failed": run.failed,
            "repeat": repeat,
            "missing": missing,
            "stopped": stopped if missing else None,
            "side_by_side": side_by_side,
            # The plan is as old as the evaluation, even if it was killed and resumed.
            "started_at": datetime.fromtimestamp((run.journal.folder / "plan.json").stat().st_mtime, UTC),
            "finished_at": datetime.now(UTC),
            "samples": [outputs[sample_id] for outputs in runs for sample_id in ids if sample_id in outputs],
        }
    )
