"""Identify embedding models, so that vectors of different models are never compared; embed texts as arrays."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel

from taleward.core.errors import BackendError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

_SECRET_WORDS = ("key", "token", "secret", "password")
_CALL_SETTINGS = {  # how a model is called, which does not change its vectors
    "batch_size",
    "cache_folder",
    "chunk_size",
    "headers",
    "http_async_client",
    "http_client",
    "max_concurrency",
    "max_retries",
    "multi_process",
    "request_timeout",
    "show_progress",
    "show_progress_bar",
    "timeout",
}


def fingerprint(embeddings: Embeddings) -> str:
    """Return an identifier of the model behind embeddings; equal fingerprints mean equal vectors.

    The object's attribute `fingerprint` is used if it has one. The embedded encoder is identified by the SHA-256 of its
    weights. LangChain's classes are identified by their settings, except keys and those that only affect how the model
    is called.

    Raises:
        ConfigurationError: If the object does not identify its model.
    """
    declared = getattr(embeddings, "fingerprint", None)
    if isinstance(declared, str) and declared:
        return declared
    from taleward.backends.onnx.minilm import MAX_PIECES, SHA256, MiniLMEmbeddings

    if isinstance(embeddings, MiniLMEmbeddings):
        return f"embedded:minilm#{SHA256[:12]}-{MAX_PIECES}"
    if isinstance(embeddings, BaseModel):
        return _settings_fingerprint(embeddings)
    raise ConfigurationError(
        f"a {type(embeddings).__name__} does not identify its model, so its vectors could be confused with another's.",
        hint="Name it: CachedEmbeddings(..., model='provider:name'), or give the object an attribute `fingerprint`.",
    )


def is_symmetric(embeddings: Embeddings) -> bool:
    """Return whether queries and documents are known to get the same vector."""
    from taleward.backends.onnx.minilm import MiniLMEmbeddings

    return isinstance(embeddings, MiniLMEmbeddings) or getattr(embeddings, "symmetric", False) is True


def _settings_fingerprint(model: BaseModel) -> str:
    settings = {
        name: value
        for name in type(model).model_fields
        if name not in _CALL_SETTINGS
        and not any(word in name.lower() for word in _SECRET_WORDS)
        and _is_json_value(value := getattr(model, name))
    }
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    model_name = next((settings[n] for n in ("model", "model_name", "model_id", "deployment") if settings.get(n)), "")
    label = f"{type(model).__name__}({model_name})" if model_name else type(model).__name__
    return f"{label}#{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _is_json_value(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_json_value(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_json_value, value))
    return value is None or isinstance(value, str | int | float | bool)


def embed_array(embeddings: Embeddings, texts: Sequence[str]) -> Floats:
    """Embed texts as an array; embeddings with a method `embed_array` skip the detour over Python floats.

    Returns:
        float32, shape (len(texts), dimensions); shape (0, 0) for no texts.

    Raises:
        BackendError: If the model returned the wrong number of vectors, or vectors of different lengths.
    """
    native = getattr(embeddings, "embed_array", None)
    vectors = native(texts) if callable(native) else embeddings.embed_documents(list(texts)) if texts else []
    return as_matrix(vectors, len(texts))


async def aembed_array(embeddings: Embeddings, texts: Sequence[str]) -> Floats:
    """Like `embed_array`, without blocking the event loop."""
    import asyncio

    native = getattr(embeddings, "aembed_array", None)
    if callable(native):
        return as_matrix(await native(texts), len(texts))
    if callable(getattr(embeddings, "embed_array", None)):
        return await asyncio.to_thread(embed_array, embeddings, texts)
    return as_matrix(await embeddings.aembed_documents(list(texts)) if texts else [], len(texts))


def as_matrix(vectors: Any, count: int) -> Floats:
    """Convert `count` vectors of any kind to a contiguous float32 array with one row per vector.

    Raises:
        BackendError: If there are not `count` vectors, or their lengths differ.
    """
    import numpy

    try:
        rows = numpy.ascontiguousarray(vectors, dtype=numpy.float32)
    except ValueError as error:
        raise BackendError(
            f"the embeddings returned vectors of different lengths, or not of numbers: {error}"
        ) from error
    # numpy makes [] one-dimensional.
    if not count and not rows.size:
        return numpy.zeros((0, 0), dtype=numpy.float32)
    if rows.ndim != 2 or len(rows) != count or not rows.shape[1]:
        raise BackendError(f"the embeddings returned vectors of shape {rows.shape} for {count} texts.")
    return rows
