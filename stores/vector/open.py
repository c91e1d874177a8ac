"""Open the vector store at a location, whatever its kind."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from langchain_core.embeddings import Embeddings

from taleward.core.errors import ConfigurationError
from taleward.core.redaction import redact
from taleward.stores.postgres_url import is_postgres_url
from taleward.stores.vector.base import TalewardStore
from taleward.stores.vector.chroma_store import ChromaStore
from taleward.stores.vector.faiss_store import FaissStore
from taleward.stores.vector.pgvector_store import PgvectorStore
from taleward.stores.vector.rows import ANY_MODEL


class NoEmbeddings(Embeddings):
    """A placeholder for opening a store of any model without embedding anything."""

    fingerprint = ANY_MODEL

    def embed_documents(self, texts: list[str]) -> NoReturn:
        """Raise `ConfigurationError`."""
        raise ConfigurationError(
            "this store was opened without embeddings.", hint="Open it with the embeddings that created it."
        )

    def embed_query(self, text: str) -> NoReturn:
        """Raise `ConfigurationError`."""
        self.embed_documents([text])


def open_store(
    location: str | Path,
    embeddings: str | Embeddings | None = None,
    *,
    collection: str = "taleward",
    create: bool = False,
    model: str | None = None,
) -> TalewardStore:
    """Open a vector store.

    Args:
        location: The folder of a `FaissStore` or `ChromaStore`, or the URL of a Chroma server or a Postgres database.
        embeddings: LangChain embeddings, or a spec. Without them, everything works except adding and searching texts.
        collection: The name of the collection in Chroma or Postgres.
        create: Whether to create a `FaissStore` or `PgvectorStore` if there is no store.
        model: The model's fingerprint, if the embeddings do not identify their model.

    Raises:
        ConfigurationError: If there is no store at the location.
    """
    store_embeddings = NoEmbeddings() if embeddings is None else embeddings
    if is_postgres_url(location):
        return PgvectorStore(store_embeddings, str(location), collection=collection, create=create, model=model)
    folder = Path(location)
    if str(location).startswith(("http://", "https://")):
        return ChromaStore(store_embeddings, str(location), collection=collection, model=model)
    if (folder / "documents.db").is_file():
        return FaissStore(store_embeddings, folder, model=model)
    if (folder / "chroma.sqlite3").is_file():
        return ChromaStore(store_embeddings, folder, collection=collection, model=model)
    if create and not folder.is_file():
        return FaissStore(store_embeddings, folder, model=model)
    raise ConfigurationError(
        f"there is no vector store at {redact(str(location))}.",
        hint="Give the folder of a FaissStore or ChromaStore, or the URL of a Chroma server or a Postgres database.",
    )
