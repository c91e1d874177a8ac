"""Verdicts on disk: SQLite, for several processes at once, safe to kill at any moment.

No text is stored: an entry knows a text by its SHA-256, see `taleward.moderation.verdict_cache.entry`.
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

from taleward.core.errors import BackendError, ConfigurationError
from taleward.core.tale import digest
from taleward.moderation.verdict_cache.entry import Entry

T = TypeVar("T")
_WAIT_S = 1.0
_TRIES = 20
_TABLE = """
CREATE TABLE IF NOT EXISTS verdicts (
    key TEXT NOT NULL UNIQUE, text_sha256 TEXT NOT NULL, made REAL NOT NULL, body TEXT NOT NULL, sha256 TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_text ON verdicts (text_sha256);
CREATE INDEX IF NOT EXISTS by_age ON verdicts (made);
"""


class VerdictCache:
    """A file of verdicts.

    Args:
        path: The file; it is made, readable by its owner alone, when it is first used.
        ttl_s: Seconds a verdict is kept; 30 days by default.
        max_entries: How many are kept; the oldest go first.

    Raises:
        ConfigurationError: A number is out of its range.
    """

    def __init__(self, path: str | Path, *, ttl_s: float = 30 * 86_400.0, max_entries: int = 100_000) -> None:
        if ttl_s <= 0 or max_entries < 1:
            raise ConfigurationError(
                f"ttl_s must be above 0 and max_entries at least 1; got {ttl_s} and {max_entries}."
            )
        self.path, self.ttl_s, self.max_entries = Path(path), ttl_s, max_entries
        self._lock = threading.Lock()
        self._ready = 0

    def get(self, key: str) -> Entry | None:
        """The entry of a key; `None` where there is none, it is too old, or not whole.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        query = "SELECT made, body, sha256 FROM verdicts WHERE key = ?"
        row = self._run(lambda db: db.execute(query, (key,)).fetchone())
        if row is None or not 0 <= time.time() - row[0] < self._seconds or row[2] != _check(key, row[1]):
            return None
        return Entry.model_validate_json(row[1])

    def put(self, key: str, text: str, entry: Entry) -> None:
        """Keep an entry, and let go of those that are too old or too many.

        Raises:
            sqlite3.Error: The file cannot be written.
        """
        body, now = entry.model_dump_json(), time.time()

        def write(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute(
                "INSERT OR REPLACE INTO verdicts (key, text_sha256, made, body, sha256) VALUES (?, ?, ?, ?, ?)",
                (key, digest(text), now, body, _check(key, body)),
            )
            db.execute("DELETE FROM verdicts WHERE made <= ?", (now - self._seconds,))
            db.execute("DELETE FROM verdicts WHERE rowid <= (SELECT max(rowid) FROM verdicts) - ?", (self.max_entries,))
            db.execute("COMMIT")

        self._run(write)

    def forget(self, text: str) -> int:
        """Delete what is kept about a text, by whatever judge; how many entries that was.

        Raises:
            BackendError: The file cannot be written; nothing was deleted.
        """
        return self._delete("DELETE FROM verdicts WHERE text_sha256 = ?", digest(text))

    def clear(self) -> int:
        """Delete everything; how many entries that was.

        Raises:
            BackendError: The file cannot be written; nothing was deleted.
        """
        return self._delete("DELETE FROM verdicts")

    def __len__(self) -> int:
        return int(self._run(lambda db: db.execute("SELECT count(*) FROM verdicts").fetchone()[0]))

    @property
    def _seconds(self) -> float:
        return self.ttl_s

    def _delete(self, statement: str, *values: str) -> int:
        def delete(db: sqlite3.Connection) -> int:
            count = db.execute(statement, values).rowcount
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return count

        try:
            return self._run(delete)
        except (sqlite3.Error, OSError) as error:
            raise BackendError(
                f"the verdict cache {self.path} could not be changed: {error}", retryable=True
            ) from error

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """A connection of its own for each piece of work: threads and forked processes share none."""
        with self._lock:
            if self._ready != os.getpid() or not self.path.exists():
                self._make()
        with closing(sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA secure_delete = ON")
            return work(db)

    def _make(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        for attempt in range(_TRIES):
            try:
                with closing(sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)) as db:
                    db.execute("PRAGMA journal_mode = WAL")  # fails at once where another process does the same
                    db.executescript(_TABLE)
                break
            except sqlite3.OperationalError:
                if attempt == _TRIES - 1:
                    raise
                time.sleep(0.02)
        self._ready = os.getpid()


def _check(key: str, body: str) -> str:
    return hashlib.sha256(f"{key}\n{body}".encode()).hexdigest()
