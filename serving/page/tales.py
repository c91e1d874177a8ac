"""The child's routes: what the page asks, and a tale as a stream of nothing but words that passed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field, model_validator

from taleward.chains.story import StoryInput
from taleward.core.frozen_model import FrozenMapping, FrozenModel
from taleward.moderation.guard.guard import Guard
from taleward.moderation.guard.input_checks import masked
from taleward.serving.errors import api_error
from taleward.serving.json_response import SafeJSONResponse
from taleward.serving.page.questions import MAX_SENTENCE_CHARS, sentence_ideas, story_kinds, tale_title
from taleward.serving.page.sessions import PageSession, PageSessions, ToldTale
from taleward.serving.page.settings import PageSettings
from taleward.serving.page.static_files import SECURITY_HEADERS, static_response
from taleward.serving.served_models import ServedModel, ServedModels, prepare_story_input
from taleward.serving.server_sent_events import event_stream, format_event


class StoryWish(FrozenModel):
    """What a child asks for.

    Attributes:
        kind: The name of the template.
        values: One text for each of its variables.
        sentence: Instead of values, a free sentence.
    """

    kind: str | None = None
    values: FrozenMapping[str, str] | None = None
    sentence: Annotated[str, Field(max_length=MAX_SENTENCE_CHARS)] | None = None

    @model_validator(mode="after")
    def _check_wish(self) -> StoryWish:
        if (self.values is None) == (self.sentence is None):
            raise ValueError("send either values or a sentence")
        return self


class TaleRoutes:
    """The routes that need no grown-up.

    Args:
        served: The served models.
        settings: The page's settings.
        sessions: The sessions.
    """

    def __init__(self, served: ServedModels, settings: PageSettings, sessions: PageSessions) -> None:
        self._served, self._settings, self._sessions = served, settings, sessions

    def add_to(self, router: APIRouter) -> None:
        """Add the routes to a router."""
        router.add_api_route("/", self.index, methods=["GET"], response_model=None)
        router.add_api_route("/page/static/{name}", self.static, methods=["GET"], response_model=None)
        router.add_api_route("/page/start", self.start, methods=["GET"], response_model=None)
        router.add_api_route("/page/tales", self.tell, methods=["POST"], response_model=None)

    @property
    def model(self) -> ServedModel:
        """The model that tells the stories."""
        return self._served.get(self._settings.model or None)

    async def index(self, request: Request) -> Response:
        """The page itself; a browser that comes for the first time gets its cookie."""
        response = static_response(request, "index.html")
        self._sessions.ensure(request, response)
        return response

    async def static(self, request: Request, name: str) -> Response:
        """A file of the page."""
        return static_response(request, name)

    async def start(self, request: Request) -> Response:
        """What the page asks, with ideas."""
        self._sessions.get(request)
        sentence = {"max_length": MAX_SENTENCE_CHARS, "ideas": sentence_ideas()}
        return page_json({"kinds": story_kinds(self.model.templates), "sentence": sentence})

    async def tell(self, request: Request, body: StoryWish) -> Response:
        """Tell a story as server-sent events; see `_events`."""
        session, model = self._sessions.get(request), self.model
        if body.sentence is not None:
            story_input = await prepare_story_input(model, body.sentence, body.kind)
            asked: StoryInput = body.sentence.strip()
        else:
            asked = story_input = model.template(body.kind).checked_values(body.values or {})
        # A better story is worth a few seconds more before its first sentence.
        guard = model.story_guard(template=body.kind, band=session.band, streaming=model.config.best_of == 1)
        if model.config.mask_personal_data:
            asked = masked(asked)
        turn = self._sessions.begin_tale(session)
        events = _events(session, turn, guard, story_input, asked)
        return event_stream(events, self._served.config.keep_alive_s)


async def _events(
    session: PageSession, turn: int, guard: Guard, story_input: StoryInput, asked: StoryInput
) -> AsyncGenerator[str, None]:
    """Tell a tale to a child.

    The events are `title` before the first sentence, `text`, `pause` when the writer starts anew, `retraction`,
    `refusal`, and `done`; or `trouble`, after which nothing of the tale is to be shown. None says what was judged, how,
    or why.
    """
    title = tale_title(asked)
    stream: Any = guard.astream(story_input)
    try:
        async with aclosing(stream) as events:
            async for event in events:
                if session.turn != turn:
                    return  # the child has asked for another tale
                match event.type:
                    case "text":
                        if event.start == 0:
                            # It repeats what was asked for, which has passed by now.
                            yield format_event({"title": title}, "title")
                        yield format_event({"text": event.text, "start": event.start}, "text")
                    case "revision":
                        yield format_event({}, "pause")
                    case "retraction":
                        yield format_event({"start": event.start}, "retraction")
                    case "refusal":
                        yield format_event({"message": event.refusal.child_message}, "refusal")
                    case "done":
                        texts = {"request": asked} if isinstance(asked, str) else asked
                        wishes = {name: str(text) for name, text in texts.items()}
                        session.add(ToldTale(event.tale.without_drafts(), title, wishes, guard.recorders))
                        yield format_event({"released": event.tale.released}, "done")
    except Exception as error:  # noqa: BLE001  the stream has begun, so the error is its last event
        api_error(error)  # logs what is not the client's fault, without anybody's words
        # Its sentences passed, but the text as a whole was never judged.
        yield format_event({"start": 0}, "retraction")
        yield format_event({}, "trouble")


def page_json(data: Any, status: int = 200) -> SafeJSONResponse:
    """Return JSON for the page, which no cache may keep."""
    return SafeJSONResponse(data, status, headers={**SECURITY_HEADERS, "cache-control": "no-store"})
