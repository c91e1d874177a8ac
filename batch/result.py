"""BatchResult: what a batch has finished, and how it went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from taleward.batch.chunks import ChunkSummary
from taleward.batch.ledger import Ledger
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel

if TYPE_CHECKING:
    from pyarrow import Table


class BatchResult(FrozenModel):
    """The state of a batch after a call.

    Attributes:
        out: The folder of the batch.
        task: The name of the task.
        rows: The rows of the source.
        finished: Rows that have a result, those with an error included.
        outcomes: Finished rows by outcome.
        error_types: Rows with an error, by the error's class.
        cost_usd: What all finished rows cost in US dollars, where it is known; `None` if it is known of none.
        tokens: Generated tokens of all finished rows.
        scores: For the task `evaluate`, the corpus value of each metric.
        chunks: The number of chunks.
        chunks_run: The chunks that this call ran; 0 if all was done before.
        rows_run: The rows that this call ran.
        seconds: Seconds that this call took.
        stopped: Why not all rows were run, in words; `None` if they were.
        merged: The file with all results, if one was written.
        errors_file: The file with the errors, if one was written.
        run_id: The MLflow run; `None` if nothing was recorded.
        not_recorded: Why MLflow has no run although it should; `None` otherwise.
    """

    out: str
    task: str
    rows: int = Field(ge=0)
    finished: int = Field(ge=0)
    outcomes: FrozenMapping[str, int] = FrozenDict()
    error_types: FrozenMapping[str, int] = FrozenDict()
    cost_usd: float | None = None
    tokens: int = 0
    scores: FrozenMapping[str, float] = FrozenDict()
    chunks: int = 0
    chunks_run: int = 0
    rows_run: int = 0
    seconds: float = 0.0
    stopped: str | None = None
    merged: str | None = None
    errors_file: str | None = None
    run_id: str | None = None
    not_recorded: str | None = None

    @property
    def partial(self) -> bool:
        """Whether rows are missing; the same call goes on with them."""
        return self.finished < self.rows

    @property
    def errors(self) -> int:
        """Rows with an error."""
        return sum(self.error_types.values())

    def tables(self) -> Iterator[Table]:
        """Yield the results as Arrow tables, chunk by chunk in the order of the source."""
        yield from Ledger.open(self.out).tables()


def batch_result(ledger: Ledger, *, ran: Iterable[ChunkSummary], seconds: float, stopped: str | None) -> BatchResult:
    """Add up the chunks of a ledger.

    Args:
        ledger: The ledger.
        ran: The chunks that this call ran.
        seconds: Seconds that this call took.
        stopped: What is used up, if not all chunks were run.
    """
    outcomes: Counter[str] = Counter()
    error_types: Counter[str] = Counter()
    cost, known, tokens, totals = 0.0, False, 0, dict[str, tuple[float, ...]]()
    for summary in ledger.summaries.values():
        outcomes.update(summary.outcomes)
        error_types.update(summary.error_types)
        cost, tokens = cost + summary.cost_usd, tokens + summary.tokens
        known = known or summary.unknown_costs + summary.errors < summary.rows
        for name, values in summary.totals.items():
            before = totals.get(name, (0.0,) * len(values))
            totals[name] = tuple(a + b for a, b in zip(before, values, strict=True))
    manifest, ran = ledger.manifest, list(ran)
    return BatchResult(
        out=str(ledger.folder),
        task=manifest.task,
        rows=manifest.rows,
        finished=sum(summary.rows for summary in ledger.summaries.values()),
        outcomes=FrozenDict(dict(outcomes.most_common())),
        error_types=FrozenDict(dict(error_types.most_common())),
        cost_usd=cost if known else None,
        tokens=tokens,
        scores=FrozenDict(_scores(manifest.settings.get("metrics"), totals)),
        chunks=manifest.chunks,
        chunks_run=len(ran),
        rows_run=sum(summary.rows for summary in ran),
        seconds=seconds,
        stopped=stopped,
    )


def _scores(metrics: Iterable[str] | None, totals: Mapping[str, tuple[float, ...]]) -> dict[str, float]:
    if not totals:
        return {}
    from taleward.batch.tasks.evaluate import corpus_scores

    return corpus_scores(tuple(metrics or ()), totals)
