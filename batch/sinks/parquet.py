"""Results as one Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from taleward.batch.chunks import results_schema
from taleward.batch.sinks.base import Sink
from taleward.batch.storage import import_pyarrow

if TYPE_CHECKING:
    from pyarrow import Table

_ROWS_PER_GROUP = 20_000


class ParquetSink(Sink):
    """Writes row groups of about 20,000 rows, whatever the size of the chunks."""

    def write_tables(self, stream: Any, tables: Iterator[Table]) -> None:
        """Write results."""
        pyarrow = import_pyarrow()
        held: list[Any] = []
        rows = 0
        schema = results_schema(self.manifest.extra_columns)
        with pyarrow.parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
            for table in tables:
                held.append(table.replace_schema_metadata(None))
                rows += table.num_rows
                if rows >= _ROWS_PER_GROUP:
                    writer.write_table(pyarrow.concat_tables(held), row_group_size=rows)
                    held, rows = [], 0
            if rows:
                writer.write_table(pyarrow.concat_tables(held), row_group_size=rows)
