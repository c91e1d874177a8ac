"""Run systems on a dataset, measure their outputs, and record each as one MLflow run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from taleward.core.errors import ConfigurationError
from taleward.evaluation.datasets import load_dataset
from taleward.evaluation.journal import DEFAULT_SPOOL
from taleward.evaluation.metrics import Metric, resolve_metrics
from taleward.evaluation.metrics.base import DATASET_NEEDS
from taleward.evaluation.result import Evaluation
from taleward.evaluation.run_evaluations import make_plan, run_evaluations
from taleward.evaluation.run_samples import EvaluationBudget
from taleward.evaluation.sample import Sample
from taleward.evaluation.system import System, dataset_sha256, prepare_system
from taleward.evaluation.tracking.runs import check_mlflow
from taleward.evaluation.tracking.tale_recorder import DEFAULT_EXPERIMENT, default_tracking_uri


def evaluate(
    system: System,
    dataset: str | Path | Iterable[Sample | Mapping[str, Any]] | Any,
    metrics: Iterable[Metric | str],
    *,
    name: str | None = None,
    params: Mapping[str, str] | None = None,
    input_key: str | None = None,
    repeat: int = 1,
    max_cost_usd: float | None = None,
    max_seconds: float | None = None,
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

    With a limit on costs or time, no sample starts once it is reached; those that run are finished. The result is then
    partial: `Evaluation.missing` lists what was not run, and MLflow gets nothing yet. The same call goes on from there,
    with the whole budget again.

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
        repeat: How often to run each sample. Scores are those of the mean of its repeats, so that repeats do not count
            as more samples; `MetricResult.flakiness` says how much they differ.
        max_cost_usd: The most US dollars to spend in this call, by the costs of finished samples.
        max_seconds: The most seconds in which this call starts samples.
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
            needs, a number is out of range, every sample failed or none was finished, or `max_cost_usd` is given but
            costs are unknown. What the dataset must provide is checked before the system runs, what the system must
            provide at its first output.
        JournalLocked: If another process is running the same evaluation.
        KeyboardInterrupt: If you interrupt it; a note says what is kept.
        MissingExtra: If MLflow is not installed.
    """
    [evaluation] = _evaluate(
        [(name, system, params or {})],
        dataset,
        metrics,
        input_key=input_key,
        repeat=repeat,
        budget=EvaluationBudget(max_cost_usd, max_seconds),
        concurrency=concurrency,
        resume=resume,
        resamples=resamples,
        seed=seed,
        progress=progress,
        tracking_uri=tracking_uri,
        experiment=experiment,
        spool=spool,
    )
    return evaluation


def evaluate_side_by_side(
    systems: Mapping[str, System],
    dataset: str | Path | Iterable[Sample | Mapping[str, Any]] | Any,
    metrics: Iterable[Metric | str],
    *,
    input_key: str | None = None,
    repeat: int = 1,
    max_cost_usd: float | None = None,
    max_seconds: float | None = None,
    concurrency: int = 8,
    resume: bool = True,
    resamples: int = 500,
    seed: int = 0,
    progress: bool = True,
    tracking_uri: str | None = None,
    experiment: str = DEFAULT_EXPERIMENT,
    spool: Path = DEFAULT_SPOOL,
) -> tuple[Evaluation, ...]:
    """Run several systems on every sample, one right after the other, so that `compare` can test their times, too.

    The systems take turns in going first on a sample. Each evaluation is an MLflow run of its own, as in `evaluate`.

    Args:
        systems: Two or more systems by the name of their run, as in `evaluate`.
        dataset: See `evaluate`.
        metrics: See `evaluate`.
        input_key: See `evaluate`; the same for all systems.
        repeat: See `evaluate`.
        max_cost_usd: The most US dollars to spend in this call, on all systems together.
        max_seconds: The most seconds in which this call starts samples.
        concurrency: How many samples run at once; the systems of a sample run one after the other.
        resume: See `evaluate`.
        resamples: See `evaluate`.
        seed: See `evaluate`.
        progress: See `evaluate`.
        tracking_uri: See `evaluate`.
        experiment: See `evaluate`.
        spool: See `evaluate`.

    Returns:
        An evaluation for each system, in the order of `systems`.

    Raises:
        ConfigurationError: If there are fewer than two systems, or for the reasons in `evaluate`.
        JournalLocked: If another process is running one of the evaluations.
        KeyboardInterrupt: If you interrupt it; a note says what is kept.
        MissingExtra: If MLflow is not installed.
    """
    if len(systems) < 2:
        raise ConfigurationError(
            f"side by side means at least two systems; got {len(systems)}.", hint="Use evaluate for one system."
        )
    return _evaluate(
        [(name, system, {}) for name, system in systems.items()],
        dataset,
        metrics,
        input_key=input_key,
        repeat=repeat,
        budget=EvaluationBudget(max_cost_usd, max_seconds),
        concurrency=concurrency,
        resume=resume,
        resamples=resamples,
        seed=seed,
        progress=progress,
        tracking_uri=tracking_uri,
        experiment=experiment,
        spool=spool,
    )


def _evaluate(
    systems: Sequence[tuple[str | None, System, Mapping[str, str]]],
    dataset: Any,
    metrics: Iterable[Metric | str],
    *,
    input_key: str | None,
    repeat: int,
    budget: EvaluationBudget,
    concurrency: int,
    resume: bool,
    resamples: int,
    seed: int,
    progress: bool,
    tracking_uri: str | None,
    experiment: str,
    spool: Path,
) -> tuple[Evaluation, ...]:
    """Evaluate systems, given with the name and further parameters of their runs."""
    check_mlflow()
    if concurrency < 1 or repeat < 1 or resamples < 0:
        raise ConfigurationError(
            "concurrency and repeat must be at least 1 and resamples at least 0; got "
            f"{concurrency}, {repeat} and {resamples}."
        )
    uri = tracking_uri or default_tracking_uri()
    loaded = load_dataset(dataset, tracking_uri=uri)
    samples, resolved_metrics = loaded.samples, resolve_metrics(metrics)
    if not samples:
        raise ConfigurationError("an evaluation needs at least one sample; the dataset is empty.")
    for metric in resolved_metrics:
        metric.check(samples, DATASET_NEEDS)
    prepared = []
    for name, system, params in systems:
        if repeat > 1 and not callable(system) and isinstance(system, Sequence):
            raise ConfigurationError(
                "a list of outputs cannot be repeated: it is the same each time.", hint="Leave repeat out."
            )
        run_system, system_params = prepare_system(system, samples, input_key)
        plan = make_plan(
            name=name or system_params["system"],
            params={**system_params, **params},
            metrics=resolved_metrics,
            dataset=(loaded.name, loaded.sha256),
            data=dataset_sha256(system, samples),
            total=len(samples),
            repeat=repeat,
            uri=uri,
            experiment=experiment,
            resamples=resamples,
            seed=seed,
        )
        prepared.append((plan, run_system))
    return run_evaluations(
        prepared,
        samples,
        resolved_metrics,
        budget=budget,
        concurrency=concurrency,
        resume=resume,
        progress=progress,
        spool=spool,
    )
