"""A faiss index over positions 0, 1, 2, ...: flat, HNSW or IVF-PQ, searched exactly where a filter is given."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from taleward.core.errors import MissingExtra

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from taleward.stores.fingerprint import Floats

    Positions = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

Kind = Literal["flat", "hnsw", "ivfpq"]
"""How an index searches.

* `flat`: compares with every vector. Exact. On GPUs where faiss was built for them and there are some.
* `hnsw`: walks a graph of neighbours. Fast to search, slow to build, 20% more memory.
* `ivfpq`: cells of vectors in 4-bit codes, the best of them compared again as float16. Half the memory.
"""

FLAT_UP_TO = 200_000
HNSW_UP_TO = 2_000_000
TRAIN_FROM = 10_000
"""An IVF-PQ index needs so many vectors to learn its codes from; until then the store is flat."""

GPU_FROM = 10_000
"""A flat index of fewer vectors is searched faster where it is than on a GPU."""
_GPU_MOST = 2048
"""Neighbours that faiss finds on a GPU at most."""
_NEIGHBOURS = 32
_CANDIDATES = 20
_DEAD_SHARE = 0.2


def kind_for(count: int, wanted: Kind | None) -> Kind:
    """The kind of index for so many vectors; `wanted` where it is possible."""
    if wanted == "ivfpq" and count < TRAIN_FROM:
        return "flat"
    return wanted or ("flat" if count <= FLAT_UP_TO else "hnsw" if count <= HNSW_UP_TO else "ivfpq")


def load_faiss() -> Any:
    """The library.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingExtra("a FAISS store", "stores") from error
    return faiss


class VectorIndex:
    """Vectors of length 1 by position, compared by inner product.

    Args:
        index: A faiss index.
        kind: What it is.
        alive: Which positions hold a vector that was not removed.
        mapped: Whether its file is mapped into memory, and so cannot be changed.
    """

    def __init__(self, index: Any, kind: Kind, alive: Mask, *, mapped: bool = False) -> None:
        self._index, self.kind, self.alive, self.mapped = index, kind, alive, mapped
        self._gpu: Any = None

    @classmethod
    def build(cls, kind: Kind, vectors: Floats) -> VectorIndex:
        """An index with these vectors; the first `TRAIN_FROM` and more of them teach an IVF-PQ index its codes."""
        import numpy

        faiss = load_faiss()
        count, dimensions = vectors.shape
        metric = faiss.METRIC_INNER_PRODUCT
        if kind == "flat":
            index = faiss.IndexFlat(dimensions, metric)
        elif kind == "hnsw":
            index = faiss.IndexHNSWFlat(dimensions, _NEIGHBOURS, metric)
            index.hnsw.efConstruction = 80
        else:
            cells = max(1, min(int(4 * math.sqrt(count)), count // 39))
            codes = next(m for m in range(max(1, dimensions // 2), 0, -1) if dimensions % m == 0)
            index = faiss.index_factory(dimensions, f"IVF{cells},PQ{codes}x4fs,Refine(SQfp16)", metric)
            index.train(vectors)
        index.add(vectors)
        return cls(index, kind, numpy.ones(count, dtype=bool))

    @classmethod
    def read(cls, path: Path, kind: Kind, alive: Mask, *, mapped: bool) -> VectorIndex:
        """The index in a file; where `mapped`, its pages are read as they are needed."""
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
        """Numbers in a vector."""
        return int(self._index.d)

    @property
    def wasteful(self) -> bool:
        """Whether so many positions are dead that building anew is worth it."""
        return len(self) > 0 and 1 - self.alive.mean() > _DEAD_SHARE

    def add(self, vectors: Floats) -> None:
        """Add vectors behind the last position."""
        import numpy

        self._gpu = None
        self._index.add(vectors)
        self.alive = numpy.concatenate([self.alive, numpy.ones(len(vectors), dtype=bool)])

    def remove(self, positions: Positions) -> Mask:
        """Remove vectors.

        Returns:
            Which positions are left: those behind a position that a flat index gave up move down. The other kinds keep
            dead positions until they are built anew.
        """
        import numpy

        if self.kind != "flat":
            self.alive[positions] = False
            return numpy.ones(len(self), dtype=bool)
        self._gpu = None
        left = numpy.ones(len(self), dtype=bool)
        left[positions] = False
        self._index.remove_ids(load_faiss().IDSelectorBitmap(_bits(~left)))
        self.alive = self.alive[left]
        return left

    def vectors(self, positions: Positions) -> Floats:
        """Vectors by position, shape (len(positions), dimensions); those of an IVF-PQ index as float16 keeps them."""
        rows: Floats = self._exact.reconstruct_batch(positions)
        return rows

    def search(self, queries: Floats, k: int, allowed: Mask | None) -> tuple[Floats, Positions]:
        """The best positions for each query.

        Args:
            queries: float32, shape (queries, dimensions), length 1.
            k: Positions a query.
            allowed: The only positions to look at, all of which are then compared; `None` for all.

        Returns:
            Inner products and positions, both of shape (queries, k), best first; position -1 where there are no more.
        """
        faiss = load_faiss()
        if allowed is not None:
            bits = _bits(allowed & self.alive)
            chosen = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
            return self._exact.search(queries, k, params=chosen)  # type: ignore[no-any-return]
        if self.kind == "flat":
            where = self._gpu_copy(faiss) if k <= _GPU_MOST else None
            return (where or self._index).search(queries, k)  # type: ignore[no-any-return]
        some: dict[str, Any] = {}
        if not self.alive.all():
            bits = _bits(self.alive)
            some = {"sel": faiss.IDSelectorBitmap(bits)}
        if self.kind == "hnsw":
            near = faiss.SearchParametersHNSW(efSearch=max(128, 2 * k), **some)
            return self._index.search(queries, k, params=near)  # type: ignore[no-any-return]
        cells = self._index.base_index
        probes = max(8, faiss.downcast_index(cells).nlist // 16)
        near = faiss.IndexRefineSearchParameters(
            k_factor=max(_CANDIDATES, 10 * _CANDIDATES // k),
            base_index_params=faiss.SearchParametersIVF(nprobe=probes, **some),
        )
        return self._index.search(queries, k, params=near)  # type: ignore[no-any-return]

    def _gpu_copy(self, faiss: Any) -> Any:
        """The flat index on all GPUs, made when it is first searched behind a change; `None` where there is none.

        Only builds of faiss for GPUs (`faiss-gpu-cu12`, conda's `faiss-gpu`) can.
        """
        if len(self) < GPU_FROM or not getattr(faiss, "get_num_gpus", int)():
            return None
        if self._gpu is None:
            self._gpu = faiss.index_cpu_to_all_gpus(self._index)
        return self._gpu

    @property
    def _exact(self) -> Any:
        """The part of the index that holds whole vectors."""
        if self.kind == "flat":
            return self._index
        faiss = load_faiss()
        return faiss.downcast_index(self._index.storage if self.kind == "hnsw" else self._index.refine_index)


def _bits(mask: Mask) -> Any:
    import numpy

    return numpy.packbits(mask, bitorder="little")
