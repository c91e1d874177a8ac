"""How every vector store is written to."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from taleward.backends.embedding_models import embeddings as by_spec
from taleward.core.errors import BackendError, ConfigurationError
from taleward.stores.fingerprint import aembed_array, as_rows, embed_array, fingerprint
from taleward.stores.vector.filters import Filter, check_metadata
from taleward.stores.vector.rows import Row, SearchHit, VectorRows, as_document, check_ids, check_texts, new_ids

if TYPE_CHECKING:
    from taleward.stores.fingerprint import Floats


class WritableStore(VectorStore):
    """What every vector store of Taleward is made with, and how it is written to; see `TalewardStore`."""

    def __init__(
        self,
        embeddings: str | Embeddings,
        *,
        model: str | None = None,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if ttl_s is not None and not ttl_s > 0:
            raise ConfigurationError(f"ttl_s must be above 0, or None for no end; got {ttl_s}.")
        self._embeddings = by_spec(embeddings)
        self.fingerprint = model or fingerprint(self._embeddings)
        self.ttl_s = ttl_s
        self._clock = clock
        self._swept = -1.0

    @property
    def embeddings(self) -> Embeddings:
        """What turns texts into vectors."""
        return self._embeddings

    # What a kind of store does itself -------------------------------------------------------------------------------

    _batch = 5000
    """Texts embedded and written at a time."""

    @property
    @abstractmethod
    def dimensions(self) -> int | None:
        """Numbers in a vector; `None` while nothing was added."""

    @abstractmethod
    def __len__(self) -> int:
        """Documents in the store."""

    def __bool__(self) -> bool:
        """A store without documents is a store nonetheless."""
        return True

    @abstractmethod
    def _upsert(self, rows: VectorRows, vectors: Floats, fresh: bool) -> None:
        """Keep rows with vectors of length 1; `fresh` when none of the ids can be there yet."""

    @abstractmethod
    def _get(self, ids: Sequence[str]) -> dict[str, Row]:
        """Those of the documents that are there."""

    @abstractmethod
    def _delete(self, ids: Sequence[str]) -> None:
        """Remove those that are there."""

    @abstractmethod
    def _delete_expired(self, *, wait: bool) -> None:
        """Remove documents whose time is over; without `wait`, a store that is busy may do so later."""

    @abstractmethod
    def _search(self, vectors: Floats, k: int, filter: Filter | None, with_vectors: bool) -> list[list[SearchHit]]:
        """The `k` best rows for each vector, best first."""

    @abstractmethod
    def scan(self, size: int = 1000) -> Iterator[tuple[VectorRows, Floats]]:
        """Every document with its vector, in pieces of at most `size`; a change in between may be seen or not."""

    def _flush(self) -> None:
        """Called at the end of every change."""

    @abstractmethod
    def close(self) -> None:
        """Keep all changes and let go of files and connections."""

    # Writing --------------------------------------------------------------------------------------------------------

    def add_texts(
        self,
        texts: Any,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Embed and keep texts.

        Where the model fails on the way, what was written until then stays; adding again with the same ids goes on.

        Args:
            texts: Any number of texts.
            metadatas: One mapping a text, of texts, numbers and booleans.
            ids: One id a text, each once; an id that is there is replaced. Without ids, new ones are made.
            kwargs: None are taken.

        Returns:
            The ids, in the texts' order.

        Raises:
            ConfigurationError: Lengths differ, an id comes twice, or a text or metadata cannot be kept.
        """
        rows, fresh = self._rows(texts, metadatas, ids, kwargs)
        try:
            for some in rows.pieces(self._batch):
                vectors = embed_array(self._embeddings, some.texts)
                self._upsert(some, self._units(vectors), fresh)
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
        """As `add_texts`, without blocking the event loop."""
        rows, fresh = self._rows(texts, metadatas, ids, kwargs)
        try:
            for some in rows.pieces(self._batch):
                vectors = await aembed_array(self._embeddings, some.texts)
                await asyncio.to_thread(self._upsert, some, self._units(vectors), fresh)
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
        """Keep texts whose vectors are known; as `add_texts` otherwise.

        Args:
            texts: Any number of texts.
            vectors: Shape (len(texts), dimensions), of any length; kept at length 1.
            metadatas: One mapping a text.
            ids: One id a text.
        """
        rows, fresh = self._rows(texts, metadatas, ids, {})
        units = self._units(as_rows(vectors, len(rows.ids)))
        try:
            for at, some in enumerate(rows.pieces(self._batch)):
                first = at * self._batch
                self._upsert(some, units[first : first + self._batch], fresh)
        finally:
            self._flush()
        return list(rows.ids)

    def restore(self, rows: VectorRows, vectors: Floats) -> None:
        """Keep documents that `scan` of another store with the same model gave, with the ends of their lives."""
        now = self._clock()
        ends = rows.expires or [None] * len(rows.ids)
        left = [at for at, end in enumerate(ends) if end is None or end > now]
        metadatas = None if rows.metadatas is None else [rows.metadatas[at] for at in left]
        for metadata in metadatas or ():
            check_metadata(metadata)
        if left:
            kept = VectorRows(
                [rows.ids[at] for at in left], [rows.texts[at] for at in left], metadatas, [ends[at] for at in left]
            )
            self._upsert(kept, self._units(as_rows(vectors, len(rows.ids))[left]), False)
        self._flush()

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Remove documents; ids that are not there are no error.

        Raises:
            ConfigurationError: No ids were given.
        """
        if ids is None:
            raise ConfigurationError("delete takes the ids to remove; got none.")
        self._delete(list(ids))
        self._flush()
        return True

    async def adelete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """As `delete`, without blocking the event loop."""
        return await asyncio.to_thread(self.delete, ids, **kwargs)

    def delete_expired(self) -> None:
        """Remove documents whose time is over, now; every answer does so by itself where the store has a `ttl_s`."""
        self._delete_expired(wait=True)
        self._flush()

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents that are there, in the order of the ids."""
        self._sweep()
        found = self._get(ids)
        return [as_document(found[i]) for i in dict.fromkeys(ids) if i in found]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """As `get_by_ids`, without blocking the event loop."""
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
        """A store with these texts; further arguments go to the class."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def _sweep(self) -> None:
        """Remove what is past its time, at most once a second."""
        if self.ttl_s is not None and self._clock() >= self._swept + 1.0:
            self._swept = self._clock()
            self._delete_expired(wait=False)
            self._flush()

    def _units(self, rows: Floats) -> Floats:
        """The vectors at length 1; a vector of zeros stays, and is like nothing."""
        import numpy

        known = self.dimensions
        if len(rows) and known is not None and rows.shape[1] != known:
            raise ConfigurationError(
                f"the vectors have {rows.shape[1]} dimensions; this store holds {known}, made by {self.fingerprint!r}.",
                hint="Use the embeddings that the store was made with, or make another store.",
            )
        squares = numpy.einsum("ij,ij->i", rows, rows)
        if not numpy.isfinite(squares).all():
            raise BackendError("a vector holds numbers that are not finite (NaN or infinity).")
        if not len(rows) or numpy.abs(squares - 1).max() < 1e-5:
            return rows
        lengths = numpy.sqrt(squares, dtype=numpy.float32)[:, None]
        return numpy.divide(rows, numpy.where(lengths > 0, lengths, 1), dtype=numpy.float32)

    def _rows(self, texts: Any, metadatas: Any, ids: Any, unknown: Mapping[str, Any]) -> tuple[VectorRows, bool]:
        if unknown:
            raise ConfigurationError(f"this store takes no {', '.join(sorted(unknown))}.")
        if isinstance(texts, str):
            raise ConfigurationError("texts must be a sequence of texts; got one text.", hint="Put it in a list.")
        texts = list(texts)
        check_texts(texts)
        for name, given in (("metadatas", metadatas), ("ids", ids)):
            if given is not None and len(given) != len(texts):
                raise ConfigurationError(f"there are {len(texts)} texts and {len(given)} {name}; give one a text.")
        new = new_ids(len(texts))
        named = new if ids is None else [i if i is not None else n for i, n in zip(ids, new, strict=True)]
        if ids is not None:
            check_ids(named)
        if metadatas is not None:
            metadatas = [m or {} for m in metadatas]
            for metadata in metadatas:
                check_metadata(metadata)
        expires = None if self.ttl_s is None else [self._clock() + self.ttl_s] * len(texts)
        return VectorRows(named, texts, metadatas, expires), ids is None
