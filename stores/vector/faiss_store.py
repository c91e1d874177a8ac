"""A vector store of a FAISS index and an SQLite document database, committed together."""

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
from taleward.stores.vector.docstore import Docstore, StoreState
from taleward.stores.vector.faiss_index import IndexKind, VectorIndex, choose_kind, load_faiss
from taleward.stores.vector.filters import Filter
from taleward.stores.vector.rows import (
    DocumentRow,
    SearchHit,
    VectorRows,
    check_fingerprint,
    damaged_store_error,
    score_from_cosine,
)

if TYPE_CHECKING:
    from taleward.stores.embedding_fingerprint import Floats
    from taleward.stores.vector.docstore import Slots
    from taleward.stores.vector.faiss_index import Mask, Positions

_LOAD_ATTEMPTS = 5


class FaissStore(TalewardStore):
    """A vector store in a folder: `documents.db` (SQLite) and `index-N.faiss`. It contains no pickle.

    Adding and deleting change memory and an open transaction. `save` writes the index under a new name and commits the
    documents together with that name, so a kill at any moment leaves the last save intact. By default every change is
    saved before its method returns. To load many documents in many calls, set `autosave=False` and call `save`, or use
    the store in a `with` block.

    A save writes the whole index. It overwrites deleted documents, and drops their vectors from a flat index; the other
    kinds keep deleted vectors until these are a fifth of the index or you call `compact`.

    The index file is mapped into memory, so a store opens at once. Any number of processes can read; one at a time can
    have unsaved changes. Readers see another process's save at their next call.

    Args:
        embeddings: LangChain embeddings, or a spec such as `embedded:minilm`.
        path: The folder, created if missing; `None` keeps everything in memory.
        index: `flat`, `hnsw` or `ivfpq`; `None` chooses by the number of documents at each save: flat up to 200,000,
            HNSW up to 2,000,000, then IVF-PQ. See `taleward.stores.vector.faiss_index.IndexKind`.
        autosave: Whether to save after every change.
        verify: Whether to check the index file's SHA-256 when opening, which reads the file once.
        model: The model's fingerprint, if the embeddings do not identify their model.
        ttl_s: Seconds until added documents expire; `None` for never.
        clock: Returns seconds since the epoch, for tests.

    Raises:
        ConfigurationError: If the store has vectors of another model, or an option cannot be used.
        IntegrityError: If the files are damaged.
        MissingExtra: If FAISS is not installed.
    """

    def __init__(
        self,
        embeddings: str | Embeddings,
        path: str | Path | None = None,
        *,
        index: IndexKind | None = None,
        autosave: bool = True,
        verify: bool = True,
        model: str | None = None,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(embeddings, model=model, ttl_s=ttl_s, clock=clock)
        if index is not None and index not in get_args(IndexKind):
            raise UnknownName("FAISS index", str(index), get_args(IndexKind))
        load_faiss()
        self.path = None if path is None else Path(path)
        self._requested_kind, self._autosave, self._verify = index, autosave, verify
        self._lock = threading.RLock()
        self._docstore = Docstore(None if self.path is None else self.path / "documents.db", clock)
        self._dirty = self._must_erase = False
        self._data_version = -1
        self._state: StoreState | None = None
        self._index: VectorIndex | None = None
        self._slots: Slots
        with self._lock:
            self._load()
        self._delete_expired(wait=False)
        self._flush()

    @property
    def dimensions(self) -> int | None:
        """The length of a vector; `None` while the store is empty."""
        with self._lock:
            self._refresh()
            return None if self._index is None else self._index.dimensions

    @property
    def kind(self) -> IndexKind:
        """The current kind of index."""
        return "flat" if self._index is None else self._index.kind

    def __len__(self) -> int:
        with self._lock:
            self._refresh()
            return self._docstore.count()

    def save(self) -> None:
        """Save all changes; once it returns, they survive a kill and a power cut.

        Raises:
            OSError: If the disk is full or cannot be written; the last save stays intact.
            NotErased: If everything is saved, but another program that is reading the store keeps deleted documents in
                its files; call `save` again when it has finished.
        """
        with self._lock:
            if self._dirty:
                self._commit()
            if self._must_erase:
                self._docstore.database.erase_deleted()
                self._must_erase = False

    def _commit(self) -> None:
        if self._index is not None:
            index = self._rebuilt_if_needed(self._index)
            if self.path is not None:
                self._write_index(self.path, index)
        self._docstore.database.commit()
        self._dirty = False
        if self.path is not None:
            self._data_version = self._docstore.data_version()
            self._docstore.database.truncate_log()
            for file in self.path.glob("index-*.faiss"):
                if self._state is None or file.name != self._state.file:
                    file.unlink(missing_ok=True)

    def compact(self) -> None:
        """Rebuild the index without deleted vectors and return the database's free space to the file system."""
        with self._lock:
            if self._index is not None and not self._index.alive.all():
                with self._change():
                    self._rebuild(choose_kind(int(self._index.alive.sum()), self._requested_kind))
            self.save()
            self._docstore.database.compact()

    def close(self) -> None:
        """Save and close the store; do not use it afterwards."""
        with self._lock:
            try:
                self.save()
            finally:
                self._docstore.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Save and close; after an exception, close without saving."""
        with self._lock:
            if kind is not None:
                self._docstore.database.rollback()
                self._dirty = False
            self.close()

    # The interface of a store ---------------------------------------------------------------------------------------

    _batch_size = 100_000

    def _upsert(self, rows: VectorRows, vectors: Floats, fresh: bool) -> None:
        import numpy

        with self._change():
            replaced = [] if fresh else self._docstore.slots_for_ids(rows.ids)
            self._docstore.delete(replaced)
            if self._index is None:
                # FAISS copies vectors while SQLite writes documents; both release the GIL.
                with ThreadPoolExecutor(1) as pool:
                    future = pool.submit(VectorIndex.build, choose_kind(len(rows.ids), self._requested_kind), vectors)
                    first = self._docstore.insert(rows)
                self._index = future.result()
            else:
                first = self._docstore.insert(rows)
                self._remove_from_index(replaced)
                self._index.add(vectors)
            added = numpy.arange(first, first + len(rows.ids), dtype=numpy.int64)
            self._slots = numpy.concatenate([self._slots, added])

    def _delete(self, ids: Sequence[str]) -> None:
        with self._lock:
            self._refresh()
            # Also if there is nothing to delete: an earlier call may have deleted the documents, but not erased them.
            self._must_erase = self.path is not None
            if self._docstore.slots_for_ids(ids):
                with self._change():
                    self._delete_slots(self._docstore.slots_for_ids(ids))

    def _delete_expired(self, *, wait: bool) -> None:
        with self._lock:
            self._refresh()
            database = self._docstore.database
            if not wait and database.read_only:  # expired documents are never returned anyway
                return
            if self._docstore.expired_slots() and (wait or database.try_begin()):
                self._must_erase |= wait and self.path is not None
                with self._change():
                    self._delete_slots(self._docstore.expired_slots())

    def scan(self, batch_size: int = 1000) -> Iterator[tuple[VectorRows, Floats]]:
        """Iterate over all documents with their vectors, in batches of at most `batch_size`."""
        import numpy

        last_slot = 0
        while True:
            with self._lock:
                self._refresh()
                slots, rows = self._docstore.batch_after(last_slot, batch_size)
                if not slots or self._index is None:
                    return
                vectors = self._index.vectors(self._positions(numpy.asarray(slots, dtype=numpy.int64)))
            last_slot = slots[-1]
            yield rows, vectors

    def _get(self, ids: Sequence[str]) -> dict[str, DocumentRow]:
        with self._lock:
            return self._docstore.by_id(ids)

    def _search(self, vectors: Floats, k: int, filter: Filter | None, with_vectors: bool) -> list[list[SearchHit]]:
        with self._lock:
            self._refresh()
            if self._index is None:
                return [[] for _ in vectors]
            allowed = self._allowed_positions(filter, self._index.alive) if filter else None
            k = min(k, int((self._index.alive if allowed is None else allowed).sum()))
            if not k:
                return [[] for _ in vectors]
            cosines, positions = self._index.search(vectors, k, allowed)
            present = positions >= 0
            rows = self._docstore.by_slot(self._slots[positions[present]].tolist())
            hit_vectors = self._index.vectors(positions[present]) if with_vectors else None
            slots = self._slots[positions].tolist()
        results: list[list[SearchHit]] = []
        vector_number = 0
        for query_slots, query_cosines, query_present in zip(slots, cosines.tolist(), present.tolist(), strict=True):
            hits: list[SearchHit] = []
            for slot, cosine, is_present in zip(query_slots, query_cosines, query_present, strict=True):
                if is_present:
                    if slot in rows:  # another process may have deleted it since the index was loaded
                        vector = None if hit_vectors is None else hit_vectors[vector_number]
                        hits.append(SearchHit(rows[slot], score_from_cosine(cosine), vector))
                    vector_number += 1
            results.append(hits)
        return results

    def _flush(self) -> None:
        if self._autosave:
            self.save()

    # Internals ------------------------------------------------------------------------------------------------------

    def _positions(self, slots: Slots) -> Positions:
        """Return the index positions of ascending slots; missing slots are left out."""
        import numpy

        # `self._slots` ascends with the position.
        candidates = numpy.searchsorted(self._slots, slots)
        in_range = candidates < len(self._slots)
        candidates, slots = candidates[in_range], slots[in_range]
        positions: Positions = candidates[self._slots[candidates] == slots]
        return positions

    def _allowed_positions(self, filter: Filter, alive: Mask) -> Mask:
        import numpy

        allowed = numpy.zeros(len(self._slots), dtype=bool)
        allowed[self._positions(self._docstore.matching_slots(filter))] = True
        return allowed & alive

    def _delete_slots(self, slots: Sequence[int]) -> None:
        self._docstore.delete(slots)
        self._remove_from_index(slots)

    def _remove_from_index(self, slots: Sequence[int]) -> None:
        import numpy

        if slots and self._index is not None:
            positions = self._positions(numpy.sort(numpy.asarray(slots, dtype=numpy.int64)))
            self._slots = self._slots[self._index.remove(positions)]

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Change memory and the open transaction; on an exception, undo all unsaved changes."""
        with self._lock:
            self._docstore.database.begin()
            try:
                if not self._dirty:
                    self._refresh()
                    # A memory-mapped index is read-only.
                    if self._index is not None and self._index.mapped:
                        self._load(mapped=False)
                self._dirty = True
                yield
            except BaseException:
                self._docstore.database.rollback()
                if self.path is not None:
                    self._load()
                self._dirty = False
                raise

    def _refresh(self) -> None:
        """Load what another process saved, if anything."""
        if self.path is not None and not self._dirty and self._docstore.data_version() != self._data_version:
            self._load()

    def _load(self, *, mapped: bool = True) -> None:
        import numpy

        for attempts_left in range(_LOAD_ATTEMPTS, 0, -1):
            self._data_version = self._docstore.data_version()
            self._state, slots = self._docstore.state()
            self._slots = numpy.frombuffer(slots, dtype=numpy.int64)
            if self._state is None or self.path is None:
                self._index = None
                return
            self.fingerprint = check_fingerprint("FAISS store", self._state.fingerprint, self.fingerprint)
            try:
                self._index = self._read_index(self.path / self._state.file, self._state, mapped)
                return
            except FileNotFoundError as error:
                # Another process may have saved, and deleted the file, since the state was read: read it again.
                if attempts_left == 1:
                    raise damaged_store_error("FAISS store", self.path, f"{self._state.file} is missing") from error

    def _read_index(self, file: Path, state: StoreState, mapped: bool) -> VectorIndex:
        if self._verify and file_sha256(file) != state.sha256:
            raise damaged_store_error("FAISS store", self.path, f"the SHA-256 of {file.name} is not the one saved")
        if not file.is_file():
            raise FileNotFoundError(file)
        try:
            index = VectorIndex.read(file, state.kind, self._slots > 0, mapped=mapped)
        except RuntimeError as error:
            raise damaged_store_error("FAISS store", self.path, f"{file.name} cannot be read: {error}") from error
        if len(index) != len(self._slots) or index.dimensions != state.dimensions:
            problem = (
                f"{file.name} has {len(index)} vectors of {index.dimensions} dimensions;"
                f" expected {len(self._slots)} of {state.dimensions}"
            )
            raise damaged_store_error("FAISS store", self.path, problem)
        # The saved slots of dead positions are negative.
        self._slots = abs(self._slots)
        return index

    def _rebuilt_if_needed(self, index: VectorIndex) -> VectorIndex:
        """Return the index, rebuilt if its kind no longer fits its size or too many positions are dead."""
        kind = choose_kind(int(index.alive.sum()), self._requested_kind)
        if kind != index.kind or index.needs_rebuild:
            return self._rebuild(kind)
        return index

    def _rebuild(self, kind: IndexKind) -> VectorIndex:
        import numpy

        index = self._index
        if index is None:
            raise damaged_store_error("FAISS store", self.path, "there is no index to rebuild")
        alive = numpy.flatnonzero(index.alive)
        self._index = VectorIndex.build(kind, index.vectors(alive))
        self._slots = self._slots[alive]
        return self._index

    def _write_index(self, folder: Path, index: VectorIndex) -> None:
        import numpy

        generation = self._state.generation + 1 if self._state else 1
        # The random part keeps the name unique: a killed save may have left a file of this generation.
        file = folder / f"index-{generation}-{os.urandom(4).hex()}.faiss"
        # On the disk before the commit that names it, so that a power cut cannot leave a state without its index.
        index.write(file)
        _fsync(file)
        _fsync(folder)
        state = StoreState(
            fingerprint=self.fingerprint,
            dimensions=index.dimensions,
            kind=index.kind,
            generation=generation,
            file=file.name,
            sha256=file_sha256(file),
        )
        slots = numpy.where(index.alive, self._slots, -self._slots)
        self._docstore.set_state(state, slots.astype(numpy.int64).tobytes())
        self._state = state


def file_sha256(file: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
