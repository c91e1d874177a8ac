"""What was deleted is erased from every file, or an error says what still holds it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.outputs import Generation
from langgraph.checkpoint.base import empty_checkpoint

from taleward.agents.threads.checkpointer import Threads
from taleward.core.errors import NotErased
from taleward.core.tale import digest
from taleward.stores import sqlite
from taleward.stores.caches.answers import AnswerCache
from taleward.stores.caches.embeddings import CachedEmbeddings
from taleward.stores.caches.semantic_answers import SemanticAnswerCache
from taleward.stores.vector.faiss_store import FaissStore
from taleward.testing import WordEmbeddings

SECRET = "the child's secret"


def answers(folder: Path) -> tuple[Path, Callable[[], Any], bytes]:
    cache = AnswerCache(folder / "a.db", policy="kids@1", band="6-8")
    cache.update("a prompt", "a model", [Generation(text=SECRET)])
    return folder / "a.db", lambda: cache.delete([digest(SECRET)]), SECRET.encode()


def semantic_answers(folder: Path) -> tuple[Path, Callable[[], Any], bytes]:
    cache = SemanticAnswerCache(folder, WordEmbeddings(), policy="kids@1", band="6-8")
    cache.update(SECRET, "a model", [Generation(text="an answer")])
    return folder / "questions" / "documents.db", lambda: cache.delete([digest("an answer")]), SECRET.encode()


def vectors(folder: Path) -> tuple[Path, Callable[[], Any], bytes]:
    cache = CachedEmbeddings(WordEmbeddings(), folder / "v.db")
    [vector] = cache.embed_array([SECRET])
    return folder / "v.db", lambda: cache.delete([SECRET]), vector.tobytes()


def documents(folder: Path) -> tuple[Path, Callable[[], Any], bytes]:
    store = FaissStore(WordEmbeddings(), folder)
    store.add_texts([SECRET, "another"], ids=["secret", "other"])
    return folder / "documents.db", lambda: store.delete(["secret"]), SECRET.encode()


def threads(folder: Path) -> tuple[Path, Callable[[], Any], bytes]:
    saver = Threads(folder / "t.db")
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"], checkpoint["channel_versions"] = {"m": [SECRET]}, {"m": "1"}
    saver.put({"configurable": {"thread_id": "mia", "checkpoint_ns": ""}}, checkpoint, {}, {"m": "1"})
    return folder / "t.db", lambda: saver.delete_thread("mia"), SECRET.encode()


def holds(folder: Path, content: bytes) -> bool:
    return any(content in file.read_bytes() for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("store", [answers, semantic_answers, vectors, documents, threads])
def test_a_deletion_that_another_reader_outlives_is_reported_and_finished_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Callable[[Path], tuple[Path, Callable[[], Any], bytes]]
) -> None:
    monkeypatch.setattr(sqlite, "_ERASE_TIMEOUT_S", 0.1)
    file, delete, content = store(tmp_path)
    assert holds(tmp_path, content)
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sqlite_master").fetchall()
    with pytest.raises(NotErased, match=f"{file.name}-wal") as caught:
        delete()
    assert caught.value.retryable
    assert holds(tmp_path, content)
    reader.close()
    delete()
    assert not holds(tmp_path, content)


def test_a_deletion_waits_for_a_reader_that_is_about_to_finish(tmp_path: Path) -> None:
    import threading

    file, delete, content = answers(tmp_path)
    reader = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM answers").fetchall()
    timer = threading.Timer(0.3, reader.close)
    timer.start()
    delete()
    timer.join()
    assert not holds(tmp_path, content)
