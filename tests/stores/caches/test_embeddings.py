"""The embedding cache: a text is embedded once, and models never mix."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from pydantic import SecretStr

from taleward.core.errors import BackendError, ConfigurationError, IntegrityError
from taleward.core.tale import digest
from taleward.stores.caches.embeddings import CachedEmbeddings
from taleward.stores.embedding_fingerprint import fingerprint
from taleward.stores.vector.faiss_store import FaissStore
from taleward.testing import WordEmbeddings


@pytest.fixture
def model() -> WordEmbeddings:
    return WordEmbeddings()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


def as_float32(rows: list[list[float]]) -> list[list[float]]:
    import numpy

    exact: list[list[float]] = numpy.asarray(rows, dtype=numpy.float32).tolist()
    return exact


def test_a_text_is_embedded_once(file: Path, model: WordEmbeddings) -> None:
    cached = CachedEmbeddings(model, file)
    texts = ["a fox", "a hen", "a fox", ""]
    first = cached.embed_documents(texts)
    assert first == as_float32(WordEmbeddings().embed_documents(texts))
    assert model.embedded_texts == ["a fox", "a hen", ""]
    again = CachedEmbeddings(model, file)
    assert again.embed_documents(texts) == first
    assert again.embed_query("a hen") == first[1]
    assert again.embed_array(texts).tolist() == first
    assert len(model.embedded_texts) == 3
    stats = again.stats()
    assert (stats.entries, stats.hits, stats.misses, stats.repeats) == (3, 7, 0, 2)
    assert stats.models[0].fingerprint == "test:words"


async def test_async_returns_the_same_without_blocking_the_loop(file: Path) -> None:
    class SlowEmbeddings(WordEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            time.sleep(0.2)
            return super().embed_documents(texts)

    cached = CachedEmbeddings(SlowEmbeddings(), file)
    task = asyncio.create_task(cached.aembed_documents(["a fox", "a hen"]))
    turns = 0
    while not task.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 5
    assert await task == cached.embed_documents(["a fox", "a hen"])
    assert await cached.aembed_query("a fox") == (await task)[0]
    assert (await cached.aembed_array(["a hen"])).tolist() == [(await task)[1]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(texts=st.lists(st.text(max_size=6), max_size=8))
def test_any_texts_keep_their_order(tmp_path: Path, texts: list[str]) -> None:
    class SpellingEmbeddings(Embeddings):
        fingerprint = "test:spelling"

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[float(ord(c)) for c in text.ljust(6, "\1")] for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    cached = CachedEmbeddings(SpellingEmbeddings(), tmp_path / "cache.db", symmetric=True)
    assert cached.embed_documents(texts) == SpellingEmbeddings().embed_documents(texts)


def test_models_normalizations_types_and_roles_never_mix(file: Path) -> None:
    class DoubledEmbeddings(WordEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[2 * x for x in row] for row in super().embed_documents(texts)]

    def length_and_calls(**options: Any) -> tuple[float, int]:
        model = DoubledEmbeddings(name=options.pop("name", "test:twice"))
        [row] = CachedEmbeddings(model, file, **options).embed_documents(["a fox"])
        return round(sum(x * x for x in row) ** 0.5, 3), len(model.embedded_texts)

    for calls in (1, 0):
        assert length_and_calls() == (2.0, calls)
        assert length_and_calls(normalize=True) == (1.0, calls)
        assert length_and_calls(dtype="float16") == (2.0, calls)
        assert length_and_calls(name="test:other") == (2.0, calls)
        assert length_and_calls(symmetric=False) == (2.0, calls)
    model = WordEmbeddings()
    separate_roles = CachedEmbeddings(model, file, model="test:apart", symmetric=False)
    separate_roles.embed_query("a fox")
    separate_roles.embed_documents(["a fox"])
    assert len(model.embedded_texts) == 2


def test_one_name_for_two_models_is_rejected(file: Path) -> None:
    CachedEmbeddings(WordEmbeddings(8), file).embed_query("a fox")
    with pytest.raises(ConfigurationError, match="returned 9 dimensions; the cache has 8"):
        CachedEmbeddings(WordEmbeddings(9), file).embed_query("a hen")


def test_float16_returns_the_same_before_and_after_caching(file: Path, model: WordEmbeddings) -> None:
    cached = CachedEmbeddings(model, file, dtype="float16")
    first = cached.embed_documents(["a brave fox"])
    assert cached.embed_documents(["a brave fox"]) == first
    assert first[0] == pytest.approx(model.embed_query("a brave fox"), abs=1e-3)
    with pytest.raises(ConfigurationError, match="beyond the range of float16"):
        CachedEmbeddings(DeterministicFakeEmbedding(size=3), file, dtype="float16")._store(
            cached._look_up(["x"], "document"), 1e6 * cached.embed_array(["y"]), "document"
        )


def test_expired_entries_are_embedded_again_and_deleted(file: Path, model: WordEmbeddings) -> None:
    now = [0.0]
    cached = CachedEmbeddings(model, file, ttl_s=10, clock=lambda: now[0])
    cached.embed_query("a fox")
    now[0] = 9.0
    cached.embed_query("a fox")
    assert model.embedded_texts == ["a fox"]
    now[0] = 10.0
    cached.embed_query("a fox")
    assert model.embedded_texts == ["a fox", "a fox"]
    now[0] = 30.0
    cached.embed_query("a hen")
    assert cached.stats().entries == 1


def test_max_entries_evicts_the_least_recently_used(file: Path, model: WordEmbeddings) -> None:
    now = [0.0]
    cached = CachedEmbeddings(model, file, max_entries=3, clock=lambda: now[0])
    for minute, text in enumerate(["a", "b", "c", "a", "d"]):
        now[0] = minute * 100.0
        cached.embed_query(text)
    assert cached.stats().entries == 3
    model.embedded_texts.clear()
    cached.embed_documents(["a", "c", "d"])
    assert model.embedded_texts == []
    cached.embed_query("b")
    assert model.embedded_texts == ["b"]


def test_a_deleted_text_leaves_no_vector_in_any_file(file: Path, model: WordEmbeddings) -> None:
    cached = CachedEmbeddings(model, file)
    other = CachedEmbeddings(WordEmbeddings(name="test:other"), file)
    [vector] = cached.embed_array(["the child's secret"])
    other.embed_query("the child's secret")
    cached.embed_documents([f"text {i}" for i in range(50)])
    assert any(vector.tobytes() in path.read_bytes() for path in file.parent.iterdir())
    assert cached.delete(ids=[digest("the child's secret")]) == 2
    assert not any(vector.tobytes() in path.read_bytes() for path in file.parent.iterdir())
    assert cached.delete(["text 1", "never seen"]) == 1
    with pytest.raises(ConfigurationError, match="SHA-256"):
        cached.delete(ids=["text 1"])


def test_a_cache_that_cannot_write_does_not_fail_the_caller(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    cached = CachedEmbeddings(WordEmbeddings(), file)
    cached._database._timeout_s = 0.05
    cached.close()
    with sqlite3.connect(file) as other:
        other.execute("BEGIN IMMEDIATE")
        assert len(cached.embed_documents(["a fox"])[0]) == 64
        other.execute("ROLLBACK")
    other.close()
    assert "not written" in caplog.text
    assert cached.stats().failures == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 8))
def test_a_changed_byte_never_becomes_a_wrong_vector(
    tmp_path_factory: pytest.TempPathFactory, seed: int, flips: int
) -> None:
    file = tmp_path_factory.mktemp("damaged") / "cache.db"
    texts = [f"word{number} tale" for number in range(40)]
    cached = CachedEmbeddings(WordEmbeddings(), file)
    cached.embed_documents(texts)
    CachedEmbeddings(WordEmbeddings(name="test:other"), file).embed_documents(texts[::-1])
    cached.close()
    content, chance = bytearray(file.read_bytes()), random.Random(seed)
    for _ in range(flips):
        content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    file.write_bytes(content)
    try:
        found = CachedEmbeddings(WordEmbeddings(), file).embed_documents(texts)
    except (IntegrityError, ConfigurationError, OSError):
        return
    assert found == as_float32(WordEmbeddings().embed_documents(texts))


def test_a_damaged_row_is_embedded_again_and_replaced(
    file: Path, model: WordEmbeddings, caplog: pytest.LogCaptureFixture
) -> None:
    cached = CachedEmbeddings(model, file)
    first = cached.embed_documents(["a fox", "a hen"])
    with cached._database.writing() as connection:
        connection.execute("UPDATE entries SET vector = zeroblob(length(vector)) WHERE id = 1")
    assert cached.embed_documents(["a fox", "a hen"]) == first
    assert "1 damaged rows" in caplog.text
    assert model.embedded_texts == ["a fox", "a hen", "a fox"]
    assert cached.embed_documents(["a fox", "a hen"]) == first
    with cached._database.writing() as connection:  # a row that belongs to another text
        connection.execute("UPDATE entries SET vector = (SELECT vector FROM entries WHERE id = 2) WHERE id = 1")
    assert cached.embed_documents(["a fox", "a hen"]) == first
    assert cached.stats().failures == 2


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_not_a_cache_is_rejected(file: Path, model: WordEmbeddings, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match="embedding cache"):
        CachedEmbeddings(model, file)
    assert file.read_bytes() == content


def test_a_database_of_another_program_is_rejected(file: Path, model: WordEmbeddings) -> None:
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(IntegrityError, match="another program"):
        CachedEmbeddings(model, file)


@pytest.mark.parametrize("vector", [[float("nan")], [float("inf")], [[1.0]], []])
def test_invalid_vectors_are_not_stored(file: Path, vector: Any) -> None:
    class BrokenEmbeddings(WordEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [vector for _ in texts]

    with pytest.raises(BackendError, match="the embeddings returned"):
        CachedEmbeddings(BrokenEmbeddings(), file).embed_documents(["a fox"])
    with pytest.raises(BackendError):
        FaissStore(BrokenEmbeddings()).add_texts(["a fox"])
    assert CachedEmbeddings(BrokenEmbeddings(), file).stats().entries == 0


@pytest.mark.parametrize("options", [{"ttl_s": 0}, {"max_entries": 0}, {"dtype": "int8"}])
def test_options_out_of_range_are_rejected(file: Path, model: WordEmbeddings, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(options))} must be"):
        CachedEmbeddings(model, file, **options)


def test_embeddings_without_a_fingerprint_are_rejected_with_a_hint() -> None:
    class AnonymousEmbeddings(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[1.0]] * len(texts)

        def embed_query(self, text: str) -> list[float]:
            return [1.0]

    with pytest.raises(ConfigurationError) as caught:
        fingerprint(AnonymousEmbeddings())
    assert "model='provider:name'" in str(caught.value.hint)


def test_the_fingerprint_of_langchain_embeddings_is_their_settings() -> None:
    from langchain_openai import OpenAIEmbeddings

    key = SecretStr("not-a-key-at-all")
    small = fingerprint(OpenAIEmbeddings(model="text-embedding-3-small", api_key=key))
    assert small.startswith("OpenAIEmbeddings(text-embedding-3-small)#")
    assert small == fingerprint(
        OpenAIEmbeddings(model="text-embedding-3-small", api_key=SecretStr("other"), max_retries=9)
    )
    assert small != fingerprint(OpenAIEmbeddings(model="text-embedding-3-small", api_key=key, dimensions=256))
    assert small != fingerprint(OpenAIEmbeddings(model="text-embedding-3-large", api_key=key))
    assert fingerprint(DeterministicFakeEmbedding(size=3)) != fingerprint(DeterministicFakeEmbedding(size=4))


def test_the_embedded_encoder_opens_by_its_spec(file: Path) -> None:
    cached = CachedEmbeddings("embedded:minilm", file)
    assert cached.fingerprint.startswith("embedded:minilm#53aa51172d14")
    first = cached.embed_query("a fox")
    assert cached.embed_documents(["a fox"]) == [first]
    assert cached.stats().misses == 1


_WRITE_SCRIPT = """
import sys
from taleward.stores.caches.embeddings import CachedEmbeddings
from taleward.testing import WordEmbeddings
file, worker = sys.argv[1:]
cached = CachedEmbeddings(WordEmbeddings(), file)
for first in range(0, 500, 50):
    cached.embed_documents([f"text {int(worker) % 2} {i}" for i in range(first, first + 50)])
assert cached.stats().failures == 0
"""


_GARBAGE_COLLECTION_SCRIPT = """
import gc, os, sys
from taleward.stores.sqlite import SqliteDatabase
def open_database(name):
    return SqliteDatabase(os.path.join(sys.argv[1], name), schema="CREATE TABLE t (x)", version=1, kind="test")
mine, inherited, unclosed = open_database("mine"), open_database("inherited"), open_database("unclosed")
del mine
assert not os.path.exists(os.path.join(sys.argv[1], "mine-wal"))
if (child := os.fork()) == 0:
    del inherited
    gc.collect()
    os._exit(0)
os.waitpid(child, 0)
with inherited.writing() as db:
    db.execute("INSERT INTO t VALUES (1)")
"""


def test_a_garbage_collected_database_closes_its_own_file_but_not_its_parents(tmp_path: Path) -> None:
    # Since Python 3.13, sqlite3 warns of a connection that was not closed.
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", _GARBAGE_COLLECTION_SCRIPT, str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["inherited", "mine", "unclosed"]


def test_four_processes_write_one_cache(file: Path) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", _WRITE_SCRIPT, str(file), str(worker)]) for worker in range(4)]
    assert [worker.wait() for worker in workers] == [0, 0, 0, 0]
    model = WordEmbeddings()
    cached = CachedEmbeddings(model, file)
    texts = [f"text {worker} {i}" for worker in range(2) for i in range(500)]
    assert cached.embed_documents(texts) == as_float32(WordEmbeddings().embed_documents(texts))
    assert model.embedded_texts == []
    assert cached.stats().entries == 1000


def test_threads_share_one_object_and_a_forked_child_opens_its_own(file: Path) -> None:
    cached = CachedEmbeddings(WordEmbeddings(), file)
    threads = [
        threading.Thread(target=lambda n=n: cached.embed_documents([f"{n} {i}" for i in range(50)])) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child = multiprocessing.get_context("fork").Process(target=cached.embed_documents, args=(["from the child"],))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert cached.stats().entries == 201
