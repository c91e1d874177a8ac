"""`POST /v1/responses`: OpenAI's responses, without state, behind a guard."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from taleward.serving.app_state import served_models
from taleward.serving.disconnect import unless_disconnected
from taleward.serving.errors import ApiError, api_error, validation_error
from taleward.serving.json_response import SafeJSONResponse
from taleward.serving.openai_api.answers import TextPart, whole_answer
from taleward.serving.openai_api.prepared_answers import PreparedAnswers, prepare_answers
from taleward.serving.openai_api.response_objects import ResponseObjects
from taleward.serving.openai_api.responses_request import ResponsesRequest, chat_param
from taleward.serving.operations.request_record import current_request
from taleward.serving.served_models import ServedModel
from taleward.serving.server_sent_events import event_stream, format_event

router = APIRouter()


@router.post("/v1/responses")
async def create_response(request: Request, body: ResponsesRequest) -> Response:
    """Answer a conversation: whole, or with the events of OpenAI's stream."""
    models = served_models(request)
    model = models.get(body.model)
    current_request().model = model.name
    prepared = await unless_disconnected(request, _prepare(model, body))
    objects = ResponseObjects(
        model.name,
        prepared.judge,
        body,
        refusal_as=prepared.refusal_as,
        input_verdict=prepared.input_verdict,
    )
    if body.stream:
        return event_stream(_events(prepared, objects), models.config.keep_alive_s)
    text, end = await unless_disconnected(request, whole_answer(prepared.start(0)))
    return SafeJSONResponse(objects.response(text, end))


@router.get("/v1/responses/{response_id}")
async def get_response(response_id: str) -> None:
    """Say that responses are not stored."""
    raise ApiError(404, f"There is no response {response_id!r}: this server keeps no state.", code="not_found")


async def _prepare(model: ServedModel, body: ResponsesRequest) -> PreparedAnswers:
    try:
        return await prepare_answers(model, body.as_chat(), stream=bool(body.stream), param="input")
    except ApiError as error:
        raise chat_param(error) from error
    except ValidationError as error:
        raise chat_param(validation_error(error.errors())) from error


async def _events(prepared: PreparedAnswers, objects: ResponseObjects) -> AsyncGenerator[str, None]:
    for event in objects.first_events():
        yield format_event(event, event["type"])
    try:
        async with aclosing(prepared.start(0)) as parts:
            async for part in parts:
                events = objects.text_events(part.text) if isinstance(part, TextPart) else objects.last_events(part)
                for event in events:
                    yield format_event(event, event["type"])
    except Exception as error:  # noqa: BLE001  the status has been sent: the error is the last event
        event = objects.error_event(api_error(error).body()["error"])
        yield format_event(event, event["type"])
