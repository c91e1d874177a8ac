"""`summarize`: summarize a text in each row, and release the summary only if it passes the judge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic import Field

from taleward.batch.sources.base import BatchRow
from taleward.batch.tasks.base import RowResult, RowSeeds, TaskRunner, for_each, text_of
from taleward.batch.tasks.judging import JudgingTask
from taleward.batch.tasks.row_results import row_result
from taleward.chains.summarization.guard import SummaryGuard
from taleward.chains.summarization.summarizer import Summarizer
from taleward.chains.task_definitions import SummaryTask, load_task


class SummarizeTask(JudgingTask):
    """Summarize the text in each row.

    Attributes:
        model: Spec of embeddings, an encoder-decoder model or a chat model.
        task: A `SummaryTask`, or the name or path of one.
        sentences: Maximum number of sentences; `None` for the task's.
        column: The column of the text.
    """

    name: ClassVar[str] = "summarize"
    spec_fields: ClassVar[tuple[str, ...]] = ("model", "judge")

    model: str = "embedded:minilm"
    task: SummaryTask | str = "summary"
    sentences: int | None = Field(default=None, ge=1)
    column: str = "text"

    def resolved(self) -> Self:
        """Return the task with its policy, calibration and summary task in place of their names."""
        return super().resolved().model_copy(update={"task": load_task(SummaryTask, self.task)})

    def needed_columns(self) -> Sequence[str]:
        """Return the column of the text."""
        return (self.column,)

    def load(self) -> TaskRunner:
        """Load the summarizer and the judge."""
        return _SummarizeRunner(self)


class _SummarizeRunner:
    def __init__(self, task: SummarizeTask) -> None:
        options: dict[str, Any] = (
            {"base_url": task.base_url} if task.base_url and task.model.startswith("openai:") else {}
        )
        summarizer = Summarizer(task.model, task.task, sentences=task.sentences, **options)
        self._guard, self._column = SummaryGuard(summarizer, task.make_judge()), task.column
        self._concurrency = task.rows_at_once(task.model)

    def run(self, rows: Sequence[BatchRow], seeds: RowSeeds) -> list[RowResult]:
        def summarize(row: BatchRow) -> RowResult:
            started_s = time.perf_counter()
            summary = self._guard.invoke(text_of(row, self._column))
            return row_result(summary, time.perf_counter() - started_s)

        return for_each(rows, summarize, concurrency=self._concurrency)
