"""Near-duplicates by meaning: sentence vectors of every text, kept beside the corpus.

`python -m training.corpus.similarity` computes the vectors of new and changed texts; it takes two minutes for all.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

VECTORS_FILE = Path(__file__).parent / "vectors.npz"
MAX_SIMILARITY = 0.9
"""Cosine of two texts' vectors. Scenes that are told twice on purpose, for two bands, reach 0.87."""
_WORDS = 120
"""A text is compared by its beginning: two stories that begin alike are one too many."""


def vectors_of(texts: Mapping[str, str]) -> npt.NDArray[np.float32]:
    """Compute the vectors of texts, each of length 1; shape (texts, 384)."""
    import numpy as np

    from taleward.backends.embedding_models import embeddings

    beginnings = [" ".join(text.split()[:_WORDS]) for text in texts.values()]
    vectors = np.asarray(embeddings("embedded:minilm").embed_documents(beginnings), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def update(texts: Mapping[str, str]) -> int:
    """Compute the vectors that are missing, drop those of texts that are gone, and return how many are new."""
    import numpy as np

    stored = _stored()
    missing = {id_: text for id_, text in texts.items() if digest(text) not in stored}
    computed = dict(zip(map(digest, missing.values()), vectors_of(missing) if missing else (), strict=True))
    known = {digest(text) for text in texts.values()}
    kept = {key: vector for key, vector in {**stored, **computed}.items() if key in known}
    keys = sorted(kept)
    # A byte per number keeps the file near one megabyte and moves a cosine by less than 0.01.
    rounded = np.round(np.stack([kept[key] for key in keys]) * 127).astype(np.int8)
    np.savez_compressed(VECTORS_FILE, keys=np.array(keys), vectors=rounded)
    return len(computed)


def similarity_problems(texts: Mapping[str, str]) -> Iterator[str]:
    """What is too similar, and what has no vector yet.

    Args:
        texts: Every text of the corpus by id.
    """
    import numpy as np

    stored = _stored()
    without = [id_ for id_, text in texts.items() if digest(text) not in stored]
    if without:
        yield (
            f"{len(without)} texts, such as {without[0]}, have no vector: run `python -m training.corpus.similarity`"
        )
    ids = [id_ for id_ in texts if id_ not in set(without)]
    if len(ids) < 2:
        return
    matrix = np.stack([stored[digest(texts[id_])] for id_ in ids])
    cosines = np.triu(matrix @ matrix.T, k=1)
    for row, column in np.argwhere(cosines > MAX_SIMILARITY):
        yield f"{ids[row]} and {ids[column]} mean nearly the same: cosine {cosines[row, column]:.2f}"


def digest(text: str) -> str:
    """Return what a text's vector is stored under."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stored() -> dict[str, npt.NDArray[np.float32]]:
    import numpy as np

    if not VECTORS_FILE.exists():
        return {}
    with np.load(VECTORS_FILE) as file:
        vectors = file["vectors"].astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return dict(zip(map(str, file["keys"]), vectors, strict=True))


if __name__ == "__main__":
    from training.corpus.checks import all_texts

    corpus = all_texts()
    print(f"{update(corpus)} of {len(corpus)} vectors were new")
    found = list(similarity_problems(corpus))
    print("\n".join(found) or "no problems")
    sys.exit(bool(found))
