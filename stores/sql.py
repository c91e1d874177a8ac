"""What the SQLite and the Postgres database have in common, so that the same statements run on both."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class SqlConnection(Protocol):
    """A connection that takes standard SQL, with `?` for parameters."""

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Any:
        """Run a statement and return its cursor."""


class SqlDatabase(Protocol):
    """A database with tables of its own, used by several threads and processes at once."""

    def reading(self) -> AbstractContextManager[SqlConnection]:
        """Provide a connection for reading."""

    def writing(self) -> AbstractContextManager[SqlConnection]:
        """Provide a connection in a transaction, committed at the end or rolled back on an exception."""

    def truncate_log(self) -> bool:
        """Give the space of the write-ahead log back, if the program has to do that."""

    def erase_deleted(self) -> None:
        """Wait until no file holds deleted rows any more, if the program can do that."""

    def close(self) -> None:
        """Close all connections; the next use opens them again."""
