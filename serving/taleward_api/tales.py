"""`POST /v1/tales`: a story from values or a free sentence, whole or with every event of the guard."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field, model_validator

from taleward.chains.story import StoryInput
from taleward.core.events import Event
from taleward.core.frozen_model import FrozenMapping, FrozenModel
from taleward.core.tale import Tale
from taleward.moderation.guard.guard import Guard
from taleward.serving.app_state import served_models
from taleward.serving.disconnect import unless_disconnected
from taleward.serving.errors import api_error
from taleward.serving.json_response import SafeJSONResponse
from taleward.serving.operations.request_record import current_request
from taleward.serving.served_models import prepare_story_input
from taleward.serving.server_sent_events import event_stream, format_event

router = APIRouter()

MAX_SEED = 2**63 - 1


class TaleRequest(FrozenModel):
    """What to tell.

    Attributes:
        model: A served model; by default the server's default model.
        values: One text for each variable of the template.
        request: Instead of values, a free sentence such as "a story about a fox who finds a key".
        template: A template instead of the model's own.
        band: An age band that the model serves, instead of its own.
        seed: Makes the story repeatable, with a model that supports it.
        stream: Whether to send events while the story is written.
    """

    model: str | None = None
    values: FrozenMapping[str, str] | None = None
    request: str | None = None
    template: str | None = None
    band: str | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    stream: bool = False

    @model_validator(mode="after")
    def _check_story(self) -> TaleRequest:
        if (self.values is None) == (self.request is None):
            raise ValueError("send either values, one text for each variable of the template, or a request")
        return self


@router.post("/v1/tales")
async def tell_tale(request: Request, body: TaleRequest) -> Response:
    """Tell a story: the tale as JSON, or server-sent events, each of a type of `taleward.events`."""
    models = served_models(request)
    model = models.get(body.model)
    current_request().model = model.name
    template = model.template(body.template)
    guard = model.story_guard(template=body.template, band=body.band, seed=body.seed, streaming=body.stream)
    if body.request is not None:
        story_input = await prepare_story_input(model, body.request, body.template)
    else:
        # Once the stream has begun, it is too late for a status code.
        story_input = template.checked_values(body.values or {})
    if body.stream:
        return event_stream(_events(guard, story_input), models.config.keep_alive_s)
    tale = await unless_disconnected(request, guard.ainvoke(story_input))
    current_request().observe_tale(tale)
    return SafeJSONResponse(tale_data(tale))


def tale_data(tale: Tale) -> dict[str, Any]:
    """Return a tale as JSON data without drafts and prompts, and without the words of drafts that were refused."""
    fields = {"attempts": {"__all__": {"draft", "messages"}}}
    return tale.without_drafts().model_dump(mode="json", exclude=fields)


def event_data(event: Event) -> dict[str, Any]:
    """Return an event as JSON data, without drafts."""
    if event.type == "done":
        return {"type": "done", "tale": tale_data(event.tale)}
    return event.model_dump(mode="json")


async def _events(guard: Guard, story_input: StoryInput) -> AsyncGenerator[str, None]:
    try:
        stream: Any = guard.astream(story_input)
        async with aclosing(stream) as events:
            async for event in events:
                current_request().observe_event(event)
                yield format_event(event_data(event), event.type)
    except Exception as error:  # noqa: BLE001  the stream has begun, so the error is its last event
        yield format_event(api_error(error).body(), "error")
