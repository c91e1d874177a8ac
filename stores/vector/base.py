"""The interface of every vector store; stores differ only in the abstract methods of `WritableStore`."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from taleward.core.errors import ConfigurationError
from taleward.stores.embedding_fingerprint import as_matrix
from taleward.stores.vector.filters import Filter
from taleward.stores.vector.rows import SearchHit, as_document
from taleward.stores.vector.writable_store import WritableStore


class TalewardStore(WritableStore):
    """A LangChain vector store with one contract for every kind.

    * A score is the cosine similarity of two vectors, with negative values as 0: from 0 (unrelated) to 1 (identical).
      Every method that returns or accepts scores uses it. Hits are sorted best first.
    * Adding a document under an existing id replaces its text, metadata and vector.
    * A `filter` (see `taleward.stores.vector.filters`) applies to all documents before the search: with `k` matching
      documents in the store, you get `k`.
    * A store has vectors of one model and cannot be opened with another.
    * The async methods return the same without blocking the event loop.

    Args:
        embeddings: LangChain embeddings, or a spec such as `embedded:minilm`. With `CachedEmbeddings`, no text is
            embedded twice, by this store or another.
        model: The model's fingerprint, if the embeddings do not identify their model.
        ttl_s: Seconds until added documents expire; `None` for never. Expired documents disappear from results within
            one second.
        clock: Returns seconds since the epoch, for tests.
    """

    def search_vectors(
        self, vectors: Any, k: int = 4, *, filter: Filter | None = None
    ) -> list[list[tuple[Document, float]]]:
        """Search for many vectors at once.

        Args:
            vectors: Shape (queries, dimensions), of any length.
            k: Documents per query, 1 or more.
            filter: A metadata filter, see `taleward.stores.vector.filters`.

        Returns:
            For each query its documents with scores, best first.
        """
        results = self._normalize_and_search(vectors, k, filter)
        return [[(as_document(hit.row), hit.score) for hit in hits] for hits in results]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the documents most similar to a text, with scores from 0 to 1, best first.

        Args:
            query: A text.
            k: The most documents to return, 1 or more.
            filter: A metadata filter, see `taleward.stores.vector.filters`.
            kwargs: `score_threshold`, the lowest score to return, from 0 to 1.

        Raises:
            ConfigurationError: If an argument is out of range, unknown or an invalid filter.
        """
        return self._search_one_vector(self._embeddings.embed_query(query), k, filter, **kwargs)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Like `similarity_search_with_score`, without blocking the event loop."""
        vector = await self._embeddings.aembed_query(query)
        return await asyncio.to_thread(self._search_one_vector, vector, k, filter, **kwargs)

    def similarity_search(self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any) -> list[Document]:
        """Return the documents most similar to a text, best first; see `similarity_search_with_score`."""
        return [d for d, _ in self.similarity_search_with_score(query, k, filter, **kwargs)]

    async def asimilarity_search(
        self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """Like `similarity_search`, without blocking the event loop."""
        return [d for d, _ in await self.asimilarity_search_with_score(query, k, filter, **kwargs)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the documents most similar to a vector, best first; see `similarity_search_with_score`."""
        return [d for d, _ in self._search_one_vector(embedding, k, filter, **kwargs)]

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """Like `similarity_search_by_vector`, without blocking the event loop."""
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
        """Return documents that are similar to a text and different from each other (maximal marginal relevance).

        Args:
            query: A text.
            k: The most documents to return.
            fetch_k: The number of candidates to select from.
            lambda_mult: From 0 (most diverse) to 1 (most similar to the query).
            filter: A metadata filter, see `taleward.stores.vector.filters`.
            kwargs: Not accepted.

        Raises:
            ConfigurationError: If an argument is out of range, unknown or an invalid filter.
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
        """Like `max_marginal_relevance_search`, without blocking the event loop."""
        vector = await self._embeddings.aembed_query(query)
        search = self.max_marginal_relevance_search_by_vector
        return await asyncio.to_thread(search, vector, k, fetch_k, lambda_mult, filter, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Like `max_marginal_relevance_search`, for a vector."""
        if kwargs:
            raise ConfigurationError(f"this search does not accept {', '.join(sorted(kwargs))}.")
        if not 0 <= lambda_mult <= 1:
            raise ConfigurationError(f"lambda_mult must be from 0 to 1; got {lambda_mult}.")
        [hits] = self._normalize_and_search([embedding], max(fetch_k, k), filter, with_vectors=True)
        query = self._normalize(as_matrix([embedding], 1))[0]
        vectors: list[Any] = [hit.vector for hit in hits]
        selected = maximal_marginal_relevance(query, vectors, lambda_mult=lambda_mult, k=k)
        return [as_document(hits[i].row) for i in selected]

    def _search_one_vector(
        self,
        vector: Any,
        k: int,
        filter: Filter | None,
        score_threshold: float | None = None,
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        if kwargs:
            raise ConfigurationError(f"this search does not accept {', '.join(sorted(kwargs))}.")
        if score_threshold is not None and not 0 <= score_threshold <= 1:
            raise ConfigurationError(f"score_threshold must be from 0 to 1; got {score_threshold}.")
        [hits] = self._normalize_and_search([vector], k, filter)
        min_score = score_threshold or 0.0
        return [(as_document(hit.row), hit.score) for hit in hits if hit.score >= min_score]

    def _normalize_and_search(
        self, vectors: Any, k: int, filter: Filter | None, with_vectors: bool = False
    ) -> list[list[SearchHit]]:
        """Check and normalize query vectors, delete what has expired, and search."""
        if k < 1:
            raise ConfigurationError(f"k must be 1 or more; got {k}.")
        queries = self._normalize(as_matrix(vectors, len(vectors)))
        self._sweep()
        if not len(queries) or self.dimensions is None:
            return [[] for _ in queries]
        return self._search(queries, k, filter, with_vectors)
