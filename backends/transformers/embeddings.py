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

from taleward.backends.engine.batcher import Batcher
from taleward.backends.transformers.encoder import TorchModel, loaded_once, padded
from taleward.backends.transformers.hub import model_folder
from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

Pooling = Literal["mean", "cls", "last"]
_BY_NAME: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
_OLD_NAMES = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "lasttoken"}
_RUN_HERE = frozenset({"Transformer", "Pooling", "Normalize"})
_WEIGHTS = ("*.safetensors", "*.bin", "config.json", "tokenizer.json", "vocab.txt", "1_Pooling/config.json")


class HubEmbeddings(Embeddings):
    """An encoder (BERT and its family) as embeddings; callers at the same time share its batches of like length.

    A vector is the mean of the states of all tokens, or the state of the first or the last one where the model's folder
    says so (`1_Pooling/config.json` of sentence-transformers), brought to length 1. A text that is too long is cut at
    its end.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face hub.
        normalize: Whether vectors are brought to length 1, so that a dot product is a cosine.
        pooling: `mean`, `cls` (the first token's state) or `last`, where the folder does not say or says it wrong.
        query_prefix: Put before a query, as the cards of some models ask (`query: `).
        document_prefix: Put before a document.
        device: A torch device; `None` takes a GPU where there is one.
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
        """Whether queries and documents are embedded alike."""
        return self.query_prefix == self.document_prefix

    @cached_property
    def pooling(self) -> Pooling:
        """How states become a vector."""
        if self._pooling:
            return self._pooling
        return _pooling(model_folder(self.path), self.path)

    @cached_property
    def fingerprint(self) -> str:
        """A name for the model; equal names mean equal vectors."""
        digest, folder = hashlib.sha256(), model_folder(self.path)
        for pattern in _WEIGHTS:
            for file in sorted(folder.glob(pattern)):
                with file.open("rb") as opened:
                    digest.update(hashlib.file_digest(opened, "sha256").digest())
        digest.update(repr((self.pooling, self.normalize, self.query_prefix, self.document_prefix)).encode())
        return f"hf:{Path(self.path).name}#{digest.hexdigest()[:12]}"

    def embed_array(self, texts: Sequence[str]) -> Floats:
        """Documents' vectors, float32, shape (len(texts), dimensions)."""
        model = self._loaded
        return self._rows(model, model.batcher.run(self._tokens(model, texts, self.document_prefix), self.pooling))

    async def aembed_array(self, texts: Sequence[str]) -> Floats:
        """As `embed_array`, without blocking the event loop."""
        model, lists, pooling = await asyncio.to_thread(self._read, texts, self.document_prefix)
        return self._rows(model, await model.batcher.arun(lists, pooling))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector a text."""
        rows: list[list[float]] = self.embed_array(texts).tolist()
        return rows

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As `embed_documents`, without blocking the event loop."""
        rows: list[list[float]] = (await self.aembed_array(texts)).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query."""
        model = self._loaded
        found = model.batcher.run(self._tokens(model, [text], self.query_prefix), self.pooling)
        row: list[float] = self._rows(model, found)[0].tolist()
        return row

    async def aembed_query(self, text: str) -> list[float]:
        """As `embed_query`, without blocking the event loop."""
        model, lists, pooling = await asyncio.to_thread(self._read, [text], self.query_prefix)
        found = await model.batcher.arun(lists, pooling)
        row: list[float] = self._rows(model, found)[0].tolist()
        return row

    def _read(self, texts: Sequence[str], prefix: str) -> tuple[_Loaded, Sequence[Sequence[int]], Pooling]:
        """Loads the model where it is not here."""
        return (model := self._loaded), self._tokens(model, texts, prefix), self.pooling

    def _tokens(self, model: _Loaded, texts: Sequence[str], prefix: str) -> Sequence[Sequence[int]]:
        if isinstance(texts, str):
            msg = "texts must be a list of texts; got one text. Put it in a list."
            raise TypeError(msg)
        return model.encode([prefix + text for text in texts], cut=True)

    def _rows(self, model: _Loaded, found: Sequence[Floats]) -> Floats:
        import numpy

        if not found:
            return numpy.zeros((0, int(model.model.config.hidden_size)), dtype=numpy.float32)
        rows = numpy.stack(found)
        if self.normalize:
            rows = rows / numpy.maximum(numpy.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return rows

    @property
    def _loaded(self) -> _Loaded:
        return loaded_once(_Loaded, self.path, self._device, self._load)


class _Loaded(TorchModel):
    def __init__(self, path: str, device: str | None, load: Mapping[str, Any]) -> None:
        super().__init__(path, "AutoModel", device, load)
        longest = (_told(model_folder(path) / "sentence_bert_config.json") or {}).get("max_seq_length")
        self.longest = min(self.longest, longest or self.longest)
        self.batcher: Batcher[Floats] = Batcher(_runner(self.model, self.tokenizer.pad_token_id))


def _runner(network: Any, pad: int | None) -> Callable[[list[Sequence[int]], Any], Any]:
    def run(lists: list[Sequence[int]], pooling: Any) -> Any:
        import torch

        inputs = padded(lists, pad, network.device)
        with torch.inference_mode():
            states = network(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"][:, :, None].float()
            if pooling == "mean":
                vectors = (states * mask).sum(1) / mask.sum(1)
            elif pooling == "cls":
                vectors = states[:, 0]
            else:
                rows = torch.arange(len(lists), device=states.device)
                vectors = states[rows, inputs["attention_mask"].sum(1) - 1]
            return vectors.cpu().numpy()

    return run


def _pooling(folder: Path, path: str) -> Pooling:
    """What the folder's files of sentence-transformers say, whichever release wrote them."""
    modules = _told(folder / "modules.json") or []
    others = [kind for module in modules if (kind := str(module.get("type")).rpartition(".")[2]) not in _RUN_HERE]
    if others:
        raise ConfigurationError(
            f"the embeddings {path!r} have layers that are not run here: {', '.join(others)}.",
            hint="Hand in LangChain embeddings that run them, such as HuggingFaceEmbeddings of langchain-huggingface.",
        )
    told = _told(folder / "1_Pooling" / "config.json") or {}
    kinds = [key.removeprefix("pooling_mode_") for key, value in told.items() if value is True]
    old = [_OLD_NAMES.get(kind, kind) for kind in kinds if f"pooling_mode_{kind}" in told]
    named = told.get("pooling_mode") or old or "mean"
    names = [named] if isinstance(named, str) else list(named)
    if len(names) != 1 or names[0] not in _BY_NAME:
        raise ConfigurationError(
            f"the embeddings {path!r} are pooled by {' and '.join(names)}; taken are {', '.join(_BY_NAME)}.",
            hint="Hand in LangChain embeddings that pool so, such as HuggingFaceEmbeddings of langchain-huggingface.",
        )
    return _BY_NAME[names[0]]


def _told(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
