"""LangChain's FAISS folders come over without running what is in their pickle."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from taleward.core.errors import ConfigurationError, IntegrityError
from taleward.stores.convert import convert_langchain_faiss
from taleward.testing.fake_embeddings import WordEmbeddings

TEXTS = ["a brave fox", "a quiet hen", "a blue whale"]


def written_by_langchain(folder: Path, monkeypatch: pytest.MonkeyPatch, docstore: Any = None) -> None:
    """What `FAISS.save_local` writes, with a class of the same name: the package itself is no dependency."""
    import sys
    import types

    import faiss
    import numpy

    module = types.ModuleType("langchain_community.docstore.in_memory")
    kind = type("InMemoryDocstore", (), {"__module__": module.__name__})
    module.InMemoryDocstore = kind  # type: ignore[attr-defined]
    for name in ("langchain_community", "langchain_community.docstore"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    store = kind()
    metadata = [{"age": 6, "tags": ["a"], "none": None}, {}, {"lang": "en"}]
    store._dict = {  # type: ignore[attr-defined]
        f"id{i}": Document(id=f"id{i}", page_content=t, metadata=m)
        for i, (t, m) in enumerate(zip(TEXTS, metadata, strict=True))
    }
    folder.mkdir()
    index = faiss.IndexFlatL2(64)
    index.add(numpy.asarray(WordEmbeddings().embed_documents(TEXTS), dtype=numpy.float32))
    faiss.write_index(index, str(folder / "index.faiss"))
    names = {i: f"id{i}" for i in range(3)}
    (folder / "index.pkl").write_bytes(pickle.dumps((store if docstore is None else docstore, names)))


def test_ids_texts_metadata_and_vectors_come_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written_by_langchain(tmp_path / "old", monkeypatch)
    model = WordEmbeddings()
    store = convert_langchain_faiss(tmp_path / "old", model, tmp_path / "new")
    assert model.asked == []
    assert [d.page_content for d in store.get_by_ids(["id0", "id1", "id2"])] == TEXTS
    assert store.get_by_ids(["id0"])[0].metadata == {"age": 6, "tags": '["a"]'}
    assert store.similarity_search("a blue whale", k=1)[0].id == "id2"
    with pytest.raises(ConfigurationError, match="there is a store"):
        convert_langchain_faiss(tmp_path / "old", model, tmp_path / "new")


class Evil:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.file}",)


def test_code_in_a_pickle_is_named_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written_by_langchain(tmp_path / "old", monkeypatch, Evil(tmp_path / "ran"))
    with pytest.raises(IntegrityError, match=r"it names (posix|nt)\.system"):
        convert_langchain_faiss(tmp_path / "old", WordEmbeddings(), tmp_path / "new")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("content", [b"", b"\x80", pickle.dumps(1), pickle.dumps(({}, {})), pickle.dumps((set(), 1))])
def test_other_pickles_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    written_by_langchain(tmp_path / "old", monkeypatch)
    (tmp_path / "old" / "index.pkl").write_bytes(content)
    with pytest.raises(IntegrityError, match="not what LangChain"):
        convert_langchain_faiss(tmp_path / "old", WordEmbeddings(), tmp_path / "new")


def test_a_folder_without_the_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"index\.pkl is missing"):
        convert_langchain_faiss(tmp_path, WordEmbeddings(), tmp_path / "new")
