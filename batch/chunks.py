"""Chunks: what a worker gets, the file in which it commits the results, and the counts of that file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from taleward.batch.storage import BatchFolder, import_pyarrow
from taleward.batch.tasks.base import RowResult, failed_row
from taleward.core.errors import IntegrityError
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel

if TYPE_CHECKING:
    from pyarrow import RecordBatch, Table

PARTS = "parts"
"""The subfolder of the chunks' files."""

_PREFIX, _SUFFIX, _DIGITS = "part-", ".parquet", 8
_SUMMARY_KEY = b"taleward.chunk"
_BASE_COLUMNS: Mapping[str, str] = {
    "id": "text",
    "outcome": "text",
    "text": "text",
    "label": "text",
    "categories": "texts",
    "result": "text",
    "error_type": "text",
    "error": "text",
    "seconds": "number",
    "cost_usd": "number",
    "tokens": "count",
}


class Chunk(NamedTuple):
    """Rows that are committed together.

    Attributes:
        number: The chunk's number, from 0.
        data: The rows, as an Arrow IPC stream.
        only_errors: Whether only the rows are run again that have an error in the chunk's file.
    """

    number: int
    data: bytes
    only_errors: bool = False


class ChunkSummary(FrozenModel):
    """What is in the file of a chunk.

    Attributes:
        number: The chunk's number, from 0.
        rows: Its rows.
        outcomes: Rows by outcome.
        error_types: Rows with an error, by the error's class.
        cost_usd: What they cost in US dollars; rows of unknown cost are left out.
        unknown_costs: Rows of unknown cost.
        tokens: Generated tokens.
        row_seconds: The sum of the seconds spent on each row.
        seconds: Seconds from the chunk's start to its commit.
        totals: Sums of numbers by name; see `RowResult.statistics`.
        file_bytes: The size of the file; 0 in the file itself.
    """

    number: int = Field(ge=0)
    rows: int = Field(ge=0)
    outcomes: FrozenMapping[str, int] = FrozenDict()
    error_types: FrozenMapping[str, int] = FrozenDict()
    cost_usd: float = 0.0
    unknown_costs: int = 0
    tokens: int = 0
    row_seconds: float = 0.0
    seconds: float = 0.0
    totals: FrozenMapping[str, tuple[float, ...]] = FrozenDict()
    file_bytes: int = 0

    @property
    def errors(self) -> int:
        """Rows with an error."""
        return sum(self.error_types.values())


def part_name(number: int) -> str:
    """Return the name of a chunk's file in the subfolder `PARTS`."""
    return f"{_PREFIX}{number:0{_DIGITS}}{_SUFFIX}"


def part_number(name: str) -> int | None:
    """Return the number of the chunk with this file; `None` for another file."""
    digits = name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
    return int(digits) if digits.isdigit() and name == part_name(int(digits)) else None


def encode_chunk(batch: RecordBatch) -> bytes:
    """Return rows as an Arrow IPC stream."""
    pyarrow = import_pyarrow()
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decode_chunk(data: bytes) -> RecordBatch:
    """Return the rows of an Arrow IPC stream."""
    pyarrow = import_pyarrow()
    with pyarrow.ipc.open_stream(data) as reader:
        return reader.read_next_batch()


def results_schema(extra_columns: Mapping[str, str]) -> Any:
    """Return the Arrow schema of a chunk's file.

    Args:
        extra_columns: The task's own columns, see `BatchTask.extra_columns`.
    """
    pyarrow = import_pyarrow()
    types = {
        "text": pyarrow.string(),
        "texts": pyarrow.list_(pyarrow.string()),
        "number": pyarrow.float64(),
        "count": pyarrow.int64(),
        "vector": pyarrow.list_(pyarrow.float32()),
    }
    return pyarrow.schema([(name, types[kind]) for name, kind in {**_BASE_COLUMNS, **extra_columns}.items()])


def results_table(ids: Sequence[str], results: Sequence[RowResult], extra_columns: Mapping[str, str]) -> Table:
    """Return the results of rows as an Arrow table."""
    pyarrow = import_pyarrow()
    schema = results_schema(extra_columns)
    columns: list[Any] = [ids]
    columns += [[getattr(result, name) for result in results] for name in schema.names[1:]]
    arrays = [_array(pyarrow, column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pyarrow.Table.from_arrays(arrays, schema=schema)


def _array(pyarrow: Any, values: Sequence[Any], kind: Any) -> Any:
    try:
        return pyarrow.array(values, kind)
    except UnicodeEncodeError:  # a lone surrogate, which a JSON line can hold and UTF-8 cannot
        from taleward.core.surrogates import replace_surrogates

        return pyarrow.array([replace_surrogates(v) if isinstance(v, str) else v for v in values], kind)


def summarize_results(number: int, results: Sequence[RowResult], seconds: float) -> ChunkSummary:
    """Count the results of a chunk."""
    totals: dict[str, list[float]] = {}
    for result in results:
        for name, values in json.loads(result.statistics or "{}").items():
            total = totals.setdefault(name, [0.0] * len(values))
            totals[name] = [a + b for a, b in zip(total, values, strict=True)]
    return ChunkSummary(
        number=number,
        rows=len(results),
        outcomes=FrozenDict(Counter(result.outcome for result in results)),
        error_types=FrozenDict(Counter(result.error_type for result in results if result.error_type)),
        cost_usd=sum(result.cost_usd or 0.0 for result in results),
        unknown_costs=sum(result.cost_usd is None and result.error_type is None for result in results),
        tokens=sum(result.tokens or 0 for result in results),
        row_seconds=sum(result.seconds or 0.0 for result in results),
        seconds=seconds,
        totals=FrozenDict({name: tuple(values) for name, values in totals.items()}),
    )


def commit_chunk(folder: BatchFolder, table: Table, summary: ChunkSummary) -> ChunkSummary:
    """Write the file of a chunk. Once it is there, the chunk is finished.

    Returns:
        The counts, with the size of the file.
    """
    pyarrow = import_pyarrow()
    metadata = {_SUMMARY_KEY: summary.model_dump_json().encode()}
    sink = pyarrow.BufferOutputStream()
    with pyarrow.parquet.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)
    content = sink.getvalue()
    folder.write(f"{PARTS}/{part_name(summary.number)}", content)
    return summary.model_copy(update={"file_bytes": content.size})


def read_summary(folder: BatchFolder, number: int) -> ChunkSummary:
    """Return the counts of a finished chunk from the end of its file.

    Raises:
        IntegrityError: If the file is damaged.
    """
    pyarrow = import_pyarrow()
    name = f"{PARTS}/{part_name(number)}"
    try:
        with folder.open(name) as file:
            metadata = pyarrow.parquet.read_metadata(file).metadata
        return ChunkSummary.model_validate_json(metadata[_SUMMARY_KEY])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, name, error) from error


def read_part(folder: BatchFolder, number: int) -> Table:
    """Return the rows of a finished chunk.

    Raises:
        IntegrityError: If the file is damaged.
    """
    pyarrow = import_pyarrow()
    name = f"{PARTS}/{part_name(number)}"
    try:
        with folder.open(name) as file:
            # Of a file, not of a path: pyarrow would add columns for folders named like `key=value`.
            return pyarrow.parquet.ParquetFile(file).read()
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise _damaged(folder, name, error) from error


def _damaged(folder: BatchFolder, name: str, error: Exception) -> IntegrityError:
    return IntegrityError(
        f"{folder}/{name} is damaged, or not a chunk of a batch: {error}",
        hint="Delete the file and run the same batch again: only this chunk is done again.",
    )


def failed_chunk(folder: BatchFolder, ids: Sequence[str], chunk: Chunk, error: Exception, extra: Any) -> ChunkSummary:
    """Commit a chunk whose rows all have the same error, because no worker could finish it.

    Args:
        folder: The folder of the batch.
        ids: The ids of the rows.
        chunk: The chunk. If only its rows with errors were to run again, its file stays as it is.
        error: What happened to the workers.
        extra: The task's own columns.
    """
    if chunk.only_errors:
        return read_summary(folder, chunk.number)
    results = [failed_row(error) for _ in ids]
    summary = summarize_results(chunk.number, results, 0.0)
    return commit_chunk(folder, results_table(ids, results, extra), summary)
