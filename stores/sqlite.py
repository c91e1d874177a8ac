"""An SQLite database file that is safe across processes, survives a kill, and overwrites what it deletes."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from taleward.core.errors import IntegrityError, NotErased

PAGE_BYTES = 16384
"""The page size: holds ten vectors of 384 float32, where SQLite's default of 4096 holds two and wastes a quarter."""

DEFAULT_TIMEOUT_S = 60.0
"""Seconds to wait for another process that is writing."""

_APPLICATION_ID = 0x54414C45
_MAX_IN_VALUES = 500
_ERASE_TIMEOUT_S = 5.0
"""How long a deletion waits for other connections that still read what was deleted."""
_ERASE_RETRY_S = 0.05
# Connections of parent processes, kept open: closing one in a child could delete the write-ahead log under the parent.
_inherited_connections: list[sqlite3.Connection | None] = []

# SQLite quotes a damaged schema in its message, which Python then fails to decode.
_DATABASE_ERRORS = (sqlite3.DatabaseError, UnicodeDecodeError)


class SqliteDatabase:
    """An SQLite file in WAL mode with a fixed schema.

    A commit survives a kill of the process. After a power cut the file is intact and may lack the last commits. Each
    process has one connection, which its threads use in turn; a forked child opens its own. A file that cannot be
    written, for example on a read-only disk, is opened for reading only.

    Args:
        path: The file; created with its folder if missing.
        schema: The statements that create the tables, separated by semicolons.
        version: The schema's version; increase it whenever `schema` changes.
        kind: What to call the file in messages, for example `"embedding cache"`.
        timeout_s: Seconds to wait for another process that is writing.

    Raises:
        IntegrityError: If the file is damaged, belongs to another program, or has another schema version.
    """

    def __init__(
        self, path: Path, *, schema: str, version: int, kind: str, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        self.path, self.kind = Path(path), kind
        self._schema, self._version, self._timeout_s = schema, version, timeout_s
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self.read_only = False
        with self.reading():
            pass

    def _process_lock(self) -> threading.RLock:
        """Return this process's lock; a forked child starts without the parent's lock and connection."""
        if self._process != os.getpid():
            _inherited_connections.append(self._connection)
            self._lock, self._connection, self._process = threading.RLock(), None, os.getpid()
        return self._lock

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        self.read_only = self._is_protected()
        if not self.read_only:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._read_only_uri() if self.read_only else self.path,
            timeout=self._timeout_s,
            isolation_level=None,
            check_same_thread=False,
            uri=self.read_only,
        )
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                self._configure(connection)
                break
            except sqlite3.OperationalError as error:
                # SQLite's busy timeout does not cover changing the journal mode, as two processes that create the
                # file at the same time both do.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    connection.close()
                    raise
                time.sleep(0.01)
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        self._finalizer = weakref.finalize(self, _close_own, connection, os.getpid())
        return connection

    def _is_protected(self) -> bool:
        """Whether the file exists, but it or its folder, which holds the write-ahead log, cannot be written."""
        return self.path.is_file() and not (os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK))

    def _read_only_uri(self) -> str:
        # Without a log there is no writer, and SQLite could not create the files that it shares with one.
        is_in_use = self._log_path.exists()
        return f"{self.path.absolute().as_uri()}?mode=ro" + ("" if is_in_use else "&immutable=1")

    @property
    def _log_path(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    def _configure(self, connection: sqlite3.Connection) -> None:
        if not self.read_only:
            self._prepare(connection)
        connection.execute("PRAGMA cache_size=-65536")  # KiB
        version = _pragma_value(connection, "user_version")
        if _pragma_value(connection, "application_id") != _APPLICATION_ID:
            raise self._integrity_error("was created by another program")
        if version != self._version:
            raise self._integrity_error(f"has schema version {version}; this Taleward reads version {self._version}")

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the connection ready for writing, and create the tables if they are missing."""
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        # In WAL mode NORMAL syncs at checkpoints only: much faster, and a power cut loses commits but corrupts nothing.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA foreign_keys=ON")
        if not _pragma_value(connection, "user_version"):
            connection.execute("BEGIN IMMEDIATE")
            with _transaction(connection):
                # Another process may have created the tables before this one got the lock.
                if not _pragma_value(connection, "user_version"):
                    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                        raise self._integrity_error("was created by another program")
                    for statement in self._schema.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
                    connection.execute(f"PRAGMA user_version={self._version}")

    def _integrity_error(self, problem: str) -> IntegrityError:
        return IntegrityError(
            f"the {self.kind} {self.path} {problem}.", hint="Give another path, or move the file away."
        )

    def _translate_error(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.OperationalError):
            return self._integrity_error(f"cannot be read: {error}")
        if "readonly" in str(error):
            return PermissionError(f"the {self.kind} {self.path} cannot be changed: it is read-only here")
        if "locked" in str(error):
            return TimeoutError(
                f"another process kept the {self.kind} {self.path} locked for more than {self._timeout_s:g} s"
            )
        if "full" in str(error):
            return OSError(
                errno.ENOSPC,
                f"the disk is full: the last change to the {self.kind} {self.path} was not stored, everything before "
                "it is intact. Free some space and repeat it",
            )
        return OSError(f"the {self.kind} {self.path} cannot be used: {error}")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Provide the connection for reading; other threads of the process wait meanwhile.

        Raises:
            IntegrityError: If the file is damaged.
            OSError: If the file cannot be opened or written, or the disk is full.
        """
        with self._process_lock():
            try:
                yield self._connect()
            except _DATABASE_ERRORS as error:
                raise self._translate_error(error) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Provide the connection in a transaction, committed at the end or rolled back on an exception.

        Within an open transaction this is a part of it.

        Raises:
            TimeoutError: If another process wrote for longer than `timeout_s`.
        """
        with self.reading() as connection:
            if connection.in_transaction:
                yield connection
                return
            # IMMEDIATE waits for the write lock here; a deferred transaction can fail at its first write instead.
            connection.execute("BEGIN IMMEDIATE")
            with _transaction(connection):
                yield connection

    def begin(self) -> None:
        """Open a transaction that lasts until `commit` or `rollback`; other processes cannot write meanwhile."""
        with self.reading() as connection:
            if not connection.in_transaction:
                connection.execute("BEGIN IMMEDIATE")

    def try_begin(self) -> bool:
        """Like `begin`, without waiting; return `False` if another process is writing."""
        with self.reading() as connection:
            if connection.in_transaction:
                return True
            try:
                with self._busy_timeout(connection, 0):
                    connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                return False
            return True

    @contextmanager
    def _busy_timeout(self, connection: sqlite3.Connection, seconds: float) -> Iterator[None]:
        connection.execute(f"PRAGMA busy_timeout={int(1000 * seconds)}")
        try:
            yield
        finally:
            connection.execute(f"PRAGMA busy_timeout={int(1000 * self._timeout_s)}")

    def commit(self) -> None:
        """Commit the open transaction, if any."""
        with self.reading() as connection:
            if connection.in_transaction:
                connection.execute("COMMIT")

    def rollback(self) -> None:
        """Roll back the open transaction, if any."""
        with self.reading() as connection:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def select_in(self, statement: str, values: Sequence[Any], *parameters: Any) -> list[Any]:
        """Run a query with one `IN ({})`, in batches below SQLite's limit of parameters.

        Args:
            statement: SQL with `{}` in place of the values' placeholders.
            values: Any number of values.
            parameters: Values of the placeholders before the `IN`.

        Returns:
            The rows of all batches.
        """
        rows: list[Any] = []
        with self.reading() as connection:
            for start in range(0, len(values), _MAX_IN_VALUES):
                batch = values[start : start + _MAX_IN_VALUES]
                placeholders = ",".join("?" * len(batch))
                rows += connection.execute(statement.format(placeholders), (*parameters, *batch)).fetchall()
        return rows

    def truncate_log(self) -> bool:
        """Empty the write-ahead log, unless another connection is using it; return whether it is empty."""
        with self.reading() as connection:
            if self.read_only or connection.in_transaction:
                return False
            with self._busy_timeout(connection, 0):
                [is_busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not is_busy

    def erase_deleted(self) -> None:
        """Wait until no file holds deleted rows any more.

        SQLite's `secure_delete` overwrites deleted bytes in the database itself, but older copies stay in the log, and
        in the database as long as another connection reads a state from before the deletion.

        Raises:
            NotErased: If another connection kept on reading for five seconds.
        """
        with self.reading() as connection:
            # Whoever commits an open transaction must call this again.
            if connection.in_transaction or self.read_only:
                return
        deadline = time.monotonic() + _ERASE_TIMEOUT_S
        while not self.truncate_log():
            if time.monotonic() > deadline:
                raise NotErased(
                    f"the rows are deleted from the {self.kind} {self.path}, but another program that is reading it "
                    f"keeps their bytes in {self._log_path.name}.",
                    hint="Delete them again when that program has finished reading, or has closed the file.",
                )
            time.sleep(_ERASE_RETRY_S)

    def compact(self) -> None:
        """Return the space of deleted rows to the file system."""
        with self.reading() as connection:
            connection.execute("VACUUM")
        self.erase_deleted()

    @property
    def bytes_on_disk(self) -> int:
        """Size of the file and its write-ahead log, in bytes."""
        return sum(file.stat().st_size for file in (self.path, self._log_path) if file.exists())

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._process_lock():
            if self._connection is not None:
                self._finalizer()
                self._connection = None


def _close_own(connection: sqlite3.Connection, process: int) -> None:
    """Close a connection that this process opened; keep one that a parent process opened."""
    if process == os.getpid():
        connection.close()
    else:
        _inherited_connections.append(connection)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit the transaction at the end of the block; roll back on any exception, cancellation included."""
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _pragma_value(connection: sqlite3.Connection, pragma: str) -> int:
    value: int = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    return value
