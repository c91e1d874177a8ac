"""Show how far a batch is: rows, rate, outcomes, errors and the time left."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from taleward.batch.chunks import ChunkSummary

_SHOWN_OUTCOMES = 4


@contextmanager
def batch_progress(
    enabled: bool, total: int, finished: Iterable[ChunkSummary]
) -> Iterator[tuple[Callable[[ChunkSummary], None], Callable[[str], None]]]:
    """Show a progress bar on standard error if it is a terminal.

    Args:
        enabled: Whether to show it.
        total: The rows of the batch.
        finished: The chunks that were finished before.

    Yields:
        A function that takes the counts of a chunk, and one that takes what the batch is doing.
    """
    if not (enabled and sys.stderr.isatty()):
        yield lambda _: None, lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    outcomes: Counter[str] = Counter()
    for summary in finished:
        outcomes.update(summary.outcomes)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[outcomes]}"),
    )
    started_s: float | None = None
    count = 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        done = sum(outcomes.values())
        shown = bar.add_task("starting", total=total, completed=done, rate="", outcomes=_counts(outcomes))

        def advance(summary: ChunkSummary) -> None:
            nonlocal count, started_s
            if started_s is None:  # what the models took to load is no part of the rate
                started_s = time.monotonic() - summary.seconds
            count += summary.rows
            outcomes.update(summary.outcomes)
            rate = f"{count / max(time.monotonic() - started_s, 1e-9):,.1f} rows/s"
            bar.update(shown, advance=summary.rows, description="running", rate=rate, outcomes=_counts(outcomes))

        yield advance, lambda activity: bar.update(shown, description=activity)


def _counts(outcomes: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in outcomes.most_common(_SHOWN_OUTCOMES))
