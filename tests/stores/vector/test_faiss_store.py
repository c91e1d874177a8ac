"""The FAISS store conforms to the contract with every kind of index."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from taleward.core.errors import ConfigurationError, IntegrityError
from taleward.stores.vector import faiss_index
from taleward.stores.vector.faiss_index import IndexKind
from taleward.stores.vector.faiss_store import FaissStore
from taleward.testing import StoreConformance, WordEmbeddings


class TestFlat(StoreConformance):
    kind: IndexKind = "flat"

    def open(self, folder: Path, embeddings: Any, **options: Any) -> FaissStore:
        return FaissStore(embeddings, folder / "store", index=self.kind, **options)


class TestHnsw(TestFlat):
    kind: IndexKind = "hnsw"


class TestInMemory(TestFlat):
    """Without a folder, everything but opening the store again works the same."""

    def open(self, folder: Path, embeddings: Any, **options: Any) -> FaissStore:
        return FaissStore(embeddings, None, **options)

    def test_a_store_can_be_reopened(self) -> None:  # type: ignore[override]
        """Not supported."""

    def test_another_model_is_rejected(self) -> None:  # type: ignore[override]
        """Not supported."""


@pytest.fixture
def model() -> WordEmbeddings:
    return WordEmbeddings()


def clustered(count: int, dimensions: int = 32, seed: int = 0) -> Any:
    import numpy

    random = numpy.random.default_rng(seed)
    centers = random.standard_normal((50, dimensions))
    rows = centers[random.integers(0, 50, count)] + 0.3 * random.standard_normal((count, dimensions))
    return (rows / numpy.linalg.norm(rows, axis=1, keepdims=True)).astype(numpy.float32)


@pytest.mark.parametrize(("kind", "count"), [("flat", 500), ("hnsw", 3000), ("ivfpq", 12_000)])
def test_every_index_finds_filters_deletes_and_opens_again(tmp_path: Path, kind: IndexKind, count: int) -> None:
    model, vectors = WordEmbeddings(32), clustered(count)
    ids = [str(i) for i in range(count)]
    with FaissStore(model, tmp_path, index=kind) as store:
        store.add_vectors(ids, vectors, [{"part": i % 100} for i in range(count)], ids=ids)
        assert store.kind == kind
    store = FaissStore(model, tmp_path, index=kind)
    exact = best_by_numpy(vectors, vectors[:100], 10)
    results = store.search_vectors(vectors[:100], k=10)
    overlaps = [len({int(d.id or -1) for d, _ in hits} & best) for hits, best in zip(results, exact, strict=True)]
    recall = sum(overlaps) / 1000
    assert recall >= 0.95
    # With a filter every index is exact, however few documents match.
    allowed = [i for i in range(count) if i % 100 == 7]
    best = [allowed[i] for i in sorted(best_by_numpy(vectors[allowed], vectors[:1], 3)[0])]
    [hits] = store.search_vectors(vectors[:1], k=3, filter={"part": 7})
    assert sorted(int(d.id or -1) for d, _ in hits) == best
    bytes_before = sum(file.stat().st_size for file in tmp_path.glob("index-*"))
    store.delete([i for i in ids if int(i) % 2])
    assert len(store) == count // 2
    [hits] = store.search_vectors(vectors[1:2], k=20)
    assert all(int(d.id or -1) % 2 == 0 for d, _ in hits)
    bytes_after = sum(file.stat().st_size for file in tmp_path.glob("index-*"))
    assert bytes_after < 0.75 * bytes_before
    assert len(FaissStore(model, tmp_path, index=kind)) == count // 2
    store.add_vectors(["new"], vectors[1:2], ids=["new"])
    assert store.search_vectors(vectors[1:2], k=1)[0][0][0].id == "new"


def best_by_numpy(vectors: Any, queries: Any, k: int) -> list[set[int]]:
    import numpy

    return [set(row[:k]) for row in numpy.argsort(-(queries @ vectors.T), axis=1).tolist()]


def test_a_store_grows_into_the_next_kind(
    tmp_path: Path, model: WordEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "FLAT_MAX_VECTORS", 3)
    store = FaissStore(model, tmp_path)
    store.add_texts(["a", "b", "c"])
    assert store.kind == "flat"
    store.add_texts(["d"])
    assert store.kind == "hnsw"
    assert {d.page_content for d in store.similarity_search("a", k=4)} == {"a", "b", "c", "d"}
    assert FaissStore(model, tmp_path).kind == "hnsw"


def test_unsaved_changes_are_visible_to_their_writer_alone(tmp_path: Path, model: WordEmbeddings) -> None:
    writer = FaissStore(model, tmp_path, autosave=False)
    writer.add_texts(["a fox"], ids=["fox"])
    reader = FaissStore(model, tmp_path)
    assert (len(writer), len(reader)) == (1, 0)
    writer.save()
    assert reader.similarity_search("a fox")[0].id == "fox"
    with suppress(KeyError), writer:
        writer.add_texts(["a hen"], ids=["hen"])
        writer.delete(["fox"])
        raise KeyError
    assert [d.id for d in FaissStore(model, tmp_path).similarity_search("a hen", k=9)] == ["fox"]
    with FaissStore(model, tmp_path, autosave=False) as writer:
        writer.add_texts(["a hen"], ids=["hen"])
    assert {d.id for d in reader.similarity_search("a hen", k=9)} == {"fox", "hen"}


def test_a_reader_does_not_wait_for_a_writer_and_sees_no_expired_document(
    tmp_path: Path, model: WordEmbeddings
) -> None:
    now = [1000.0]
    FaissStore(model, tmp_path, ttl_s=10, clock=lambda: now[0]).add_texts(["a fox"], ids=["fox"])
    writer = FaissStore(model, tmp_path, autosave=False, clock=lambda: now[0])
    writer.add_texts(["a hen"], ids=["hen"])
    now[0] += 20
    start = time.monotonic()
    reader = FaissStore(model, tmp_path, ttl_s=10, clock=lambda: now[0])
    assert reader.similarity_search("a fox") == reader.get_by_ids(["fox"]) == []
    assert len(reader) == 0
    assert time.monotonic() - start < 10
    writer.close()
    now[0] += 2
    assert [d.id for d in reader.similarity_search("a fox")] == ["hen"]
    assert b"a fox" not in (tmp_path / "documents.db").read_bytes()


def test_two_writers_take_turns(tmp_path: Path, model: WordEmbeddings) -> None:
    first, second = FaissStore(model, tmp_path), FaissStore(model, tmp_path)
    for i in range(5):
        first.add_texts([f"one {i}"], ids=[f"one {i}"])
        second.add_texts([f"other {i}"], ids=[f"other {i}"])
    assert len(first) == len(second) == 10
    assert first.similarity_search("other 4", k=1)[0].id == "other 4"
    first.delete(["other 4"])
    assert len(second) == 9


def test_a_failed_change_leaves_the_last_save(
    tmp_path: Path, model: WordEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FaissStore(model, tmp_path)
    store.add_texts(["a fox"], ids=["fox"])

    def out_of_memory(self: Any, vectors: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(faiss_index.VectorIndex, "add", out_of_memory)
        with pytest.raises(MemoryError):
            store.add_texts(["a hen", "another fox"], ids=["hen", "fox"])
    assert [d.page_content for d in store.similarity_search("a fox", k=9)] == ["a fox"]
    store.add_texts(["a hen"], ids=["hen"])
    assert len(FaissStore(model, tmp_path)) == 2


def test_a_damaged_index_is_detected_by_its_checksum(tmp_path: Path, model: WordEmbeddings) -> None:
    FaissStore(model, tmp_path).add_texts(["a fox"])
    [file] = tmp_path.glob("index-*.faiss")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match=r"SHA-256 of index-.* is not the one saved"):
        FaissStore(model, tmp_path)
    file.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        FaissStore(model, tmp_path)


def test_a_store_contains_only_data_files(tmp_path: Path, model: WordEmbeddings) -> None:
    store = FaissStore(model, tmp_path)
    for i in range(3):
        store.add_texts([f"secret {i}"], ids=[str(i)])
    store.delete(["1"])
    assert {file.suffix for file in tmp_path.iterdir()} == {".db", ".db-shm", ".db-wal", ".faiss"}
    assert len(list(tmp_path.glob("index-*"))) == 1
    assert not any(b"secret 1" in file.read_bytes() for file in tmp_path.iterdir())
    store.compact()
    store.close()
    assert len(FaissStore(model, tmp_path)) == 2


def test_an_unknown_kind_of_index_is_rejected(model: WordEmbeddings) -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'hnsw'"):
        FaissStore(model, index="hnws")  # type: ignore[arg-type]


def test_a_flat_index_is_searched_on_the_gpus_if_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy in memory stands in for the GPUs; it must never be stale."""
    faiss = faiss_index.load_faiss()
    copies: list[Any] = []

    def to_gpus(index: Any) -> Any:
        copies.append(faiss.clone_index(index))
        return copies[-1]

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", to_gpus)
    monkeypatch.setattr(faiss_index, "GPU_MIN_VECTORS", 100)
    model, vectors = WordEmbeddings(32), clustered(300)
    store = FaissStore(model, None, index="flat")
    store.add_vectors([f"text {n}" for n in range(200)], vectors[:200], ids=[str(n) for n in range(200)])
    assert [d.id for d in store.similarity_search_by_vector(vectors[7].tolist(), k=1)] == ["7"]
    assert [d.id for d in store.similarity_search_by_vector(vectors[8].tolist(), k=1)] == ["8"]
    assert len(copies) == 1
    store.delete(["7"])
    store.add_vectors(["new"], vectors[250:251], ids=["250"])
    assert "7" not in [d.id for d in store.similarity_search_by_vector(vectors[7].tolist(), k=5)]
    assert [d.id for d in store.similarity_search_by_vector(vectors[250].tolist(), k=1)] == ["250"]
    assert len(copies) == 2
