"""Export vector stores and embedding caches to Parquet files, vectors included, and import them again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.core.errors import InvalidFile, MissingExtra
from taleward.stores.caches.embeddings_file import checksum_seed, get_or_create_model, row_checksum
from taleward.stores.vector.base import TalewardStore
from taleward.stores.vector.rows import VectorRows, check_fingerprint

if TYPE_CHECKING:
    from taleward.stores.sqlite import SqliteDatabase

_BATCH_SIZE = 5000
_STORE_KIND, _CACHE_KIND = b"taleward.store.1", b"taleward.embedding_cache.1"
_CACHE_COLUMNS = ("hash", "fingerprint", "normalize", "role", "dtype", "dimensions", "created", "expires", "vector")


def export_store(store: TalewardStore, file: str | Path) -> int:
    """Write every document of a vector store to a Parquet file.

    The columns are `id`, `text`, `metadata` (JSON), `expires` (seconds since the epoch) and `vector` (float32).

    Returns:
        The number of documents written.

    Raises:
        MissingExtra: If pyarrow is not installed.
    """
    arrow, parquet = _import_pyarrow()
    # large_string, because an array of arrow.string holds at most 2 GiB.
    fields = [("id", arrow.string()), ("text", arrow.large_string()), ("metadata", arrow.string())]
    fields += [("expires", arrow.float64()), ("vector", arrow.list_(arrow.float32()))]
    file_metadata = {b"kind": _STORE_KIND, b"fingerprint": store.fingerprint.encode()}
    schema = arrow.schema(fields, metadata=file_metadata)
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows, vectors in store.scan(_BATCH_SIZE):
            metadatas = [json.dumps(dict(m), ensure_ascii=False) for m in rows.metadatas or ({},) * len(rows.ids)]
            expires = rows.expires or [None] * len(rows.ids)
            columns = [rows.ids, rows.texts, metadatas, expires, list(vectors)]
            arrays = [arrow.array(column, field[1]) for column, field in zip(columns, fields, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            count += len(rows.ids)
    return count


def read_fingerprint(file: str | Path) -> str:
    """Return the fingerprint of the model behind the vectors in a Parquet file.

    Raises:
        InvalidFile: If the file is not an exported store.
    """
    return _read_file_metadata(file, _STORE_KIND)[b"fingerprint"].decode()


def import_store(store: TalewardStore, file: str | Path) -> int:
    """Add every document of a Parquet file to a vector store; documents with the same id are replaced.

    Returns:
        The number of documents read. Expired ones are not added.

    Raises:
        ConfigurationError: If the file has vectors of another model than the store.
        InvalidFile: If the file is not an exported store.
    """
    check_fingerprint("Parquet file", read_fingerprint(file), store.fingerprint)
    count = 0
    for batch in _iterate_batches(file):
        columns = batch.to_pydict()
        metadatas = [json.loads(m) for m in columns["metadata"]]
        store.restore(VectorRows(columns["id"], columns["text"], metadatas, columns["expires"]), columns["vector"])
        count += batch.num_rows
    return count


def export_cache(database: SqliteDatabase, file: str | Path) -> int:
    """Write every entry of an embedding cache to a Parquet file; it holds the texts' SHA-256, not the texts.

    Damaged entries are left out.

    Returns:
        The number of entries written.

    Raises:
        MissingExtra: If pyarrow is not installed.
    """
    arrow, parquet = _import_pyarrow()
    types = [arrow.binary(), arrow.string(), arrow.bool_(), arrow.string(), arrow.string(), arrow.int64()]
    types += [arrow.float64(), arrow.float64(), arrow.binary()]
    schema = arrow.schema(list(zip(_CACHE_COLUMNS, types, strict=True)), metadata={b"kind": _CACHE_KIND})
    count, last_id = 0, 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while True:
            with database.reading() as connection:
                rows = connection.execute(
                    "SELECT entries.id, hash, fingerprint, normalize, role, dtype, dimensions, created, expires,"
                    " vector, checksum FROM entries JOIN models ON models.id = model"
                    " WHERE entries.id > ? ORDER BY entries.id LIMIT ?",
                    (last_id, _BATCH_SIZE),
                ).fetchall()
            if not rows:
                return count
            whole = [row[1:-1] for row in rows if row[-1] == row_checksum(checksum_seed(*row[2:6]), row[1], row[9])]
            last_id, count = rows[-1][0], count + len(whole)
            columns = list(zip(*whole, strict=True)) or [()] * len(types)
            columns[2] = tuple(map(bool, columns[2]))
            arrays = [arrow.array(column, type_) for column, type_ in zip(columns, types, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def import_cache(database: SqliteDatabase, file: str | Path) -> int:
    """Add every entry of a Parquet file to an embedding cache; existing entries stay.

    Returns:
        The number of entries read.

    Raises:
        InvalidFile: If the file is not an exported embedding cache.
    """
    _read_file_metadata(file, _CACHE_KIND)
    count = 0
    for batch in _iterate_batches(file):
        rows = zip(*(batch.to_pydict()[name] for name in _CACHE_COLUMNS), strict=True)
        with database.writing() as connection:
            for text_hash, *model, created, expires, vector in rows:
                model_id = get_or_create_model(connection, *model)
                checksum = row_checksum(checksum_seed(*model[:4]), text_hash, vector)
                connection.execute(
                    "INSERT OR IGNORE INTO entries (hash, model, created, used, expires, vector, checksum)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (text_hash, model_id, created, created, expires, vector, checksum),
                )
                count += 1
    return count


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("Parquet", "stores") from error
    return pyarrow, pyarrow.parquet


def _read_file_metadata(file: str | Path, kind: bytes) -> dict[bytes, bytes]:
    arrow, parquet = _import_pyarrow()
    try:
        metadata: dict[bytes, bytes] = parquet.read_schema(file).metadata or {}
    except (OSError, arrow.ArrowInvalid) as error:
        raise InvalidFile(f"the Parquet file {file} cannot be read: {error}") from error
    if metadata.get(b"kind") != kind:
        raise InvalidFile(
            f"the Parquet file {file} holds {metadata.get(b'kind', b'something else').decode()}, not {kind.decode()}.",
            hint="Give a file that `taleward store export` wrote.",
        )
    return metadata


def _iterate_batches(file: str | Path) -> Iterator[Any]:
    _, parquet = _import_pyarrow()
    with parquet.ParquetFile(file) as parquet_file:
        yield from parquet_file.iter_batches(_BATCH_SIZE)
