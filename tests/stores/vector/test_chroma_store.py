"""The Chroma store conforms to the contract, in a folder and on a real server."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taleward.core.errors import BackendError, ConfigurationError, NotErased
from taleward.stores.caches.embeddings import CachedEmbeddings
from taleward.stores.vector.chroma_store import ChromaStore
from taleward.stores.vector.faiss_store import FaissStore
from taleward.testing import StoreConformance, WordEmbeddings


class TestFolder(StoreConformance):
    def open(self, folder: Path, embeddings: Any, **options: Any) -> ChromaStore:
        return ChromaStore(embeddings, folder / "store", **options)

    def test_more_texts_than_fit_in_one_request(self, folder: Path, embeddings: WordEmbeddings) -> None:
        store = self.open(folder, embeddings)
        assert len(store.add_texts(["one text"] * 6000)) == 6000
        assert len(store) == 6000

    def test_a_collection_of_another_program_is_rejected(self, folder: Path, embeddings: WordEmbeddings) -> None:
        import chromadb

        client = chromadb.EphemeralClient()
        client.get_or_create_collection("theirs")
        with pytest.raises(ConfigurationError, match="created by another program"):
            ChromaStore(embeddings, client, collection="theirs")


@pytest.fixture
def embeddings() -> WordEmbeddings:
    return WordEmbeddings()


def stored_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def is_stored(vector: Any, folder: Path) -> bool:
    """Whether a vector is in any file, up to rounding: the index scales vectors."""
    import numpy

    for file in folder.rglob("*"):
        raw = file.read_bytes() if file.is_file() else b""
        for shift in range(4):
            numbers = numpy.frombuffer(raw[shift : len(raw) - (len(raw) - shift) % 4], dtype="<f4")
            with numpy.errstate(invalid="ignore", over="ignore"):
                for at in numpy.flatnonzero(numpy.abs(numbers - vector[0]) < 1e-5):
                    found = numbers[at : at + len(vector)]
                    if len(found) == len(vector) and numpy.allclose(found, vector, atol=1e-5):
                        return True
    return False


def unit_vectors(count: int) -> Any:
    import numpy

    vectors = numpy.random.default_rng(0).normal(size=(count, 64)).astype("f4")
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_deleted_document_is_in_no_file(tmp_path: Path, embeddings: WordEmbeddings) -> None:
    vectors, texts = unit_vectors(20), [f"The secret of child{i}name." for i in range(20)]
    store = ChromaStore(embeddings, tmp_path)
    store.add_vectors(
        texts, vectors, [{"about": f"topic{i}word"} for i in range(20)], ids=[f"id-{i}-x" for i in range(20)]
    )
    assert b"child7name" in stored_bytes(tmp_path)
    assert is_stored(vectors[7], tmp_path)
    store.delete(["id-7-x"])
    for word in (b"child7name", b"topic7word", b"id-7-x"):
        assert word not in stored_bytes(tmp_path), word
    assert not is_stored(vectors[7], tmp_path)
    store.add_vectors(["A new one."], vectors[7:8], ids=["new"])
    for reopened in (store, ChromaStore(embeddings, tmp_path)):
        assert len(reopened) == 20
        [hits] = reopened.search_vectors(vectors[7:8], k=1)
        assert hits[0][0].id == "new"
        assert reopened.get_by_ids(["id-7-x"]) == []


def test_compacting_erases_vectors_from_a_saved_index(tmp_path: Path, embeddings: WordEmbeddings) -> None:
    vectors = unit_vectors(1500)
    store = ChromaStore(embeddings, tmp_path, ttl_s=1e9)
    store.add_vectors([f"child{i}name" for i in range(1500)], vectors, ids=[f"id-{i}-x" for i in range(1500)])
    store.delete(["id-7-x"])
    assert b"child7name" not in stored_bytes(tmp_path)
    store.compact()
    assert b"id-7-x" not in stored_bytes(tmp_path)
    assert not is_stored(vectors[7], tmp_path)
    assert len(store) == 1499
    store.add_texts(["one more"], ids=["new"])
    again = ChromaStore(embeddings, tmp_path)
    assert len(again) == 1500
    [hits] = again.search_vectors(vectors[8:9], k=1)
    assert hits[0][0].id == "id-8-x"


@pytest.mark.parametrize("is_original_deleted", [False, True])
def test_a_killed_compaction_loses_nothing(
    tmp_path: Path, embeddings: WordEmbeddings, is_original_deleted: bool
) -> None:
    store = ChromaStore(embeddings, tmp_path)
    store.add_texts(["a fox", "a hen"], ids=["fox", "hen"])
    copy = store._open("taleward.compacting")
    if is_original_deleted:
        copy.upsert(ids=["fox", "hen"], documents=["a fox", "a hen"], embeddings=unit_vectors(2))
        store._client.delete_collection("taleward")
    again = ChromaStore(embeddings, tmp_path)
    assert {document.id for document in again.get_by_ids(["fox", "hen"])} == {"fox", "hen"}
    assert [collection.name for collection in again._client.list_collections()] == ["taleward"]


def test_a_locked_database_is_reported_and_erased_later(
    tmp_path: Path, embeddings: WordEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taleward.stores.vector.chroma_erasure._TIMEOUT_S", 0.05)
    store = ChromaStore(embeddings, tmp_path)
    store.add_texts(["the child's secret", "a hen"], ids=["secret", "hen"])
    reader = sqlite3.connect(tmp_path / "chroma.sqlite3", isolation_level=None)
    delete = store._collection.delete

    def delete_then_lock(**kwargs: Any) -> None:
        delete(**kwargs)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM embeddings_queue").fetchone()

    monkeypatch.setattr(store._collection, "delete", delete_then_lock)
    with pytest.raises(NotErased, match="still contains their bytes"):
        store.delete(["secret"])
    reader.close()
    monkeypatch.undo()
    store.delete(["secret"])
    assert b"secret" not in stored_bytes(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    folder = tmp_path_factory.mktemp("chroma")
    chroma = Path(sys.executable).with_name("chroma")
    command = [str(chroma), "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"{url}/api/v2/heartbeat", timeout=1).close()  # noqa: S310
                    break
                except OSError:
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()


@pytest.mark.server
class TestServer(StoreConformance):
    @pytest.fixture(autouse=True)
    def _server(self, server: str) -> None:
        self.url, self.names = server, dict[Path, str]()

    def open(self, folder: Path, embeddings: Any, **options: Any) -> ChromaStore:
        name = self.names.setdefault(folder, f"test-{uuid.uuid4().hex}")
        return ChromaStore(embeddings, self.url, collection=name, **options)


def test_requests_to_an_unreachable_server_are_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []
    monkeypatch.setattr("taleward.stores.vector.chroma_store.time.sleep", delays.append)
    with pytest.raises(BackendError, match="did not answer in 3 tries") as caught:
        ChromaStore(WordEmbeddings(), "http://127.0.0.1:1", max_retries=2)
    assert caught.value.retryable
    assert delays == [0.2, 0.4]


def test_a_text_of_one_store_is_not_embedded_again_for_another(tmp_path: Path) -> None:
    model = WordEmbeddings()
    cached = CachedEmbeddings(model, tmp_path / "cache.db")
    texts = ["a fox", "a hen", "a fox"]
    FaissStore(cached, tmp_path / "faiss").add_texts(texts)
    ChromaStore(cached, tmp_path / "chroma").add_texts(texts)
    assert model.embedded_texts == ["a fox", "a hen"]
