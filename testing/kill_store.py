"""Kill a store while it works, again and again, and count what it lost.

A child process adds entries and prints each after the store said that it is kept; at a random moment it gets SIGKILL.
Then the store is opened, and every entry that was printed must be there, whole.
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


class KillReport(FrozenModel):
    """What is left after kills.

    Attributes:
        kills: Children killed.
        committed: Entries that a store said it had kept.
        lost: Those of them that were missing or torn afterwards.
        unreadable: Times the store could not be opened.
    """

    kills: int
    committed: int
    lost: int
    unreadable: int


def kill_store(kind: str, folder: Path, *, kills: int, seed: int = 0, longest_s: float = 0.15) -> KillReport:
    """Kill children that write to one store, one after the other.

    Args:
        kind: `cache`, `chroma` or `faiss`.
        folder: Where the store is; kept between kills.
        kills: Children to kill.
        seed: Of the moments.
        longest_s: The latest moment of a kill, in seconds after the child's first entry.
    """
    moment = random.Random(seed)  # noqa: S311  no secret
    done: set[str] = set()
    lost = unreadable = 0
    for number in range(kills):
        command = [sys.executable, "-m", "taleward.testing.kill_store", kind, str(folder), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            out = child.stdout
            if out is None:
                continue
            first = out.readline()
            time.sleep(moment.uniform(0, longest_s))
            child.kill()
            lines = (first + out.read()).decode().splitlines(keepends=True)
        if child.returncode != -9:
            msg = f"the child ended by itself with exit code {child.returncode}"
            raise RuntimeError(msg)
        # A line without its end was cut by the kill, and so was its entry's promise.
        done |= {line.strip() for line in lines if line.endswith("\n")}
        try:
            lost += len(done - _CHECKS[kind](folder, done))
        except (TalewardError, OSError):
            unreadable += 1
    return KillReport(kills=kills, committed=len(done), lost=lost, unreadable=unreadable)


def _cache_texts(folder: Path, number: int) -> Iterator[str]:
    from taleward.stores.caches.embeddings import CachedEmbeddings

    cached = CachedEmbeddings(WordEmbeddings(), folder / "cache.db")
    for i in range(1_000_000):
        cached.embed_documents([f"{number} {i}"])
        yield f"{number} {i}"


def _cache_left(folder: Path, done: set[str]) -> set[str]:
    from taleward.stores.caches.embeddings import CachedEmbeddings

    model = WordEmbeddings()
    texts = sorted(done)
    rows = CachedEmbeddings(model, folder / "cache.db").embed_array(texts)
    right = abs(rows - WordEmbeddings().embed_documents(texts)).max(axis=1) < 1e-6
    return {text for text, is_right in zip(texts, right.tolist(), strict=True) if is_right} - set(model.asked)


def _faiss(folder: Path) -> TalewardStore:
    from taleward.stores.vector.faiss_store import FaissStore

    return FaissStore(WordEmbeddings(), folder / "faiss")


def _chroma(folder: Path) -> TalewardStore:
    from taleward.stores.vector.chroma_store import ChromaStore

    return ChromaStore(WordEmbeddings(), folder / "chroma")


def _store_texts(open_store: Callable[[Path], TalewardStore], folder: Path, number: int) -> Iterator[str]:
    """Adds, replacements and deletions, each saved: an entry is a document that stays."""
    store = open_store(folder)
    for i in range(1_000_000):
        store.add_texts([f"{number} {i}", "passing"], ids=[f"{number} {i}", "passing"])
        yield f"{number} {i}"
        if i % 3 == 0:
            store.delete(["passing"])


def _store_left(open_store: Callable[[Path], TalewardStore], folder: Path, done: set[str]) -> set[str]:
    store = open_store(folder)
    texts = sorted(done)
    left = {d.page_content for d in store.get_by_ids(texts) if d.page_content == d.id}
    found = store.search_vectors(WordEmbeddings().embed_documents(texts), k=1)
    whole = {text for text, hits in zip(texts, found, strict=True) if hits and hits[0][1] > 0.999}
    store.close()
    return left & whole


_TEXTS: dict[str, Callable[[Path, int], Iterator[str]]] = {
    "cache": _cache_texts,
    "chroma": partial(_store_texts, _chroma),
    "faiss": partial(_store_texts, _faiss),
}
_CHECKS: dict[str, Callable[[Path, set[str]], set[str]]] = {
    "cache": _cache_left,
    "chroma": partial(_store_left, _chroma),
    "faiss": partial(_store_left, _faiss),
}


if __name__ == "__main__":
    for _kept in _TEXTS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3])):
        sys.stdout.write(f"{_kept}\n")
        sys.stdout.flush()
