"""The model behind `/v1/embeddings`, with its cache."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from taleward.backends.embedding_models import embeddings
from taleward.core.concurrency.sync_async import run_in_thread
from taleward.serving.config import ServeConfig
from taleward.stores.caches.embeddings import CachedEmbeddings

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

WARM_UP_TEXT = "The cat slept in the sun."


class Embedder:
    """Embeds texts for clients.

    Args:
        spec: The model's spec, by which clients ask for it.
        model: The model.
    """

    def __init__(self, spec: str, model: Embeddings) -> None:
        self.spec, self._model = spec, model
        # The cache's file is written by one thread at a time.
        self._lock = threading.Lock()

    async def embed(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text, without blocking the event loop."""
        return await run_in_thread(partial(self._embed, texts))

    def _embed(self, texts: list[str]) -> list[list[float]]:
        with self._lock:
            return self._model.embed_documents(texts)


def make_embedder(config: ServeConfig) -> Embedder | None:
    """Make the embedder of a configuration; `None` if it has none.

    Raises:
        ConfigurationError: If the spec is invalid, or a key or library is missing.
    """
    if config.embeddings is None:
        return None
    server = {"base_url": config.embeddings_base_url} if config.embeddings_base_url else {}
    model = embeddings(config.embeddings, **server)
    if config.embeddings_cache is not None:
        config.embeddings_cache.parent.mkdir(parents=True, exist_ok=True)
        model = CachedEmbeddings(model, config.embeddings_cache)
    return Embedder(config.embeddings, model)
