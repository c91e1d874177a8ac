"""Embedding cache and vector stores against LangChain's: `python -m benchmarks.stores`.

There is no embedding model: vectors are computed beforehand, so that the stores alone are measured. The peers are
LangChain's `CacheBackedEmbeddings` and FAISS store (langchain-classic, langchain-community), langchain-chroma, LMDB and
plain faiss; the extra `community` installs them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count as counter
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from benchmarks.questions import pairs
from benchmarks.table import Row, Size, is_installed, pick, run
from taleward.stores.caches.embeddings import CachedEmbeddings
from taleward.stores.caches.semantic_answers import SemanticAnswerCache
from taleward.stores.vector.chroma_store import ChromaStore
from taleward.stores.vector.faiss_index import IndexKind, VectorIndex
from taleward.stores.vector.faiss_store import FaissStore
from taleward.testing import kill_store

DIMENSIONS = 384
_EXTRA = "'taleward[community]'"
LANGCHAIN_CACHE = "CacheBackedEmbeddings, LocalFileStore"
LANGCHAIN_FAISS = "langchain-community FAISS"


def ratio_row(
    metric: str,
    unit: str,
    ours: float,
    peer: float,
    peer_name: str,
    goal: float | None = None,
    *,
    lower_is_better: bool = False,
) -> Row:
    """Make a row whose goal is a minimum ratio."""
    better, worse = (peer, ours) if lower_is_better else (ours, peer)
    ratio = better / worse if worse else float("inf")
    goal_words = "" if goal is None else f"at least {goal:g}"
    return Row(metric, unit, ours, peer, peer_name, ratio, goal_words, goal is None or ratio >= goal)


def seconds(call: Callable[[], Any]) -> float:
    """Return the duration of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interleaved(*measures: Callable[[], float], repeats: int) -> list[float]:
    """Return the median of each measure. They take turns, so that a busy moment affects all of them."""
    values: list[list[float]] = [[] for _ in measures]
    for _ in range(repeats):
        for series, measure in zip(values, measures, strict=True):
            series.append(measure())
    return [statistics.median(series) for series in values]


class PrecomputedEmbeddings(Embeddings):
    """Embeddings whose vectors were computed beforehand."""

    fingerprint = "benchmark:precomputed"

    def __init__(self, texts: Sequence[str], vectors: Any) -> None:
        self._index, self._vectors = {text: i for i, text in enumerate(texts)}, vectors

    def embed_array(self, texts: Sequence[str]) -> Any:
        first = self._index[texts[0]]
        return self._vectors[first : first + len(texts)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        rows: list[list[float]] = self.embed_array(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def make_data(count: int) -> tuple[list[str], Any]:
    """Return texts and clustered vectors of length 1: one cluster per hundred, with cosines of about 0.5 within."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((max(10, count // 100), DIMENSIONS), dtype=np.float32)
    rows = centers[rng.integers(0, len(centers), count)]
    rows += rng.standard_normal((count, DIMENSIONS), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [f"Story {i}: once upon a time there was a fox with {i} friends." for i in range(count)], rows


def bytes_on_disk(path: Path) -> int:
    """Return the bytes allocated for a file or folder."""
    return sum(p.stat().st_blocks * 512 for p in [path, *path.rglob("*")])


class LmdbCache:
    """The same entries in LMDB: text hash to vector, without time to live, eviction and statistics."""

    def __init__(self, folder: Path, model: PrecomputedEmbeddings) -> None:
        import lmdb

        self._file, self._model = lmdb.open(str(folder), map_size=2**32, sync=False), model

    def embed_array(self, texts: Sequence[str]) -> Any:
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        with self._file.begin() as transaction:
            vectors = dict(transaction.cursor().getmulti(keys))
        missing = [i for i, key in enumerate(keys) if key not in vectors]
        if missing:
            new = [v.tobytes() for v in self._model.embed_array([texts[i] for i in missing])]
            entries = list(zip([keys[i] for i in missing], new, strict=True))
            with self._file.begin(write=True) as transaction:
                transaction.cursor().putmulti(entries)
            vectors.update(entries)
        return np.frombuffer(b"".join([vectors[key] for key in keys]), dtype=np.float32).reshape(len(keys), -1)


class CacheFactory:
    """Makes empty caches over the same embeddings, each with its own file, and remembers the last ones."""

    def __init__(self, folder: Path, model: PrecomputedEmbeddings) -> None:
        self._folder, self._model, self._numbers = folder, model, counter()
        self.ours_path = self.peer_path = self.lmdb_path = folder

    def ours(self, **options: Any) -> CachedEmbeddings:
        self.ours_path = self._folder / f"cache{next(self._numbers)}" / "cache.db"
        return CachedEmbeddings(self._model, self.ours_path, **options)

    def peer(self) -> Any:
        from langchain_classic.embeddings import CacheBackedEmbeddings
        from langchain_classic.storage import LocalFileStore

        self.peer_path = self._folder / f"files{next(self._numbers)}"
        store = LocalFileStore(self.peer_path)
        return CacheBackedEmbeddings.from_bytes_store(self._model, store, namespace="x", key_encoder="sha256")

    def lmdb(self) -> LmdbCache:
        self.lmdb_path = self._folder / f"lmdb{next(self._numbers)}"
        return LmdbCache(self.lmdb_path, self._model)


def cache_rows(folder: Path, count: int, repeats: int) -> Iterator[Row]:
    """The embedding cache: writes, hits, disk."""
    texts, vectors = make_data(count)
    factory = CacheFactory(folder, PrecomputedEmbeddings(texts, vectors))
    caches: dict[str, Any] = {}

    def rate(cache: Any, method: str) -> float:
        return count / seconds(lambda: getattr(cache, method)(texts))

    def write_rate(name: str, make: Callable[[], Any], method: str) -> float:
        caches[name] = make()
        return rate(caches[name], method)

    def hit_rate(name: str, method: str) -> float:
        return rate(caches[name], method)

    sides: dict[str, tuple[str, Callable[[], Any], str]] = {
        "lists": ("ours", factory.ours, "embed_documents"),
        "arrays": ("ours", factory.ours, "embed_array"),
    }
    if is_installed("langchain_classic", _EXTRA):
        sides["peer"] = ("peer", factory.peer, "embed_documents")
    if is_installed("lmdb", _EXTRA):
        sides["lmdb"] = ("lmdb", factory.lmdb, "embed_array")

    measures = [partial(write_rate, *side) for side in sides.values()]
    writes = dict(zip(sides, interleaved(*measures, repeats=repeats), strict=True))
    ours_mb = bytes_on_disk(factory.ours_path.parent) / 1e6
    measures = [partial(hit_rate, name, method) for name, _, method in sides.values()]
    hits = dict(zip(sides, interleaved(*measures, repeats=repeats), strict=True))
    if "peer" in sides:
        peer_mb = bytes_on_disk(factory.peer_path) / 1e6
        yield ratio_row("cache: writes, as arrays", "texts/s", writes["arrays"], writes["peer"], LANGCHAIN_CACHE, 8)
        yield ratio_row("cache: writes, as lists", "texts/s", writes["lists"], writes["peer"], LANGCHAIN_CACHE)
        yield ratio_row("cache: disk", "MB", ours_mb, peer_mb, LANGCHAIN_CACHE, 2, lower_is_better=True)
        yield ratio_row("cache: hits, as arrays", "texts/s", hits["arrays"], hits["peer"], LANGCHAIN_CACHE, 14)
        yield ratio_row("cache: hits, as lists", "texts/s", hits["lists"], hits["peer"], LANGCHAIN_CACHE)
    if "lmdb" in sides:
        lmdb_mb = bytes_on_disk(factory.lmdb_path) / 1e6
        yield ratio_row("cache: writes against LMDB", "texts/s", writes["arrays"], writes["lmdb"], "LMDB")
        yield ratio_row("cache: disk against LMDB", "MB", ours_mb, lmdb_mb, "LMDB", lower_is_better=True)
        yield ratio_row("cache: hits against LMDB", "texts/s", hits["arrays"], hits["lmdb"], "LMDB")
    factory.ours(dtype="float16").embed_array(texts)
    half_mb = bytes_on_disk(factory.ours_path.parent) / 1e6
    yield ratio_row("cache: disk as float16", "MB", half_mb, ours_mb, "float32", lower_is_better=True)


def writer_rows(folder: Path, texts_per_process: int, processes: int = 4) -> Iterator[Row]:
    """Several processes that write to one cache."""
    file = folder / "shared" / "cache.db"
    command = [sys.executable, "-m", "benchmarks.stores", "--child", "write", str(file), str(texts_per_process)]
    children = [subprocess.Popen([*command, str(number), str(processes)]) for number in range(processes)]
    return_codes = [child.wait() for child in children]
    if any(return_codes):
        raise RuntimeError("a writing process failed")
    total = processes * texts_per_process
    texts, vectors = make_data(total)
    cache = CachedEmbeddings(PrecomputedEmbeddings(texts, vectors), file)
    intact = int((cache.embed_array(texts) == vectors).all(axis=1).sum()) - cache.stats().misses
    metric = f"cache: intact entries of {processes} writing processes"
    yield ratio_row(metric, "entries", intact, total, "entries written", 1)


def child_write(file: str, texts_per_process: str, number: str, processes: str) -> None:
    """Write one process's share of the texts."""
    count = int(texts_per_process)
    texts, vectors = make_data(int(processes) * count)
    cache = CachedEmbeddings(PrecomputedEmbeddings(texts, vectors), file)
    first = count * int(number)
    for at in range(first, first + count, 100):
        cache.embed_array(texts[at : min(at + 100, first + count)])


def kill_rows(folder: Path, kills: Mapping[str, int]) -> Iterator[Row]:
    """What remains after SIGKILL, with a number of kills for each kind of store."""
    for kind, number in kills.items():
        report = kill_store(kind, folder / f"killed-{kind}", kills=number)
        intact, name = report.committed - report.lost, f"of {report.committed} committed, {report.kills} kills"
        yield ratio_row(f"{kind}: committed entries after SIGKILL", "entries", intact, report.committed, name, 1)
        readable = report.kills - report.unreadable
        yield ratio_row(f"{kind}: readable after SIGKILL", "times", readable, report.kills, "kills", 1)


def child_add(side: str, folder: str, count: str) -> None:
    """Measure time and memory of adding, saving and opening, in a process of its own."""
    import psutil

    texts, vectors = make_data(int(count))
    model = PrecomputedEmbeddings(texts, vectors)
    if side == "ours":
        FaissStore(model, Path(folder) / "warm-up").add_texts(texts[:10])
    else:
        langchain_faiss().from_texts(texts[:10], model)
    memory_before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak that `_peak_memory` reads
    start = time.perf_counter()
    if side == "ours":
        store: Any = FaissStore(model, Path(folder) / "store", index="flat", autosave=False)
        store.add_texts(texts)
        add_s, memory = time.perf_counter() - start, _peak_memory() - memory_before
        save_s = seconds(store.save)
        open_s = seconds(lambda: FaissStore(model, Path(folder) / "store").similarity_search_by_vector(vectors[0]))
    else:
        store = langchain_faiss().from_texts(texts, model)
        add_s, memory = time.perf_counter() - start, _peak_memory() - memory_before
        save_s = seconds(lambda: store.save_local(folder))
        open_store = partial(langchain_faiss().load_local, folder, model, allow_dangerous_deserialization=True)
        open_s = seconds(lambda: open_store().similarity_search_by_vector(vectors[0]))
    print(json.dumps({"add_s": add_s, "memory": memory, "save_s": save_s, "open_s": open_s}))


def _peak_memory() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def langchain_faiss() -> Any:
    """Return the class of LangChain's FAISS store."""
    from langchain_community.vectorstores import FAISS

    return FAISS


def faiss_add_rows(folder: Path, count: int, repeats: int) -> Iterator[Row]:
    """Adding, saving and opening, each run in a process of its own."""
    sides = ["ours", *(["peer"] if is_installed("langchain_community", _EXTRA) else [])]
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for number in range(repeats):
        for side in sides:
            store_folder = folder / f"add-{side}-{number}"
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.stores", "--child", "add", side]
            command += [str(store_folder), str(count)]
            process = subprocess.run(command, capture_output=True, text=True, check=True)
            runs[side].append(json.loads(process.stdout))
            shutil.rmtree(store_folder)
    medians = {
        side: {name: statistics.median(result[name] for result in results) for name in results[0]}
        for side, results in runs.items()
    }
    ours = medians["ours"]
    for metric, unit, name, scale, goal in (
        ("faiss: add", "s", "add_s", 1.0, 30),
        ("faiss: memory to add", "MB", "memory", 1e-6, 3),
        ("faiss: save", "s", "save_s", 1.0, 1),
        ("faiss: open and search once", "s", "open_s", 1.0, 1),
    ):
        if "peer" in medians:
            peer = medians["peer"][name] * scale
            yield ratio_row(metric, unit, ours[name] * scale, peer, LANGCHAIN_FAISS, goal, lower_is_better=True)
    metric = "faiss: open and search once"
    yield ratio_row(metric, "s", ours["open_s"], 1.0, "the limit of 1 s", 1, lower_is_better=True)


def faiss_search_rows(folder: Path, size: Size) -> Iterator[Row]:
    """Searching, with and without a filter, and the recall of the approximate indexes."""
    import faiss

    count = pick(size, full=100_000, quick=25_000, smoke=400)
    query_count = pick(size, full=2000, quick=2000, smoke=4)
    texts, vectors = make_data(count + query_count)
    queries, vectors, texts = vectors[count:], vectors[:count].copy(), texts[:count]
    model, parts = PrecomputedEmbeddings(texts, vectors), pick(size, full=1000, quick=1000, smoke=10)
    store = FaissStore(model, folder / "search", index="flat", autosave=False)
    metadatas = [{"part": i % parts} for i in range(count)]
    store.add_vectors(texts, vectors, metadatas, ids=[str(i) for i in range(count)])
    store.save()
    store.close()
    store = FaissStore(model, folder / "search")
    exact_index = faiss.IndexFlatIP(DIMENSIONS)
    exact_index.add(vectors)
    batch_sizes = pick(size, full=(1, 256), quick=(1, 256), smoke=(1, 2))
    for batch_size, goal, times in zip(batch_sizes, (0.8, 0.95), (60, 2), strict=True):
        batches = [queries[at * batch_size :][:batch_size] for at in range(min(times, len(queries) // batch_size))]

        def rate(search: Any, batches: list[Any] = batches, batch_size: int = batch_size) -> float:
            return len(batches) * batch_size / seconds(lambda: [search(batch, 4) for batch in batches])

        repeats = pick(size, full=9, quick=3, smoke=1)
        ours, peer = interleaved(
            partial(rate, store.search_vectors), partial(rate, exact_index.search), repeats=repeats
        )
        yield ratio_row(f"faiss: search, batch {batch_size}", "queries/s", ours, peer, "plain faiss", goal)
    exact_hits = exact_index.search(queries[:200], 10)[1]
    kinds: tuple[IndexKind, ...] = ("hnsw", "ivfpq")
    for kind in kinds[: pick(size, full=2, quick=2, smoke=1)]:
        yield _recall_row(kind, vectors, queries[:200], exact_hits, exact_index)
    yield from _filter_rows(store, texts, vectors, queries, metadatas, parts)


def _filter_rows(
    store: FaissStore, texts: list[str], vectors: Any, queries: Any, metadatas: list[dict[str, int]], parts: int
) -> Iterator[Row]:
    stores: dict[str, Any] = {"ours": store}
    if is_installed("langchain_community", _EXTRA):
        stores["peer"] = _langchain_store(PrecomputedEmbeddings(texts, vectors), texts, metadatas)
    recall = dict.fromkeys(stores, 0.0)
    searches = min(20, len(queries))
    for at in range(searches):
        part = at * 7 % parts
        best = np.argsort(-(vectors[part::parts] @ queries[at]))[:4] * parts + part
        expected = {texts[i] for i in best}
        for side, searched_store in stores.items():
            hits = searched_store.similarity_search_by_vector(queries[at].tolist(), 4, filter={"part": part})
            recall[side] += len(expected & {d.page_content for d in hits}) / len(expected) / searches
    metric = "faiss: recall with a filter"
    yield ratio_row(metric, "share", recall["ours"], 1.0, "exact search", 1)
    if "peer" in recall:
        yield Row(metric, "share", recall["ours"], recall["peer"], LANGCHAIN_FAISS)


def _langchain_store(model: PrecomputedEmbeddings, texts: list[str], metadatas: list[dict[str, int]]) -> Any:
    from langchain_core.documents import Document

    store = langchain_faiss().from_texts(texts, model)
    documents = store.docstore._dict
    for i, key in store.index_to_docstore_id.items():
        documents[key] = Document(page_content=texts[i], metadata=metadatas[i])
    return store


def _recall_row(kind: IndexKind, vectors: Any, queries: Any, exact_hits: Any, exact_index: Any) -> Row:
    start = time.perf_counter()
    index = VectorIndex.build(kind, vectors)
    build_s = time.perf_counter() - start
    hits = index.search(queries, 10, None)[1]
    index_s = seconds(lambda: index.search(queries, 10, None))
    exact_s = seconds(lambda: exact_index.search(queries, 10))
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact_hits.tolist(), hits.tolist(), strict=True)])
    name = f"exact search; {exact_s / index_s:.0f} times its speed, built in {build_s:.0f} s"
    return ratio_row(f"faiss: recall at 10 of {kind}", "share", float(recall), 1.0, name, 0.95)


def chroma_rows(folder: Path, count: int, repeats: int) -> Iterator[Row]:
    """Chroma in a folder."""
    if not is_installed("langchain_chroma", _EXTRA):
        return
    from chromadb.config import Settings
    from langchain_chroma import Chroma

    texts, vectors = make_data(count)
    model, numbers = PrecomputedEmbeddings(texts, vectors), counter()
    stores: dict[str, Any] = {}
    queries = min(200, count)

    def add_ours() -> float:
        stores["ours"] = ChromaStore(model, folder / f"chroma{next(numbers)}")
        return count / seconds(lambda: stores["ours"].add_texts(texts))

    def add_peer() -> float:
        stores["peer"] = Chroma(
            "peer",
            model,
            persist_directory=str(folder / f"chroma{next(numbers)}"),
            client_settings=Settings(anonymized_telemetry=False, is_persistent=True),
            collection_configuration={"hnsw": {"space": "cosine"}},
        )
        # A call with more than 5,461 texts fails.
        parts = [texts[at : at + 5000] for at in range(0, count, 5000)]
        return count / seconds(lambda: [stores["peer"].add_texts(part) for part in parts])

    def search_rate(side: str) -> float:
        search = stores[side].similarity_search_with_score
        return queries / seconds(lambda: [search(text, k=4) for text in texts[:queries]])

    name = "langchain-chroma"
    ours, peer = interleaved(add_ours, add_peer, repeats=repeats)
    yield ratio_row("chroma: add", "texts/s", ours, peer, name, 0.8)
    ours, peer = interleaved(partial(search_rate, "ours"), partial(search_rate, "peer"), repeats=3 * repeats)
    yield ratio_row("chroma: search", "queries/s", ours, peer, name, 0.8)
    batch = queries / seconds(lambda: stores["ours"].search_vectors(vectors[:queries], 4))
    metric = f"chroma: search, batch {queries}"
    yield ratio_row(metric, "queries/s", batch, peer, f"{name}, which has no batch search")


def semantic_rows(folder: Path, size: Size) -> Iterator[Row]:
    """The semantic cache, by cosine alone and with its check of words; the model is all-MiniLM-L6-v2."""
    cache = SemanticAnswerCache(folder / "semantic", "embedded:minilm", policy="none@1", band="none")
    questions = list(pairs())[:: pick(size, full=1, quick=1, smoke=40)]
    cosine_hits = [(is_same, cache.cosine(a, b) >= cache.threshold) for a, b, is_same in questions]
    result = cache.measure_false_hits(questions)
    different = [hit for is_same, hit in cosine_hits if not is_same]
    name = f"cosine of {cache.threshold:g} alone, {result.different_pairs} pairs"
    ours, peer = 1 - result.false_hit_rate, 1 - sum(different) / len(different)
    yield ratio_row("semantic cache: different questions told apart", "share", ours, peer, name, 1)
    same = [hit for is_same, hit in cosine_hits if is_same]
    name = f"cosine of {cache.threshold:g} alone, {result.same_pairs} pairs"
    ours, peer = result.hits / result.same_pairs, sum(same) / len(same)
    yield ratio_row("semantic cache: same questions found", "share", ours, peer, name)


def measure(size: Size) -> Iterator[Row]:
    """Yield all rows."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="taleward-bench-") as temporary_folder:
        warnings.simplefilter("ignore")
        folder = Path(temporary_folder)
        repeats = pick(size, full=3, quick=1, smoke=1)
        yield from cache_rows(
            folder, pick(size, full=10_000, quick=2000, smoke=10), pick(size, full=3, quick=3, smoke=1)
        )
        yield from writer_rows(folder, *pick(size, full=(5000, 4), quick=(500, 4), smoke=(5, 1)))
        yield from faiss_add_rows(folder, pick(size, full=100_000, quick=100_000, smoke=50), repeats)
        yield from faiss_search_rows(folder, size)
        yield from chroma_rows(folder, pick(size, full=10_000, quick=1000, smoke=10), repeats)
        yield from semantic_rows(folder, size)
        kills = pick(
            size,
            full={"cache": 80, "faiss": 80, "chroma": 40},
            quick={"cache": 2, "faiss": 2, "chroma": 1},
            smoke={"cache": 1},
        )
        yield from kill_rows(folder, kills)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line, or a part of it in a child process."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["--child"]:
        children: dict[str, Callable[..., None]] = {"write": child_write, "add": child_add}
        children[arguments[1]](*arguments[2:])
        return 0
    return run("stores", measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
