"""A function of your own in a module that the workers can import."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, ClassVar

from taleward.batch.sources.base import BatchRow
from taleward.batch.tasks.base import BatchTask, RowResult, RowSeeds, TaskRunner, for_each
from taleward.batch.tasks.row_results import row_result
from taleward.core.errors import ConfigurationError


class FunctionTask(BatchTask):
    """Call a function with each row's values.

    It returns whatever a Runnable of Taleward does: a text, a message, a tale, a verdict, a classification or a
    summary. What it returns is not judged.

    Attributes:
        function: `MODULE:NAME` of the function, or of a Runnable.
        version: Change it when the function does, so that a batch does not go on with another one.
        concurrency: Rows that a worker has under way.
    """

    name: ClassVar[str] = "function"

    function: str
    version: str = "1"
    concurrency: int = 1

    def resolved(self) -> FunctionTask:
        """Check that the function can be imported."""
        _import_function(self.function)
        return self

    def load(self) -> TaskRunner:
        """Import the function."""
        return CallRunner(_import_function(self.function), self.concurrency)


class CallRunner:
    """Calls a function or a Runnable with each row's values.

    Args:
        function: The function.
        concurrency: Rows under way at the same time.
    """

    def __init__(self, function: Callable[[Any], Any], concurrency: int) -> None:
        self._function, self._concurrency = function, concurrency

    def run(self, rows: Sequence[BatchRow], seeds: RowSeeds) -> list[RowResult]:
        """Return a result for each row."""

        def call(row: BatchRow) -> RowResult:
            started_s = time.perf_counter()
            output = self._function(row.values)
            return row_result(output, time.perf_counter() - started_s)

        return for_each(rows, call, concurrency=self._concurrency)


def _import_function(path: str) -> Callable[[Any], Any]:
    module, _, name = path.partition(":")
    hint = "Name it as MODULE:NAME, in a module that Python finds, such as a file in the working directory."
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"the function {path!r} cannot be imported: {error}", hint=hint) from error
    function = getattr(function, "invoke", function)
    if not callable(function):
        raise ConfigurationError(f"{path!r} is a {type(function).__name__}; expected a function.", hint=hint)
    return function  # type: ignore[no-any-return]
