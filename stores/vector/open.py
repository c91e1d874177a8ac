"""The store at a place, whatever its kind."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from langchain_core.embeddings import Embeddings

from taleward.core.errors import ConfigurationError
from taleward.stores.vector.base import TalewardStore
from taleward.stores.vector.chroma_store import ChromaStore
from taleward.stores.vector.faiss_store import FaissStore
from taleward.stores.vector.rows import ANY_MODEL


class NoEmbeddings(Embeddings):
    """Stands where a store is looked after and nothing is embedded."""

    fingerprint = ANY_MODEL

    def embed_documents(self, texts: list[str]) -> NoReturn:
        """Not here."""
        raise ConfigurationError("this store was opened without embeddings.", hint="Give the model it was made with.")

    def embed_query(self, text: str) -> NoReturn:
        """Not here."""
        self.embed_documents([text])


def open_store(
    place: str | Path,
    embeddings: str | Embeddings | None = None,
    *,
    collection: str = "taleward",
    create: bool = False,
    model: str | None = None,
) -> TalewardStore:
    """Open a vector store.

    Args:
        place: A FAISS store's folder, a Chroma folder, or a Chroma server's URL.
        embeddings: The model; without one, everything but adding and searching texts works.
        collection: Chroma's collection.
        create: Make a FAISS store where there is none.
        model: The model's fingerprint, where the embeddings do not tell it themselves.

    Raises:
        ConfigurationError: There is no store.
    """
    made = NoEmbeddings() if embeddings is None else embeddings
    folder = Path(place)
    if str(place).startswith(("http://", "https://")):
        return ChromaStore(made, str(place), collection=collection, model=model)
    if (folder / "documents.db").is_file():
        return FaissStore(made, folder, model=model)
    if (folder / "chroma.sqlite3").is_file():
        return ChromaStore(made, folder, collection=collection, model=model)
    if create and not folder.is_file():
        return FaissStore(made, folder, model=model)
    raise ConfigurationError(
        f"there is no vector store at {place}.",
        hint="Give the folder of a FaissStore or ChromaStore, or the URL of a Chroma server.",
    )
