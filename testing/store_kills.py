"""Kill a store with SIGKILL while it writes, and count the entries that it lost.

A child process adds entries and prints each one when the store has confirmed it. After a random time the child is
killed. Then the store is opened again, and every printed entry must be there, complete.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from taleward.core.errors import TalewardError
from taleward.core.frozen_model import FrozenModel
from taleward.stores.vector.base import TalewardStore
from taleward.testing.fake_embeddings import WordEmbeddings

_MAX_ENTRIES = 1_000_000  # more than any child writes before it is killed
_SIGKILL_RETURN_CODE = -9
_MAX_ERROR = 1e-6
_MIN_SCORE = 0.999


class KillReport(FrozenModel):
    """What was left after all kills.

    Attributes:
        kills: The number of killed processes.
        committed: The number of entries that the store had confirmed.
        lost: How many of them were missing or damaged afterwards.
        unreadable: How many times the store could not be opened.
    """

    kills: int
    committed: int
    lost: int
    unreadable: int


def kill_store(kind: str, location: Path | str, *, kills: int, seed: int = 0, max_delay_s: float = 0.15) -> KillReport:
    """Kill processes that write to one store, one after the other.

    Example:
        ```python
        def test_a_killed_store_loses_nothing(tmp_path):
            report = kill_store("faiss", tmp_path, kills=5)
            assert (report.lost, report.unreadable) == (0, 0)
        ```

    Args:
        kind: `cache`, `chroma`, `faiss` or `pgvector`.
        location: The folder of the store, which is kept between kills. For `pgvector` the URL of a Postgres database,
            without a password: other users of the machine can see the arguments of a process.
        kills: The number of processes to kill.
        seed: Seed of the random delays.
        max_delay_s: The longest delay in seconds between a process's first confirmed entry and its kill.

    Raises:
        RuntimeError: If a process ends before it is killed.
    """
    delays = random.Random(seed)  # noqa: S311  no secret
    confirmed: set[str] = set()
    lost = unreadable = 0
    for number in range(kills):
        # A fresh interpreter, not a fork: a forked child would share the parent's open files.
        command = [sys.executable, "-m", "taleward.testing.store_kills", kind, str(location), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            stdout = child.stdout
            if stdout is None:
                continue
            # Importing the libraries takes seconds, so the delay starts with the first entry.
            first_line = stdout.readline()
            time.sleep(delays.uniform(0, max_delay_s))
            child.kill()
            lines = (first_line + stdout.read()).decode().splitlines(keepends=True)
        if child.returncode != _SIGKILL_RETURN_CODE:
            msg = f"the child process ended by itself with exit code {child.returncode}"
            raise RuntimeError(msg)
        # A line without a newline was cut off by the kill, so its entry does not count as confirmed.
        confirmed |= {line.strip() for line in lines if line.endswith("\n")}
        try:
            lost += len(confirmed - _INTACT_TEXTS[kind](str(location), confirmed))
        except (TalewardError, OSError):
            unreadable += 1
    return KillReport(kills=kills, committed=len(confirmed), lost=lost, unreadable=unreadable)


def _write_cache(folder: str, number: int) -> Iterator[str]:
    from taleward.stores.caches.embeddings import CachedEmbeddings

    cached = CachedEmbeddings(WordEmbeddings(), Path(folder) / "cache.db")
    for i in range(_MAX_ENTRIES):
        cached.embed_documents([f"{number} {i}"])
        yield f"{number} {i}"


def _intact_in_cache(folder: str, confirmed: set[str]) -> set[str]:
    from taleward.stores.caches.embeddings import CachedEmbeddings

    embeddings = WordEmbeddings()
    texts = sorted(confirmed)
    vectors = CachedEmbeddings(embeddings, Path(folder) / "cache.db").embed_array(texts)
    is_correct = abs(vectors - WordEmbeddings().embed_documents(texts)).max(axis=1) < _MAX_ERROR
    correct = {text for text, correct in zip(texts, is_correct.tolist(), strict=True) if correct}
    return correct - set(embeddings.embedded_texts)


def _open_faiss(folder: str) -> TalewardStore:
    from taleward.stores.vector.faiss_store import FaissStore

    return FaissStore(WordEmbeddings(), Path(folder) / "faiss")


def _open_chroma(folder: str) -> TalewardStore:
    from taleward.stores.vector.chroma_store import ChromaStore

    return ChromaStore(WordEmbeddings(), Path(folder) / "chroma")


def _open_pgvector(url: str) -> TalewardStore:
    from taleward.stores.vector.pgvector_store import PgvectorStore

    return PgvectorStore(WordEmbeddings(), url)


def _write_store(open_store: Callable[[str], TalewardStore], location: str, number: int) -> Iterator[str]:
    store = open_store(location)
    for i in range(_MAX_ENTRIES):
        # "passing" is replaced and deleted all the time, so that kills hit these operations, too.
        store.add_texts([f"{number} {i}", "passing"], ids=[f"{number} {i}", "passing"])
        yield f"{number} {i}"
        if i % 3 == 0:
            store.delete(["passing"])


def _intact_in_store(open_store: Callable[[str], TalewardStore], location: str, confirmed: set[str]) -> set[str]:
    store = open_store(location)
    texts = sorted(confirmed)
    # The documents and the index are separate files, and a kill between two writes could damage one of them.
    readable = {d.page_content for d in store.get_by_ids(texts) if d.page_content == d.id}
    results = store.search_vectors(WordEmbeddings().embed_documents(texts), k=1)
    searchable = {text for text, hits in zip(texts, results, strict=True) if hits and hits[0][1] > _MIN_SCORE}
    store.close()
    return readable & searchable


_WRITERS: dict[str, Callable[[str, int], Iterator[str]]] = {
    "cache": _write_cache,
    "chroma": partial(_write_store, _open_chroma),
    "faiss": partial(_write_store, _open_faiss),
    "pgvector": partial(_write_store, _open_pgvector),
}
_INTACT_TEXTS: dict[str, Callable[[str, set[str]], set[str]]] = {
    "cache": _intact_in_cache,
    "chroma": partial(_intact_in_store, _open_chroma),
    "faiss": partial(_intact_in_store, _open_faiss),
    "pgvector": partial(_intact_in_store, _open_pgvector),
}


if __name__ == "__main__":
    for _text in _WRITERS[sys.argv[1]](sys.argv[2], int(sys.argv[3])):
        sys.stdout.write(f"{_text}\n")
        sys.stdout.flush()
