"""What was told before: tales that are alike, and how new a text is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.core.tale import Tale
from taleward.stores.vector.base import TalewardStore
from taleward.stores.vector.filters import Filter


class Alike(FrozenModel):
    """A tale told before that is like a text.

    Attributes:
        id: The tale's id.
        text: Its text.
        score: How alike, 0..1.
    """

    id: str
    text: str
    score: float


class TaleMemory:
    """Released tales in a vector store, to find those alike and to tell no near-duplicate.

    Refused texts are never kept. With `ttl_s` on the store the memory forgets by itself; `forget` deletes by id.

    Args:
        store: Any store of Taleward; its embeddings decide what is alike.
        max_similarity: The score from which a text is a near-duplicate.
    """

    def __init__(self, store: TalewardStore, *, max_similarity: float = 0.95) -> None:
        if not 0 <= max_similarity <= 1:
            raise ConfigurationError(f"max_similarity must be from 0 to 1; got {max_similarity}.")
        self.store, self.max_similarity = store, max_similarity

    def remember(self, tale: Tale, *, metadata: Mapping[str, Any] | None = None) -> bool:
        """Keep a released tale under its id, with policy and band as metadata.

        Returns:
            Whether it was kept; a refused tale is not.
        """
        if not tale.released:
            return False
        held = {"policy": tale.lineage.policy, "band": tale.lineage.band, **(metadata or {})}
        self.store.add_texts([tale.text], [held], ids=[tale.id])
        return True

    def record(self, tale: Tale, inputs: Mapping[str, Any]) -> None:
        """As `remember`; with this a guard takes the memory as its recorder."""
        self.remember(tale)

    def alike(self, text: str, k: int = 4, *, filter: Filter | None = None) -> list[Alike]:
        """The tales most like a text, best first."""
        found = self.store.similarity_search_with_score(text, k, filter)
        return [Alike(id=d.id or "", text=d.page_content, score=score) for d, score in found]

    def novelty(self, text: str, *, filter: Filter | None = None) -> float:
        """How new a text is: 1 minus the score of the tale most like it, from 0 (told before) to 1."""
        nearest = self.alike(text, 1, filter=filter)
        return 1.0 - nearest[0].score if nearest else 1.0

    async def anovelty(self, text: str, *, filter: Filter | None = None) -> float:
        """As `novelty`, without blocking the event loop."""
        return await asyncio.to_thread(self.novelty, text, filter=filter)

    def is_repeat(self, text: str, *, filter: Filter | None = None) -> bool:
        """Whether a tale told before is so alike that this one should not be told."""
        return 1.0 - self.novelty(text, filter=filter) >= self.max_similarity

    def forget(self, ids: Iterable[str]) -> None:
        """Delete tales by id."""
        self.store.delete(list(ids))
