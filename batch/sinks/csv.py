"""Results as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from taleward.batch.chunks import results_schema
from taleward.batch.sinks.base import Sink

if TYPE_CHECKING:
    from pyarrow import Table


class CsvSink(Sink):
    """Writes a header and a line for each row; categories are separated by semicolons, vectors are JSON."""

    def write_tables(self, stream: Any, tables: Iterator[Table]) -> None:
        """Write results."""
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text)
        writer.writerow(results_schema(self.manifest.extra_columns).names)
        for table in tables:
            writer.writerows([_cell(value) for value in row.values()] for row in table.to_pylist())
        text.detach()


def _cell(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return ";".join(value) if all(isinstance(item, str) for item in value) else json.dumps(value)
