"""Vectors in Chroma: in a folder, or on a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from langchain_core.embeddings import Embeddings

from taleward.core.errors import BackendError, ConfigurationError, MissingExtra
from taleward.core.redaction import redact
from taleward.stores.fingerprint import as_rows
from taleward.stores.vector.base import TalewardStore
from taleward.stores.vector.filters import Filter, to_chroma
from taleward.stores.vector.rows import Row, SearchHit, VectorRows, check_model, score

if TYPE_CHECKING:
    from taleward.stores.fingerprint import Floats

T = TypeVar("T")

_FINGERPRINT = "taleward_fingerprint"
_EXPIRES = "taleward_expires"
_HTTP_BATCH = 1000
_WAIT_S = 0.2


class ChromaStore(TalewardStore):
    """A vector store in a Chroma collection. Every change lasts when its call returns.

    Chroma's index is approximate (HNSW) and its folder holds a pickle of Chroma's own; where either matters, use
    `FaissStore`. Its telemetry is off.

    Args:
        embeddings: LangChain embeddings, or a spec such as `embedded:minilm`.
        location: A folder, made when missing; the URL of a `chroma run` server; or a client of the chromadb package.
        collection: The collection's name, made when missing.
        headers: Sent to a server with every request, for example its token.
        retries: Further tries after a server that is busy or cannot be reached, each twice as long after the last.
        model: The model's fingerprint, where the embeddings do not tell it themselves.
        ttl_s: Seconds that added documents live.
        clock: Seconds since the epoch, for tests.

    Raises:
        ConfigurationError: The collection holds vectors of another model, or was made by another program.
        BackendError: The server cannot be reached.
        MissingExtra: chromadb is not installed.
    """

    def __init__(
        self,
        embeddings: str | Embeddings,
        location: str | Path | Any,
        *,
        collection: str = "taleward",
        headers: Mapping[str, str] | None = None,
        retries: int = 4,
        model: str | None = None,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(embeddings, model=model, ttl_s=ttl_s, clock=clock)
        if retries < 0:
            raise ConfigurationError(f"retries must be 0 or more; got {retries}.")
        self._retries = retries
        self._dimensions: int | None = None
        self._own = isinstance(location, str | Path)
        remote = isinstance(location, str) and location.startswith(("http://", "https://"))
        self._client = self._call(lambda: _client(location, dict(headers or {})))
        try:
            self._batch = min(self._call(self._client.get_max_batch_size), _HTTP_BATCH if remote else 5000)
            self._collection = self._call(lambda: self._open(collection))
            self.delete_expired()
        except BaseException:
            self.close()
            raise

    def _open(self, name: str) -> Any:
        made = self._client.get_or_create_collection(
            name,
            metadata={_FINGERPRINT: self.fingerprint},
            configuration={"hnsw": {"space": "cosine"}},
            embedding_function=None,
        )
        held = (made.metadata or {}).get(_FINGERPRINT)
        if held is None:
            raise ConfigurationError(
                f"the Chroma collection {name!r} was made by another program: it does not say which model it holds.",
                hint="Give another collection=, and add its texts to that.",
            )
        self.fingerprint = check_model(f"Chroma collection {name!r}", held, self.fingerprint)
        return made

    @property
    def dimensions(self) -> int | None:
        """Numbers in a vector; `None` while nothing was added."""
        if self._dimensions is None:
            some = self._call(lambda: self._collection.get(limit=1, include=["embeddings"]))["embeddings"]
            self._dimensions = len(some[0]) if len(some) else None
        return self._dimensions

    def __len__(self) -> int:
        return int(self._call(self._collection.count))

    def close(self) -> None:
        """Close the client, unless it was handed in; the object is not used after that."""
        if self._own:
            self._client.close()
            for part in (self._client, getattr(self._client, "_admin_client", None)):
                session = getattr(getattr(part, "_server", None), "_session", None)
                if session is not None:  # chromadb leaves the connections to its server open
                    session.close()

    # The contract ---------------------------------------------------------------------------------------------------

    def _upsert(self, rows: VectorRows, vectors: Floats, fresh: bool) -> None:
        held: list[dict[str, Any] | None] = [dict(m) for m in rows.metadatas or ({} for _ in rows.ids)]
        if rows.expires is not None:
            held = [
                m if end is None else {**(m or {}), _EXPIRES: end} for m, end in zip(held, rows.expires, strict=True)
            ]
        if not fresh:
            held = self._replacing(rows.ids, held)
        held = [m or None for m in held]
        self._call(
            lambda: self._collection.upsert(
                ids=list(rows.ids), documents=list(rows.texts), metadatas=held, embeddings=vectors
            )
        )
        self._dimensions = vectors.shape[1]

    def _replacing(self, ids: Sequence[str], metadatas: list[dict[str, Any] | None]) -> list[dict[str, Any] | None]:
        """Metadata that empties the keys of the documents to be replaced: Chroma would keep those it is not told of."""
        found = self._call(lambda: self._collection.get(ids=list(ids), include=["metadatas"]))
        before = dict(zip(found["ids"], found["metadatas"], strict=True))
        return [{**dict.fromkeys(before.get(i) or ()), **(m or {})} for i, m in zip(ids, metadatas, strict=True)]

    def scan(self, size: int = 1000) -> Iterator[tuple[VectorRows, Floats]]:
        """Every document with its vector, in pieces of at most `size`."""
        first, include = 0, ["documents", "metadatas", "embeddings"]
        while True:
            found = self._call(partial(self._collection.get, limit=size, offset=first, include=include))
            if not found["ids"]:
                return
            first += len(found["ids"])
            held = [_row("", "", metadata).metadata for metadata in found["metadatas"]]
            ends = [(metadata or {}).get(_EXPIRES) for metadata in found["metadatas"]]
            rows = VectorRows(found["ids"], [text or "" for text in found["documents"]], held, ends)
            yield rows, as_rows(found["embeddings"], len(rows.ids))

    def _get(self, ids: Sequence[str]) -> dict[str, Row]:
        rows: dict[str, Row] = {}
        for first in range(0, len(ids), self._batch):
            some = list(dict.fromkeys(ids[first : first + self._batch]))
            found = self._call(partial(self._collection.get, ids=some, include=["documents", "metadatas"]))
            for id_, text, metadata in zip(found["ids"], found["documents"], found["metadatas"], strict=True):
                rows[id_] = _row(id_, text, metadata)
        return rows

    def _delete(self, ids: Sequence[str]) -> None:
        for first in range(0, len(ids), self._batch):
            some = list(ids[first : first + self._batch])
            self._call(partial(self._collection.delete, ids=some))

    def _delete_expired(self, *, wait: bool) -> None:
        over = {_EXPIRES: {"$lte": self._clock()}}
        self._call(lambda: self._collection.delete(where=over))

    def _search(self, vectors: Floats, k: int, filter: Filter | None, with_vectors: bool) -> list[list[SearchHit]]:
        include = ["documents", "metadatas", "distances", *(["embeddings"] if with_vectors else [])]
        where = to_chroma(filter)
        found = self._call(
            lambda: self._collection.query(query_embeddings=vectors, n_results=k, where=where, include=include)
        )
        lists = [found["ids"], found["documents"], found["metadatas"], found["distances"]]
        held = found["embeddings"] if with_vectors else [[None] * len(line) for line in found["ids"]]
        return [
            [
                SearchHit(_row(i, text, metadata), score(1 - distance), vector)
                for i, text, metadata, distance, vector in zip(*columns, strict=True)
            ]
            for columns in zip(*lists, held, strict=True)
        ]

    def _call(self, request: Callable[[], T]) -> T:
        """Ask Chroma; what may pass by itself is tried again."""
        for tries in range(self._retries + 1):
            if tries:
                time.sleep(_WAIT_S * 2 ** (tries - 1))
            try:
                return request()
            except Exception as error:
                if not _passing(error):
                    raise
                last = error
        raise BackendError(
            f"Chroma did not answer in {self._retries + 1} tries; last: {type(last).__name__}: {redact(str(last))}",
            hint="Is the server running? chroma run --path FOLDER starts one.",
            retryable=True,
        ) from last


def _client(location: Any, headers: dict[str, str]) -> Any:
    try:
        import chromadb
        from chromadb.config import Settings
    except ImportError as error:
        raise MissingExtra("a Chroma store", "stores") from error
    settings = Settings(anonymized_telemetry=False)
    if isinstance(location, str) and location.startswith(("http://", "https://")):
        url = urlsplit(location)
        secure = url.scheme == "https"
        if not url.hostname or url.path.strip("/"):
            raise ConfigurationError(f"a Chroma server's URL is http(s)://HOST:PORT; got {redact(location)!r}.")
        port = url.port or (443 if secure else 8000)
        return chromadb.HttpClient(url.hostname, port, ssl=secure, headers=headers, settings=settings)
    if isinstance(location, str | Path):
        Path(location).mkdir(parents=True, exist_ok=True)
        return chromadb.PersistentClient(str(location), settings=settings)
    if not hasattr(location, "get_or_create_collection"):
        raise ConfigurationError(
            f"location must be a folder, a server's URL or a chromadb client; got {type(location).__name__}."
        )
    return location


def _passing(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, MissingExtra):
        return False
    import httpx
    from chromadb.errors import ChromaError

    if isinstance(error, httpx.TransportError):
        return True
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in (429, 502, 503, 504)
    if isinstance(error, ValueError):
        return "Could not connect to a Chroma server" in str(error)
    return isinstance(error, ChromaError) and (
        error.code() in (429, 502, 503, 504) or "database is locked" in str(error)
    )


def _row(id_: str, text: str | None, metadata: Mapping[str, Any] | None) -> Row:
    return Row(id_, text or "", {k: v for k, v in (metadata or {}).items() if k != _EXPIRES})
