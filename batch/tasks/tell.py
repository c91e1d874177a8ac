"""`tell`: write and judge a tale for each row; only what passes is released."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic import Field

from taleward.batch.sources.base import BatchRow
from taleward.batch.tasks.base import RowResult, RowSeeds, TaskRunner, for_each
from taleward.batch.tasks.judging import HOSTED_CONCURRENCY, JudgingTask
from taleward.batch.tasks.row_results import row_result
from taleward.chains.story import StoryChain, StoryInput
from taleward.chains.template import Template, load_template
from taleward.core.errors import InvalidInputs


class TellTask(JudgingTask):
    """Write and judge a tale for each row.

    A row has a request in free words, or the values of the template's variables in columns of their names; other
    columns are not read.

    Attributes:
        model: Spec of the writer.
        template: A template, or the name of one.
        templates: Folder with your own templates.
        attempts: Drafts at most.
        best_of: Drafts that compete; 1 for none.
        timeout_s: Time limit for a row, in seconds.
        request_column: The column of the request.
    """

    name: ClassVar[str] = "tell"
    spec_fields: ClassVar[tuple[str, ...]] = ("model", "judge")
    execution_fields: ClassVar[frozenset[str]] = frozenset({"concurrency", "templates"})

    model: str = "embedded:storyteller"
    template: Template | str = "adventure"
    templates: str | None = None
    attempts: int = Field(default=3, ge=1)
    best_of: int = Field(default=1, ge=1)
    timeout_s: float = Field(default=120.0, gt=0)
    request_column: str = "request"

    def resolved(self) -> Self:
        """Return the task with its policy, calibration and template in place of their names."""
        return super().resolved().model_copy(update={"template": load_template(self.template, self.templates)})

    def load(self) -> TaskRunner:
        """Load the writer and the judge."""
        return _TellRunner(self)


class _TellRunner:
    def __init__(self, task: TellTask) -> None:
        from taleward.backends.capabilities import capabilities
        from taleward.moderation.guard.best_of import BestOf
        from taleward.moderation.guard.guard import Guard

        options: dict[str, Any] = {"base_url": task.base_url} if task.base_url else {}
        self._writer = StoryChain(
            task.model, task.template, templates=task.templates, policy=task.policy, band=task.band, **options
        )
        judge = task.make_judge()
        self._guard: Guard
        if task.best_of > 1:
            self._guard = BestOf(self._writer, judge, candidates=task.best_of, timeout_s=task.timeout_s)
        else:
            self._guard = Guard(self._writer, judge, attempts=task.attempts, timeout_s=task.timeout_s)
        self._runs_here = capabilities(self._writer.model).decisions
        self._request_column = task.request_column
        # A local writer decodes the tales of several threads in one batch.
        self._concurrency = task.concurrency or HOSTED_CONCURRENCY

    def run(self, rows: Sequence[BatchRow], seeds: RowSeeds) -> list[RowResult]:
        def tell(row: BatchRow) -> RowResult:
            writer = copy.copy(self._writer)
            if self._runs_here or seeds.job_seed is not None:
                writer.seed = seeds.of(row.id)
            return row_result(self._guard.with_writer(writer).invoke(self._input(row)))

        return for_each(rows, tell, concurrency=self._concurrency)

    def _input(self, row: BatchRow) -> StoryInput:
        request = row.values.get(self._request_column)
        if request is not None and not isinstance(request, str):
            raise InvalidInputs(None, [f"{self._request_column} is a {type(request).__name__}; expected a text"])
        if request is not None:
            return request
        variables = self._writer.template.variables
        values = {name: row.values[name] for name in variables if row.values.get(name) is not None}
        if not values:
            raise InvalidInputs(
                None,
                [f"there is neither a text in {self._request_column!r} nor a value of {', '.join(variables)}"],
                hint="In an OpenAI batch file, a chat has one user message and nothing else.",
            )
        return values
