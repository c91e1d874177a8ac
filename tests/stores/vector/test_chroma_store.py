"""The Chroma store conforms to the contract, in a folder and on a real server."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taleward.core.errors import BackendError, ConfigurationError
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
