"""Remember released tales, to find similar ones and to measure how new a text is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.core.tale import Tale
from taleward.stores.vector.base import TalewardStore
from taleward.stores.vector.filters import Filter


class SimilarTale(FrozenModel):
    """A remembered tale that resembles a text.

    Attributes:
        id: The tale's id.
        text: The tale's text.
        score: The similarity from 0 to 1.
    """

    id: str
    text: str
    score: float


class TaleMemory:
    """Released tales in a vector store, to find similar ones and to avoid near-duplicates.

    Refused texts are never stored. If the store has a `ttl_s`, tales expire by themselves; `forget` deletes by id.

    Args:
        store: Any Taleward vector store; its embeddings determine the similarity.
        max_similarity: The score from 0 to 1 at which a text counts as a near-duplicate.

    Raises:
        ConfigurationError: If `max_similarity` is not from 0 to 1.
    """

    def __init__(self, store: TalewardStore, *, max_similarity: float = 0.95) -> None:
        if not 0 <= max_similarity <= 1:
            raise ConfigurationError(f"max_similarity must be from 0 to 1; got {max_similarity}.")
        self.store, self.max_similarity = store, max_similarity

    def remember(self, tale: Tale, *, metadata: Mapping[str, Any] | None = None) -> bool:
        """Store a released tale under its id, with policy and band as metadata.

        Args:
            tale: The tale.
            metadata: More metadata to store.

        Returns:
            Whether it was stored; a refused tale is not.
        """
        if not tale.released:
            return False
        all_metadata = {"policy": tale.lineage.policy, "band": tale.lineage.band, **(metadata or {})}
        self.store.add_texts([tale.text], [all_metadata], ids=[tale.id])
        return True

    def record(self, tale: Tale, inputs: Mapping[str, Any]) -> None:
        """Remember a tale, as a guard's recorder; see `remember`."""
        self.remember(tale)

    def similar(self, text: str, k: int = 4, *, filter: Filter | None = None) -> list[SimilarTale]:
        """Return the `k` tales most similar to a text, best first.

        Args:
            text: The text to compare.
            k: The most tales to return, 1 or more.
            filter: A metadata filter, see `taleward.stores.vector.filters`.
        """
        hits = self.store.similarity_search_with_score(text, k, filter)
        return [SimilarTale(id=d.id or "", text=d.page_content, score=score) for d, score in hits]

    def novelty(self, text: str, *, filter: Filter | None = None) -> float:
        """Return how new a text is: 1 minus the score of the most similar tale, from 0 (known) to 1 (new)."""
        nearest = self.similar(text, 1, filter=filter)
        return 1.0 - nearest[0].score if nearest else 1.0

    async def anovelty(self, text: str, *, filter: Filter | None = None) -> float:
        """Like `novelty`, without blocking the event loop."""
        return await asyncio.to_thread(self.novelty, text, filter=filter)

    def is_repeat(self, text: str, *, filter: Filter | None = None) -> bool:
        """Return whether a text is a near-duplicate of a remembered tale."""
        return 1.0 - self.novelty(text, filter=filter) >= self.max_similarity

    def forget(self, ids: Iterable[str]) -> None:
        """Delete tales by id."""
        self.store.delete(list(ids))
