"""The pgvector store conforms to the contract, on a real Postgres server."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from typer.testing import CliRunner

from taleward.cli.app import app
from taleward.core.errors import ConfigurationError
from taleward.stores.vector.faiss_store import FaissStore
from taleward.stores.vector.filters import matches, to_postgres
from taleward.stores.vector.open import open_store
from taleward.stores.vector.parquet import export_store, import_store
from taleward.stores.vector.pgvector_store import PgvectorStore
from taleward.stores.vector.pgvector_values import escape_nul, unescape_nul
from taleward.testing import StoreConformance, WordEmbeddings
from taleward.testing.store_conformance import METADATA, TEXTS
from tests.stores.vector.test_filters import filters, metadata

pytestmark = pytest.mark.server


def collection_for(folder: Path) -> str:
    return "c" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]


class TestPgvector(StoreConformance):
    @pytest.fixture(autouse=True)
    def use_server(self, postgres_url: str) -> None:
        self.url = postgres_url

    def open(self, folder: Path, embeddings: Any, **options: Any) -> PgvectorStore:
        return PgvectorStore(embeddings, self.url, collection=collection_for(folder), **options)


@pytest.fixture
def embeddings() -> WordEmbeddings:
    return WordEmbeddings()


@pytest.fixture
def collection(tmp_path: Path) -> str:
    return collection_for(tmp_path)


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\0\ufdd0e0")))
def test_any_text_survives_the_escapes(text: str) -> None:
    escaped = escape_nul(text)
    assert "\0" not in escaped
    assert unescape_nul(escaped) == text


@pytest.fixture(scope="module")
def connection(postgres_server: Any) -> Iterator[Any]:
    import psycopg

    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        yield connection


@given(filters, metadata)
def test_postgres_agrees_with_python(connection: Any, filter: dict[str, Any], metadata: dict[str, Any]) -> None:
    condition, parameters = to_postgres(filter)
    statement = f"SELECT count(*) FROM (SELECT %s::jsonb AS metadata) AS rows WHERE {condition}"  # noqa: S608
    row = connection.execute(statement.encode(), (json.dumps(metadata), *parameters)).fetchone()
    assert bool(row[0]) == matches(filter, metadata)


def test_a_filter_finds_what_the_index_gives_up_on(postgres_database: str, embeddings: WordEmbeddings) -> None:
    import numpy
    import psycopg

    with psycopg.connect(postgres_database, autocommit=True) as admin:
        name = admin.info.dbname
        for setting in ("hnsw.max_scan_tuples = 20", "enable_seqscan = off", "enable_bitmapscan = off"):
            admin.execute(f"ALTER DATABASE {name} SET {setting}".encode())
    store = PgvectorStore(embeddings, postgres_database)
    vectors = numpy.random.default_rng(0).normal(size=(600, 16)).astype("f4")
    store.add_vectors([str(n) for n in range(600)], vectors, [{"far": n % 100 == 7} for n in range(600)])
    [hits] = store.search_vectors(vectors[:1], k=6, filter={"far": True})
    assert sorted(int(d.page_content) for d, _ in hits) == [7, 107, 207, 307, 407, 507]
    [hits] = store.search_vectors(vectors[:1], k=1)
    assert hits[0][0].page_content == "0"
    store.close()


def test_wide_vectors_have_an_index_too(postgres_url: str, collection: str, embeddings: WordEmbeddings) -> None:
    import numpy
    import psycopg

    store = PgvectorStore(embeddings, postgres_url, collection=collection)
    vectors = numpy.random.default_rng(0).normal(size=(5, 3072)).astype("f4")
    store.add_vectors(list("abcde"), vectors)
    [hits] = store.search_vectors(vectors[2:3], k=2)
    assert hits[0][0].page_content == "c"
    assert hits[0][1] == pytest.approx(1, abs=1e-6)
    with psycopg.connect(postgres_url) as connection:
        query = "SELECT indexdef FROM pg_indexes WHERE tablename = %s AND indexdef LIKE '%%hnsw%%'"
        [[definition]] = connection.execute(query, (f"vectors_{collection}",)).fetchall()
    assert "halfvec(3072)" in definition
    store.close()


def test_numbers_keep_their_types(postgres_url: str, collection: str, embeddings: WordEmbeddings) -> None:
    metadata = {"a": 1e16, "b": 1e300, "c": 2**53, "d": 6.0, "e": 1e-7, "f": -0.5, "g": 0.1 + 0.2}
    store = PgvectorStore(embeddings, postgres_url, collection=collection)
    store.add_texts(["a text"], [metadata], ids=["a"])
    [document] = store.get_by_ids(["a"])
    assert {k: repr(v) for k, v in document.metadata.items()} == {k: repr(v) for k, v in metadata.items()}
    store.close()


def test_writers_of_the_same_documents_wait_for_each_other(
    postgres_url: str, collection: str, embeddings: WordEmbeddings
) -> None:
    stores = [PgvectorStore(embeddings, postgres_url, collection=collection) for _ in range(4)]
    texts = [f"story {n}" for n in range(40)]

    def write(number: int) -> None:
        order = texts if number % 2 else texts[::-1]
        stores[number].add_texts(order, ids=order)
        stores[number].delete(order[:20])
        stores[number].add_texts(order, ids=order)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert {len(store) for store in stores} <= {20, 40}
    assert [hits[0][0].id for hits in stores[0].search_vectors(embeddings.embed_documents(texts[20:25]), k=1)]
    for store in stores:
        store.close()


def test_a_killed_writer_leaves_whole_batches(postgres_url: str, collection: str, embeddings: WordEmbeddings) -> None:
    code = (
        "import sys; from taleward.stores.vector.pgvector_store import PgvectorStore;"
        "from taleward.testing import WordEmbeddings;"
        "store = PgvectorStore(WordEmbeddings(), sys.argv[1], collection=sys.argv[2]); store._batch_size = 50;"
        "print('ready', flush=True); store.add_texts([f'story {n}' for n in range(100_000)])"
    )
    with subprocess.Popen([sys.executable, "-c", code, postgres_url, collection], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        store = PgvectorStore(embeddings, postgres_url, collection=collection)
        while len(store) < 100:
            time.sleep(0.01)
        child.kill()
    count = len(store)
    assert count >= 100
    assert count % 50 == 0
    assert len(store.similarity_search("story 7", k=5)) == 5
    store.add_texts(["one more"], ids=["new"])
    assert len(store) == count + 1
    store.close()


def test_documents_move_between_kinds_of_stores(
    tmp_path: Path, postgres_url: str, collection: str, embeddings: WordEmbeddings
) -> None:
    store = PgvectorStore(embeddings, postgres_url, collection=collection, ttl_s=1000)
    store.add_texts(TEXTS, METADATA, ids=list("abcd"))
    assert export_store(store, tmp_path / "a.parquet") == 4
    faiss = FaissStore(embeddings, tmp_path / "faiss")
    assert import_store(faiss, tmp_path / "a.parquet") == 4
    assert export_store(faiss, tmp_path / "b.parquet") == 4
    store.delete(list("abc"))
    store.compact()
    assert import_store(store, tmp_path / "b.parquet") == 4
    documents = store.get_by_ids(list("abcd"))
    assert [(d.page_content, d.metadata) for d in documents] == list(zip(TEXTS, METADATA, strict=True))
    [[rows, vectors]] = list(store.scan())
    assert abs(vectors - embeddings.embed_documents(TEXTS)).max() < 1e-6
    assert all(rows.expires or ())
    store.close()


def test_a_store_is_opened_by_its_url(postgres_url: str, collection: str, embeddings: WordEmbeddings) -> None:
    with pytest.raises(ConfigurationError, match=f"there is no collection '{collection}'"):
        open_store(postgres_url, collection=collection)
    with pytest.raises(ConfigurationError, match="there is no collection"):
        open_store(postgres_url, embeddings, collection=collection)
    created = open_store(postgres_url, embeddings, collection=collection, create=True)
    created.add_texts(TEXTS, ids=list("abcd"))
    without_model = open_store(postgres_url, collection=collection)
    assert isinstance(without_model, PgvectorStore)
    assert without_model.fingerprint == "test:words"
    assert len(without_model) == 4
    created.close()
    without_model.close()


@pytest.mark.parametrize("name", ["", "My-Tales", 'a"; DROP TABLE tales; --', "x" * 41])
def test_a_collection_name_is_part_of_a_table_name(embeddings: WordEmbeddings, name: str) -> None:
    with pytest.raises(ConfigurationError, match="collection must be 1 to 40 lower-case letters"):
        PgvectorStore(embeddings, "postgresql://127.0.0.1:1/tales", collection=name)


def test_the_command_line_uses_it_by_its_url(postgres_url: str, collection: str, embeddings: WordEmbeddings) -> None:
    store = PgvectorStore(embeddings, postgres_url, collection=collection)
    store.add_texts(TEXTS, ids=list("abcd"))
    store.close()
    deleted = CliRunner().invoke(app, ["store", "delete", postgres_url, "a", "--collection", collection])
    assert json.loads(deleted.stdout) == {"deleted": 1}
    stats = CliRunner().invoke(app, ["store", "stats", postgres_url, "--collection", collection])
    assert json.loads(stats.stdout) == {
        "kind": "PgvectorStore",
        "documents": 3,
        "model": "test:words",
        "dimensions": 64,
    }
