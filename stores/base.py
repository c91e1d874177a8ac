"""The contract of every vector store; what differs between them is below the line of `_upsert`, `_search` and so on."""

from __future__ import annotations

import asyncio
import os
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from taleward.backends.embeddings import embeddings as by_spec
from taleward.core.errors import BackendError, ConfigurationError, IntegrityError
from taleward.stores.filters import Filter, check_metadata
from taleward.stores.fingerprint import aembed_array, as_rows, embed_array, fingerprint

if TYPE_CHECKING:
    from taleward.stores.fingerprint import Floats

Metadata = Mapping[str, Any]


class Row(NamedTuple):
    """One document as it is stored."""

    id: str
    text: str
    metadata: Metadata


class Rows(NamedTuple):
    """Documents to store, by column: 100,000 objects of their own would take longer than their vectors.

    Attributes:
        ids: One id a document.
        texts: The texts.
        metadatas: One mapping a document, or `None` where no document has any.
        expires: When each is over, in seconds since the epoch, or `None` where none ever is.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    metadatas: Sequence[Metadata] | None
    expires: Sequence[float | None] | None

    def pieces(self, size: int) -> Iterator[Rows]:
        """The same in pieces of at most `size` documents."""
        for at in range(0, len(self.ids), size):
            to = at + size
            metadatas = self.metadatas[at:to] if self.metadatas else None
            yield Rows(self.ids[at:to], self.texts[at:to], metadatas, self.expires[at:to] if self.expires else None)


class Hit(NamedTuple):
    """One document that was found.

    Attributes:
        row: The document.
        score: Its similarity, 0..1.
        vector: Its vector, length 1, where it was asked for.
    """

    row: Row
    score: float
    vector: Floats | None


class TalewardStore(VectorStore):
    """A LangChain vector store with one contract for every kind.

    * A score is the cosine similarity of the vectors, those below 0 given as 0: from 0 (unlike) to 1 (alike). Every
      method that gives or takes scores uses it; hits come best first.
    * Adding under an id that is there replaces the document, its metadata and its vector.
    * A `filter` (see `taleward.stores.filters`) is applied to all documents, not to the best few: with `k` fitting
      documents in the store, `k` come back.
    * A store holds vectors of one model; another is refused.
    * Async methods give the same without blocking the event loop.

    Args:
        embeddings: LangChain embeddings, or a spec such as `embedded:minilm`. Hand in `CachedEmbeddings` and no text is
            ever embedded twice, by this store or another.
        model: The model's fingerprint, where the embeddings do not tell it themselves.
        ttl_s: Seconds that added documents live; `None` for no end. Gone from every answer one second later at most.
        clock: Seconds since the epoch, for tests.
    """

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
    def _upsert(self, rows: Rows, vectors: Floats, fresh: bool) -> None:
        """Keep rows with vectors of length 1; `fresh` when none of the ids can be there yet."""

    @abstractmethod
    def _get(self, ids: Sequence[str]) -> dict[str, Row]:
        """Those of the documents that are there."""

    @abstractmethod
    def _delete(self, ids: Sequence[str]) -> None:
        """Remove those that are there."""

    @abstractmethod
    def _delete_expired(self, now: float) -> None:
        """Remove documents whose time is over."""

    @abstractmethod
    def _search(self, vectors: Floats, k: int, filter: Filter | None, with_vectors: bool) -> list[list[Hit]]:
        """The `k` best rows for each vector, best first."""

    @abstractmethod
    def scan(self, size: int = 1000) -> Iterator[tuple[Rows, Floats]]:
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

    def restore(self, rows: Rows, vectors: Floats) -> None:
        """Keep documents that `scan` of another store with the same model gave, with the ends of their lives."""
        now = self._clock()
        ends = rows.expires or [None] * len(rows.ids)
        left = [at for at, end in enumerate(ends) if end is None or end > now]
        metadatas = None if rows.metadatas is None else [rows.metadatas[at] for at in left]
        for metadata in metadatas or ():
            check_metadata(metadata)
        if left:
            kept = Rows(
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
        self._delete_expired(self._clock())
        self._flush()

    # Reading --------------------------------------------------------------------------------------------------------

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents that are there, in the order of the ids."""
        self._sweep()
        found = self._get(ids)
        return [_document(found[i]) for i in dict.fromkeys(ids) if i in found]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """As `get_by_ids`, without blocking the event loop."""
        return await asyncio.to_thread(self.get_by_ids, ids)

    def search_vectors(
        self, vectors: Any, k: int = 4, *, filter: Filter | None = None
    ) -> list[list[tuple[Document, float]]]:
        """The best documents for each of many vectors, in one search.

        Args:
            vectors: Shape (queries, dimensions), of any length.
            k: Documents a query, 1 or more.
            filter: See `taleward.stores.filters`.

        Returns:
            For each query its documents with scores, best first.
        """
        return [[(_document(h.row), h.score) for h in hits] for hits in self._found(vectors, k, filter)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The documents most like a text, with scores 0..1, best first.

        Args:
            query: A text.
            k: Documents at most, 1 or more.
            filter: See `taleward.stores.filters`.
            kwargs: `score_threshold`: the least score that is given.
        """
        return self._scored(self._embeddings.embed_query(query), k, filter, **kwargs)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search_with_score`, without blocking the event loop."""
        vector = await self._embeddings.aembed_query(query)
        return await asyncio.to_thread(self._scored, vector, k, filter, **kwargs)

    def similarity_search(self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any) -> list[Document]:
        """The documents most like a text, best first."""
        return [d for d, _ in self.similarity_search_with_score(query, k, filter, **kwargs)]

    async def asimilarity_search(
        self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """As `similarity_search`, without blocking the event loop."""
        return [d for d, _ in await self.asimilarity_search_with_score(query, k, filter, **kwargs)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """The documents most like a vector, best first."""
        return [d for d, _ in self._scored(embedding, k, filter, **kwargs)]

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """As `similarity_search_by_vector`, without blocking the event loop."""
        return await asyncio.to_thread(self.similarity_search_by_vector, embedding, k, filter, **kwargs)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return self.similarity_search_with_score(query, k, **kwargs)

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return await self.asimilarity_search_with_score(query, k, **kwargs)

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Documents like a text and unlike each other.

        Args:
            query: A text.
            k: Documents at most.
            fetch_k: Documents to pick from.
            lambda_mult: From 0 (as different as can be) to 1 (as like the query as can be).
            filter: See `taleward.stores.filters`.
            kwargs: None are taken.
        """
        vector = self._embeddings.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, filter, **kwargs)

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, without blocking the event loop."""
        vector = await self._embeddings.aembed_query(query)
        mmr = self.max_marginal_relevance_search_by_vector
        return await asyncio.to_thread(mmr, vector, k, fetch_k, lambda_mult, filter, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, for a vector."""
        if kwargs:
            raise ConfigurationError(f"this search takes no {', '.join(sorted(kwargs))}.")
        if not 0 <= lambda_mult <= 1:
            raise ConfigurationError(f"lambda_mult must be from 0 to 1; got {lambda_mult}.")
        [hits] = self._found([embedding], max(fetch_k, k), filter, with_vectors=True)
        query = self._units(as_rows([embedding], 1))[0]
        vectors: list[Any] = [hit.vector for hit in hits]
        picked = maximal_marginal_relevance(query, vectors, lambda_mult=lambda_mult, k=k)
        return [_document(hits[i].row) for i in picked]

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

    # Shared ---------------------------------------------------------------------------------------------------------

    def _scored(
        self,
        vector: Any,
        k: int,
        filter: Filter | None,
        score_threshold: float | None = None,
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        if kwargs:
            raise ConfigurationError(f"this search takes no {', '.join(sorted(kwargs))}.")
        if score_threshold is not None and not 0 <= score_threshold <= 1:
            raise ConfigurationError(f"score_threshold must be from 0 to 1; got {score_threshold}.")
        [hits] = self._found([vector], k, filter)
        least = score_threshold or 0.0
        return [(_document(h.row), h.score) for h in hits if h.score >= least]

    def _found(self, vectors: Any, k: int, filter: Filter | None, with_vectors: bool = False) -> list[list[Hit]]:
        if k < 1:
            raise ConfigurationError(f"k must be 1 or more; got {k}.")
        queries = self._units(as_rows(vectors, len(vectors)))
        self._sweep()
        if not len(queries) or self.dimensions is None:
            return [[] for _ in queries]
        return self._search(queries, k, filter, with_vectors)

    def _sweep(self) -> None:
        """Remove what is past its time, at most once a second."""
        if self.ttl_s is not None and self._clock() >= self._swept + 1.0:
            self._swept = self._clock()
            self.delete_expired()

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

    def _rows(self, texts: Any, metadatas: Any, ids: Any, unknown: Mapping[str, Any]) -> tuple[Rows, bool]:
        if unknown:
            raise ConfigurationError(f"this store takes no {', '.join(sorted(unknown))}.")
        if isinstance(texts, str):
            raise ConfigurationError("texts must be a sequence of texts; got one text.", hint="Put it in a list.")
        texts = list(texts)
        _check_texts(texts)
        for name, given in (("metadatas", metadatas), ("ids", ids)):
            if given is not None and len(given) != len(texts):
                raise ConfigurationError(f"there are {len(texts)} texts and {len(given)} {name}; give one a text.")
        new = new_ids(len(texts))
        named = new if ids is None else [i if i is not None else n for i, n in zip(ids, new, strict=True)]
        if ids is not None:
            _check_ids(named)
        if metadatas is not None:
            metadatas = [m or {} for m in metadatas]
            for metadata in metadatas:
                check_metadata(metadata)
        expires = None if self.ttl_s is None else [self._clock() + self.ttl_s] * len(texts)
        return Rows(named, texts, metadatas, expires), ids is None


def new_ids(count: int) -> list[str]:
    """Ids that no other call makes; they rise with time, which keeps the database's index short of work."""
    head = f"{time.time_ns() // 1_000_000:012x}{os.urandom(4).hex()}"
    return [f"{head}{i:06x}" for i in range(count)]


ANY_MODEL = "any model"
"""The fingerprint of embeddings that embed nothing, to look after a store whatever its model."""


def check_model(kind: str, held: str, given: str) -> str:
    """The fingerprint of the model that a store was made with, and must be opened with.

    Raises:
        ConfigurationError: Another is given; both are named.
    """
    if given not in (held, ANY_MODEL):
        raise ConfigurationError(
            f"this {kind} holds vectors of {held!r}; the embeddings given are {given!r}.",
            hint="Open it with the embeddings it was made with, or make another store.",
        )
    return held


def score(cosine: float) -> float:
    """A cosine similarity as a score: below 0 is 0, and rounding does not lead above 1."""
    return min(1.0, max(0.0, float(cosine)))


def lost(kind: str, where: object, why: str) -> IntegrityError:
    """The error of a store whose files do not fit together."""
    return IntegrityError(
        f"the {kind} {where} is damaged: {why}.", hint="Restore the folder from a copy, or export again."
    )


def _check_texts(texts: list[Any]) -> None:
    try:
        "".join(texts).encode()
    except TypeError:
        wrong = next(t for t in texts if not isinstance(t, str))
        raise ConfigurationError(f"a text must be a str; got {type(wrong).__name__}.") from None
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"a text holds half of a surrogate pair, which is no character: {error.reason}.",
            hint="Decode it with errors='replace'.",
        ) from error


def _check_ids(ids: list[Any]) -> None:
    seen: set[str] = set()
    for one in ids:
        if not isinstance(one, str) or not one:
            raise ConfigurationError(f"an id is a text that is not empty; got {one!r}.")
        if one in seen:
            raise ConfigurationError(f"the id {one!r} comes twice in one call.", hint="Give each id once.")
        seen.add(one)
    _check_texts(ids)


def _document(row: Row) -> Document:
    return Document(id=row.id, page_content=row.text, metadata=dict(row.metadata))
