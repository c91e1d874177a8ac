"""Which model a vector comes from. Vectors of different models must never meet."""

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

_SECRET = ("key", "token", "secret", "password")
_WAY_OF_CALLING = {"batch_size", "cache_folder", "chunk_size", "headers", "max_concurrency", "max_retries"} | {
    "http_async_client",
    "http_client",
    "multi_process",
    "request_timeout",
    "show_progress",
    "show_progress_bar",
    "timeout",
}


def fingerprint(embeddings: Embeddings) -> str:
    """A name for the model behind embeddings; equal names mean equal vectors.

    It is the object's attribute `fingerprint` where there is one. The encoder that comes with Taleward is named by its
    weights' SHA-256. LangChain's classes are named by their settings, without keys and without those that only say how
    the model is called.

    Raises:
        ConfigurationError: The object does not tell which model it is.
    """
    given = getattr(embeddings, "fingerprint", None)
    if isinstance(given, str) and given:
        return given
    from taleward.backends.onnx.minilm import MAX_PIECES, SHA256, MiniLMEmbeddings

    if isinstance(embeddings, MiniLMEmbeddings):
        return f"embedded:minilm#{SHA256[:12]}-{MAX_PIECES}"
    if isinstance(embeddings, BaseModel):
        return _by_settings(embeddings)
    raise ConfigurationError(
        f"a {type(embeddings).__name__} does not tell which model it is: its vectors could be taken for another's.",
        hint="Name it: CachedEmbeddings(..., model='provider:name'), or give the object an attribute `fingerprint`.",
    )


def is_symmetric(embeddings: Embeddings) -> bool:
    """Whether queries and documents are known to be embedded alike, so that one vector serves both."""
    from taleward.backends.onnx.minilm import MiniLMEmbeddings

    return isinstance(embeddings, MiniLMEmbeddings) or getattr(embeddings, "symmetric", False) is True


def _by_settings(model: BaseModel) -> str:
    settings = {
        name: value
        for name in type(model).model_fields
        if name not in _WAY_OF_CALLING
        and not any(word in name.lower() for word in _SECRET)
        and _is_plain(value := getattr(model, name))
    }
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    named = next((settings[n] for n in ("model", "model_name", "model_id", "deployment") if settings.get(n)), "")
    name = f"{type(model).__name__}({named})" if named else type(model).__name__
    return f"{name}#{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)


def embed_array(embeddings: Embeddings, texts: Sequence[str]) -> Floats:
    """The texts' vectors as an array; embeddings with a method `embed_array` give it without Python floats.

    Returns:
        float32, shape (len(texts), dimensions); shape (0, 0) for no texts.

    Raises:
        BackendError: The model gave another number of vectors, or vectors of different lengths.
    """
    direct = getattr(embeddings, "embed_array", None)
    rows = direct(texts) if callable(direct) else embeddings.embed_documents(list(texts)) if texts else []
    return as_rows(rows, len(texts))


async def aembed_array(embeddings: Embeddings, texts: Sequence[str]) -> Floats:
    """As `embed_array`, without blocking the event loop."""
    import asyncio

    direct = getattr(embeddings, "aembed_array", None)
    if callable(direct):
        return as_rows(await direct(texts), len(texts))
    if callable(getattr(embeddings, "embed_array", None)):
        return await asyncio.to_thread(embed_array, embeddings, texts)
    return as_rows(await embeddings.aembed_documents(list(texts)) if texts else [], len(texts))


def as_rows(vectors: Any, count: int) -> Floats:
    """Vectors of any kind as a float32 array of `count` rows.

    Raises:
        BackendError: They are not as many, or differ in length.
    """
    import numpy

    try:
        rows = numpy.ascontiguousarray(vectors, dtype=numpy.float32)
    except ValueError as error:
        raise BackendError(f"the embeddings gave vectors of different lengths or not of numbers: {error}") from error
    if not count and not rows.size:
        return numpy.zeros((0, 0), dtype=numpy.float32)
    if rows.ndim != 2 or len(rows) != count or not rows.shape[1]:
        raise BackendError(f"the embeddings gave vectors of shape {rows.shape} for {count} texts.")
    return rows
