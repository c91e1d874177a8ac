"""A vector store in Postgres with the extension pgvector."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings

from taleward.core.errors import ConfigurationError, MissingExtra
from taleward.stores.postgres import DEFAULT_SCHEMA, PostgresDatabase, check_name
from taleward.stores.vector.base import TalewardStore
from taleward.stores.vector.filters import Filter, to_postgres
from taleward.stores.vector.pgvector_tables import (
    CATALOG,
    VERSION,
    collection_tables,
    distance_expression,
    prepare_connection,
)
from taleward.stores.vector.pgvector_values import decode_metadata, escape_nul, is_encodable, unescape_nul
from taleward.stores.vector.rows import (
    ANY_MODEL,
    DocumentRow,
    SearchHit,
    VectorRows,
    check_fingerprint,
    score_from_cosine,
)

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed

    from taleward.stores.embedding_fingerprint import Floats

_LIVE = "(expires IS NULL OR expires > %s)"


class PgvectorStore(TalewardStore):
    """A vector store in a table of a Postgres database that has the extension pgvector, version 0.8 or newer.

    Any number of processes on any number of machines can use it at once. Every batch of an `add` is one transaction: a
    killed process leaves whole batches. The index is approximate (HNSW); a search that gets fewer than `k` documents
    out of it, because a filter excludes many, searches all documents instead.

    Deleted documents are gone from all results at once. Their bytes stay in the server's files until it vacuums the
    table, or you call `compact`, and in its log and backups for as long as it keeps those.

    Args:
        embeddings: LangChain embeddings, or a spec such as `embedded:minilm`.
        url: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`.
        collection: The name of the store, 1 to 40 lower-case letters, digits and underscores; its table is
            `vectors_NAME`.
        schema: The Postgres schema of the tables; created if missing.
        create: Whether to create the collection if there is none.
        statement_timeout_s: Seconds that a statement may take.
        max_connections: The most connections of one process.
        model: The model's fingerprint, if the embeddings do not identify their model.
        ttl_s: Seconds until added documents expire; `None` for never.
        clock: Returns seconds since the epoch, for tests.

    Raises:
        ConfigurationError: If the collection has vectors of another model, the server rejects the user, or it has no
            pgvector.
        BackendError: If the server cannot be reached.
        MissingExtra: If psycopg or pgvector is not installed.
    """

    _batch_size = 1000

    def __init__(
        self,
        embeddings: str | Embeddings,
        url: str,
        *,
        collection: str = "taleward",
        schema: str = DEFAULT_SCHEMA,
        create: bool = True,
        statement_timeout_s: float = 60.0,
        max_connections: int = 8,
        model: str | None = None,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(embeddings, model=model, ttl_s=ttl_s, clock=clock)
        self.collection = check_name(collection, "collection")
        self._dimensions: int | None = None
        self._require_pgvector()
        self._database = PostgresDatabase(
            url,
            tables=CATALOG,
            version=VERSION,
            kind="vector stores",
            schema=schema,
            statement_timeout_s=statement_timeout_s,
            max_connections=max_connections,
            configure=prepare_connection,
        )
        try:
            self._open(create)
            self.delete_expired()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"PgvectorStore({self._database.address!r}, collection={self.collection!r})"

    @staticmethod
    def _require_pgvector() -> None:
        try:
            import pgvector.psycopg  # noqa: F401
        except ImportError as error:
            raise MissingExtra("a pgvector store", "postgres") from error

    def _open(self, create: bool) -> None:
        label = f"collection {self.collection!r} of Postgres at {self._database.address}"
        with self._database.transaction() as connection:
            if create and self.fingerprint != ANY_MODEL:
                statement = "INSERT INTO vector_stores (name, fingerprint) VALUES (%s, %s) ON CONFLICT DO NOTHING"
                connection.execute(statement, (self.collection, self.fingerprint))
            statement = "SELECT fingerprint, dimensions FROM vector_stores WHERE name = %s"
            row = connection.execute(statement, (self.collection,)).fetchone()
        if row is None:
            raise ConfigurationError(f"there is no {label}.", hint="Create it by adding texts with a PgvectorStore.")
        self.fingerprint, self._dimensions = check_fingerprint(label, row[0], self.fingerprint), row[1]

    def _sql(self, statement: str, **parts: str) -> Composed:
        """Fill in `{table}`, `{live}` (the condition that a document has not expired) and other parts."""
        from psycopg.sql import SQL, Identifier

        composed = {name: SQL(part) for name, part in {"live": _LIVE, **parts}.items()}
        return SQL(statement).format(table=Identifier(f"vectors_{self.collection}"), **composed)

    @property
    def dimensions(self) -> int | None:
        """The length of a vector; `None` while nothing was ever added."""
        if self._dimensions is None:
            with self._database.transaction(read_only=True) as connection:
                statement = "SELECT dimensions FROM vector_stores WHERE name = %s"
                row = connection.execute(statement, (self.collection,)).fetchone()
            self._dimensions = None if row is None else row[0]
        return self._dimensions

    def __len__(self) -> int:
        if self.dimensions is None:
            return 0
        with self._database.transaction(read_only=True) as connection:
            row = connection.execute(self._sql("SELECT count(*) FROM {table} WHERE {live}"), (self._clock(),))
            return int(row.fetchone()[0])  # type: ignore[index]

    def compact(self) -> None:
        """Rewrite the table and its index without the deleted documents; nobody else can use it meanwhile."""
        if self.dimensions is not None:
            self._database.vacuum(f"vectors_{self.collection}")

    def close(self) -> None:
        """Close the connections; the next use opens them again."""
        self._database.close()

    # The interface of a store ---------------------------------------------------------------------------------------

    def _upsert(self, rows: VectorRows, vectors: Floats, fresh: bool) -> None:
        if not rows.ids:
            return
        metadatas = rows.metadatas or ({},) * len(rows.ids)
        expires = rows.expires or (None,) * len(rows.ids)
        encoded = (json.dumps(dict(m), ensure_ascii=False) for m in metadatas)
        # Sorted, so that two processes that replace the same documents wait for each other instead of both failing.
        ids, texts = map(escape_nul, rows.ids), map(escape_nul, rows.texts)
        values = sorted(zip(ids, texts, encoded, expires, vectors, strict=True), key=lambda row: row[0])
        statement = self._sql(
            "INSERT INTO {table} (id, text, metadata, expires, vector) VALUES (%s, %s, %s::jsonb, %s, %s)"
            " ON CONFLICT (id) DO UPDATE SET text = excluded.text, metadata = excluded.metadata,"
            " expires = excluded.expires, vector = excluded.vector"
        )
        with self._database.transaction() as connection:
            if self._dimensions is None:
                self._create_table(connection, vectors.shape[1])
            connection.cursor().executemany(statement, values)
        self._dimensions = vectors.shape[1]

    def _create_table(self, connection: Connection[Any], dimensions: int) -> None:
        """Create the table for the first vectors; of several processes, the others wait for the first."""
        statement = "SELECT dimensions FROM vector_stores WHERE name = %s FOR UPDATE"
        row = connection.execute(statement, (self.collection,)).fetchone()
        stored = None if row is None else row[0]
        if stored is None:
            for table_statement in collection_tables(f"vectors_{self.collection}", dimensions):
                connection.execute(table_statement)
            statement = "UPDATE vector_stores SET dimensions = %s WHERE name = %s"
            connection.execute(statement, (dimensions, self.collection))
        elif stored != dimensions:
            raise ConfigurationError(
                f"the vectors have {dimensions} dimensions; another process has created the store for {stored}."
            )

    def scan(self, batch_size: int = 1000) -> Iterator[tuple[VectorRows, Floats]]:
        """Iterate over all documents with their vectors, in batches of at most `batch_size`, sorted by id."""
        last = ""
        while self.dimensions is not None:
            statement = self._sql(
                "SELECT id, text, metadata::text, expires, vector FROM {table} WHERE {live} AND id > %s"
                " ORDER BY id LIMIT %s"
            )
            with self._database.transaction(read_only=True) as connection:
                cursor = connection.cursor(binary=True)
                rows = cursor.execute(statement, (self._clock(), last, batch_size)).fetchall()
            if not rows:
                return
            ids, texts, metadatas, expires, vectors = zip(*rows, strict=True)
            last = ids[-1]
            documents = [_document_row(*row) for row in zip(ids, texts, metadatas, strict=True)]
            columns = list(zip(*documents, strict=True))
            yield VectorRows(columns[0], columns[1], columns[2], expires), _as_array(vectors)

    def _get(self, ids: Sequence[str]) -> dict[str, DocumentRow]:
        if self.dimensions is None:
            return {}
        statement = self._sql("SELECT id, text, metadata::text FROM {table} WHERE {live} AND id = ANY(%s)")
        with self._database.transaction(read_only=True) as connection:
            rows = connection.execute(statement, (self._clock(), _stored_ids(ids))).fetchall()
        return {row.id: row for row in (_document_row(*columns) for columns in rows)}

    def _delete(self, ids: Sequence[str]) -> None:
        self._delete_where("id = ANY(%s)", _stored_ids(ids), "FOR UPDATE")

    def _delete_expired(self, *, wait: bool) -> None:
        self._delete_where("expires <= %s", self._clock(), "FOR UPDATE" if wait else "FOR UPDATE SKIP LOCKED")

    def _delete_where(self, condition: str, value: Any, lock: str) -> None:
        if self.dimensions is None:
            return
        # Locked in one order, so that two processes that delete the same documents do not block each other.
        statement = self._sql(
            "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {condition} ORDER BY id {lock})",
            condition=condition,
            lock=lock,
        )
        with self._database.transaction() as connection:
            connection.execute(statement, (value,))

    def _search(self, vectors: Floats, k: int, filter: Filter | None, with_vectors: bool) -> list[list[SearchHit]]:
        with self._database.transaction(read_only=True) as connection:
            results = self._nearest(connection, vectors, k, filter, with_vectors)
            short = [number for number, hits in enumerate(results) if len(hits) < k]
            if short:
                # The index gives up after 20,000 documents that do not match the filter.
                connection.execute("SET LOCAL enable_indexscan = off")
                exact = self._nearest(connection, vectors[short], k, filter, with_vectors)
                for number, hits in zip(short, exact, strict=True):
                    results[number] = hits
        return results

    def _nearest(
        self, connection: Connection[Any], vectors: Floats, k: int, filter: Filter | None, with_vectors: bool
    ) -> list[list[SearchHit]]:
        condition, parameters = to_postgres(filter)
        # One statement for all queries: a server may be a network away.
        statement = self._sql(
            "SELECT number, id, text, metadata::text, -(hit.vector <#> query), {vector}"
            " FROM unnest(%s::vector[]) WITH ORDINALITY AS queries (query, number) CROSS JOIN LATERAL"
            " (SELECT id, text, metadata, vector FROM {table} WHERE {live} AND {condition}"
            " ORDER BY {distance} LIMIT %s) AS hit ORDER BY number, hit.vector <#> query",
            vector="hit.vector" if with_vectors else "NULL",
            condition=condition,
            distance=distance_expression(vectors.shape[1]),
        )
        rows = connection.cursor(binary=True).execute(statement, (list(vectors), self._clock(), *parameters, k))
        results: list[list[SearchHit]] = [[] for _ in vectors]
        for number, id_, text, metadata, cosine, vector in rows:
            hit_vector = None if vector is None else vector.to_numpy()
            hit = SearchHit(_document_row(id_, text, metadata), score_from_cosine(cosine), hit_vector)
            results[number - 1].append(hit)
        return results


def _stored_ids(ids: Sequence[str]) -> list[str]:
    """Return ids as they are stored; those that cannot be stored are in no store."""
    return [escape_nul(i) for i in ids if is_encodable(i)]


def _document_row(id_: str, text: str, metadata: str) -> DocumentRow:
    return DocumentRow(unescape_nul(id_), unescape_nul(text), decode_metadata(metadata))


def _as_array(vectors: Sequence[Any]) -> Floats:
    import numpy

    return numpy.stack([vector.to_numpy() for vector in vectors])
