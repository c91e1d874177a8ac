"""Sinks: one file with all results, one format per file of this folder. To add one, add a line to `SINKS`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from taleward.batch.ledger import Ledger
from taleward.batch.sinks.base import Sink
from taleward.core.errors import UnknownName

if TYPE_CHECKING:
    from pyarrow import Table

__all__ = ["SINKS", "Sink", "check_sink", "write_results"]

SINKS: Mapping[str, str] = {
    ".parquet": "parquet.ParquetSink",
    ".jsonl": "jsonl.JsonLinesSink",
    ".csv": "csv.CsvSink",
}
"""Suffixes, and the module and class that write such files."""

_OPENAI = "openai_batch.OpenAIBatchSink"


def check_sink(file: str | os.PathLike[str]) -> None:
    """Check that results can be written in the format of a file, before they are made.

    Raises:
        UnknownName: If there is no such format.
    """
    suffix = os.path.splitext(os.fspath(file))[1]  # noqa: PTH122  also of URIs
    if suffix not in SINKS:
        raise UnknownName("kind of file for results", suffix or os.fspath(file), SINKS)


def write_results(
    ledger: Ledger, merge: str | os.PathLike[str] | None, errors_file: str | os.PathLike[str] | None
) -> None:
    """Write all results, chunk by chunk, in the order of the source.

    Args:
        ledger: The ledger of a complete batch.
        merge: The file of the results; `None` for none.
        errors_file: The file of the rows with an error; they are left out of `merge` then. `None` for none.
    """
    if merge is not None:
        _write(ledger, merge, _rows(ledger, None if errors_file is None else False))
    if errors_file is not None:
        _write(ledger, errors_file, _rows(ledger, True))


def _rows(ledger: Ledger, with_error: bool | None) -> Iterator[Table]:
    """Yield all rows, or only those that have or have not an error."""
    for table in ledger.tables():
        if with_error is None:
            yield table
        else:
            has_none = table.column("error_type").is_null()
            yield table.filter(has_none if not with_error else table.column("error_type").is_valid())


def _write(ledger: Ledger, file: str | os.PathLike[str], tables: Iterator[Table]) -> None:
    suffix = os.path.splitext(os.fspath(file))[1]  # noqa: PTH122
    is_openai = ledger.manifest.source_format == "openai" and suffix == ".jsonl"
    module, _, class_name = (_OPENAI if is_openai else SINKS[suffix]).partition(".")
    sink: Sink = getattr(import_module(f"taleward.batch.sinks.{module}"), class_name)(ledger.manifest)
    sink.write(os.fspath(file), tables)
