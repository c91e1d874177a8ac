"""The file of an embedding cache: its tables, and what can be done to it without a model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.stores.sqlite import SqliteDatabase

DType = Literal["float32", "float16"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE models (
    id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, normalize INTEGER NOT NULL, role TEXT NOT NULL,
    dtype TEXT NOT NULL, dimensions INTEGER NOT NULL, UNIQUE (fingerprint, normalize, role, dtype)
);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL, model INTEGER NOT NULL REFERENCES models, created REAL NOT NULL,
    used REAL NOT NULL, expires REAL, vector BLOB NOT NULL
);
CREATE UNIQUE INDEX entries_by_text ON entries (hash, model);
CREATE INDEX entries_by_use ON entries (used);
CREATE INDEX entries_by_end ON entries (expires) WHERE expires IS NOT NULL
"""


class CachedModel(FrozenModel):
    """One model's share of a cache.

    Attributes:
        fingerprint: Which model.
        normalize: Whether its vectors were scaled to length 1.
        role: `text` for models that embed queries and documents alike, else `document` or `query`.
        dtype: How a number is kept.
        dimensions: Numbers in a vector.
        entries: Vectors kept.
    """

    fingerprint: str
    normalize: bool
    role: str
    dtype: DType
    dimensions: int
    entries: int


class CacheStats(FrozenModel):
    """What a cache holds, and what it was good for since this object was made.

    Attributes:
        entries: Vectors kept, of all models.
        bytes_on_disk: Size of the file and its log.
        models: One for each model in the file.
        hits: Texts answered from the file.
        repeats: Texts answered by another text of the same call.
        misses: Texts that the model embedded.
        failures: Times the file could not be read or written and the model's answer was given nonetheless.
    """

    entries: int
    bytes_on_disk: int
    models: tuple[CachedModel, ...]
    hits: int = 0
    repeats: int = 0
    misses: int = 0
    failures: int = 0


def open_cache(path: Path) -> SqliteDatabase:
    """The database of an embedding cache."""
    return SqliteDatabase(path, schema=_SCHEMA, version=_VERSION, kind="embedding cache")


def model_row(connection: Any, model: str, normalize: bool, role: str, dtype: str, dimensions: int) -> int:
    """The model's row in the file, made when missing.

    Raises:
        ConfigurationError: The file knows this model with other dimensions.
    """
    key = (model, normalize, role, dtype)
    connection.execute("INSERT OR IGNORE INTO models VALUES (NULL, ?, ?, ?, ?, ?)", (*key, dimensions))
    row, known = connection.execute(
        "SELECT id, dimensions FROM models WHERE (fingerprint, normalize, role, dtype) = (?, ?, ?, ?)", key
    ).fetchone()
    if known != dimensions:
        raise ConfigurationError(
            f"the embeddings {model!r} gave {dimensions} dimensions; the cache holds {known} for them.",
            hint="Two models go by one name. Give the new one its own: CachedEmbeddings(..., model='provider:name').",
        )
    return int(row)


def delete_entries(database: SqliteDatabase, ids: Iterable[str]) -> int:
    """Delete the vectors of texts named by the SHA-256 of each, in every model's share."""
    try:
        hashes = [(bytes.fromhex(i),) for i in ids]
    except ValueError as error:
        raise ConfigurationError(
            f"an id of the embedding cache is a SHA-256 in hexadecimal: {error}",
            hint="taleward.core.tale.digest(text) gives it.",
        ) from error
    with database.writing() as connection:
        before = connection.total_changes
        connection.executemany("DELETE FROM entries WHERE hash = ?", hashes)
        gone = connection.total_changes - before
    database.forget()
    return gone


def read_stats(database: SqliteDatabase) -> CacheStats:
    """What the file holds."""
    with database.reading() as connection:
        rows = connection.execute(
            "SELECT fingerprint, normalize, role, dtype, dimensions,"
            " (SELECT count(*) FROM entries WHERE model = models.id) FROM models ORDER BY id"
        ).fetchall()
    models = tuple(
        CachedModel(fingerprint=f, normalize=bool(n), role=r, dtype=t, dimensions=d, entries=e)
        for f, n, r, t, d, e in rows
    )
    return CacheStats(entries=sum(m.entries for m in models), bytes_on_disk=database.bytes_on_disk, models=models)
