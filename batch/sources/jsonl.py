"""Rows in JSON Lines files. A row stays a line of JSON until a worker reads it, so that rows need not be alike."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from taleward.batch.sources.base import READ_ROWS, BatchSource, IdBatch, RowFormat, SourceFile
from taleward.batch.storage import import_pyarrow
from taleward.core.record_files import MAX_RECORD_CHARS

if TYPE_CHECKING:
    from pyarrow import RecordBatch


class JsonLinesSource(BatchSource):
    """Rows in JSON Lines files, gzipped or not; blank lines are left out."""

    format: ClassVar[RowFormat] = "json"

    def ids(self) -> Iterator[IdBatch]:
        """Yield all ids; every line is parsed, so that a wrong one is found before anything runs."""
        for file in self.files:
            ids: list[str | ValueError | None] = []
            first = number = 0
            for number, line in self._lines(file):
                first = first or number
                if number != first + len(ids):  # a blank line in between
                    yield IdBatch(f"{file.path}, line", first, ids)
                    first, ids = number, []
                ids.append(self._id_of(line))
                if len(ids) == READ_ROWS:
                    yield IdBatch(f"{file.path}, line", first, ids)
                    first, ids = number + 1, []
            yield IdBatch(f"{file.path}, line", first, ids)

    def read(self, start: int) -> Iterator[RecordBatch]:
        """Yield the rows from number `start` on, a line of JSON each."""
        pyarrow = import_pyarrow()
        lines: list[bytes] = []

        def batch() -> Any:
            return pyarrow.RecordBatch.from_arrays([pyarrow.array(lines, pyarrow.large_string())], ["json"])

        for file in self.files:
            for _, line in self._lines(file):
                if start:
                    start -= 1
                    continue
                lines.append(line)
                if len(lines) == READ_ROWS:
                    yield batch()
                    lines = []
        if lines:
            yield batch()

    def check(self, record: Mapping[str, Any]) -> None:
        """Check a row.

        Raises:
            ValueError: If it cannot be used; the message says why, and quotes nothing of it.
        """

    def _id_of(self, line: bytes) -> str | ValueError | None:
        if len(line) > MAX_RECORD_CHARS:
            return ValueError(f"has {len(line):,} bytes; at most {MAX_RECORD_CHARS:,} are read")
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # the first one also for text that is not UTF-8
            return ValueError("is not valid JSON")
        if not isinstance(record, dict):
            return ValueError(f"is a {type(record).__name__}; expected a JSON object")
        row_id = record.get(self.id_column)
        if row_id is not None and (isinstance(row_id, bool) or not isinstance(row_id, (str, int))):
            return ValueError(f"{self.id_column}: got a {type(row_id).__name__}; expected a text or a whole number")
        try:
            self.check(record)
        except ValueError as error:
            return error
        return None if row_id is None else str(row_id)

    def _lines(self, file: SourceFile) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that are not blank, with their numbers from 1."""
        number, rest = 0, b""
        for block in self.blocks(file):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            for line in lines:
                number += 1
                if line.strip():
                    yield number, line
        if rest.strip():
            yield number + 1, rest
