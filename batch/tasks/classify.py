"""`classify`: the label of a text in each row."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic import Field

from taleward.batch.sources.base import BatchRow
from taleward.batch.tasks.base import BatchTask, RowResult, RowSeeds, TaskRunner, failed_row, text_of
from taleward.batch.tasks.row_results import row_result
from taleward.chains.classification.few_shot import FewShotClassifier
from taleward.chains.classification.label_chain import LabelChain
from taleward.chains.classification.zero_shot import ZeroShotClassifier
from taleward.chains.task_definitions import LabelTask, resolve_label_task
from taleward.core.errors import ConfigurationError


class ClassifyTask(BatchTask):
    """Classify the text in each row, all texts of a chunk together.

    Attributes:
        model: Spec of embeddings, an NLI model or a chat model.
        labels: Your own labels, instead of a task.
        task: A `LabelTask`, or the name or path of one.
        few_shot: Whether to show the model the task's examples.
        multi_label: Whether several labels may apply.
        threshold: The lowest score of a label, from 0 to 1.
        column: The column of the text.
        base_url: The server of an `openai:` model.
    """

    name: ClassVar[str] = "classify"
    spec_fields: ClassVar[tuple[str, ...]] = ("model",)

    model: str = "embedded:minilm"
    labels: tuple[str, ...] = ()
    task: LabelTask | str | None = None
    few_shot: bool = False
    multi_label: bool = False
    threshold: float | None = Field(default=None, ge=0, le=1)
    column: str = "text"
    base_url: str | None = None

    def resolved(self) -> Self:
        """Return the task with its label task in place of a name.

        Raises:
            ConfigurationError: If there are neither labels nor a task, or the options contradict each other.
        """
        if self.few_shot and self.multi_label:
            raise ConfigurationError(
                "multi_label and few_shot cannot be combined, because an example has one label.",
                hint="Leave out one of them.",
            )
        task = resolve_label_task(self.labels or None, self.task, None)
        return self.model_copy(update={"labels": (), "task": task})

    def needed_columns(self) -> Sequence[str]:
        """Return the column of the text."""
        return (self.column,)

    def load(self) -> TaskRunner:
        """Load the classifier."""
        return _ClassifyRunner(self)


class _ClassifyRunner:
    def __init__(self, task: ClassifyTask) -> None:
        options: dict[str, Any] = {"task": task.task, "threshold": task.threshold}
        if task.base_url:
            options["base_url"] = task.base_url
        self._chain: LabelChain
        if task.few_shot:
            self._chain = FewShotClassifier(task.model, task.labels or None, **options)
        else:
            labels = task.labels or None
            self._chain = ZeroShotClassifier(task.model, labels, multi_label=task.multi_label, **options)
        self._column = task.column

    def run(self, rows: Sequence[BatchRow], seeds: RowSeeds) -> list[RowResult]:
        texts: list[str] = []
        results: list[RowResult | None] = []
        for row in rows:
            try:
                texts.append(text_of(row, self._column))
                results.append(None)
            except ValueError as error:
                results.append(failed_row(error))
        started_s = time.perf_counter()
        outputs: Any = iter(self._chain.batch(texts, return_exceptions=True) if texts else ())
        seconds = (time.perf_counter() - started_s) / max(1, len(texts))
        return [result or self._result(next(outputs), seconds) for result in results]

    def _result(self, output: Any, seconds: float) -> RowResult:
        return failed_row(output, seconds) if isinstance(output, Exception) else row_result(output, seconds)
