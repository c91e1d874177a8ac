"""A Runnable or a function of this process, for batches without worker processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from langchain_core.runnables import Runnable
from pydantic import ConfigDict

from taleward.batch.tasks.base import BatchTask, TaskRunner
from taleward.batch.tasks.function import CallRunner
from taleward.evaluation.describe import describe_system
from taleward.moderation.judges.base import Judge


class LiveTask(BatchTask):
    """Call a Runnable or a function of this process with each row; it cannot be sent to workers.

    Attributes:
        system: The Runnable or function. A judge gets the text, and everything else a mapping of the row's values.
        column: The column of a judge's text, and of anything else that takes one text; `None` for all values.
        concurrency: Rows under way at the same time.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)
    name: ClassVar[str] = "live"

    system: Any
    column: str | None = None
    concurrency: int = 1

    def fingerprint(self) -> dict[str, str]:
        """Return the settings of the Runnable as far as they are known."""
        return {"task": self.name, "column": str(self.column), **describe_system(self.system)}

    def load(self) -> TaskRunner:
        """Return the runner; the models are loaded already, or on first use."""
        call: Callable[[Any], Any] = self.system.invoke if isinstance(self.system, Runnable) else self.system
        column = self.column or ("text" if isinstance(self.system, Judge) else None)
        if column is None:
            return CallRunner(call, self.concurrency)
        return CallRunner(lambda values: call(values[column]), self.concurrency)
