"""SQLite cache of verdicts, shared by several processes and safe to kill at any moment.

No text is stored: an entry identifies its text by SHA-256, and what the judge said about it can be read only by whoever
has the text, see `taleward.moderation.verdict_cache.encrypted_entry`.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from taleward.core.errors import BackendError, ConfigurationError, NotErased
from taleward.core.tale import digest
from taleward.core.verdict import Passage
from taleward.moderation.verdict_cache.encrypted_entry import VerdictEntry

T = TypeVar("T")
_BUSY_TIMEOUT_S = 1.0
_MAX_CREATE_ATTEMPTS = 20
_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (
    key TEXT NOT NULL UNIQUE, text_sha256 TEXT NOT NULL, made REAL NOT NULL, body BLOB NOT NULL, sha256 TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_text ON verdicts (text_sha256);
CREATE INDEX IF NOT EXISTS by_age ON verdicts (made)
"""


class VerdictCache:
    """A SQLite file of verdicts.

    Args:
        path: The database file. It is created on first use, readable only by its owner.
        ttl_s: Seconds until a verdict expires; 30 days by default.
        max_entries: The most verdicts to keep; the oldest are deleted first.

    Raises:
        ConfigurationError: If `ttl_s` is not above 0 or `max_entries` is below 1.
    """

    def __init__(self, path: str | Path, *, ttl_s: float = 30 * 86_400.0, max_entries: int = 100_000) -> None:
        if ttl_s <= 0 or max_entries < 1:
            raise ConfigurationError(
                f"ttl_s must be above 0 and max_entries at least 1; got {ttl_s} and {max_entries}."
            )
        self.path, self.ttl_s, self.max_entries = Path(path), ttl_s, max_entries
        self._lock = threading.Lock()
        self._ready_pid = 0

    def get(self, key: str, passage: Passage) -> VerdictEntry | None:
        """Return the entry of a key; `None` if it is missing, expired or damaged.

        Args:
            key: The key that `put` stored it under.
            passage: The judged passage, without which the entry cannot be read.

        Raises:
            sqlite3.Error: If the file cannot be read.
            ValueError: If the entry is about another passage.
        """
        query = "SELECT made, body, sha256 FROM verdicts WHERE key = ?"
        row = self._with_connection(lambda db: db.execute(query, (key,)).fetchone())
        # A negative age means that the clock was set back: such an entry might never expire.
        if row is None or not 0 <= time.time() - row[0] < self.ttl_s or row[2] != _checksum(key, row[1]):
            return None
        return VerdictEntry.unseal(row[1], passage)

    def put(self, key: str, passage: Passage, entry: VerdictEntry) -> None:
        """Store an entry, and delete expired entries and those beyond `max_entries`.

        Args:
            key: The key that `get` finds it by.
            passage: The judged passage; only the SHA-256 of its text is stored.
            entry: The verdict.

        Raises:
            sqlite3.Error: If the file cannot be written.
        """
        body, now = entry.seal(passage), time.time()

        def write(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute(
                "INSERT OR REPLACE INTO verdicts (key, text_sha256, made, body, sha256) VALUES (?, ?, ?, ?, ?)",
                (key, digest(passage.text), now, body, _checksum(key, body)),
            )
            db.execute("DELETE FROM verdicts WHERE made <= ?", (now - self.ttl_s,))
            db.execute("DELETE FROM verdicts WHERE rowid <= (SELECT max(rowid) FROM verdicts) - ?", (self.max_entries,))
            db.execute("COMMIT")

        self._with_connection(write)

    def forget(self, text: str) -> int:
        """Delete all verdicts on a text, whichever judge gave them, and return their number.

        Raises:
            BackendError: If the file cannot be written; then nothing was deleted.
            NotErased: If the verdicts are deleted, but another program that is reading the file keeps their bytes.
        """
        return self._delete("DELETE FROM verdicts WHERE text_sha256 = ?", digest(text))

    def clear(self) -> int:
        """Delete all verdicts and return their number.

        Raises:
            BackendError: If the file cannot be written; then nothing was deleted.
            NotErased: As for `forget`.
        """
        return self._delete("DELETE FROM verdicts")

    def __len__(self) -> int:
        return int(self._with_connection(lambda db: db.execute("SELECT count(*) FROM verdicts").fetchone()[0]))

    def _delete(self, statement: str, *values: str) -> int:
        def delete(db: sqlite3.Connection) -> int:
            count = db.execute(statement, values).rowcount
            # Deleted rows would otherwise stay readable in the write-ahead log.
            [is_busy, *_] = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if is_busy:
                raise NotErased(
                    f"the verdicts are deleted from {self.path}, but another program that is reading the file keeps "
                    f"their bytes in {self.path.name}-wal.",
                    hint="Delete them again when that program has finished reading, or has closed the file.",
                )
            return count

        try:
            return self._with_connection(delete)
        except (sqlite3.Error, OSError) as error:
            raise BackendError(
                f"the verdict cache {self.path} could not be changed: {error}", retryable=True
            ) from error

    def _with_connection(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` with a connection of its own, because threads and forked processes must not share one."""
        with self._lock:
            if self._ready_pid != os.getpid() or not self.path.exists():
                self._create()
        with closing(sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as db:
            # In WAL mode, NORMAL can lose the last verdicts in a power failure, but never corrupts the file.
            db.execute("PRAGMA synchronous = NORMAL")
            # Deleted rows are overwritten, since `forget` must leave no trace of a text.
            db.execute("PRAGMA secure_delete = ON")
            return work(db)

    def _create(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite would create the file with the permissions of the umask.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        for attempt in range(1, _MAX_CREATE_ATTEMPTS + 1):
            try:
                with closing(sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as db:
                    # Despite the timeout, this fails at once if another process does the same.
                    db.execute("PRAGMA journal_mode = WAL")
                    db.execute("PRAGMA secure_delete = ON")
                    db.execute("BEGIN IMMEDIATE")
                    if db.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
                        # Version 1 kept a judge's words readable.
                        db.execute("DROP TABLE IF EXISTS verdicts")
                        db.execute(f"PRAGMA user_version = {_VERSION}")
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                    db.execute("COMMIT")
                break
            except sqlite3.OperationalError:
                if attempt == _MAX_CREATE_ATTEMPTS:
                    raise
                time.sleep(0.02)
        self._ready_pid = os.getpid()


def _checksum(key: str, body: bytes) -> str:
    return hashlib.sha256(f"{key}\n".encode() + body).hexdigest()
