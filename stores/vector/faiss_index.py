"""A FAISS index over positions 0, 1, 2, ...: flat, HNSW or IVF-PQ, exact for filtered searches."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from taleward.core.errors import MissingExtra

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from taleward.stores.embedding_fingerprint import Floats

    Positions = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

IndexKind = Literal["flat", "hnsw", "ivfpq"]
"""How an index searches.

* `flat`: compares with every vector; exact. Uses the GPUs if FAISS was built for them.
* `hnsw`: walks a graph of neighbors; fast to search, slow to build, 20% more memory.
* `ivfpq`: clusters vectors as 4-bit codes and compares the best candidates again as float16; half the memory.
"""

FLAT_MAX_VECTORS = 200_000
HNSW_MAX_VECTORS = 2_000_000
IVFPQ_MIN_VECTORS = 10_000
"""The fewest vectors from which an IVF-PQ index can learn its codes; smaller stores are flat."""

GPU_MIN_VECTORS = 10_000
"""A flat index with fewer vectors is faster on the CPU."""
_GPU_MAX_K = 2048
"""The most neighbors that FAISS can return on a GPU."""
_HNSW_NEIGHBORS = 32
_REFINE_FACTOR = 20
_MAX_DEAD_SHARE = 0.2


def choose_kind(count: int, requested: IndexKind | None) -> IndexKind:
    """Choose the kind of index for a number of vectors: the requested one if possible, else by size."""
    if requested == "ivfpq" and count < IVFPQ_MIN_VECTORS:
        return "flat"
    return requested or ("flat" if count <= FLAT_MAX_VECTORS else "hnsw" if count <= HNSW_MAX_VECTORS else "ivfpq")


def load_faiss() -> Any:
    """Import FAISS.

    Raises:
        MissingExtra: If it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingExtra("a FAISS store", "stores") from error
    return faiss


class VectorIndex:
    """Vectors of length 1 by position, compared by inner product.

    Args:
        index: A FAISS index.
        kind: Its kind.
        alive: Which positions hold a vector that was not removed.
        mapped: Whether its file is mapped into memory, so that it cannot be changed.
    """

    def __init__(self, index: Any, kind: IndexKind, alive: Mask, *, mapped: bool = False) -> None:
        self._index, self.kind, self.alive, self.mapped = index, kind, alive, mapped
        self._gpu: Any = None

    @classmethod
    def build(cls, kind: IndexKind, vectors: Floats) -> VectorIndex:
        """Build an index from vectors; an IVF-PQ index needs at least `IVFPQ_MIN_VECTORS` to learn its codes."""
        import numpy

        faiss = load_faiss()
        count, dimensions = vectors.shape
        metric = faiss.METRIC_INNER_PRODUCT
        if kind == "flat":
            index = faiss.IndexFlat(dimensions, metric)
        elif kind == "hnsw":
            index = faiss.IndexHNSWFlat(dimensions, _HNSW_NEIGHBORS, metric)
            index.hnsw.efConstruction = 80
        else:
            # FAISS wants at least 39 training vectors per cell.
            cells = max(1, min(int(4 * math.sqrt(count)), count // 39))
            codes = next(m for m in range(max(1, dimensions // 2), 0, -1) if dimensions % m == 0)
            index = faiss.index_factory(dimensions, f"IVF{cells},PQ{codes}x4fs,Refine(SQfp16)", metric)
            index.train(vectors)
        index.add(vectors)
        return cls(index, kind, numpy.ones(count, dtype=bool))

    @classmethod
    def read(cls, path: Path, kind: IndexKind, alive: Mask, *, mapped: bool) -> VectorIndex:
        """Read an index from a file; if `mapped`, its pages are loaded on demand."""
        faiss = load_faiss()
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
        return cls(index, kind, alive, mapped=mapped)

    def write(self, path: Path) -> None:
        """Write the index to a file."""
        load_faiss().write_index(self._index, str(path))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return int(self._index.d)

    @property
    def needs_rebuild(self) -> bool:
        """Whether more than a fifth of the positions are dead."""
        return len(self) > 0 and 1 - self.alive.mean() > _MAX_DEAD_SHARE

    def add(self, vectors: Floats) -> None:
        """Append vectors after the last position."""
        import numpy

        self._gpu = None
        self._index.add(vectors)
        self.alive = numpy.concatenate([self.alive, numpy.ones(len(vectors), dtype=bool)])

    def remove(self, positions: Positions) -> Mask:
        """Remove vectors.

        Returns:
            A mask of the positions that remain. A flat index closes the gaps, so that later positions move down; the
            other kinds keep dead positions until they are rebuilt.
        """
        import numpy

        if self.kind != "flat":
            self.alive[positions] = False
            return numpy.ones(len(self), dtype=bool)
        self._gpu = None
        remaining = numpy.ones(len(self), dtype=bool)
        remaining[positions] = False
        self._index.remove_ids(load_faiss().IDSelectorBitmap(_bitmap(~remaining)))
        self.alive = self.alive[remaining]
        return remaining

    def vectors(self, positions: Positions) -> Floats:
        """Return vectors by position, shape (len(positions), dimensions); IVF-PQ returns them in float16 precision."""
        rows: Floats = self._exact_index.reconstruct_batch(positions)
        return rows

    def search(self, queries: Floats, k: int, allowed: Mask | None) -> tuple[Floats, Positions]:
        """Return the best positions for each query.

        Args:
            queries: float32, shape (queries, dimensions), length 1.
            k: Positions per query.
            allowed: The only positions to consider, all of which are compared; `None` for all.

        Returns:
            Inner products and positions, both of shape (queries, k), best first; missing positions are -1.
        """
        faiss = load_faiss()
        if allowed is not None:
            exact = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(_bitmap(allowed & self.alive)))
            return self._exact_index.search(queries, k, params=exact)  # type: ignore[no-any-return]
        if self.kind == "flat":
            gpu_index = self._gpu_copy(faiss) if k <= _GPU_MAX_K else None
            return (gpu_index or self._index).search(queries, k)  # type: ignore[no-any-return]
        selector: dict[str, Any] = {}
        if not self.alive.all():
            selector = {"sel": faiss.IDSelectorBitmap(_bitmap(self.alive))}
        if self.kind == "hnsw":
            approximate = faiss.SearchParametersHNSW(efSearch=max(128, 2 * k), **selector)
            return self._index.search(queries, k, params=approximate)  # type: ignore[no-any-return]
        cells = self._index.base_index
        probes = max(8, faiss.downcast_index(cells).nlist // 16)
        approximate = faiss.IndexRefineSearchParameters(
            k_factor=max(_REFINE_FACTOR, 10 * _REFINE_FACTOR // k),
            base_index_params=faiss.SearchParametersIVF(nprobe=probes, **selector),
        )
        return self._index.search(queries, k, params=approximate)  # type: ignore[no-any-return]

    def _gpu_copy(self, faiss: Any) -> Any:
        """Return a copy of the flat index on all GPUs, made at the first search after a change; `None` without GPUs.

        Only GPU builds of FAISS (`faiss-gpu-cu12`, conda's `faiss-gpu`) support this.
        """
        if len(self) < GPU_MIN_VECTORS or not getattr(faiss, "get_num_gpus", int)():
            return None
        if self._gpu is None:
            self._gpu = faiss.index_cpu_to_all_gpus(self._index)
        return self._gpu

    @property
    def _exact_index(self) -> Any:
        """The part of the index that stores whole vectors instead of codes or a graph."""
        if self.kind == "flat":
            return self._index
        faiss = load_faiss()
        return faiss.downcast_index(self._index.storage if self.kind == "hnsw" else self._index.refine_index)


def _bitmap(mask: Mask) -> Any:
    import numpy

    return numpy.packbits(mask, bitorder="little")
