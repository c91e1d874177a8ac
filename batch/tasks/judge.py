"""`judge`: judge a text in each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from taleward.batch.sources.base import BatchRow
from taleward.batch.tasks.base import RowResult, RowSeeds, TaskRunner, for_each, text_of
from taleward.batch.tasks.judging import JudgingTask
from taleward.batch.tasks.row_results import row_result


class JudgeTask(JudgingTask):
    """Judge the text in each row; the outcome is that of the verdict.

    Attributes:
        column: The column of the text.
    """

    name: ClassVar[str] = "judge"
    spec_fields: ClassVar[tuple[str, ...]] = ("judge",)

    column: str = "text"

    def needed_columns(self) -> Sequence[str]:
        """Return the column of the text."""
        return (self.column,)

    def load(self) -> TaskRunner:
        """Load the judge."""
        return _JudgeRunner(self)


class _JudgeRunner:
    def __init__(self, task: JudgeTask) -> None:
        self._judge, self._column = task.make_judge(), task.column
        self._concurrency = task.rows_at_once()

    def run(self, rows: Sequence[BatchRow], seeds: RowSeeds) -> list[RowResult]:
        def judge(row: BatchRow) -> RowResult:
            return row_result(self._judge.invoke(text_of(row, self._column)))

        return for_each(rows, judge, concurrency=self._concurrency)
