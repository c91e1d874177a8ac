"""Cached embeddings: each text is embedded once and then read from an SQLite file."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from array import array
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from langchain_core.embeddings import Embeddings

from taleward.backends.embedding_models import embeddings as embeddings_from_spec
from taleward.core.errors import BackendError, ConfigurationError
from taleward.core.tale import digest
from taleward.stores.caches.embeddings_file import (
    CacheStats,
    DType,
    checksum_seed,
    delete_entries,
    get_or_create_model,
    open_cache,
    read_stats,
    row_checksum,
)
from taleward.stores.embedding_fingerprint import aembed_array, as_matrix, embed_array, fingerprint, is_symmetric

if TYPE_CHECKING:
    from taleward.stores.embedding_fingerprint import Floats

BATCH_SIZE = 1000
"""Texts embedded and written at a time; a kill loses at most one batch."""

_BYTES_PER_NUMBER = {"float32": 4, "float16": 2}
# The time of last use is written at most this often, so that most hits need no write.
_TOUCH_INTERVAL_S = 60.0
_log = logging.getLogger(__name__)


class _CachedBatch(NamedTuple):
    """Texts by hash, the vectors known for them as bytes, and the texts that still need one."""

    hashes: list[bytes]
    vectors: dict[bytes, bytes]
    missing_texts: list[str]
    missing_hashes: list[bytes]


class CachedEmbeddings(Embeddings):
    """Embeddings with a cache in one SQLite file, safe with many threads and processes.

    The key of a vector is the model's fingerprint, normalization, role (query or document), number type and the SHA-256
    of the text, so vectors of different models never mix. The texts themselves are not stored. If the file is locked or
    full, that is logged and the call succeeds without the cache. Every row has a checksum; the text of a damaged row is
    embedded again. A file that cannot be written, for example on a read-only disk, is only read.

    Args:
        embeddings: LangChain embeddings, or a spec such as `embedded:minilm`.
        path: The file; created if missing.
        model: The model's fingerprint, if the embeddings do not identify their model (see
            `taleward.stores.embedding_fingerprint.fingerprint`).
        normalize: Whether to scale vectors to length 1.
        dtype: How numbers are stored; `float16` halves the file and keeps three significant digits.
        symmetric: Whether queries and documents get the same vector and share entries; `None` asks the embeddings, and
            keeps them apart if these do not say.
        ttl_s: Seconds until new entries expire; `None` for never. Expired entries are misses, and are deleted by the
            next write.
        max_entries: The most entries in the file; the least recently used are evicted (to the minute).
        clock: Returns seconds since the epoch, for tests.

    Raises:
        ConfigurationError: If an option is out of range, or the embeddings do not identify their model.
        IntegrityError: If the file is not an embedding cache.
    """

    def __init__(
        self,
        embeddings: str | Embeddings,
        path: str | Path,
        *,
        model: str | None = None,
        normalize: bool = False,
        dtype: DType = "float32",
        symmetric: bool | None = None,
        ttl_s: float | None = None,
        max_entries: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if dtype not in ("float32", "float16"):
            raise ConfigurationError(f"dtype must be 'float32' or 'float16'; got {dtype!r}.")
        if ttl_s is not None and not ttl_s > 0:
            raise ConfigurationError(f"ttl_s must be above 0, or None for no expiry; got {ttl_s}.")
        if max_entries is not None and max_entries < 1:
            raise ConfigurationError(f"max_entries must be 1 or more, or None for no limit; got {max_entries}.")
        self.embeddings = embeddings_from_spec(embeddings)
        self.fingerprint = model or fingerprint(self.embeddings)
        self.symmetric = is_symmetric(self.embeddings) if symmetric is None else symmetric
        self.normalize, self.dtype = normalize, dtype
        self.ttl_s, self.max_entries = ttl_s, max_entries
        self._clock = clock
        self._hits = self._repeats = self._misses = self._failures = 0
        self._database = open_cache(Path(path))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents; one vector per text, in the same order."""
        return [vector for batch in self._embedded_batches(texts) for vector in self._as_lists(batch)]

    def embed_query(self, text: str) -> list[float]:
        """Embed a query."""
        batch = self._look_up([text], "query")
        if batch.missing_texts:
            self._store(batch, as_matrix([self.embeddings.embed_query(text)], 1), "query")
        return self._as_lists(batch)[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Like `embed_documents`, without blocking the event loop."""
        return [vector async for batch in self._aembedded_batches(texts) for vector in self._as_lists(batch)]

    async def aembed_query(self, text: str) -> list[float]:
        """Like `embed_query`, without blocking the event loop."""
        batch = await asyncio.to_thread(self._look_up, [text], "query")
        if batch.missing_texts:
            vectors = as_matrix([await self.embeddings.aembed_query(text)], 1)
            await asyncio.to_thread(self._store, batch, vectors, "query")
        return self._as_lists(batch)[0]

    def embed_array(self, texts: Sequence[str]) -> Floats:
        """Embed documents as an array, five times as fast as lists of Python floats.

        Returns:
            float32, shape (len(texts), dimensions); shape (0, 0) for no texts.
        """
        return _concatenate([self._as_array(batch) for batch in self._embedded_batches(texts)])

    async def aembed_array(self, texts: Sequence[str]) -> Floats:
        """Like `embed_array`, without blocking the event loop."""
        return _concatenate([self._as_array(batch) async for batch in self._aembedded_batches(texts)])

    def _embedded_batches(self, texts: Sequence[str]) -> Iterator[_CachedBatch]:
        for batch_texts in _split_batches(texts):
            batch = self._look_up(batch_texts, "document")
            if batch.missing_texts:
                self._store(batch, embed_array(self.embeddings, batch.missing_texts), "document")
            yield batch

    async def _aembedded_batches(self, texts: Sequence[str]) -> AsyncIterator[_CachedBatch]:
        for batch_texts in _split_batches(texts):
            batch = await asyncio.to_thread(self._look_up, batch_texts, "document")
            if batch.missing_texts:
                vectors = await aembed_array(self.embeddings, batch.missing_texts)
                await asyncio.to_thread(self._store, batch, vectors, "document")
            yield batch

    def delete(self, texts: Iterable[str] = (), *, ids: Iterable[str] = ()) -> int:
        """Delete the vectors of texts, for every model in the file.

        Args:
            texts: Texts to delete.
            ids: SHA-256 of texts in hexadecimal (`taleward.core.tale.digest`), as in `Attempt.draft_sha256`.

        Returns:
            The number of vectors deleted.

        Raises:
            ConfigurationError: If an id is not a hexadecimal SHA-256.
            NotErased: If another program that is reading the file keeps the deleted bytes.
        """
        return delete_entries(self._database, [*(digest(t) for t in texts), *ids])

    def stats(self) -> CacheStats:
        """Return the contents of the file, and the hits and misses of this object."""
        return read_stats(self._database).model_copy(
            update={
                "hits": self._hits,
                "repeats": self._repeats,
                "misses": self._misses,
                "failures": self._failures,
            }
        )

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._database.close()

    def _stored_role(self, role: str) -> str:
        return "text" if self.symmetric else role

    def _look_up(self, texts: Sequence[str], role: str) -> _CachedBatch:
        hashes = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        text_by_hash = dict(zip(hashes, texts, strict=True))
        try:
            vectors = self._read(list(text_by_hash), self._stored_role(role))
        except OSError as error:
            self._log_failure("read", error)
            vectors = {}
        missing = [h for h in text_by_hash if h not in vectors]
        self._hits += len(vectors)
        self._misses += len(missing)
        self._repeats += len(hashes) - len(text_by_hash)
        return _CachedBatch(hashes, vectors, [text_by_hash[h] for h in missing], missing)

    def _read(self, hashes: list[bytes], role: str) -> dict[bytes, bytes]:
        now = self._clock()
        with self._database.reading() as connection:
            model = connection.execute(
                "SELECT id, dimensions FROM models WHERE (fingerprint, normalize, role, dtype) = (?, ?, ?, ?)",
                (self.fingerprint, self.normalize, role, self.dtype),
            ).fetchone()
            if model is None:
                return {}
            rows = self._database.select_in(
                "SELECT hash, vector, id, used, checksum FROM entries"
                " WHERE model = ? AND (expires IS NULL OR expires > ?) AND hash IN ({})",
                hashes,
                model[0],
                now,
            )
            # Without a limit nothing is evicted, so the time of use does not matter.
            if self.max_entries is not None and not self._database.read_only:
                stale = [(now, row[2]) for row in rows if row[3] < now - _TOUCH_INTERVAL_S]
                if stale:
                    with self._database.writing() as writer:
                        writer.executemany("UPDATE entries SET used = ? WHERE id = ?", stale)
        size = model[1] * _BYTES_PER_NUMBER[self.dtype]
        seed = checksum_seed(self.fingerprint, self.normalize, role, self.dtype)
        vectors = {
            text_hash: vector
            for text_hash, vector, _, _, checksum in rows
            if checksum == row_checksum(seed, text_hash, vector) and len(vector) == size
        }
        if len(vectors) < len(rows):
            self._failures += 1
            _log.warning(
                "the embedding cache %s has %d damaged rows; their texts are embedded again",
                self._database.path,
                len(rows) - len(vectors),
            )
        return vectors

    def _store(self, batch: _CachedBatch, vectors: Floats, role: str) -> None:
        """Write the vectors of the missing texts, and add them to the batch."""
        import numpy

        if self.normalize:
            lengths = numpy.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = numpy.divide(vectors, numpy.where(lengths > 0, lengths, 1), dtype=numpy.float32)
        with numpy.errstate(over="ignore"):
            encoded = numpy.ascontiguousarray(vectors, dtype=self.dtype)
        if not numpy.isfinite(encoded).all():
            if not numpy.isfinite(vectors).all():
                raise BackendError("the embeddings returned numbers that are not finite (NaN or infinity).")
            raise ConfigurationError(
                "a vector has numbers beyond the range of float16 (65504).",
                hint="Use dtype='float32' or normalize=True.",
            )
        raw, size = encoded.tobytes(), encoded.shape[1] * encoded.itemsize
        blobs = [raw[start : start + size] for start in range(0, len(raw), size)]
        # The caller gets what was encoded, so that a first call and a cached one return the same float16 values.
        batch.vectors.update(zip(batch.missing_hashes, blobs, strict=True))
        if self._database.read_only:
            return
        try:
            self._write(batch.missing_hashes, blobs, self._stored_role(role), encoded.shape[1])
        except OSError as error:
            self._log_failure("written", error)

    def _write(self, hashes: list[bytes], blobs: list[bytes], role: str, dimensions: int) -> None:
        now = self._clock()
        expires = None if self.ttl_s is None else now + self.ttl_s
        key = (self.fingerprint, self.normalize, role, self.dtype)
        seed = checksum_seed(*key)
        with self._database.writing() as connection:
            model = get_or_create_model(connection, *key, dimensions)
            connection.execute("DELETE FROM entries WHERE expires <= ?", (now,))
            connection.executemany(
                "INSERT INTO entries (hash, model, created, used, expires, vector, checksum)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (hash, model) DO UPDATE SET created = excluded.created, used = excluded.used,"
                " expires = excluded.expires, vector = excluded.vector, checksum = excluded.checksum",
                (
                    (h, model, now, now, expires, blob, row_checksum(seed, h, blob))
                    for h, blob in zip(hashes, blobs, strict=True)
                ),
            )
            if self.max_entries is not None:
                [count] = connection.execute("SELECT count(*) FROM entries").fetchone()
                connection.execute(
                    "DELETE FROM entries WHERE id IN (SELECT id FROM entries ORDER BY used, id LIMIT ?)",
                    (max(0, count - self.max_entries),),
                )

    def _as_array(self, batch: _CachedBatch) -> Floats:
        import numpy

        raw = b"".join([batch.vectors[h] for h in batch.hashes])
        rows = numpy.frombuffer(raw, dtype=self.dtype).reshape(len(batch.hashes), -1)
        return rows.astype(numpy.float32)

    def _as_lists(self, batch: _CachedBatch) -> list[list[float]]:
        if self.dtype == "float32":
            # array.tolist is faster than numpy's.
            return [array("f", batch.vectors[h]).tolist() for h in batch.hashes]
        rows: list[list[float]] = self._as_array(batch).tolist()
        return rows

    def _log_failure(self, action: str, error: OSError) -> None:
        self._failures += 1
        _log.warning("the embedding cache was not %s: %s", action, error)


def _split_batches(texts: Sequence[str]) -> Iterable[Sequence[str]]:
    if isinstance(texts, str):
        msg = "texts must be a sequence of texts; got one text. Put it in a list."
        raise TypeError(msg)
    return (texts[start : start + BATCH_SIZE] for start in range(0, len(texts), BATCH_SIZE))


def _concatenate(parts: list[Floats]) -> Floats:
    import numpy

    return numpy.concatenate(parts) if parts else numpy.zeros((0, 0), dtype=numpy.float32)
