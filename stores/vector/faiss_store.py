"""Vectors in a faiss index, documents in a database beside it, and one commit that holds the two together."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, get_args

from langchain_core.embeddings import Embeddings

from taleward.core.errors import UnknownName
from taleward.stores.vector.base import TalewardStore
from taleward.stores.vector.docstore import Documents, State
from taleward.stores.vector.faiss_index import Kind, VectorIndex, kind_for, load_faiss
from taleward.stores.vector.filters import Filter
from taleward.stores.vector.rows import Row, SearchHit, VectorRows, check_model, lost, score

if TYPE_CHECKING:
    from taleward.stores.fingerprint import Floats
    from taleward.stores.vector.docstore import Slots
    from taleward.stores.vector.faiss_index import Mask, Positions

_TRIES = 5


class FaissStore(TalewardStore):
    """A vector store in a folder: `documents.db` (SQLite) and `index-N.faiss`. Nothing in it is code.

    Adding and deleting change memory and an open transaction; `save` writes the index under a new name and commits the
    documents together with that name. A kill at any moment leaves the last save. By default every change is saved when
    the call returns; to load much in many calls, set `autosave=False` and call `save`, or leave a `with` block.

    A save writes the whole index. It overwrites deleted documents and leaves their vectors out of a flat index; the
    other kinds keep a deleted vector until a fifth of them is dead, or `compact` is called.

    The index file is mapped into memory, so a store opens at once. Any number of processes may read; one at a time has
    unsaved changes. Readers see another process's save with their next call.

    Args:
        embeddings: LangChain embeddings, or a spec such as `embedded:minilm`.
        path: The folder, made when missing; `None` keeps everything in memory.
        index: `flat`, `hnsw` or `ivfpq`; `None` goes by the number of documents when it is saved: flat up to 200,000,
            HNSW up to 2,000,000, then IVF-PQ. See `taleward.stores.vector.faiss_index.Kind`.
        autosave: Save at the end of every change.
        verify: Check the index file's SHA-256 when it is opened, which reads it once.
        model: The model's fingerprint, where the embeddings do not tell it themselves.
        ttl_s: Seconds that added documents live.
        clock: Seconds since the epoch, for tests.

    Raises:
        ConfigurationError: The store holds vectors of another model, or an option cannot be used.
        IntegrityError: The files are damaged.
        MissingExtra: faiss is not installed.
    """

    def __init__(
        self,
        embeddings: str | Embeddings,
        path: str | Path | None = None,
        *,
        index: Kind | None = None,
        autosave: bool = True,
        verify: bool = True,
        model: str | None = None,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(embeddings, model=model, ttl_s=ttl_s, clock=clock)
        if index is not None and index not in get_args(Kind):
            raise UnknownName("FAISS index", str(index), get_args(Kind))
        load_faiss()
        self.path = None if path is None else Path(path)
        self._wanted, self._autosave, self._verify = index, autosave, verify
        self._lock = threading.RLock()
        self._documents = Documents(None if self.path is None else self.path / "documents.db", clock)
        self._dirty = False
        self._version = -1
        self._state: State | None = None
        self._index: VectorIndex | None = None
        self._slots: Slots
        with self._lock:
            self._load()
        self._delete_expired(wait=False)
        self._flush()

    @property
    def dimensions(self) -> int | None:
        """Numbers in a vector; `None` while nothing was added."""
        with self._lock:
            self._refresh()
            return None if self._index is None else self._index.dimensions

    @property
    def kind(self) -> Kind:
        """How the index searches now."""
        return "flat" if self._index is None else self._index.kind

    def __len__(self) -> int:
        with self._lock:
            self._refresh()
            return self._documents.total()

    def save(self) -> None:
        """Make every change so far last; on return it survives a kill and a power cut.

        Raises:
            OSError: The disk is full or cannot be written; the last save stays.
        """
        with self._lock:
            if not self._dirty:
                return
            if self._index is not None:
                index = self._shaped(self._index)
                if self.path is not None:
                    self._write(self.path, index)
            self._documents.database.commit()
            self._dirty = False
            if self.path is not None:
                self._version = self._documents.version()
                self._documents.database.forget()
                for file in self.path.glob("index-*.faiss"):
                    if self._state is None or file.name != self._state.file:
                        file.unlink(missing_ok=True)

    def compact(self) -> None:
        """Build the index without dead positions and give the database's free space back to the file system."""
        with self._lock:
            if self._index is not None and not self._index.alive.all():
                with self._changing():
                    self._rebuild(kind_for(int(self._index.alive.sum()), self._wanted))
            self.save()
            self._documents.database.compact()

    def close(self) -> None:
        """Save and close; the object is not used after that."""
        with self._lock:
            self.save()
            self._documents.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Save and close; after an exception, close without saving."""
        with self._lock:
            if kind is not None:
                self._documents.database.rollback()
                self._dirty = False
            self.close()

    _batch = 100_000

    # The contract ---------------------------------------------------------------------------------------------------

    def _upsert(self, rows: VectorRows, vectors: Floats, fresh: bool) -> None:
        import numpy

        with self._changing():
            old = [] if fresh else self._documents.slots_of(rows.ids)
            self._documents.delete(old)
            if self._index is None:
                # faiss copies vectors while SQLite writes documents: both leave Python alone.
                with ThreadPoolExecutor(1) as pool:
                    built = pool.submit(VectorIndex.build, kind_for(len(rows.ids), self._wanted), vectors)
                    first = self._documents.insert(rows)
                self._index = built.result()
            else:
                first = self._documents.insert(rows)
                self._remove(old)
                self._index.add(vectors)
            added = numpy.arange(first, first + len(rows.ids), dtype=numpy.int64)
            self._slots = numpy.concatenate([self._slots, added])

    def _delete(self, ids: Sequence[str]) -> None:
        with self._lock:
            self._refresh()
            if self._documents.slots_of(ids):
                with self._changing():
                    self._drop(self._documents.slots_of(ids))

    def _delete_expired(self, *, wait: bool) -> None:
        with self._lock:
            self._refresh()
            if self._documents.expired() and (wait or self._documents.database.try_begin()):
                with self._changing():
                    self._drop(self._documents.expired())

    def scan(self, size: int = 1000) -> Iterator[tuple[VectorRows, Floats]]:
        """Every document with its vector, in pieces of at most `size`."""
        import numpy

        last = 0
        while True:
            with self._lock:
                self._refresh()
                slots, rows = self._documents.after(last, size)
                if not slots or self._index is None:
                    return
                vectors = self._index.vectors(self._positions(numpy.asarray(slots, dtype=numpy.int64)))
            last = slots[-1]
            yield rows, vectors

    def _get(self, ids: Sequence[str]) -> dict[str, Row]:
        with self._lock:
            return self._documents.by_id(ids)

    def _search(self, vectors: Floats, k: int, filter: Filter | None, with_vectors: bool) -> list[list[SearchHit]]:
        with self._lock:
            self._refresh()
            if self._index is None:
                return [[] for _ in vectors]
            allowed = self._allowed(filter, self._index.alive) if filter else None
            k = min(k, int((self._index.alive if allowed is None else allowed).sum()))
            if not k:
                return [[] for _ in vectors]
            cosines, positions = self._index.search(vectors, k, allowed)
            found = positions >= 0
            rows = self._documents.by_slot(self._slots[positions[found]].tolist())
            held = self._index.vectors(positions[found]) if with_vectors else None
            slots = self._slots[positions].tolist()
        hits: list[list[SearchHit]] = []
        at = 0
        for line, scores, there in zip(slots, cosines.tolist(), found.tolist(), strict=True):
            hits.append([])
            for slot, cosine, is_there in zip(line, scores, there, strict=True):
                if is_there:
                    if slot in rows:  # another process may have deleted it since the index was loaded
                        hits[-1].append(SearchHit(rows[slot], score(cosine), None if held is None else held[at]))
                    at += 1
        return hits

    def _flush(self) -> None:
        if self._autosave:
            self.save()

    # Inside ---------------------------------------------------------------------------------------------------------

    def _positions(self, slots: Slots) -> Positions:
        """Where slots are in the index; those that are not there are left out. Slots rise with positions."""
        import numpy

        at = numpy.searchsorted(self._slots, slots)
        at, slots = at[at < len(self._slots)], slots[at < len(self._slots)]
        found: Positions = at[self._slots[at] == slots]
        return found

    def _allowed(self, filter: Filter, alive: Mask) -> Mask:
        import numpy

        allowed = numpy.zeros(len(self._slots), dtype=bool)
        allowed[self._positions(self._documents.fitting(filter))] = True
        return allowed & alive

    def _drop(self, slots: Sequence[int]) -> None:
        self._documents.delete(slots)
        self._remove(slots)

    def _remove(self, slots: Sequence[int]) -> None:
        import numpy

        if slots and self._index is not None:
            gone = self._positions(numpy.sort(numpy.asarray(slots, dtype=numpy.int64)))
            self._slots = self._slots[self._index.remove(gone)]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A change to memory and the open transaction; one that fails half-way takes all unsaved changes back."""
        with self._lock:
            self._documents.database.begin()
            try:
                if not self._dirty:
                    self._refresh()
                    if self._index is not None and self._index.mapped:
                        self._load(mapped=False)
                self._dirty = True
                yield
            except BaseException:
                self._documents.database.rollback()
                if self.path is not None:
                    self._load()
                self._dirty = False
                raise

    def _refresh(self) -> None:
        """Load what another process saved."""
        if self.path is not None and not self._dirty and self._documents.version() != self._version:
            self._load()

    def _load(self, *, mapped: bool = True) -> None:
        import numpy

        for left in range(_TRIES, 0, -1):
            self._version = self._documents.version()
            self._state, slots = self._documents.state()
            self._slots = numpy.frombuffer(slots, dtype=numpy.int64)
            if self._state is None or self.path is None:
                self._index = None
                return
            self.fingerprint = check_model("FAISS store", self._state.fingerprint, self.fingerprint)
            try:
                self._index = self._read(self.path / self._state.file, self._state, mapped)
                return
            except FileNotFoundError as error:  # another process saved between our two looks
                if left == 1:
                    raise lost("FAISS store", self.path, f"{self._state.file} is missing") from error

    def _read(self, file: Path, state: State, mapped: bool) -> VectorIndex:
        if self._verify and sha256(file) != state.sha256:
            raise lost("FAISS store", self.path, f"{file.name} has another SHA-256 than was saved")
        if not file.is_file():
            raise FileNotFoundError(file)
        try:
            index = VectorIndex.read(file, state.kind, self._slots > 0, mapped=mapped)
        except RuntimeError as error:
            raise lost("FAISS store", self.path, f"{file.name} cannot be read: {error}") from error
        if len(index) != len(self._slots) or index.dimensions != state.dimensions:
            raise lost("FAISS store", self.path, f"{file.name} holds {len(index)} vectors of {len(self._slots)}")
        # A dead position is written as minus its slot.
        self._slots = abs(self._slots)
        return index

    def _shaped(self, index: VectorIndex) -> VectorIndex:
        """The index, built anew where its kind no longer fits its size or a fifth of it is dead."""
        kind = kind_for(int(index.alive.sum()), self._wanted)
        if kind != index.kind or index.wasteful:
            return self._rebuild(kind)
        return index

    def _rebuild(self, kind: Kind) -> VectorIndex:
        import numpy

        index = self._index
        if index is None:
            raise lost("FAISS store", self.path, "there is no index to build from")
        alive = numpy.flatnonzero(index.alive)
        self._index = VectorIndex.build(kind, index.vectors(alive))
        self._slots = self._slots[alive]
        return self._index

    def _write(self, folder: Path, index: VectorIndex) -> None:
        import numpy

        generation = self._state.generation + 1 if self._state else 1
        # A name of its own: a save that was killed may have left a file of this generation.
        file = folder / f"index-{generation}-{os.urandom(4).hex()}.faiss"
        index.write(file)
        _sync(file)
        _sync(folder)
        state = State(
            fingerprint=self.fingerprint,
            dimensions=index.dimensions,
            kind=index.kind,
            generation=generation,
            file=file.name,
            sha256=sha256(file),
        )
        slots = numpy.where(index.alive, self._slots, -self._slots)
        self._documents.set_state(state, slots.astype(numpy.int64).tobytes())
        self._state = state


def sha256(file: Path) -> str:
    """A file's SHA-256 in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Have the system write a file, or a folder's names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
