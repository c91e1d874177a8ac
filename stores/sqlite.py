"""An SQLite file that several processes write to, that a kill leaves whole, and that forgets what it deletes."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from taleward.core.errors import IntegrityError

PAGE_BYTES = 16384
"""Ten vectors of 384 float32 fit one page; SQLite's own 4096 hold two and waste a quarter."""

WAIT_S = 60.0
"""Seconds to wait for another process that writes."""

_APPLICATION = 0x54414C45
_IN = 500
_inherited: list[sqlite3.Connection | None] = []
"""Connections of parent processes, kept: closing one in a child could take the log from under the parent."""


class SqliteDatabase:
    """One SQLite file in WAL mode with one table layout.

    A commit survives a kill of the process; after a power cut the file is whole and may lack the last commits. One
    connection a process serves all threads, one at a time; a forked child opens its own.

    Args:
        path: The file; it and its folder are made when missing.
        schema: The statements that make the tables, separated by semicolons.
        version: Changes whenever `schema` does.
        kind: What the file is, for messages: `"embedding cache"`.
        wait_s: Seconds to wait for another process that writes.

    Raises:
        IntegrityError: The file is no such database, is damaged, or has another version.
    """

    def __init__(self, path: Path, *, schema: str, version: int, kind: str, wait_s: float = WAIT_S) -> None:
        self.path, self.kind = Path(path), kind
        self._schema, self._version, self._wait_s = schema, version, wait_s
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        with self.reading():
            pass

    def _mine(self) -> threading.RLock:
        """The lock of this process. A forked child makes its own, and leaves the parent's connection untouched."""
        if self._process != os.getpid():
            _inherited.append(self._connection)
            self._lock, self._connection, self._process = threading.RLock(), None, os.getpid()
        return self._lock

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=self._wait_s, isolation_level=None, check_same_thread=False)
        give_up = time.monotonic() + self._wait_s
        while True:
            try:
                self._set_up(connection)
                break
            except sqlite3.OperationalError as error:
                # Two processes that make the file at once: changing the journal's mode does not wait by itself.
                if "locked" not in str(error) or time.monotonic() > give_up:
                    connection.close()
                    raise
                time.sleep(0.01)
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        self._closing = weakref.finalize(self, _close, connection, os.getpid())
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA cache_size=-65536")
        connection.execute("PRAGMA foreign_keys=ON")
        if not _number(connection, "user_version"):
            connection.execute("BEGIN IMMEDIATE")
            with _ended(connection):
                if not _number(connection, "user_version"):
                    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                        raise self._wrong("is an SQLite file of another program")
                    for statement in self._schema.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA application_id={_APPLICATION}")
                    connection.execute(f"PRAGMA user_version={self._version}")
        found = _number(connection, "user_version")
        if _number(connection, "application_id") != _APPLICATION:
            raise self._wrong("is an SQLite file of another program")
        if found != self._version:
            raise self._wrong(f"has layout {found}; this version reads layout {self._version}")

    def _wrong(self, why: str) -> IntegrityError:
        return IntegrityError(f"the {self.kind} {self.path} {why}.", hint="Give another path, or move the file away.")

    def _said(self, error: sqlite3.DatabaseError) -> Exception:
        """SQLite's error in the words of this house."""
        if not isinstance(error, sqlite3.OperationalError):
            return self._wrong(f"cannot be read: {error}")
        if "locked" in str(error):
            return TimeoutError(f"another process kept the {self.kind} {self.path} busy for {self._wait_s:g} s")
        return OSError(f"the {self.kind} {self.path} cannot be used: {error}")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, to read from; other threads of the process wait.

        Raises:
            IntegrityError: The file is damaged.
            OSError: The file cannot be opened or written, or the disk is full.
        """
        with self._mine():
            try:
                yield self._open()
            except sqlite3.DatabaseError as error:
                raise self._said(error) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection within one transaction: all of it is kept, or on an exception nothing.

        Raises:
            TimeoutError: Another process wrote for longer than `wait_s`.
        """
        with self.reading() as connection:
            if connection.in_transaction:  # a part of a larger transaction
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            with _ended(connection):
                yield connection

    def begin(self) -> None:
        """Open a transaction that spans calls, until `commit` or `rollback`; other processes cannot write meanwhile."""
        with self.reading() as connection:
            if not connection.in_transaction:
                connection.execute("BEGIN IMMEDIATE")

    def try_begin(self) -> bool:
        """As `begin`, without waiting: `False` where another process writes just now."""
        with self.reading() as connection:
            if connection.in_transaction:
                return True
            connection.execute("PRAGMA busy_timeout=0")
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                return False
            finally:
                connection.execute(f"PRAGMA busy_timeout={int(1000 * self._wait_s)}")
            return True

    def commit(self) -> None:
        """Keep what the open transaction did."""
        with self.reading() as connection:
            if connection.in_transaction:
                connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what the open transaction did."""
        with self.reading() as connection:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def select_in(self, statement: str, values: Sequence[Any], *others: Any) -> list[Any]:
        """All rows of a statement with one `IN ({})`, asked in pieces that SQLite takes.

        Args:
            statement: SQL with `{}` where the values' placeholders go.
            values: Any number of values.
            others: Values of placeholders before the `IN`.
        """
        rows: list[Any] = []
        with self.reading() as connection:
            for first in range(0, len(values), _IN):
                some = values[first : first + _IN]
                marks = ",".join("?" * len(some))
                rows += connection.execute(statement.format(marks), (*others, *some)).fetchall()
        return rows

    def forget(self) -> None:
        """Take deleted rows out of the log too: what was deleted is then nowhere in the files.

        Deleted bytes are overwritten in the database at once; older copies stay in the log until no reader needs them.
        """
        with self.reading() as connection:
            if not connection.in_transaction:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def compact(self) -> None:
        """Give the space of deleted rows back to the file system."""
        with self.reading() as connection:
            connection.execute("VACUUM")
        self.forget()

    @property
    def bytes_on_disk(self) -> int:
        """Size of the file and its log, in bytes."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._mine():
            if self._connection is not None:
                self._closing()
                self._connection = None


def _close(connection: sqlite3.Connection, process: int) -> None:
    """Close a connection of this process, and keep one of a parent's, see `_inherited`."""
    if process == os.getpid():
        connection.close()
    else:
        _inherited.append(connection)


@contextmanager
def _ended(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end of the block, or roll back on any exception, a cancellation included."""
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    value: int = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    return value
