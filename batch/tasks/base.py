"""What all tasks share: a frozen configuration from which a worker builds the models, and the result of a row."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from pydantic import BaseModel

from taleward.batch.sources.base import BatchRow
from taleward.batch.weights import weights_digest
from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Policy
from taleward.core.redaction import format_error
from taleward.core.yaml_files import did_you_mean

_SHORT = 12


@dataclass(frozen=True, slots=True)
class RowSeeds:
    """Seeds that depend on a row's id and never on its position, so that chunks can be of any size.

    Attributes:
        job_seed: The seed of the batch; `None` if none was given, which is 0 for models that run here, and no seed for
            others.
    """

    job_seed: int | None

    def of(self, row_id: str) -> int:
        """Return the seed of a row, from 0 to 2**31 - 1."""
        from xxhash import xxh3_64_intdigest

        key = f"{self.job_seed or 0}:{row_id}".encode("utf-8", "surrogatepass")
        return xxh3_64_intdigest(key) & 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of a row.

    Attributes:
        outcome: One word for counts, such as `released`, `pass` or `done`; `error` if there is an error.
        text: The text that was released.
        label: The label of a classification.
        categories: The categories of the findings.
        result: The whole result as JSON.
        vector: The embedding, if the task makes one.
        error_type: The class of the exception; `None` if all went well.
        error: What went wrong, without secrets.
        seconds: Seconds spent on the row.
        cost_usd: Cost in US dollars; `None` if unknown.
        tokens: Generated tokens; `None` if unknown.
        statistics: Numbers that are added up over all rows, by name, as JSON.
    """

    outcome: str
    text: str | None = None
    label: str | None = None
    categories: tuple[str, ...] = ()
    result: str | None = None
    vector: Any = None
    error_type: str | None = None
    error: str | None = None
    seconds: float | None = None
    cost_usd: float | None = None
    tokens: int | None = None
    statistics: str | None = None


def failed_row(error: BaseException, seconds: float | None = None) -> RowResult:
    """Return the result of a row whose task raised."""
    name = type(error).__name__
    message = format_error(error).removeprefix(f"{name}: ")
    return RowResult("error", error_type=name, error=message, seconds=seconds)


class TaskRunner(Protocol):
    """A task with its models loaded."""

    def run(self, rows: Sequence[BatchRow], seeds: RowSeeds) -> list[RowResult]:
        """Return a result for each row, in their order. A row that fails has a result that says so."""


class BatchTask(FrozenModel, ABC):
    """What a batch does with each row: plain data, from which each worker builds its own models.

    Attributes:
        name: The task's name, see `TASKS`.
        extra_columns: Columns of the results beside those of all tasks, with their Arrow types.
    """

    name: ClassVar[str]
    extra_columns: ClassVar[Mapping[str, str]] = {}
    execution_fields: ClassVar[frozenset[str]] = frozenset({"concurrency"})
    """Fields that do not change results."""
    spec_fields: ClassVar[tuple[str, ...]] = ()
    """Fields with model specs."""

    def resolved(self) -> Self:
        """Return the task with the content of files in place of their names, for workers on other machines.

        Raises:
            ConfigurationError: If a policy, a template or another name is unknown or invalid.
        """
        return self

    @abstractmethod
    def load(self) -> TaskRunner:
        """Load the models.

        Raises:
            TalewardError: If they cannot be loaded.
        """

    def needed_columns(self) -> Sequence[str]:
        """Return the columns without which no row can be done."""
        return ()

    def fingerprint(self) -> dict[str, str]:
        """Return all that decides the results, by name: settings, versions and digests.

        Call it on a `resolved` task.
        """
        parts = {"task": self.name}
        for name in type(self).model_fields:
            if name not in self.execution_fields:
                parts[name] = _described(getattr(self, name))
        for name in self.spec_fields:
            value = getattr(self, name)
            digests = [weights_digest(spec) for spec in ([value] if isinstance(value, str) else value or ())]
            if any(digests):
                parts[f"{name} weights"] = ", ".join(digest or "-" for digest in digests)
        return parts


def _described(value: Any) -> str:
    """Return a setting in a few characters that change when it does."""
    if isinstance(value, BaseModel):
        content = value.model_dump_json()
        identity = value.id if isinstance(value, Policy) else f"{getattr(value, 'name', type(value).__name__)}"
        version = getattr(value, "version", "")
        label = identity if isinstance(value, Policy) or not version else f"{identity}@{version}"
        return f"{label} {hashlib.sha256(content.encode('utf-8', 'surrogatepass')).hexdigest()[:_SHORT]}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)


def text_of(row: BatchRow, column: str) -> str:
    """Return the text of a row.

    Raises:
        ValueError: If the row has none; the message quotes nothing of the row.
    """
    value = row.values.get(column)
    if isinstance(value, str):
        return value
    problem = "is missing" if value is None else f"is a {type(value).__name__}"
    hint = did_you_mean(column, [name for name in row.values if name != column]) if column not in row.values else ""
    raise ValueError(f"the text in the column {column!r} {problem}{f';{hint}' if hint else '.'}")


def for_each(
    rows: Sequence[BatchRow], work: Callable[[BatchRow], RowResult], *, concurrency: int = 1
) -> list[RowResult]:
    """Run a function on each row, and turn every exception into a result that says so."""

    def run(row: BatchRow) -> RowResult:
        try:
            return work(row)
        except Exception as error:  # noqa: BLE001  reported as the row's error; the other rows go on
            return failed_row(error)

    if concurrency == 1 or len(rows) == 1:
        return [run(row) for row in rows]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(concurrency, len(rows)), thread_name_prefix="taleward-rows") as pool:
        return list(pool.map(run, rows))
