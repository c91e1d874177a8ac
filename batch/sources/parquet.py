"""Rows in Parquet files: row groups that are finished are not read again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from taleward.batch.sources.base import READ_ROWS, BatchSource, IdBatch
from taleward.batch.storage import import_pyarrow
from taleward.core.errors import InvalidFile

if TYPE_CHECKING:
    from pyarrow import RecordBatch


class ParquetSource(BatchSource):
    """Rows in Parquet files, which all have the same columns."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns."""
        return tuple(self._open(0).schema_arrow.names)

    def ids(self) -> Iterator[IdBatch]:
        """Yield all ids; only their column is read."""
        pyarrow = import_pyarrow()
        expected = self._open(0).schema_arrow
        if self.id_column not in expected.names:
            raise self.missing_id_column(expected.names)
        kind = expected.field(self.id_column).type
        if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or pyarrow.types.is_integer(kind)):
            raise InvalidFile(
                f"the ids in the column {self.id_column!r} of {self.location} are of the type {kind}; expected texts "
                "or whole numbers."
            )
        for number, source_file in enumerate(self.files):
            file = self._open(number)
            if not file.schema_arrow.equals(expected, check_metadata=False):
                raise InvalidFile(
                    f"{source_file.path} has other columns than {self.files[0].path}; the files of a source must be "
                    "alike.",
                    hint="Convert them, or run a batch for each.",
                )
            first = 1
            for batch in file.iter_batches(columns=[self.id_column], batch_size=READ_ROWS):
                ids = batch.column(0).cast(pyarrow.string()).to_pylist()
                yield IdBatch(f"{source_file.path}, row", first, ids)
                first += len(ids)

    def read(self, start: int) -> Iterator[RecordBatch]:
        """Yield the rows from number `start` on."""
        for number in range(len(self.files)):
            file = self._open(number)
            groups: list[int] = []
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if start >= rows and not groups:
                    start -= rows
                else:
                    groups.append(group)
            if not groups:
                continue
            # Without threads and pre-buffering, memory does not depend on the size of the file.
            for batch in file.iter_batches(row_groups=groups, batch_size=READ_ROWS, use_threads=False):
                if start >= batch.num_rows:
                    start -= batch.num_rows
                    continue
                yield batch.slice(start)
                start = 0

    def _open(self, number: int) -> Any:
        pyarrow = import_pyarrow()
        path = self.files[number].path
        try:
            return pyarrow.parquet.ParquetFile(path, filesystem=self.filesystem, pre_buffer=False)
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise InvalidFile(f"{path} is not valid Parquet: {error}") from error
