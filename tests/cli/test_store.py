"""`taleward store` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from taleward.cli.app import app
from taleward.core.errors import ConfigurationError, InvalidFile
from taleward.core.tale import digest
from taleward.stores.caches.embeddings import CachedEmbeddings
from taleward.stores.vector.chroma_store import ChromaStore
from taleward.stores.vector.faiss_store import FaissStore
from taleward.testing import WordEmbeddings

TEXTS = ["a brave fox", "a quiet hen", "a blue whale"]


def taleward(*arguments: str | Path) -> Any:
    result = CliRunner().invoke(app, ["store", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return [json.loads(part) for part in result.stdout.replace("}\n{", "}\n\n{").split("\n\n") if part.strip()]


def test_a_cache_is_inspected_moved_and_cleared(tmp_path: Path) -> None:
    model = WordEmbeddings()
    CachedEmbeddings(model, tmp_path / "a.db").embed_documents(TEXTS)
    [stats] = taleward("stats", tmp_path / "a.db")
    assert (stats["kind"], stats["entries"]) == ("embedding cache", 3)
    assert taleward("export", tmp_path / "a.db", tmp_path / "a.parquet") == [{"exported": 3}]
    assert taleward("import", tmp_path / "b.db", tmp_path / "a.parquet") == [{"imported": 3}]
    model.embedded_texts.clear()
    CachedEmbeddings(model, tmp_path / "b.db").embed_documents(TEXTS)
    assert model.embedded_texts == []
    assert taleward("delete", tmp_path / "b.db", digest(TEXTS[0])) == [{"deleted": 1}]
    with pytest.raises(ConfigurationError, match="holds no texts"):
        taleward("search", tmp_path / "b.db", "fox")


def test_a_store_moves_to_another_kind_with_its_expiry_times(tmp_path: Path) -> None:
    model, now = WordEmbeddings(), [2e9]
    chroma = ChromaStore(model, tmp_path / "chroma", ttl_s=100, clock=lambda: now[0])
    chroma.add_texts(TEXTS, [{"age": 6}, {"age": 7}, {}], ids=["fox", "hen", "whale"])
    chroma.close()
    [stats] = taleward("stats", tmp_path / "chroma")
    assert stats == {"kind": "ChromaStore", "documents": 3, "model": "test:words", "dimensions": 64}
    assert taleward("export", tmp_path / "chroma", tmp_path / "file") == [{"exported": 3}]
    assert taleward("import", tmp_path / "faiss", tmp_path / "file") == [{"imported": 3}]
    [stats] = taleward("stats", tmp_path / "faiss")
    assert (stats["index"], stats["documents"], stats["model"]) == ("flat", 3, "test:words")
    assert taleward("delete", tmp_path / "faiss", "hen", "nobody") == [{"deleted": 1}]
    model.embedded_texts.clear()
    store = FaissStore(model, tmp_path / "faiss", clock=lambda: now[0])
    assert store.similarity_search("a brave fox", k=1)[0].metadata == {"age": 6}
    store.close()
    now[0] += 101
    assert len(FaissStore(model, tmp_path / "faiss", clock=lambda: now[0])) == 0


def test_search_prints_scores_and_accepts_a_filter(tmp_path: Path) -> None:
    with FaissStore("embedded:minilm", tmp_path) as store:
        store.add_texts(TEXTS, [{"age": 6}, {"age": 7}, {}], ids=["fox", "hen", "whale"])
    first, second = taleward("search", tmp_path, "a courageous fox", "--limit", "2")
    assert first["id"] == "fox"
    assert first["score"] > second["score"]
    [only] = taleward("search", tmp_path, "a courageous fox", "--filter", '{"age": {"$gt": 6}}')
    assert only["id"] == "hen"


def test_other_files_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not Parquet")
    with pytest.raises(InvalidFile, match="cannot be read"):
        taleward("import", tmp_path / "store", tmp_path / "text")
    CachedEmbeddings(WordEmbeddings(), tmp_path / "a.db").embed_documents(TEXTS)
    taleward("export", tmp_path / "a.db", tmp_path / "a.parquet")
    with pytest.raises(InvalidFile, match=r"holds taleward\.embedding_cache\.1"):
        taleward("import", tmp_path / "store", tmp_path / "a.parquet")
    with pytest.raises(ConfigurationError, match="no vector store"):
        taleward("stats", tmp_path / "nowhere")
