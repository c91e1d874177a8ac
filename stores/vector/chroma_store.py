"""A vector store in a Chroma collection, in a folder or on a server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from langchain_core.embeddings import Embeddings

from taleward.core.errors import BackendError, ConfigurationError, MissingExtra, NotErased
from taleward.core.redaction import redact
from taleward.stores.embedding_fingerprint import as_matrix
from taleward.stores.vector.base import TalewardStore
from taleward.stores.vector.chroma_erasure import erase_deleted
from taleward.stores.vector.filters import Filter, to_chroma
from taleward.stores.vector.rows import DocumentRow, SearchHit, VectorRows, check_fingerprint, score_from_cosine

if TYPE_CHECKING:
    from taleward.stores.embedding_fingerprint import Floats

T = TypeVar("T")
_log = logging.getLogger(__name__)

_FINGERPRINT_KEY = "taleward_fingerprint"
_EXPIRES_KEY = "taleward_expires"
_MAX_BATCH_SIZE = 5000
_MAX_HTTP_BATCH_SIZE = 1000
_FIRST_BACKOFF_S = 0.2
_TRANSIENT_STATUSES = (429, 502, 503, 504)


class ChromaStore(TalewardStore):
    """A vector store in a Chroma collection. Every change is saved before its method returns.

    In a folder, deleted documents are erased from Chroma's database, its log of operations included, which rewrites the
    database. The ids and vectors of deleted documents stay in the files of the index, if Chroma has saved it (after
    1,000 changes), until you call `compact`. A server keeps deleted documents in its log until it purges that.

    Chroma's index is approximate (HNSW), and its folder contains a pickle of Chroma's own. If either matters to you,
    use `FaissStore`. Chroma's telemetry is turned off.

    Args:
        embeddings: LangChain embeddings, or a spec such as `embedded:minilm`.
        location: A folder, created if missing; the URL of a `chroma run` server; or a client of the chromadb package.
        collection: The collection's name; created if missing.
        headers: HTTP headers for every request to a server, for example its token.
        max_retries: Retries if a server is busy or cannot be reached, with exponential backoff.
        model: The model's fingerprint, if the embeddings do not identify their model.
        ttl_s: Seconds until added documents expire; `None` for never.
        clock: Returns seconds since the epoch, for tests.

    Raises:
        ConfigurationError: If the collection has vectors of another model, or was created by another program.
        BackendError: If the server cannot be reached.
        MissingExtra: If chromadb is not installed.
    """

    _COMPACTING = ".compacting"

    def __init__(
        self,
        embeddings: str | Embeddings,
        location: str | Path | Any,
        *,
        collection: str = "taleward",
        headers: Mapping[str, str] | None = None,
        max_retries: int = 4,
        model: str | None = None,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(embeddings, model=model, ttl_s=ttl_s, clock=clock)
        if max_retries < 0:
            raise ConfigurationError(f"max_retries must be 0 or more; got {max_retries}.")
        self._max_retries = max_retries
        self._dimensions: int | None = None
        self._owns_client = isinstance(location, str | Path)
        is_remote = isinstance(location, str) and location.startswith(("http://", "https://"))
        self._client = self._request(lambda: _connect(location, dict(headers or {})))
        try:
            max_batch_size = self._request(self._client.get_max_batch_size)
            self._batch_size = min(max_batch_size, _MAX_HTTP_BATCH_SIZE if is_remote else _MAX_BATCH_SIZE)
            self._finish_compacting(collection)
            self._collection = self._request(lambda: self._open(collection))
            settings = self._client.get_settings()
            self._is_server, self._warned = settings.chroma_server_host is not None, False
            is_folder = settings.is_persistent and not self._is_server
            self._file = Path(settings.persist_directory) / "chroma.sqlite3" if is_folder else None
            self.delete_expired()
        except BaseException:
            self.close()
            raise

    def _open(self, name: str) -> Any:
        collection = self._client.get_or_create_collection(
            name,
            metadata={_FINGERPRINT_KEY: self.fingerprint},
            configuration={"hnsw": {"space": "cosine"}},
            embedding_function=None,
        )
        stored = (collection.metadata or {}).get(_FINGERPRINT_KEY)
        if stored is None:
            raise ConfigurationError(
                f"the Chroma collection {name!r} was created by another program: it does not name its model.",
                hint="Give another collection=, and add its texts to that.",
            )
        self.fingerprint = check_fingerprint(f"Chroma collection {name!r}", stored, self.fingerprint)
        return collection

    @property
    def dimensions(self) -> int | None:
        """The length of a vector; `None` while the store is empty."""
        if self._dimensions is None:
            vectors = self._request(lambda: self._collection.get(limit=1, include=["embeddings"]))["embeddings"]
            self._dimensions = len(vectors[0]) if len(vectors) else None
        return self._dimensions

    def __len__(self) -> int:
        return int(self._request(self._collection.count))

    def compact(self) -> None:
        """Rebuild the collection without its deleted documents, so that no file contains their vectors.

        That takes as long as adding all documents again, without embedding them. Nobody else may use the collection
        meanwhile, and stores that have it open must be opened again. A kill at any moment loses nothing.

        Raises:
            NotErased: If another program keeps Chroma's database locked.
        """
        name = self._collection.name
        copy = self._request(lambda: self._open(name + self._COMPACTING))
        for rows, vectors in self.scan(self._batch_size):
            metadatas = _chroma_metadatas(rows)
            self._request(
                partial(copy.upsert, ids=rows.ids, documents=rows.texts, metadatas=metadatas, embeddings=vectors)
            )
        self._request(lambda: self._client.delete_collection(name))
        self._request(lambda: copy.modify(name=name))
        self._collection = self._request(lambda: self._open(name))
        self._erase()

    def _finish_compacting(self, name: str) -> None:
        """Complete a `compact` that was killed: the copy is whole if the original was deleted."""
        copy = name + self._COMPACTING
        names = {collection.name for collection in self._request(self._client.list_collections)}
        if copy in names and name in names:
            self._request(lambda: self._client.delete_collection(copy))
        elif copy in names:
            self._request(lambda: self._client.get_collection(copy, embedding_function=None).modify(name=name))

    def _erase(self) -> None:
        if self._file is not None:
            erase_deleted(self._file, str(self._collection.id))
        elif self._is_server and not self._warned:
            self._warned = True
            _log.warning(
                "the Chroma server deleted the documents; their bytes stay in its files until `chroma vacuum` runs"
            )

    def close(self) -> None:
        """Close the client, unless you passed it in; do not use the store afterwards."""
        if self._owns_client:
            self._client.close()
            # chromadb leaves the connections to its server open.
            for client in (self._client, getattr(self._client, "_admin_client", None)):
                session = getattr(getattr(client, "_server", None), "_session", None)
                if session is not None:
                    session.close()

    # The interface of a store ---------------------------------------------------------------------------------------

    def _upsert(self, rows: VectorRows, vectors: Floats, fresh: bool) -> None:
        metadatas = _chroma_metadatas(rows)
        if not fresh:
            metadatas = [m or None for m in self._with_cleared_keys(rows.ids, metadatas)]
        self._request(
            lambda: self._collection.upsert(
                ids=list(rows.ids), documents=list(rows.texts), metadatas=metadatas, embeddings=vectors
            )
        )
        self._dimensions = vectors.shape[1]

    def _with_cleared_keys(
        self, ids: Sequence[str], metadatas: list[dict[str, Any] | None]
    ) -> list[dict[str, Any] | None]:
        """Set the keys of documents to be replaced to `None`: an upsert keeps keys that it does not mention."""
        response = self._request(lambda: self._collection.get(ids=list(ids), include=["metadatas"]))
        stored = dict(zip(response["ids"], response["metadatas"], strict=True))
        return [{**dict.fromkeys(stored.get(i) or ()), **(m or {})} for i, m in zip(ids, metadatas, strict=True)]

    def scan(self, batch_size: int = 1000) -> Iterator[tuple[VectorRows, Floats]]:
        """Iterate over all documents with their vectors, in batches of at most `batch_size`."""
        offset, include = 0, ["documents", "metadatas", "embeddings"]
        while True:
            response = self._request(partial(self._collection.get, limit=batch_size, offset=offset, include=include))
            if not response["ids"]:
                return
            offset += len(response["ids"])
            metadatas = [_document_row("", "", metadata).metadata for metadata in response["metadatas"]]
            expires = [(metadata or {}).get(_EXPIRES_KEY) for metadata in response["metadatas"]]
            rows = VectorRows(response["ids"], [text or "" for text in response["documents"]], metadatas, expires)
            yield rows, as_matrix(response["embeddings"], len(rows.ids))

    def _get(self, ids: Sequence[str]) -> dict[str, DocumentRow]:
        rows: dict[str, DocumentRow] = {}
        for start in range(0, len(ids), self._batch_size):
            batch = list(dict.fromkeys(ids[start : start + self._batch_size]))
            response = self._request(partial(self._collection.get, ids=batch, include=["documents", "metadatas"]))
            for id_, text, metadata in zip(response["ids"], response["documents"], response["metadatas"], strict=True):
                rows[id_] = _document_row(id_, text, metadata)
        return rows

    def _delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), self._batch_size):
            batch = list(ids[start : start + self._batch_size])
            self._request(partial(self._collection.delete, ids=batch))
        # Also if there was nothing to delete: an earlier call may have deleted the documents, but not erased them.
        self._erase()

    def _delete_expired(self, *, wait: bool) -> None:
        where = {_EXPIRES_KEY: {"$lte": self._clock()}}
        expired = self._request(lambda: self._collection.get(where=where, include=[]))["ids"]
        if not expired:
            return
        self._request(lambda: self._collection.delete(where=where))
        try:
            self._erase()
        except NotErased as error:
            if wait:
                raise
            _log.warning("%s", error)  # a search must not fail; the next deletion erases them

    def _search(self, vectors: Floats, k: int, filter: Filter | None, with_vectors: bool) -> list[list[SearchHit]]:
        include = ["documents", "metadatas", "distances", *(["embeddings"] if with_vectors else [])]
        where = to_chroma(filter)
        response = self._request(
            lambda: self._collection.query(query_embeddings=vectors, n_results=k, where=where, include=include)
        )
        columns = [response["ids"], response["documents"], response["metadatas"], response["distances"]]
        hit_vectors = response["embeddings"] if with_vectors else [[None] * len(ids) for ids in response["ids"]]
        return [
            [
                SearchHit(_document_row(id_, text, metadata), score_from_cosine(1 - distance), vector)
                for id_, text, metadata, distance, vector in zip(*query_columns, strict=True)
            ]
            for query_columns in zip(*columns, hit_vectors, strict=True)
        ]

    def _request(self, send: Callable[[], T]) -> T:
        """Send a request to Chroma; retry it on transient errors."""
        for attempt in range(self._max_retries + 1):
            if attempt:
                time.sleep(_FIRST_BACKOFF_S * 2 ** (attempt - 1))
            try:
                return send()
            except Exception as error:
                if not _is_transient(error):
                    raise
                last = error
        raise BackendError(
            f"Chroma did not answer in {self._max_retries + 1} tries; the last error was"
            f" {type(last).__name__}: {redact(str(last))}",
            hint="Is the server running? `chroma run --path FOLDER` starts one.",
            retryable=True,
        ) from last


def _connect(location: Any, headers: dict[str, str]) -> Any:
    """Create the Chroma client for a location, or return the client that was given."""
    try:
        import chromadb
        from chromadb.config import Settings
    except ImportError as error:
        raise MissingExtra("a Chroma store", "stores") from error
    settings = Settings(anonymized_telemetry=False)
    if isinstance(location, str) and location.startswith(("http://", "https://")):
        url = urlsplit(location)
        is_https = url.scheme == "https"
        if not url.hostname or url.path.strip("/"):
            raise ConfigurationError(
                f"the URL of a Chroma server must be http(s)://HOST:PORT; got {redact(location)!r}."
            )
        port = url.port or (443 if is_https else 8000)
        return chromadb.HttpClient(url.hostname, port, ssl=is_https, headers=headers, settings=settings)
    if isinstance(location, str | Path):
        Path(location).mkdir(parents=True, exist_ok=True)
        return chromadb.PersistentClient(str(location), settings=settings)
    if not hasattr(location, "get_or_create_collection"):
        raise ConfigurationError(
            f"location must be a folder, a server's URL or a chromadb client; got {type(location).__name__}."
        )
    return location


def _chroma_metadatas(rows: VectorRows) -> list[dict[str, Any] | None]:
    """Return the metadata with the expiry times; `None` in place of empty mappings, which Chroma rejects."""
    metadatas = [dict(m) for m in rows.metadatas or ({} for _ in rows.ids)]
    for metadata, expiry in zip(metadatas, rows.expires or (), strict=False):
        if expiry is not None:
            metadata[_EXPIRES_KEY] = expiry
    return [m or None for m in metadatas]


def _is_transient(error: Exception) -> bool:
    """Return whether the same request may succeed later."""
    if isinstance(error, MissingExtra):
        return False
    import httpx
    from chromadb.errors import ChromaError

    if isinstance(error, httpx.TransportError):
        return True
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _TRANSIENT_STATUSES
    # chromadb raises a bare ValueError when it cannot reach its server.
    if isinstance(error, ValueError):
        return "Could not connect to a Chroma server" in str(error)
    return isinstance(error, ChromaError) and (
        error.code() in _TRANSIENT_STATUSES or "database is locked" in str(error)
    )


def _document_row(id_: str, text: str | None, metadata: Mapping[str, Any] | None) -> DocumentRow:
    return DocumentRow(id_, text or "", {k: v for k, v in (metadata or {}).items() if k != _EXPIRES_KEY})
