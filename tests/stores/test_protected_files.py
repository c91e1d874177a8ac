"""Stores on a read-only disk are read, and a full disk is reported and loses nothing that was stored."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from langchain_core.outputs import Generation
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

from taleward.agents.threads.checkpointer import Threads
from taleward.core.verdict import Verdict
from taleward.stores.caches.answers import AnswerCache
from taleward.stores.caches.embeddings import CachedEmbeddings
from taleward.stores.vector.faiss_store import FaissStore
from taleward.testing import FakeJudge, WordEmbeddings


def protect(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a folder read-only, also for a test that runs as root."""
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    writable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and writable(path, mode))


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_faiss_store_is_searched_where_it_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaissStore(WordEmbeddings(), tmp_path / "store", ttl_s=10, clock=lambda: 0) as store:
        store.add_texts(["a fox", "a hen"], [{"age": 6}, {"age": 3}], ids=["fox", "hen"])
    protect(tmp_path, monkeypatch)
    before = snapshot(tmp_path)
    now = [1.0]
    store = FaissStore(WordEmbeddings(), tmp_path / "store", ttl_s=10, clock=lambda: now[0])
    assert [document.id for document in store.similarity_search("a fox", k=1, filter={"age": 6})] == ["fox"]
    assert len(store) == 2
    with pytest.raises(OSError, match="read-only"):
        store.add_texts(["a cow"])
    with pytest.raises(OSError, match="read-only"):
        store.delete(["fox"])
    now[0] = 11
    assert store.similarity_search("a fox") == []
    store.close()
    assert snapshot(tmp_path) == before


def test_an_answer_cache_answers_where_it_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, judge = [0.0], FakeJudge()
    options: dict[str, Any] = {"policy": "kids@1", "band": "6-8", "max_entries": 5, "clock": lambda: now[0]}
    cache = AnswerCache(tmp_path / "a.db", **options)
    for number in (1, 2):
        cache.update(f"prompt {number}", "a model", [Generation(text=f"answer {number}")])
    cache.record_verdict("answer 1", Verdict(outcome="pass", judge="j", policy="kids@1", band="6-8"))
    cache.close()
    protect(tmp_path, monkeypatch)
    before = snapshot(tmp_path)
    now[0] = 1000.0
    cache = AnswerCache(tmp_path / "a.db", **options, judge=judge)
    for number in (1, 2):
        found = cache.lookup(f"prompt {number}", "a model")
        assert found is not None
        assert found[0].text == f"answer {number}"
    assert judge.judged_texts == ["answer 2"]
    cache.update("prompt 3", "a model", [Generation(text="answer 3")])
    assert (cache.stats().failures, cache.stats().answers) == (0, 2)
    with pytest.raises(OSError, match="read-only"):
        cache.delete(["00"])
    cache.close()
    assert snapshot(tmp_path) == before


def test_an_embedding_cache_is_read_where_it_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CachedEmbeddings(WordEmbeddings(), tmp_path / "v.db", max_entries=5, clock=lambda: 0).embed_documents(["a fox"])
    protect(tmp_path, monkeypatch)
    model = WordEmbeddings()
    cached = CachedEmbeddings(model, tmp_path / "v.db", max_entries=5, clock=lambda: 1000)
    assert cached.embed_documents(["a fox", "a hen"])[0] == pytest.approx(WordEmbeddings().embed_query("a fox"))
    assert model.embedded_texts == ["a hen"]
    assert cached.stats().failures == 0


def test_a_full_disk_costs_a_thread_its_last_checkpoint_only(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "t.db")
    config: RunnableConfig = {"configurable": {"thread_id": "mia", "checkpoint_ns": ""}}

    def put(number: int) -> None:
        checkpoint = empty_checkpoint()
        version = f"{number:08}.a"
        checkpoint["channel_values"], checkpoint["channel_versions"] = {"m": ["x" * 50_000 * number]}, {"m": version}
        threads.put(config, checkpoint, {"step": number}, {"m": version})

    put(1)
    with threads.database.reading() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 1}")
    for _ in range(2):
        with pytest.raises(OSError, match="everything before it is intact") as caught:
            put(2)
        assert caught.value.errno == errno.ENOSPC
    saved = threads.get_tuple(config)
    assert saved is not None
    assert saved.metadata["step"] == 1
    threads.close()
    threads = Threads(tmp_path / "t.db")
    put(2)
    assert len(list(threads.list(config))) == 2
