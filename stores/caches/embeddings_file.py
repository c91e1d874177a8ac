"""The SQLite file of an embedding cache, and the operations that need no model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from xxhash import xxh3_64_intdigest

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.stores.sqlite import SqliteDatabase

DType = Literal["float32", "float16"]

_VERSION = 2
_SCHEMA = """
CREATE TABLE models (
    id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, normalize INTEGER NOT NULL, role TEXT NOT NULL,
    dtype TEXT NOT NULL, dimensions INTEGER NOT NULL, UNIQUE (fingerprint, normalize, role, dtype)
);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL, model INTEGER NOT NULL REFERENCES models, created REAL NOT NULL,
    used REAL NOT NULL, expires REAL, vector BLOB NOT NULL, checksum INTEGER NOT NULL
);
CREATE UNIQUE INDEX entries_by_text ON entries (hash, model);
CREATE INDEX entries_by_use ON entries (used);
CREATE INDEX entries_by_end ON entries (expires) WHERE expires IS NOT NULL
"""


class CachedModelStats(FrozenModel):
    """The entries of one model in a cache.

    Attributes:
        fingerprint: The model's fingerprint.
        normalize: Whether its vectors were scaled to length 1.
        role: `text` for models that embed queries and documents alike, else `document` or `query`.
        dtype: How numbers are stored.
        dimensions: The length of a vector.
        entries: Vectors stored.
    """

    fingerprint: str
    normalize: bool
    role: str
    dtype: DType
    dimensions: int
    entries: int


class CacheStats(FrozenModel):
    """The contents of an embedding cache, and what it did since this object was created.

    Attributes:
        entries: Vectors stored, of all models.
        bytes_on_disk: Size of the file and its write-ahead log.
        models: One item per model in the file.
        hits: Texts whose vector was read from the file.
        repeats: Texts that occurred more than once in a call.
        misses: Texts that the model embedded.
        failures: Times the file could not be read or written and was skipped.
    """

    entries: int
    bytes_on_disk: int
    models: tuple[CachedModelStats, ...]
    hits: int = 0
    repeats: int = 0
    misses: int = 0
    failures: int = 0


def open_cache(path: Path) -> SqliteDatabase:
    """Open the database of an embedding cache; create it if missing."""
    return SqliteDatabase(path, schema=_SCHEMA, version=_VERSION, kind="embedding cache")


def checksum_seed(fingerprint: str, normalize: bool, role: str, dtype: str) -> int:
    """Return the seed for the checksums of a model's rows, so that a row of another model does not match."""
    return xxh3_64_intdigest(repr((fingerprint, bool(normalize), role, dtype)).encode("utf-8", "surrogatepass"))


def row_checksum(seed: int, hash: bytes, vector: bytes) -> int:
    """Return the checksum of a row: a changed byte must not become a wrong vector.

    Args:
        seed: The `checksum_seed` of the row's model.
        hash: The SHA-256 of the text.
        vector: The vector.

    Returns:
        63 bits of XXH3, since SQLite's integers have a sign.
    """
    return xxh3_64_intdigest(vector, xxh3_64_intdigest(hash, seed)) >> 1


def get_or_create_model(connection: Any, model: str, normalize: bool, role: str, dtype: str, dimensions: int) -> int:
    """Return the id of a model's row in the file; insert the row if missing.

    Raises:
        ConfigurationError: If the file has this model with another number of dimensions.
    """
    key = (model, normalize, role, dtype)
    connection.execute("INSERT OR IGNORE INTO models VALUES (NULL, ?, ?, ?, ?, ?)", (*key, dimensions))
    model_id, stored_dimensions = connection.execute(
        "SELECT id, dimensions FROM models WHERE (fingerprint, normalize, role, dtype) = (?, ?, ?, ?)", key
    ).fetchone()
    if stored_dimensions != dimensions:
        raise ConfigurationError(
            f"the embeddings {model!r} returned {dimensions} dimensions; the cache has {stored_dimensions} for them.",
            hint="Two models share a name. Give the new one its own: CachedEmbeddings(..., model='provider:name').",
        )
    return int(model_id)


def delete_entries(database: SqliteDatabase, ids: Iterable[str]) -> int:
    """Delete the vectors of texts, for every model in the file.

    Args:
        database: The database of an embedding cache.
        ids: SHA-256 of texts in hexadecimal.

    Returns:
        The number of vectors deleted.

    Raises:
        ConfigurationError: If an id is not hexadecimal.
        NotErased: If another program that is reading the file keeps the deleted bytes.
    """
    try:
        hashes = [(bytes.fromhex(i),) for i in ids]
    except ValueError as error:
        raise ConfigurationError(
            f"an id of the embedding cache must be a SHA-256 in hexadecimal: {error}",
            hint="Compute it with taleward.core.tale.digest(text).",
        ) from error
    with database.writing() as connection:
        before = connection.total_changes
        connection.executemany("DELETE FROM entries WHERE hash = ?", hashes)
        deleted = connection.total_changes - before
    database.erase_deleted()
    return deleted


def read_stats(database: SqliteDatabase) -> CacheStats:
    """Return the contents of the file."""
    with database.reading() as connection:
        rows = connection.execute(
            "SELECT fingerprint, normalize, role, dtype, dimensions,"
            " (SELECT count(*) FROM entries WHERE model = models.id) FROM models ORDER BY id"
        ).fetchall()
    models = tuple(
        CachedModelStats(fingerprint=f, normalize=bool(n), role=r, dtype=t, dimensions=d, entries=e)
        for f, n, r, t, d, e in rows
    )
    return CacheStats(entries=sum(m.entries for m in models), bytes_on_disk=database.bytes_on_disk, models=models)
