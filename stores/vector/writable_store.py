"""Write to a vector store: add, replace, delete and expire documents."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from taleward.backends.embedding_models import embeddings as embeddings_from_spec
from taleward.core.errors import BackendError, ConfigurationError
from taleward.stores.embedding_fingerprint import aembed_array, as_matrix, embed_array, fingerprint
from taleward.stores.vector.filters import Filter, check_metadata
from taleward.stores.vector.rows import (
    DocumentRow,
    SearchHit,
    VectorRows,
    as_document,
    check_ids,
    check_texts,
    new_ids,
)

if TYPE_CHECKING:
    from taleward.stores.embedding_fingerprint import Floats

_SWEEP_INTERVAL_S = 1.0


class WritableStore(VectorStore):
    """Construction and writing of every Taleward vector store; see `TalewardStore`."""

    def __init__(
        self,
        embeddings: str | Embeddings,
        *,
        model: str | None = None,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if ttl_s is not None and not ttl_s > 0:
            raise ConfigurationError(f"ttl_s must be above 0, or None for no expiry; got {ttl_s}.")
        self._embeddings = embeddings_from_spec(embeddings)
        self.fingerprint = model or fingerprint(self._embeddings)
        self.ttl_s = ttl_s
        self._clock = clock
        self._last_sweep = -1.0

    @property
    def embeddings(self) -> Embeddings:
        """The embeddings of this store."""
        return self._embeddings

    # Implemented by every store -------------------------------------------------------------------------------------

    _batch_size = 5000
    """Texts embedded and written at a time."""

    @property
    @abstractmethod
    def dimensions(self) -> int | None:
        """The length of a vector; `None` while the store is empty."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of documents in the store."""

    def __bool__(self) -> bool:
        """Return `True`: without this, an empty store would be false."""
        return True

    @abstractmethod
    def _upsert(self, rows: VectorRows, vectors: Floats, fresh: bool) -> None:
        """Write rows with vectors of length 1; `fresh` if none of the ids can be in the store yet."""

    @abstractmethod
    def _get(self, ids: Sequence[str]) -> dict[str, DocumentRow]:
        """Return the documents with these ids; missing ids are left out."""

    @abstractmethod
    def _delete(self, ids: Sequence[str]) -> None:
        """Delete the documents with these ids; missing ids are ignored."""

    @abstractmethod
    def _delete_expired(self, *, wait: bool) -> None:
        """Delete expired documents; without `wait`, a locked store may do so later."""

    @abstractmethod
    def _search(self, vectors: Floats, k: int, filter: Filter | None, with_vectors: bool) -> list[list[SearchHit]]:
        """Return the `k` best hits for each vector, best first."""

    @abstractmethod
    def scan(self, batch_size: int = 1000) -> Iterator[tuple[VectorRows, Floats]]:
        """Iterate over all documents with their vectors, in batches; changes meanwhile may or may not be seen."""

    def _flush(self) -> None:
        """Finish a change; called at the end of every method that writes."""

    @abstractmethod
    def close(self) -> None:
        """Save all changes and release files and connections."""

    # Writing --------------------------------------------------------------------------------------------------------

    def add_texts(
        self,
        texts: Any,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Embed and store texts.

        If the model fails midway, what was written before stays; call again with the same ids to continue.

        Args:
            texts: Any number of texts.
            metadatas: One mapping per text; values are texts, numbers and booleans.
            ids: One id per text, without duplicates; a stored document with the same id is replaced. By default new ids
                are created.
            kwargs: Not accepted.

        Returns:
            One id per text, in the same order.

        Raises:
            ConfigurationError: If lengths differ, an id occurs twice, or a text or metadata cannot be stored.
        """
        rows, fresh = self._prepare_rows(texts, metadatas, ids, kwargs)
        try:
            for batch in rows.batches(self._batch_size):
                vectors = embed_array(self._embeddings, batch.texts)
                self._upsert(batch, self._normalize(vectors), fresh)
        finally:
            self._flush()
        return list(rows.ids)

    async def aadd_texts(
        self,
        texts: Any,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Like `add_texts`, without blocking the event loop."""
        rows, fresh = self._prepare_rows(texts, metadatas, ids, kwargs)
        try:
            for batch in rows.batches(self._batch_size):
                vectors = await aembed_array(self._embeddings, batch.texts)
                await asyncio.to_thread(self._upsert, batch, self._normalize(vectors), fresh)
        finally:
            await asyncio.to_thread(self._flush)
        return list(rows.ids)

    def add_vectors(
        self,
        texts: Sequence[str],
        vectors: Any,
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str] | None = None,
    ) -> list[str]:
        """Store texts with vectors that you already have; otherwise like `add_texts`.

        Args:
            texts: Any number of texts.
            vectors: Shape (len(texts), dimensions); scaled to length 1 before they are stored.
            metadatas: One mapping per text.
            ids: One id per text.

        Returns:
            One id per text, in the same order.

        Raises:
            ConfigurationError: As for `add_texts`, or if the dimensions are not the store's.
            BackendError: If there are not as many vectors as texts, or they are not finite.
        """
        rows, fresh = self._prepare_rows(texts, metadatas, ids, {})
        unit_vectors = self._normalize(as_matrix(vectors, len(rows.ids)))
        try:
            for number, batch in enumerate(rows.batches(self._batch_size)):
                start = number * self._batch_size
                self._upsert(batch, unit_vectors[start : start + self._batch_size], fresh)
        finally:
            self._flush()
        return list(rows.ids)

    def restore(self, rows: VectorRows, vectors: Floats) -> None:
        """Store documents from the `scan` of another store with the same model; their expiry times are kept.

        Documents that have expired are left out.
        """
        now = self._clock()
        expires = rows.expires or [None] * len(rows.ids)
        live = [i for i, expiry in enumerate(expires) if expiry is None or expiry > now]
        metadatas = None if rows.metadatas is None else [rows.metadatas[i] for i in live]
        for metadata in metadatas or ():
            check_metadata(metadata)
        if live:
            live_rows = VectorRows(
                [rows.ids[i] for i in live], [rows.texts[i] for i in live], metadatas, [expires[i] for i in live]
            )
            self._upsert(live_rows, self._normalize(as_matrix(vectors, len(rows.ids))[live]), False)
        self._flush()

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete documents by id; missing ids are ignored.

        Raises:
            ConfigurationError: If `ids` is `None`.
        """
        if ids is None:
            raise ConfigurationError("delete needs the ids of the documents to delete; got None.")
        self._delete(list(ids))
        self._flush()
        return True

    async def adelete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Like `delete`, without blocking the event loop."""
        return await asyncio.to_thread(self.delete, ids, **kwargs)

    def delete_expired(self) -> None:
        """Delete expired documents now; a store with a `ttl_s` also does so in searches and reads."""
        self._delete_expired(wait=True)
        self._flush()

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, in the same order; missing ids are left out."""
        self._sweep()
        rows = self._get(ids)
        return [as_document(rows[i]) for i in dict.fromkeys(ids) if i in rows]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Like `get_by_ids`, without blocking the event loop."""
        return await asyncio.to_thread(self.get_by_ids, ids)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Create a store and add texts to it; further keyword arguments go to the class."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def _sweep(self) -> None:
        """Delete expired documents, at most once a second."""
        if self.ttl_s is not None and self._clock() >= self._last_sweep + _SWEEP_INTERVAL_S:
            self._last_sweep = self._clock()
            self._delete_expired(wait=False)
            self._flush()

    def _normalize(self, vectors: Floats) -> Floats:
        """Scale vectors to length 1; a zero vector stays, and has a similarity of 0 to everything."""
        import numpy

        dimensions = self.dimensions
        if len(vectors) and dimensions is not None and vectors.shape[1] != dimensions:
            raise ConfigurationError(
                f"the vectors have {vectors.shape[1]} dimensions; this store holds {dimensions}, made by"
                f" {self.fingerprint!r}.",
                hint="Use the embeddings that created the store, or create another store.",
            )
        squares = numpy.einsum("ij,ij->i", vectors, vectors)
        if not numpy.isfinite(squares).all():
            raise BackendError("a vector has numbers that are not finite (NaN or infinity).")
        # Most models return unit vectors already; this saves a copy.
        if not len(vectors) or numpy.abs(squares - 1).max() < 1e-5:
            return vectors
        lengths = numpy.sqrt(squares, dtype=numpy.float32)[:, None]
        return numpy.divide(vectors, numpy.where(lengths > 0, lengths, 1), dtype=numpy.float32)

    def _prepare_rows(
        self, texts: Any, metadatas: Any, ids: Any, unknown_options: Mapping[str, Any]
    ) -> tuple[VectorRows, bool]:
        """Check the arguments of an `add` method; return the rows, and whether all their ids are new."""
        if unknown_options:
            raise ConfigurationError(f"this store does not accept {', '.join(sorted(unknown_options))}.")
        if isinstance(texts, str):
            raise ConfigurationError("texts must be a sequence of texts; got one text.", hint="Put it in a list.")
        texts = list(texts)
        check_texts(texts)
        # All checks come before the first text is embedded, so that wrong arguments change nothing and cost nothing.
        for name, values in (("metadatas", metadatas), ("ids", ids)):
            if values is not None and len(values) != len(texts):
                raise ConfigurationError(f"there are {len(texts)} texts and {len(values)} {name}; give one per text.")
        new = new_ids(len(texts))
        all_ids = new if ids is None else [i if i is not None else n for i, n in zip(ids, new, strict=True)]
        if ids is not None:
            check_ids(all_ids)
        if metadatas is not None:
            metadatas = [m or {} for m in metadatas]
            for metadata in metadatas:
                check_metadata(metadata)
        expires = None if self.ttl_s is None else [self._clock() + self.ttl_s] * len(texts)
        return VectorRows(all_ids, texts, metadatas, expires), ids is None
