"""`POST /v1/embeddings`: vectors of texts, from a cache if there is one."""

from __future__ import annotations

import array
import base64
import sys
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from taleward.core.errors import UnknownName
from taleward.core.frozen_model import FrozenModel
from taleward.serving.app_state import served_models
from taleward.serving.disconnect import unless_disconnected
from taleward.serving.errors import ApiError

router = APIRouter()

MAX_TEXTS = 2048


class EmbeddingRequest(FrozenModel):
    """Texts to embed.

    Attributes:
        input: A text, or up to 2,048; OpenAI's token ids belong to its own tokenizer, and are not read.
        model: The spec of the server's model.
        encoding_format: Numbers, or base64 of little-endian floats of 32 bits, as OpenAI's clients ask for it.
        dimensions: Not supported: vectors have the model's own length.
        user: Not used.
    """

    input: str | Annotated[list[Any], Field(min_length=1, max_length=MAX_TEXTS)]
    model: str
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None


@router.post("/v1/embeddings")
async def create_embeddings(request: Request, body: EmbeddingRequest) -> dict[str, Any]:
    """Embed texts."""
    embedder = served_models(request).embedder
    if embedder is None or body.model != embedder.spec:
        raise UnknownName("served model", body.model, [] if embedder is None else [embedder.spec])
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not all(isinstance(text, str) for text in texts):
        message = "The input must be text: token ids belong to another tokenizer."
        hint = " With LangChain, set check_embedding_ctx_length=False."
        raise ApiError(400, message + hint, code="unsupported_value", param="input")
    if not all(text.strip() for text in texts):
        raise ApiError(400, "The input contains an empty text.", code="invalid_value", param="input")
    vectors = await unless_disconnected(request, embedder.embed(texts))
    if body.dimensions is not None and body.dimensions != len(vectors[0]):
        message = f"'dimensions' cannot be honoured: the vectors of {embedder.spec} have {len(vectors[0])} numbers."
        raise ApiError(400, message, code="unsupported_parameter", param="dimensions")
    encode = _base64 if body.encoding_format == "base64" else list
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector)} for index, vector in enumerate(vectors)
    ]
    # The models that run here do not count tokens.
    return {"object": "list", "data": data, "model": embedder.spec, "usage": {"prompt_tokens": 0, "total_tokens": 0}}


def _base64(vector: list[float]) -> str:
    numbers = array.array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode("ascii")
