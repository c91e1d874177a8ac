"""The grown-ups' routes: the rules, the verdicts on what was told, feedback, and deletion."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from taleward.core.concurrency.sync_async import run_in_thread
from taleward.core.errors import UnknownName
from taleward.core.frozen_model import FrozenModel
from taleward.evaluation.feedback.mlflow_store import FeedbackStore
from taleward.evaluation.tracking.tale_recorder import MlflowRecorder
from taleward.moderation.guard.guard import Recorder
from taleward.serving.errors import ApiError
from taleward.serving.page.gate import GrownUpGate
from taleward.serving.page.grown_up_view import rules_data, tale_view
from taleward.serving.page.sessions import PageSession, PageSessions, ToldTale
from taleward.serving.page.settings import PageSettings
from taleward.serving.page.tales import page_json
from taleward.serving.served_models import ServedModel
from taleward.stores.tale_memory import TaleMemory

_MAX_COMMENT_CHARS = 2000


class PinEntry(FrozenModel):
    """A PIN that somebody typed."""

    pin: Annotated[str, Field(max_length=40, repr=False)]


class BandChoice(FrozenModel):
    """The age band of the next tales."""

    band: str


class PageFeedback(FrozenModel):
    """What a grown-up says about a tale.

    Attributes:
        kid_friendly: Whether it suits the children of its age band.
        categories: The problems, by the policy's names.
        comment: Free text.
        for_training: Whether a parent or guardian gives the tale, its request and this feedback for training.
    """

    kid_friendly: bool
    categories: tuple[str, ...] = ()
    comment: Annotated[str, Field(max_length=_MAX_COMMENT_CHARS)] = ""
    for_training: bool = False


class GrownUpRoutes:
    """The routes behind the gate.

    Args:
        model: The served model that tells the stories.
        settings: The page's settings.
        sessions: The sessions.
        gate: Checks the PIN.
    """

    def __init__(self, model: ServedModel, settings: PageSettings, sessions: PageSessions, gate: GrownUpGate) -> None:
        self._model, self._settings, self._sessions, self._gate = model, settings, sessions, gate

    def add_to(self, router: APIRouter) -> None:
        """Add the routes to a router."""
        router.add_api_route("/page/gate", self.open, methods=["POST"], response_model=None)
        router.add_api_route("/page/gate", self.close, methods=["DELETE"], response_model=None)
        router.add_api_route("/page/grown-ups", self.show, methods=["GET"], response_model=None)
        router.add_api_route("/page/grown-ups/band", self.choose_band, methods=["POST"], response_model=None)
        router.add_api_route("/page/grown-ups/tales/{tale_id}", self.delete, methods=["DELETE"], response_model=None)
        router.add_api_route(
            "/page/grown-ups/tales/{tale_id}/feedback", self.record_feedback, methods=["POST"], response_model=None
        )

    async def open(self, request: Request, body: PinEntry) -> Response:
        """Open the grown-ups' side with the PIN."""
        session = self._sessions.get(request)
        self._gate.check(body.pin)
        response = page_json({"open": True})
        self._sessions.open(request, response, session)
        return response

    async def close(self, request: Request) -> Response:
        """Close the grown-ups' side."""
        self._sessions.close(self._sessions.get(request))
        return page_json({"open": False})

    async def show(self, request: Request) -> Response:
        """The rules, and the tales of this browser with their verdicts, newest first; nothing while it is closed."""
        if not self._sessions.is_open(self._sessions.get(request)):
            return page_json({"open": False})
        session = self._sessions.get_open(request)
        band = session.band or self._model.config.band
        policy = self._model.judge(band).policy
        told = [tale_view(told, policy, recorded=bool(_mlflow(told.recorders))) for told in session.tales.values()]
        return page_json({"open": True, "rules": rules_data(self._model, band), "tales": told[::-1]})

    async def choose_band(self, request: Request, body: BandChoice) -> Response:
        """Choose the age band of the next tales."""
        session = self._sessions.get_open(request)
        self._model.judge(body.band)
        session.band = body.band
        return page_json({"band": body.band})

    async def record_feedback(self, request: Request, tale_id: str, body: PageFeedback) -> Response:
        """Keep feedback on a tale with its trace in MLflow."""
        told = _told(self._sessions.get_open(request), tale_id)
        recorders = _mlflow(told.recorders)
        if not recorders:
            raise ApiError(
                409,
                "Feedback is kept in MLflow, and this server records no tales there.",
                code="not_recorded",
            )
        for recorder in recorders:
            await run_in_thread(partial(self._record, recorder, tale_id, body))
        told.feedback = body.model_dump(mode="json")
        return page_json({"feedback": told.feedback})

    async def delete(self, request: Request, tale_id: str) -> Response:
        """Delete a tale: here, in MLflow with its feedback, and in a memory of tales."""
        session = self._sessions.get_open(request)
        told = _told(session, tale_id)
        for recorder in told.recorders:
            await run_in_thread(partial(_erase, recorder, tale_id))
        session.tales.pop(tale_id, None)
        return page_json({"deleted": tale_id})

    def _record(self, recorder: MlflowRecorder, tale_id: str, body: PageFeedback) -> None:
        store = FeedbackStore(recorder.tracking_uri, recorder.experiment)
        try:
            store.record(
                tale_id,
                person=self._settings.reviewer,
                kid_friendly=body.kid_friendly,
                categories=body.categories,
                comment=body.comment,
                for_training=body.for_training,
                # The page is a child's, so its requests count as a child's.
                requested_by_child=True,
                guardian_consent=body.for_training,
            )
        except UnknownName as error:
            if error.kind == "tale":
                raise ApiError(409, "This tale is not in MLflow.", code="not_recorded") from error
            raise


def _told(session: PageSession, tale_id: str) -> ToldTale:
    if tale_id not in session.tales:
        raise ApiError(404, "This browser was told no such tale, or it is forgotten.", code="unknown_tale")
    return session.tales[tale_id]


def _mlflow(recorders: Sequence[Recorder]) -> list[MlflowRecorder]:
    return [recorder for recorder in recorders if isinstance(recorder, MlflowRecorder)]


def _erase(recorder: Recorder, tale_id: str) -> None:
    """Delete a tale where a recorder has put it.

    Raises:
        ApiError: If the recorder is of a kind that cannot delete; then the tale stays in the list.
    """
    match recorder:
        case MlflowRecorder():
            FeedbackStore(recorder.tracking_uri, recorder.experiment).delete_tale(tale_id)
        case TaleMemory():
            recorder.forget([tale_id])
        case _:
            kind = type(recorder).__name__
            raise ApiError(
                409,
                f"The server records tales with {kind}, from which the page cannot delete. Ask who runs it.",
                code="cannot_delete",
            )
