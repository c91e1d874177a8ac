"""Run systems on samples: concurrently, side by side, within a budget, and with every finished sample on disk."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from taleward.core.errors import ConfigurationError
from taleward.core.redaction import format_error
from taleward.evaluation.journal import Journal
from taleward.evaluation.metrics.base import Metric
from taleward.evaluation.sample import Sample


@dataclass
class SystemRun:
    """A system on its way through the samples.

    Attributes:
        plan: What is evaluated, and how.
        run: Runs the system on a sample and returns it with its output.
        journal: Where finished samples are kept.
        sample_type: The type of the samples.
        finished: The finished samples by id, those of an earlier process included.
        failed: The error messages of the other samples that were run, by id.
    """

    plan: Mapping[str, Any]
    run: Callable[[Any], Awaitable[Sample]]
    journal: Journal
    sample_type: type[Sample] = Sample
    finished: dict[str, Sample] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class EvaluationBudget:
    """What one call may use; what earlier calls used for the same evaluation does not count.

    Attributes:
        max_cost_usd: US dollars; `None` for no limit.
        max_seconds: Seconds; `None` for no limit.
        spent_usd: The costs of the samples that were finished so far.
        started_s: When the first sample started, in seconds of `time.monotonic`.
    """

    max_cost_usd: float | None = None
    max_seconds: float | None = None
    spent_usd: float = 0.0
    started_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_cost_usd", "max_seconds"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ConfigurationError(f"{name} must be above 0; got {limit}.")

    @property
    def used_up(self) -> str | None:
        """What is used up, in words; `None` if nothing is."""
        if self.max_cost_usd is not None and self.spent_usd >= self.max_cost_usd:
            return f"the limit of {self.max_cost_usd:g} USD is reached ({self.spent_usd:.4g} USD spent)"
        if self.max_seconds is not None and time.monotonic() - self.started_s >= self.max_seconds:
            return f"the limit of {self.max_seconds:g} seconds is reached"
        return None

    def spend(self, sample: Sample) -> None:
        """Add the cost of a finished sample.

        Raises:
            ConfigurationError: If there is a limit on costs, but the sample's cost is unknown.
        """
        if sample.cost_usd is not None:
            self.spent_usd += sample.cost_usd
        elif self.max_cost_usd is not None:
            raise ConfigurationError(
                f"the cost of sample {sample.id!r} is unknown, so that a limit on costs cannot be kept.",
                hint="Give the model's price with price_usd=..., or leave the limit out; local models have no price.",
            )


def run_samples(
    runs: Sequence[SystemRun],
    samples: Sequence[Sample],
    metrics: Sequence[Metric],
    *,
    concurrency: int,
    budget: EvaluationBudget,
    progress: bool,
) -> str | None:
    """Run each system on the samples that its journal lacks, one sample with all systems after the other.

    The systems take turns in going first, so that none of them always finds a warm cache or a busy machine.

    Returns:
        What is used up, if the samples could not all be run within the budget.

    Raises:
        ConfigurationError: If a metric cannot measure the first output, or a limit on costs cannot be kept.
    """
    for run in runs:
        run.finished.update(run.journal.samples(run.sample_type.model_validate))
    budget.started_s = time.monotonic()
    # All workers take from one iterator, so that each sample runs once.
    remaining = iter(list(enumerate(samples)))
    stopped: list[str] = []
    problems: list[ConfigurationError] = []

    async def run_one(run: SystemRun, sample: Sample, append: Callable[[str], None]) -> None:
        try:
            output = await run.run(sample)
        except Exception as error:  # noqa: BLE001  reported as failed; the other samples go on
            run.failed[sample.id] = format_error(error)
            return
        append(output.model_dump_json())
        if not run.finished:  # fail at the first output, not when all of them are paid for
            problems.extend(_unmet_needs(output, metrics))
        run.finished[sample.id] = output
        try:
            budget.spend(output)
        except ConfigurationError as error:
            problems.append(error)

    async def worker(appends: Sequence[Callable[[str], None]], advance: Callable[[], None]) -> None:
        for number, sample in remaining:
            for turn in range(len(runs)):
                position = (number + turn) % len(runs)
                if sample.id in runs[position].finished:
                    continue
                if problems:
                    return
                if reason := budget.used_up:
                    stopped.append(reason)
                    return
                await run_one(runs[position], sample, appends[position])
                advance()

    async def run_workers() -> None:
        completed = sum(len(run.finished) for run in runs)
        with ExitStack() as stack:
            advance = stack.enter_context(progress_bar(progress, len(samples) * len(runs), completed))
            appends = [stack.enter_context(run.journal.open_samples()) for run in runs]
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(concurrency):
                        group.create_task(worker(appends, advance))
            except ExceptionGroup as errors:  # several workers may have met the same full disk
                raise errors.exceptions[0] from None

    run_async(run_workers)
    if problems:
        raise problems[0]
    return stopped[0] if stopped else None


def _unmet_needs(sample: Sample, metrics: Iterable[Metric]) -> Iterator[ConfigurationError]:
    """Yield an error for each metric that cannot measure a finished sample."""
    for metric in metrics:
        try:
            metric.check([sample], metric.needs)
        except ConfigurationError as error:
            yield error


def run_async(function: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous function to its end, also if this thread runs an event loop already."""

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


@contextmanager
def progress_bar(enabled: bool, total: int, completed: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar on standard error if it is a terminal; yield a function that advances it."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    disable = not (enabled and sys.stderr.isatty())
    bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=disable)
    with bar:
        task = bar.add_task("evaluating", total=total, completed=completed)
        yield lambda: bar.update(task, advance=1)
