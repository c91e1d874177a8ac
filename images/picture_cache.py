"""A cache of pictures on disk, by what they were drawn from."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.core.redaction import redact
from taleward.images.picture import Picture
from taleward.stores.sqlite import SqliteDatabase

if TYPE_CHECKING:
    import sqlite3

_log = logging.getLogger(__name__)
_VERSION = 1
_SCHEMA = """
CREATE TABLE files (sha256 TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE pictures (
    key TEXT PRIMARY KEY, sha256 TEXT NOT NULL REFERENCES files (sha256), about TEXT NOT NULL, bytes INTEGER NOT NULL,
    used REAL NOT NULL, expires REAL
) WITHOUT ROWID;
CREATE INDEX pictures_by_file ON pictures (sha256);
CREATE INDEX pictures_by_use ON pictures (used)
"""
_TOUCH_INTERVAL_S = 60
DEFAULT_TTL_S = 30 * 24 * 3600.0


class PictureCacheStats(FrozenModel):
    """The contents of a picture cache, and what it did since this object was created.

    Attributes:
        pictures: Pictures stored.
        files: Different files among them.
        hits: Lookups that returned a picture.
        misses: Lookups that returned none.
        failures: Times the cache itself failed and was skipped.
        bytes_on_disk: Size of the file and its write-ahead log.
    """

    pictures: int
    files: int
    hits: int
    misses: int
    failures: int
    bytes_on_disk: int


class PictureCache:
    """Pictures by the digest of model, request and seed; equal files are stored once.

    A picture that a model has blocked is not stored. **What is stored has not been judged**: an `ImageGuard` judges a
    picture from the cache like any other. Prompts are stored with the pictures. If the cache itself fails, that is
    logged and the picture is drawn. A commit survives a kill of the process.

    Args:
        path: The file; created if missing.
        ttl_s: Seconds until a picture expires, 30 days by default; `None` for never.
        max_bytes: The most bytes of pictures; the least recently used are evicted. `None` for no limit.
        clock: Returns seconds since the epoch, for tests.

    Raises:
        ConfigurationError: If an option is out of range.
        IntegrityError: If the file is not a picture cache.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        ttl_s: float | None = DEFAULT_TTL_S,
        max_bytes: int | None = 2_000_000_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if ttl_s is not None and not ttl_s > 0:
            raise ConfigurationError(f"ttl_s must be above 0, or None for no expiry; got {ttl_s}.")
        if max_bytes is not None and max_bytes < 1:
            raise ConfigurationError(f"max_bytes must be 1 or more, or None for no limit; got {max_bytes}.")
        self.ttl_s, self.max_bytes, self._clock = ttl_s, max_bytes, clock
        self._hits = self._misses = self._failures = 0
        self._database = SqliteDatabase(Path(path), schema=_SCHEMA, version=_VERSION, kind="picture cache")

    def get(self, key: str) -> Picture | None:
        """Return the picture stored under a key, or `None`."""
        try:
            picture = self._find(key)
        except Exception as error:  # noqa: BLE001  a cache that fails must not fail the caller
            self._log_failure("read", error)
            picture = None
        self._hits += picture is not None
        self._misses += picture is None
        return picture

    def put(self, key: str, picture: Picture) -> None:
        """Store a picture under a key, unless it has flags or the file is read-only."""
        if picture.flags or self._database.read_only:
            return
        try:
            self._store(key, picture)
        except Exception as error:  # noqa: BLE001  the caller has the picture; only its copy is lost
            self._log_failure("written", error)

    def delete(self, ids: Iterable[str]) -> int:
        """Delete pictures.

        Args:
            ids: The SHA-256 of pictures, as in `Picture.sha256`.

        Returns:
            The number of pictures deleted.

        Raises:
            NotErased: If another program that is reading the file keeps the deleted bytes; call it again with the same
                ids when that has finished.
        """
        keys = [(i,) for i in ids]
        with self._database.writing() as connection:
            before = connection.total_changes
            connection.executemany("DELETE FROM pictures WHERE sha256 = ?", keys)
            deleted = connection.total_changes - before
            connection.executemany("DELETE FROM files WHERE sha256 = ?", keys)
        self._database.erase_deleted()
        return deleted

    def clear(self) -> None:
        """Delete all pictures.

        Raises:
            NotErased: As for `delete`.
        """
        with self._database.writing() as connection:
            connection.execute("DELETE FROM pictures")
            connection.execute("DELETE FROM files")
        self._database.erase_deleted()

    def stats(self) -> PictureCacheStats:
        """Return the contents of the file, and the hits and misses of this object."""
        with self._database.reading() as connection:
            [pictures] = connection.execute("SELECT count(*) FROM pictures").fetchone()
            [files] = connection.execute("SELECT count(*) FROM files").fetchone()
        return PictureCacheStats(
            pictures=pictures,
            files=files,
            hits=self._hits,
            misses=self._misses,
            failures=self._failures,
            bytes_on_disk=self._database.bytes_on_disk,
        )

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._database.close()

    def _find(self, key: str) -> Picture | None:
        now = self._clock()
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT data, about, used FROM pictures JOIN files USING (sha256)"
                " WHERE key = ? AND (expires IS NULL OR expires > ?)",
                (key, now),
            ).fetchone()
        if row is None:
            return None
        data, about, used = row
        try:
            # Checks the bytes against the digest: a damaged row is not a picture.
            picture = Picture.model_validate(_with_data(about, data))
        except ValidationError as error:
            self._log_failure("read", error)
            return None
        if used < now - _TOUCH_INTERVAL_S and not self._database.read_only:
            with self._database.writing() as connection:
                connection.execute("UPDATE pictures SET used = ? WHERE key = ?", (now, key))
        return picture

    def _store(self, key: str, picture: Picture) -> None:
        now, about = self._clock(), picture.model_dump_json(exclude={"data"})
        expires = None if self.ttl_s is None else now + self.ttl_s
        with self._database.writing() as connection:
            connection.execute("INSERT OR IGNORE INTO files VALUES (?, ?)", (picture.sha256, picture.data))
            connection.execute(
                "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?)",
                (key, picture.sha256, about, len(picture.data), now, expires),
            )
            self._evict(connection, now)

    def _evict(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute("DELETE FROM pictures WHERE expires <= ?", (now,))
        if self.max_bytes is not None:
            connection.execute(
                "DELETE FROM pictures WHERE key IN (SELECT key FROM (SELECT key, sum(bytes) OVER"
                " (ORDER BY used DESC, key) AS total FROM pictures) WHERE total > ?)",
                (self.max_bytes,),
            )
        connection.execute("DELETE FROM files WHERE sha256 NOT IN (SELECT sha256 FROM pictures)")

    def _log_failure(self, what: str, error: Exception) -> None:
        self._failures += 1
        # Only the kind: Pydantic's messages quote the prompt.
        detail = type(error).__name__ if isinstance(error, ValidationError) else redact(str(error))
        _log.warning("the picture cache could not be %s, so the picture is drawn: %s", what, detail)


def _with_data(about: str, data: bytes) -> dict[str, object]:
    return {**json.loads(about), "data": data}
