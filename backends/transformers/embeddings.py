"""Sentence encoders in Hugging Face layout as LangChain embeddings."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.embeddings import Embeddings

from taleward.backends.engine.single_pass_batcher import Batcher
from taleward.backends.transformers.hub_files import model_folder
from taleward.backends.transformers.single_pass_model import TransformersModel, load_once, pad_batch
from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

Pooling = Literal["mean", "cls", "last"]
_POOLING_BY_MODE: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
# sentence-transformers renamed its pooling modes; folders written by older releases have the old names.
_RENAMED_MODES = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "lasttoken"}
_SUPPORTED_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
_FINGERPRINTED_FILES = (
    "*.safetensors",
    "*.bin",
    "config.json",
    "tokenizer.json",
    "vocab.txt",
    "1_Pooling/config.json",
)


class HubEmbeddings(Embeddings):
    """An encoder (BERT and similar) as LangChain embeddings; concurrent callers share its batches.

    A vector is the mean of all tokens' states, or the state of the first or the last token if the model's folder says
    so (`1_Pooling/config.json` of sentence-transformers), normalized to length 1. A text that is too long is cut at its
    end.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face Hub.
        normalize: Whether to normalize vectors to length 1, so that a dot product is a cosine similarity.
        pooling: `mean`, `cls` (the first token's state) or `last`; defaults to what the model's folder says.
        query_prefix: Prepended to queries, as some model cards require, for example `"query: "`.
        document_prefix: Prepended to documents.
        device: A torch device; `None` uses a GPU if there is one.
        load: Options of transformers' `from_pretrained`.
    """

    def __init__(
        self,
        path: str,
        *,
        normalize: bool = True,
        pooling: Pooling | None = None,
        query_prefix: str = "",
        document_prefix: str = "",
        device: str | None = None,
        load: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.normalize = path, normalize
        self.query_prefix, self.document_prefix = query_prefix, document_prefix
        self._pooling, self._device, self._load = pooling, device, dict(load or {})

    @property
    def symmetric(self) -> bool:
        """Whether queries and documents are embedded in the same way."""
        return self.query_prefix == self.document_prefix

    @cached_property
    def pooling(self) -> Pooling:
        """How the tokens' states are combined into a vector."""
        if self._pooling:
            return self._pooling
        return _configured_pooling(model_folder(self.path), self.path)

    @cached_property
    def fingerprint(self) -> str:
        """An identifier of model and settings; equal fingerprints mean equal vectors."""
        digest, folder = hashlib.sha256(), model_folder(self.path)
        for pattern in _FINGERPRINTED_FILES:
            for path in sorted(folder.glob(pattern)):
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        digest.update(repr((self.pooling, self.normalize, self.query_prefix, self.document_prefix)).encode())
        return f"hf:{Path(self.path).name}#{digest.hexdigest()[:12]}"

    def embed_array(self, texts: Sequence[str]) -> Floats:
        """Return the documents' vectors, float32, shape (len(texts), dimensions)."""
        model, token_lists, pooling = self._load_and_encode(texts, self.document_prefix)
        return self._stack(model, model.batcher.run(token_lists, pooling))

    async def aembed_array(self, texts: Sequence[str]) -> Floats:
        """Async version of `embed_array`."""
        model, token_lists, pooling = await asyncio.to_thread(self._load_and_encode, texts, self.document_prefix)
        return self._stack(model, await model.batcher.arun(token_lists, pooling))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per document."""
        vectors: list[list[float]] = self.embed_array(texts).tolist()
        return vectors

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Async version of `embed_documents`."""
        vectors: list[list[float]] = (await self.aembed_array(texts)).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        model, token_lists, pooling = self._load_and_encode([text], self.query_prefix)
        vector: list[float] = self._stack(model, model.batcher.run(token_lists, pooling))[0].tolist()
        return vector

    async def aembed_query(self, text: str) -> list[float]:
        """Async version of `embed_query`."""
        model, token_lists, pooling = await asyncio.to_thread(self._load_and_encode, [text], self.query_prefix)
        vector: list[float] = self._stack(model, await model.batcher.arun(token_lists, pooling))[0].tolist()
        return vector

    def _load_and_encode(
        self, texts: Sequence[str], prefix: str
    ) -> tuple[_LoadedEncoder, Sequence[Sequence[int]], Pooling]:
        if isinstance(texts, str):
            msg = "texts must be a list of texts; got one text. Put it in a list."
            raise TypeError(msg)
        model = self._loaded
        return model, model.encode([prefix + text for text in texts], truncate=True), self.pooling

    def _stack(self, model: _LoadedEncoder, vectors: Sequence[Floats]) -> Floats:
        import numpy

        if not vectors:
            return numpy.zeros((0, int(model.model.config.hidden_size)), dtype=numpy.float32)
        rows = numpy.stack(vectors)
        if self.normalize:
            # The minimum avoids a division by zero, as in sentence-transformers.
            rows = rows / numpy.maximum(numpy.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return rows

    @property
    def _loaded(self) -> _LoadedEncoder:
        return load_once(_LoadedEncoder, self.path, self._device, self._load)


class _LoadedEncoder(TransformersModel):
    def __init__(self, path: str, device: str | None, load: Mapping[str, Any]) -> None:
        super().__init__(path, "AutoModel", device, load)
        settings = _read_json(model_folder(path) / "sentence_bert_config.json") or {}
        # Many encoders were trained on texts shorter than they have positions for.
        self.max_tokens = min(self.max_tokens, settings.get("max_seq_length") or self.max_tokens)
        self.batcher: Batcher[Floats] = Batcher(_batch_function(self.model, self.tokenizer.pad_token_id))


def _batch_function(network: Any, pad_token_id: int | None) -> Callable[[list[Sequence[int]], Any], Any]:
    # A closure over the network, not a method: the batcher must not hold a reference to its owner.
    def run(token_lists: list[Sequence[int]], pooling: Any) -> Any:
        import torch

        inputs = pad_batch(token_lists, pad_token_id, network.device)
        with torch.inference_mode():
            states = network(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"][:, :, None].float()
            if pooling == "mean":
                vectors = (states * mask).sum(1) / mask.sum(1)
            elif pooling == "cls":
                vectors = states[:, 0]
            else:
                rows = torch.arange(len(token_lists), device=states.device)
                vectors = states[rows, inputs["attention_mask"].sum(1) - 1]
            return vectors.cpu().numpy()

    return run


def _configured_pooling(folder: Path, path: str) -> Pooling:
    """Read the pooling from the files that any release of sentence-transformers wrote."""
    modules = _read_json(folder / "modules.json") or []
    module_names = [str(module.get("type")).rpartition(".")[2] for module in modules]
    if unsupported := [name for name in module_names if name not in _SUPPORTED_MODULES]:
        raise ConfigurationError(
            f"the embeddings {path!r} have unsupported modules: {', '.join(unsupported)}; supported are "
            f"{', '.join(sorted(_SUPPORTED_MODULES))}.",
            hint="Pass LangChain embeddings that run them, such as HuggingFaceEmbeddings of langchain-huggingface.",
        )
    config = _read_json(folder / "1_Pooling" / "config.json") or {}
    flags = [key for key, value in config.items() if value is True and key.startswith("pooling_mode_")]
    flagged = [key.removeprefix("pooling_mode_") for key in flags]
    configured = config.get("pooling_mode") or [_RENAMED_MODES.get(mode, mode) for mode in flagged] or "mean"
    modes = [configured] if isinstance(configured, str) else list(configured)
    if len(modes) != 1 or modes[0] not in _POOLING_BY_MODE:
        raise ConfigurationError(
            f"the embeddings {path!r} use the pooling {' and '.join(modes)}; supported are "
            f"{', '.join(_POOLING_BY_MODE)}.",
            hint="Pass LangChain embeddings that support it, such as HuggingFaceEmbeddings of langchain-huggingface.",
        )
    return _POOLING_BY_MODE[modes[0]]


def _read_json(path: Path) -> Any:
    """Return a JSON file's content, or `None` if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
