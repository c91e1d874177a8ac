"""The contract of every vector store. What differs between kinds is in the abstract methods of `WritableStore`."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from taleward.core.errors import ConfigurationError
from taleward.stores.fingerprint import as_rows
from taleward.stores.vector.filters import Filter
from taleward.stores.vector.rows import SearchHit, as_document
from taleward.stores.vector.writable import WritableStore


class TalewardStore(WritableStore):
    """A LangChain vector store with one contract for every kind.

    * A score is the cosine similarity of the vectors, those below 0 given as 0: from 0 (unlike) to 1 (alike). Every
      method that gives or takes scores uses it; hits come best first.
    * Adding under an id that is there replaces the document, its metadata and its vector.
    * A `filter` (see `taleward.stores.vector.filters`) is applied to all documents, not to the best few: with `k`
      fitting documents in the store, `k` come back.
    * A store holds vectors of one model; another is refused.
    * Async methods give the same without blocking the event loop.

    Args:
        embeddings: LangChain embeddings, or a spec such as `embedded:minilm`. Hand in `CachedEmbeddings` and no text is
            ever embedded twice, by this store or another.
        model: The model's fingerprint, where the embeddings do not tell it themselves.
        ttl_s: Seconds that added documents live; `None` for no end. Gone from every answer one second later at most.
        clock: Seconds since the epoch, for tests.
    """

    def search_vectors(
        self, vectors: Any, k: int = 4, *, filter: Filter | None = None
    ) -> list[list[tuple[Document, float]]]:
        """The best documents for each of many vectors, in one search.

        Args:
            vectors: Shape (queries, dimensions), of any length.
            k: Documents a query, 1 or more.
            filter: See `taleward.stores.vector.filters`.

        Returns:
            For each query its documents with scores, best first.
        """
        return [[(as_document(h.row), h.score) for h in hits] for hits in self._found(vectors, k, filter)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The documents most like a text, with scores 0..1, best first.

        Args:
            query: A text.
            k: Documents at most, 1 or more.
            filter: See `taleward.stores.vector.filters`.
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
            filter: See `taleward.stores.vector.filters`.
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
        return [as_document(hits[i].row) for i in picked]

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
        return [(as_document(h.row), h.score) for h in hits if h.score >= least]

    def _found(self, vectors: Any, k: int, filter: Filter | None, with_vectors: bool = False) -> list[list[SearchHit]]:
        if k < 1:
            raise ConfigurationError(f"k must be 1 or more; got {k}.")
        queries = self._units(as_rows(vectors, len(vectors)))
        self._sweep()
        if not len(queries) or self.dimensions is None:
            return [[] for _ in queries]
        return self._search(queries, k, filter, with_vectors)
