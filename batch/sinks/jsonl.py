"""Results as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from taleward.batch.sinks.base import Sink

if TYPE_CHECKING:
    from pyarrow import Table


class JsonLinesSink(Sink):
    """Writes an object for each row; what is missing is left out, and `result` is an object, not a text."""

    def write_tables(self, stream: Any, tables: Iterator[Table]) -> None:
        """Write results."""
        for table in tables:
            for row in table.to_pylist():
                stream.write(json.dumps(self.record(row), ensure_ascii=False).encode() + b"\n")

    def record(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the object to write for a row."""
        record = {name: value for name, value in row.items() if value not in (None, [])}
        for name in ("result", "statistics"):
            if name in record:
                record[name] = json.loads(record[name])
        return record
