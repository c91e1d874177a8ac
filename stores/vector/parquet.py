"""Stores as Parquet files and back, vectors included: from one kind to another, or to another program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.core.errors import InvalidFile, MissingExtra
from taleward.stores.caches.embeddings_file import model_row
from taleward.stores.vector.base import TalewardStore
from taleward.stores.vector.rows import VectorRows, check_model

if TYPE_CHECKING:
    from taleward.stores.sqlite import SqliteDatabase

_BATCH = 5000
_STORE, _CACHE = b"taleward.store.1", b"taleward.embedding_cache.1"
_CACHE_COLUMNS = ("hash", "fingerprint", "normalize", "role", "dtype", "dimensions", "created", "expires", "vector")


def export_store(store: TalewardStore, file: str | Path) -> int:
    """Write every document of a vector store; the columns are id, text, metadata (JSON), expires and vector.

    Returns:
        How many documents were written.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    arrow, parquet = _libraries()
    fields = [("id", arrow.string()), ("text", arrow.large_string()), ("metadata", arrow.string())]
    fields += [("expires", arrow.float64()), ("vector", arrow.list_(arrow.float32()))]
    about = {b"kind": _STORE, b"fingerprint": store.fingerprint.encode()}
    schema = arrow.schema(fields, metadata=about)
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows, vectors in store.scan(_BATCH):
            metadatas = [json.dumps(dict(m), ensure_ascii=False) for m in rows.metadatas or ({},) * len(rows.ids)]
            expires = rows.expires or [None] * len(rows.ids)
            columns = [rows.ids, rows.texts, metadatas, expires, list(vectors)]
            arrays = [arrow.array(column, field[1]) for column, field in zip(columns, fields, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            count += len(rows.ids)
    return count


def held_model(file: str | Path) -> str:
    """The fingerprint of the model behind a Parquet file's vectors.

    Raises:
        InvalidFile: The file holds no store.
    """
    return _about(file, _STORE)[b"fingerprint"].decode()


def import_store(store: TalewardStore, file: str | Path) -> int:
    """Add every document of a Parquet file; those under an id that is there are replaced.

    Returns:
        How many documents were read; those past their time are left out.

    Raises:
        ConfigurationError: The file's vectors are of another model than the store's.
        InvalidFile: The file holds no store.
    """
    check_model("Parquet file", held_model(file), store.fingerprint)
    count = 0
    for batch in _batches(file):
        columns = batch.to_pydict()
        metadatas = [json.loads(m) for m in columns["metadata"]]
        store.restore(VectorRows(columns["id"], columns["text"], metadatas, columns["expires"]), columns["vector"])
        count += batch.num_rows
    return count


def export_cache(database: SqliteDatabase, file: str | Path) -> int:
    """Write every entry of an embedding cache; the texts are not in it, only their SHA-256.

    Returns:
        How many entries were written.
    """
    arrow, parquet = _libraries()
    kinds = [arrow.binary(), arrow.string(), arrow.bool_(), arrow.string(), arrow.string(), arrow.int64()]
    kinds += [arrow.float64(), arrow.float64(), arrow.binary()]
    schema = arrow.schema(list(zip(_CACHE_COLUMNS, kinds, strict=True)), metadata={b"kind": _CACHE})
    count, last = 0, 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while True:
            with database.reading() as connection:
                rows = connection.execute(
                    "SELECT entries.id, hash, fingerprint, normalize, role, dtype, dimensions, created, expires, vector"
                    " FROM entries JOIN models ON models.id = model WHERE entries.id > ? ORDER BY entries.id LIMIT ?",
                    (last, _BATCH),
                ).fetchall()
            if not rows:
                return count
            last, count = rows[-1][0], count + len(rows)
            columns = list(zip(*rows, strict=True))[1:]
            columns[2] = tuple(map(bool, columns[2]))
            arrays = [arrow.array(c, kind) for c, kind in zip(columns, kinds, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def import_cache(database: SqliteDatabase, file: str | Path) -> int:
    """Add every entry of a Parquet file to an embedding cache; entries that are there stay.

    Returns:
        How many entries were read.

    Raises:
        InvalidFile: The file holds no cache.
    """
    _about(file, _CACHE)
    count = 0
    for batch in _batches(file):
        rows = zip(*(batch.to_pydict()[name] for name in _CACHE_COLUMNS), strict=True)
        with database.writing() as connection:
            for digest, *key, created, expires, vector in rows:
                connection.execute(
                    "INSERT OR IGNORE INTO entries (hash, model, created, used, expires, vector)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (digest, model_row(connection, *key), created, created, expires, vector),
                )
                count += 1
    return count


def _libraries() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("Parquet", "stores") from error
    return pyarrow, pyarrow.parquet


def _about(file: str | Path, kind: bytes) -> dict[bytes, bytes]:
    arrow, parquet = _libraries()
    try:
        about: dict[bytes, bytes] = parquet.read_schema(file).metadata or {}
    except (OSError, arrow.ArrowInvalid) as error:
        raise InvalidFile(f"the Parquet file {file} cannot be read: {error}") from error
    if about.get(b"kind") != kind:
        raise InvalidFile(
            f"the Parquet file {file} holds {about.get(b'kind', b'something else').decode()}, not {kind.decode()}.",
            hint="`taleward store export` writes such files.",
        )
    return about


def _batches(file: str | Path) -> Iterator[Any]:
    _, parquet = _libraries()
    with parquet.ParquetFile(file) as opened:
        yield from opened.iter_batches(_BATCH)
