"""Embeddings that remember: a text that was embedded once is read from one file ever after."""

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

from taleward.backends.embedding_models import embeddings as by_spec
from taleward.core.errors import BackendError, ConfigurationError, IntegrityError
from taleward.core.tale import digest
from taleward.stores.caches.embeddings_file import CacheStats, DType, delete_entries, model_row, open_cache, read_stats
from taleward.stores.fingerprint import aembed_array, embed_array, fingerprint, is_symmetric

if TYPE_CHECKING:
    from taleward.stores.fingerprint import Floats

BATCH = 1000
"""Texts embedded and kept at a time: a kill loses no more than these."""

_TOUCH_S = 60.0
_log = logging.getLogger(__name__)


class _Found(NamedTuple):
    hashes: list[bytes]
    vectors: dict[bytes, bytes]
    missing: list[str]
    missing_hashes: list[bytes]


class CachedEmbeddings(Embeddings):
    """Embeddings with a memory in one SQLite file, safe with many threads and processes.

    A vector is found by model fingerprint, normalisation, role, number type and the SHA-256 of the text, so vectors of
    different models never mix. The texts themselves are not kept. A file that is busy or full is logged and does not
    fail the caller.

    Args:
        embeddings: LangChain embeddings, or a spec such as `embedded:minilm`.
        path: The file; made when missing.
        model: The model's fingerprint, where the embeddings do not tell it themselves (see `fingerprint`).
        normalize: Scale vectors to length 1.
        dtype: `float16` halves the file; numbers then keep three digits.
        symmetric: Whether queries and documents are embedded alike and share entries. `None` asks the embeddings; a
            model that does not say keeps them apart.
        ttl_s: Seconds that new entries live; `None` for no end. An entry past its end is a miss, and is deleted by the
            next write.
        max_entries: Entries in the file at most; those used longest ago go first (to the minute).
        clock: Seconds since the epoch, for tests.

    Raises:
        ConfigurationError: An option is out of range, or the embeddings do not tell which model they are.
        IntegrityError: The file is not an embedding cache.
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
            raise ConfigurationError(f"ttl_s must be above 0, or None for no end; got {ttl_s}.")
        if max_entries is not None and max_entries < 1:
            raise ConfigurationError(f"max_entries must be 1 or more, or None for no bound; got {max_entries}.")
        self.embeddings = by_spec(embeddings)
        self.fingerprint = model or fingerprint(self.embeddings)
        self.symmetric = is_symmetric(self.embeddings) if symmetric is None else symmetric
        self.normalize, self.dtype = normalize, dtype
        self.ttl_s, self.max_entries = ttl_s, max_entries
        self._clock = clock
        self._hits = self._repeats = self._misses = self._failures = 0
        self._database = open_cache(Path(path))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector a text, in their order."""
        return [row for found in self._batches(texts) for row in self._listed(found)]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query."""
        found = self._find([text], "query")
        if found.missing:
            self._keep(found, _one_row(self.embeddings.embed_query(text)), "query")
        return self._listed(found)[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As `embed_documents`, without blocking the event loop."""
        return [row async for found in self._abatches(texts) for row in self._listed(found)]

    async def aembed_query(self, text: str) -> list[float]:
        """As `embed_query`, without blocking the event loop."""
        found = await asyncio.to_thread(self._find, [text], "query")
        if found.missing:
            await asyncio.to_thread(self._keep, found, _one_row(await self.embeddings.aembed_query(text)), "query")
        return self._listed(found)[0]

    def embed_array(self, texts: Sequence[str]) -> Floats:
        """The texts' vectors as an array; five times as fast as lists of Python floats.

        Returns:
            float32, shape (len(texts), dimensions); shape (0, 0) for no texts.
        """
        return _joined([self._assembled(found) for found in self._batches(texts)])

    async def aembed_array(self, texts: Sequence[str]) -> Floats:
        """As `embed_array`, without blocking the event loop."""
        return _joined([self._assembled(found) async for found in self._abatches(texts)])

    def _batches(self, texts: Sequence[str]) -> Iterator[_Found]:
        for some in _pieces(texts):
            found = self._find(some, "document")
            if found.missing:
                self._keep(found, embed_array(self.embeddings, found.missing), "document")
            yield found

    async def _abatches(self, texts: Sequence[str]) -> AsyncIterator[_Found]:
        for some in _pieces(texts):
            found = await asyncio.to_thread(self._find, some, "document")
            if found.missing:
                vectors = await aembed_array(self.embeddings, found.missing)
                await asyncio.to_thread(self._keep, found, vectors, "document")
            yield found

    def delete(self, texts: Iterable[str] = (), *, ids: Iterable[str] = ()) -> int:
        """Forget texts, in every model's share.

        Args:
            texts: Texts to forget.
            ids: SHA-256 of texts in hexadecimal, as `taleward.core.tale.digest` gives; records name drafts by it.

        Returns:
            How many vectors were deleted.
        """
        return delete_entries(self._database, [*(digest(t) for t in texts), *ids])

    def stats(self) -> CacheStats:
        """What the file holds, and the hits and misses of this object."""
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

    def _role(self, role: str) -> str:
        return "text" if self.symmetric else role

    def _find(self, texts: Sequence[str], role: str) -> _Found:
        hashes = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        of = dict(zip(hashes, texts, strict=True))
        try:
            vectors = self._read(list(of), self._role(role))
        except OSError as error:
            self._failed("read", error)
            vectors = {}
        missing = [h for h in of if h not in vectors]
        self._hits += len(vectors)
        self._misses += len(missing)
        self._repeats += len(hashes) - len(of)
        return _Found(hashes, vectors, [of[h] for h in missing], missing)

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
                "SELECT hash, vector, id, used FROM entries"
                " WHERE model = ? AND (expires IS NULL OR expires > ?) AND hash IN ({})",
                hashes,
                model[0],
                now,
            )
            if self.max_entries is not None:
                stale = [(now, row[2]) for row in rows if row[3] < now - _TOUCH_S]
                if stale:
                    with self._database.writing() as writing:
                        writing.executemany("UPDATE entries SET used = ? WHERE id = ?", stale)
        found = {row[0]: row[1] for row in rows}
        size = model[1] * _BYTES[self.dtype]
        if any(len(vector) != size for vector in found.values()):
            raise IntegrityError(
                f"the embedding cache {self._database.path} holds a vector of another length than {model[1]}.",
                hint="Delete the file; the cache fills again.",
            )
        return found

    def _keep(self, found: _Found, vectors: Floats, role: str) -> None:
        """Write what the model gave, and put it where `_assembled` looks."""
        import numpy

        if self.normalize:
            lengths = numpy.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = numpy.divide(vectors, numpy.where(lengths > 0, lengths, 1), dtype=numpy.float32)
        with numpy.errstate(over="ignore"):
            kept = numpy.ascontiguousarray(vectors, dtype=self.dtype)
        if not numpy.isfinite(kept).all():
            if not numpy.isfinite(vectors).all():
                raise BackendError("the embeddings gave numbers that are not finite (NaN or infinity).")
            raise ConfigurationError(
                "a vector holds numbers beyond float16 (65504).", hint="Use dtype='float32' or normalize=True."
            )
        raw, size = kept.tobytes(), kept.shape[1] * kept.itemsize
        blobs = [raw[at : at + size] for at in range(0, len(raw), size)]
        found.vectors.update(zip(found.missing_hashes, blobs, strict=True))
        try:
            self._write(found.missing_hashes, blobs, self._role(role), kept.shape[1])
        except OSError as error:
            self._failed("written", error)

    def _write(self, hashes: list[bytes], blobs: list[bytes], role: str, dimensions: int) -> None:
        now = self._clock()
        expires = None if self.ttl_s is None else now + self.ttl_s
        with self._database.writing() as connection:
            model = model_row(connection, self.fingerprint, self.normalize, role, self.dtype, dimensions)
            connection.execute("DELETE FROM entries WHERE expires <= ?", (now,))
            connection.executemany(
                "INSERT INTO entries (hash, model, created, used, expires, vector) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (hash, model) DO UPDATE SET created = excluded.created, used = excluded.used,"
                " expires = excluded.expires, vector = excluded.vector",
                ((h, model, now, now, expires, blob) for h, blob in zip(hashes, blobs, strict=True)),
            )
            if self.max_entries is not None:
                [count] = connection.execute("SELECT count(*) FROM entries").fetchone()
                connection.execute(
                    "DELETE FROM entries WHERE id IN (SELECT id FROM entries ORDER BY used, id LIMIT ?)",
                    (max(0, count - self.max_entries),),
                )

    def _assembled(self, found: _Found) -> Floats:
        import numpy

        raw = b"".join([found.vectors[h] for h in found.hashes])
        rows = numpy.frombuffer(raw, dtype=self.dtype).reshape(len(found.hashes), -1)
        return rows.astype(numpy.float32)

    def _listed(self, found: _Found) -> list[list[float]]:
        """As Python floats; an array from the standard library makes them faster than numpy does."""
        if self.dtype == "float32":
            return [array("f", found.vectors[h]).tolist() for h in found.hashes]
        rows: list[list[float]] = self._assembled(found).tolist()
        return rows

    def _failed(self, what: str, error: OSError) -> None:
        self._failures += 1
        _log.warning("the embedding cache was not %s: %s", what, error)


_BYTES = {"float32": 4, "float16": 2}


def _pieces(texts: Sequence[str]) -> Iterable[Sequence[str]]:
    if isinstance(texts, str):
        msg = "texts must be a sequence of texts; got one text. Put it in a list."
        raise TypeError(msg)
    return (texts[first : first + BATCH] for first in range(0, len(texts), BATCH))


def _joined(parts: list[Floats]) -> Floats:
    import numpy

    return numpy.concatenate(parts) if parts else numpy.zeros((0, 0), dtype=numpy.float32)


def _one_row(vector: list[float]) -> Floats:
    from taleward.stores.fingerprint import as_rows

    return as_rows([vector], 1)
