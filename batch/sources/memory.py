"""Rows in memory: mappings, or an Arrow table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from taleward.batch.sources.base import READ_ROWS, BatchSource, IdBatch, RowFormat
from taleward.batch.storage import import_pyarrow
from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    from pyarrow import RecordBatch


class MemorySource(BatchSource):
    """Rows that are given as mappings of JSON values.

    Args:
        rows: The rows.
        id_column: The name of the value that identifies a row.

    Raises:
        ConfigurationError: If a row is not a mapping, or holds what JSON does not have.
    """

    format: ClassVar[RowFormat] = "json"

    def __init__(self, rows: Sequence[Mapping[str, Any]], id_column: str) -> None:
        super().__init__("the rows", id_column)
        self._lines: list[str] = []
        self._ids: list[str | None] = []
        for number, row in enumerate(rows, 1):
            if not isinstance(row, Mapping):
                raise ConfigurationError(f"row {number} is a {type(row).__name__}; expected a mapping of its values.")
            row_id = row.get(id_column)
            self._ids.append(None if row_id is None else str(row_id))
            try:
                self._lines.append(json.dumps(dict(row), allow_nan=False))
            except (TypeError, ValueError) as error:
                raise ConfigurationError(f"row {number} is not plain JSON data: {error}") from error

    def ids(self) -> Iterator[IdBatch]:
        """Yield all ids."""
        yield IdBatch("row", 1, self._ids)

    def read(self, start: int) -> Iterator[RecordBatch]:
        """Yield the rows from number `start` on, a line of JSON each."""
        pyarrow = import_pyarrow()
        for begin in range(start, len(self._lines), READ_ROWS):
            lines = pyarrow.array(self._lines[begin : begin + READ_ROWS], pyarrow.large_string())
            yield pyarrow.RecordBatch.from_arrays([lines], ["json"])

    def digest(self) -> str:
        """Return the XXH3-128 of the rows, in hexadecimal."""
        import xxhash

        total = xxhash.xxh3_128()
        for line in self._lines:
            total.update(f"{line}\n".encode())
        return total.hexdigest()
