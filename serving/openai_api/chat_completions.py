"""`POST /v1/chat/completions`: OpenAI's chat, behind a guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response

from taleward.serving.app_state import served_models
from taleward.serving.disconnect import unless_disconnected
from taleward.serving.errors import api_error
from taleward.serving.json_response import SafeJSONResponse
from taleward.serving.openai_api.answers import AnswerEnd, TextPart, merge, whole_answer
from taleward.serving.openai_api.chat_objects import ChatObjects
from taleward.serving.openai_api.chat_request import ChatCompletionRequest
from taleward.serving.openai_api.prepared_answers import PreparedAnswers, prepare_answers
from taleward.serving.operations.request_record import current_request
from taleward.serving.server_sent_events import DONE, event_stream, format_event

router = APIRouter()


@router.post("/v1/chat/completions")
async def create_chat_completion(request: Request, body: ChatCompletionRequest) -> Response:
    """Answer a chat: whole, or in chunks of judged text."""
    models = served_models(request)
    model = models.get(body.model)
    current_request().model = model.name
    stream = bool(body.stream)
    prepared = await unless_disconnected(request, prepare_answers(model, body, stream=stream))
    objects = ChatObjects(
        model.name,
        prepared.judge,
        refusal_as=prepared.refusal_as,
        input_verdict=prepared.input_verdict,
        ignored_messages=prepared.ignored_messages,
    )
    choices = body.n or 1
    if stream:
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return event_stream(_chunks(prepared, objects, choices, usage=usage), models.config.keep_alive_s)
    answers = await unless_disconnected(request, _all_answers(prepared, choices))
    return SafeJSONResponse(objects.completion(answers))


async def _all_answers(prepared: PreparedAnswers, choices: int) -> list[tuple[str, AnswerEnd]]:
    tasks = [asyncio.create_task(whole_answer(prepared.start(index))) for index in range(choices)]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _chunks(
    prepared: PreparedAnswers, objects: ChatObjects, choices: int, *, usage: bool
) -> AsyncGenerator[str, None]:
    ends: list[AnswerEnd] = []
    for index in range(choices):
        yield format_event(objects.role_chunk(index))
    try:
        async with aclosing(merge([prepared.start(index) for index in range(choices)])) as parts:
            async for index, part in parts:
                if isinstance(part, TextPart):
                    yield format_event(objects.text_chunk(index, part.text))
                    continue
                ends.append(part)
                for chunk in objects.last_chunks(index, part):
                    yield format_event(chunk)
    except Exception as error:  # noqa: BLE001  the status has been sent: the error is an event, and no [DONE] follows
        yield format_event(api_error(error).body())
        return
    if usage:
        yield format_event(objects.usage_chunk(ends))
    yield DONE
