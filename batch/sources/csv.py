"""Rows in CSV and TSV files; all values are texts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from taleward.batch.sources.base import BatchSource, IdBatch, SourceFile
from taleward.batch.storage import import_pyarrow
from taleward.core.errors import InvalidFile

if TYPE_CHECKING:
    from pyarrow import RecordBatch


class CsvSource(BatchSource):
    """Rows in CSV or TSV files with a header, gzipped or not. An empty cell is a missing value."""

    @cached_property
    def _names(self) -> list[str]:
        return self._header(self.files[0])

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns."""
        return tuple(self._names)

    def ids(self) -> Iterator[IdBatch]:
        """Yield all ids; every row is parsed, so that a wrong one is found before anything runs."""
        if self.id_column not in self._names:
            raise self.missing_id_column(self._names)
        for file in self.files:
            if self._header(file) != self._names:
                raise InvalidFile(
                    f"{file.path} has other columns than {self.files[0].path}; the files of a source must be alike."
                )
            first = 1
            for batch in self._batches(file):
                ids = batch.column(self.id_column).to_pylist()
                yield IdBatch(f"{file.path}, row", first, ids)
                first += len(ids)

    def read(self, start: int) -> Iterator[RecordBatch]:
        """Yield the rows from number `start` on."""
        for file in self.files:
            for batch in self._batches(file):
                if start >= batch.num_rows:
                    start -= batch.num_rows
                    continue
                yield batch.slice(start)
                start = 0

    def _header(self, file: SourceFile) -> list[str]:
        with self._reader(file, None) as reader:
            names: list[str] = reader.schema.names
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise InvalidFile(f"{file.path} has two columns named {repeated!r}.", hint="Rename one of them.")
        return names

    def _batches(self, file: SourceFile) -> Iterator[Any]:
        pyarrow = import_pyarrow()
        try:
            with self._reader(file, self._names) as reader:
                yield from reader
        except pyarrow.ArrowInvalid as error:
            raise _invalid(file, error) from error

    def _reader(self, file: SourceFile, names: list[str] | None) -> Any:
        pyarrow = import_pyarrow()
        from pyarrow import csv

        # As texts: a number that becomes a float and then a text again is another id.
        types = {name: pyarrow.string() for name in names or ()}
        delimiter = "\t" if ".tsv" in file.path.rpartition("/")[2].lower() else ","
        try:
            return csv.open_csv(
                self.filesystem.open_input_stream(file.path) if self.filesystem else file.path,
                parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""]),
            )
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise _invalid(file, error) from error


def _invalid(file: SourceFile, error: Exception) -> InvalidFile:
    # Arrow quotes the row after the last colon: a child's words, perhaps.
    reason = ":".join(str(error).split(":")[:2])
    return InvalidFile(f"{file.path} is not valid CSV: {reason}")
