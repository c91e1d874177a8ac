"""The image guard: judge the prompt, draw, judge the picture, soften and redraw within a budget, release or refuse."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.runnables import Runnable, RunnableConfig

from taleward.core.concurrency.abandoned_calls import LeftBehind
from taleward.core.errors import ConfigurationError, DeadlineExceeded
from taleward.core.redaction import format_error
from taleward.images.guard.events import GuardedPictureEvent, ImageGuardEvent
from taleward.images.guard.guarded_picture import GuardedPicture
from taleward.images.guard.image_guard_run import ImageGuardRun, without_pictures
from taleward.images.guard.picture_judge import PictureJudgeLike, picture_judges as make_picture_judges
from taleward.images.models.base import ImageModel
from taleward.images.models.drawing_thread import aiterate_in_thread, iterate_in_thread
from taleward.images.models.factory import image_model
from taleward.images.models.request import ImageInput, ImageRequest, as_request
from taleward.moderation.judges.base import Judge, check_judge, check_timeout
from taleward.moderation.tracing.mute_callbacks import mute_callbacks

_log = logging.getLogger(__name__)
DEFAULT_PICTURE_JUDGES = ("picture-checks", "open-nsfw")


class PictureRecorder(Protocol):
    """Stores finished drawings, for example in MLflow."""

    def record(self, result: GuardedPicture, request: ImageRequest) -> None:
        """Store one result, whose attempts hold their pictures."""


class ImageGuard(Runnable[ImageInput, GuardedPicture]):
    """A Runnable from a prompt to pictures that were judged and passed, or to a refusal.

    The prompt is judged first, and pictures that come with it; then each picture by all picture judges in order, until
    one does not pass it. If none passes, the prompt is softened by what was found and drawn again; in the end the
    fallback draws, and is judged like the model. No exception of a judge, time-out or unreadable answer releases
    anything. An unfinished picture never leaves.

    The default picture judges see broken and blank pictures, what the model itself flagged, and pornography; nothing
    else. For children add one that knows the policy, such as a chat model that takes pictures.

    Args:
        model: An image model, or the spec of one.
        judge: The judge of prompts, a text judge; its policy and age band hold for the pictures too.
        picture_judges: The judges of pictures, or their specs, cheap ones first.
        attempts: How often the model draws at most.
        n: Pictures drawn per attempt, if the request does not say; all that pass are released.
        asks: How often a picture judge is asked that gives no answer.
        fallback: Who draws if no picture of the model passes; the offline collage by default, `None` for nobody.
        timeout_s: Time limit for everything in seconds; `None` for none.
        keep_drafts: Whether the attempts keep their pictures, refused ones too: keep those away from children.
        recorder: Where results are recorded: one recorder or several.

    Raises:
        ConfigurationError: If an option is out of range, or of another kind.
    """

    def __init__(
        self,
        model: ImageModel | str,
        judge: Judge,
        *,
        picture_judges: Sequence[PictureJudgeLike] = DEFAULT_PICTURE_JUDGES,
        attempts: int = 3,
        n: int = 1,
        asks: int = 2,
        fallback: ImageModel | str | None = "collage",
        timeout_s: float | None = 900.0,
        keep_drafts: bool = False,
        recorder: PictureRecorder | Sequence[PictureRecorder] | None = None,
    ) -> None:
        check_judge("an image guard", judge)
        for name, value in (("attempts", attempts), ("n", n), ("asks", asks)):
            if value < 1:
                raise ConfigurationError(f"{name} must be 1 or more; got {value}.")
        check_timeout(timeout_s)
        self.model, self.prompt_judge = image_model(model), judge
        self.picture_judges = make_picture_judges(picture_judges, policy=judge.policy, band=judge.band)
        if odd := [p.spec for p in self.picture_judges if (p.policy.id, p.band) != (judge.policy.id, judge.band)]:
            raise ConfigurationError(
                f"{', '.join(odd)} judge by another policy or band than {judge.policy.id} for {judge.band}.",
                hint="Make them with the policy and band of the prompt's judge.",
            )
        self.fallback = None if fallback is None or self.model.spec == fallback else image_model(fallback)
        self.attempts, self.n, self.asks, self.timeout_s = attempts, n, asks, timeout_s
        self.keep_drafts = keep_drafts
        recorders = () if recorder is None else recorder
        self.recorders: tuple[PictureRecorder, ...] = (
            tuple(recorders) if isinstance(recorders, Sequence) else (recorders,)
        )
        self._left_behind = LeftBehind("the image guard")

    def n_of(self, request: ImageRequest) -> int:
        """Return how many pictures an attempt draws for a request."""
        return request.n or self.n

    def invoke(self, input: ImageInput, config: RunnableConfig | None = None, **kwargs: Any) -> GuardedPicture:
        """Draw and judge one request.

        Args:
            input: A `PromptSpec`, a sentence or an `ImageRequest`.
            config: The run's config.
            kwargs: Fields of the request, such as `n`, `seed` and `size`.

        Raises:
            InvalidInputs: If the request is invalid, or asks for what the model cannot do.
            BackendError: If the model failed, and there is no fallback.
        """
        return self._call_with_config(self._invoke, as_request(input, kwargs), config, run_type="chain")

    async def ainvoke(self, input: ImageInput, config: RunnableConfig | None = None, **kwargs: Any) -> GuardedPicture:
        """Async version of `invoke`; canceling it stops the drawing."""
        return await self._acall_with_config(self._ainvoke, as_request(input, kwargs), config, run_type="chain")

    def stream(  # type: ignore[override]
        self, input: ImageInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[ImageGuardEvent]:
        """Draw and judge one request; yields progress and verdicts, and at the end `done` with the result."""
        yield from self._iterate(input, kwargs)

    async def astream(  # type: ignore[override]
        self, input: ImageInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[ImageGuardEvent]:
        """Async version of `stream`."""
        async with aclosing(self._aiterate(input, kwargs)) as events:
            async for event in events:
                yield event

    def transform(
        self, input: Iterator[ImageInput], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[GuardedPicture]:
        """Yield the result, as a step of a chain that streams."""
        for value in input:
            yield self.invoke(value, config, **kwargs)

    async def atransform(
        self, input: AsyncIterator[ImageInput], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[GuardedPicture]:
        """Async version of `transform`."""
        async for value in input:
            yield await self.ainvoke(value, config, **kwargs)

    def _invoke(
        self, value: ImageInput, run_manager: CallbackManagerForChainRun, config: RunnableConfig
    ) -> GuardedPicture:
        mute_callbacks(config)
        return _result(list(self._iterate(value, {})))

    async def _ainvoke(
        self, value: ImageInput, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> GuardedPicture:
        mute_callbacks(config)
        return _result([event async for event in self._aiterate(value, {})])

    def _checked(self, value: ImageInput, fields: dict[str, Any]) -> ImageRequest:
        request = as_request(value, fields)
        self.model.check_request(request)
        self.model.size_of(request)
        return request

    def _iterate(self, value: ImageInput, fields: dict[str, Any]) -> Iterator[ImageGuardEvent]:
        canceled, request = threading.Event(), self._checked(value, fields)
        run = ImageGuardRun(self, request, canceled)
        try:
            for event in iterate_in_thread(run.events, canceled, self.timeout_s, self._left_behind):
                yield self._finished(event, request)
        except DeadlineExceeded:
            if not run.timed_out():
                raise  # the model's own time limit
            yield self._finished(GuardedPictureEvent(result=run.refused("timeout")), request)

    async def _aiterate(self, value: ImageInput, fields: dict[str, Any]) -> AsyncGenerator[ImageGuardEvent, None]:
        canceled, request = threading.Event(), self._checked(value, fields)
        run = ImageGuardRun(self, request, canceled)
        try:
            async with aclosing(aiterate_in_thread(run.events, canceled, self.timeout_s, self._left_behind)) as events:
                async for event in events:
                    # Recorders are synchronous and write to disk or to a server.
                    yield await asyncio.to_thread(self._finished, event, request)
        except DeadlineExceeded:
            if not run.timed_out():
                raise
            refused = GuardedPictureEvent(result=run.refused("timeout"))
            yield await asyncio.to_thread(self._finished, refused, request)

    def _finished(self, event: ImageGuardEvent, request: ImageRequest) -> ImageGuardEvent:
        """Record a finished result, and remove the pictures of its attempts unless they are to be kept."""
        if not isinstance(event, GuardedPictureEvent):
            return event
        for recorder in self.recorders:
            try:
                recorder.record(event.result, request)
            except Exception as error:  # noqa: BLE001  a store that is down must not cost the reader the picture
                _log.warning("the picture %s was not recorded: %s", event.result.id, format_error(error))
        return event if self.keep_drafts else GuardedPictureEvent(result=without_pictures(event.result))


def _result(events: Sequence[ImageGuardEvent]) -> GuardedPicture:
    for event in reversed(events):
        if isinstance(event, GuardedPictureEvent):
            return event.result
    msg = "the image guard ended without a result; this is a bug in taleward"
    raise RuntimeError(msg)
