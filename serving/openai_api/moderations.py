"""`POST /v1/moderations`: judges in OpenAI's shape."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from taleward.core.frozen_model import FrozenModel
from taleward.core.verdict import Verdict
from taleward.moderation.guard.release import has_answer
from taleward.moderation.judges import Judge
from taleward.serving.app_state import served_models
from taleward.serving.disconnect import unless_disconnected
from taleward.serving.errors import ApiError
from taleward.serving.input_check import raise_judge_unavailable
from taleward.serving.openai_api.chat_request import MODERATION_NAMES
from taleward.serving.openai_api.moderation_fields import moderation_result
from taleward.serving.operations.request_record import current_request

router = APIRouter()

_CONCURRENCY = 8


class ModerationRequest(FrozenModel):
    """Texts to judge.

    Attributes:
        input: A text, several, or one made of OpenAI's parts.
        model: A served model, whose judge is asked; OpenAI's own names stand for the default model.
        band: Taleward's: an age band that the model serves.
    """

    input: str | Annotated[list[str | dict[str, Any]], Field(min_length=1, max_length=256)]
    model: str | None = None
    band: str | None = None


@router.post("/v1/moderations")
async def create_moderation(request: Request, body: ModerationRequest) -> dict[str, Any]:
    """Judge texts for an age band."""
    models = served_models(request)
    model = models.get(None if body.model in MODERATION_NAMES else body.model)
    current_request().model = model.name
    judge = model.judge(body.band)
    texts = _texts(body)
    verdicts = await unless_disconnected(request, _judge_all(judge, texts))
    for verdict in verdicts:
        current_request().observe_verdict(verdict)
    if not all(map(has_answer, verdicts)):
        raise_judge_unavailable()
    results = [moderation_result(verdict, judge) for verdict in verdicts]
    for result, verdict, text in zip(results, verdicts, texts, strict=True):
        # The client has sent the text, so it may see which words count against it.
        result["taleward"]["findings"] = [finding.model_dump(mode="json") for finding in verdict.findings]
        result["taleward"]["detail"] = verdict.without_words(text).detail
    return {"id": f"modr-{uuid.uuid4().hex}", "model": judge.spec, "results": results}


def _texts(body: ModerationRequest) -> list[str]:
    if isinstance(body.input, str):
        return [body.input]
    if all(isinstance(item, str) for item in body.input):
        return [str(item) for item in body.input]
    # OpenAI's parts are one input together.
    texts = []
    for number, part in enumerate(body.input):
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if not isinstance(text, str):
            message = f"input[{number}] is not a part of text; this judge reads text only."
            raise ApiError(400, message, code="unsupported_value", param=f"input[{number}]")
        texts.append(text)
    return ["\n".join(texts)]


async def _judge_all(judge: Judge, texts: list[str]) -> list[Verdict]:
    places = asyncio.Semaphore(_CONCURRENCY)

    async def judge_one(text: str) -> Verdict:
        async with places:
            return await judge.ainvoke(text)

    return list(await asyncio.gather(*map(judge_one, texts)))
