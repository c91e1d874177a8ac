"""One guarded drawing: judge the prompt, draw, judge the pictures, soften and redraw, fall back, release or refuse."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from taleward.core.concurrency.abandoned_calls import LeftBehind
from taleward.core.concurrency.timeout import call_with_timeout
from taleward.core.errors import BackendError, PictureBlocked
from taleward.core.redaction import format_error
from taleward.core.tale import Refusal, RefusalReason
from taleward.core.verdict import Passage, Verdict
from taleward.images.guard.events import (
    GuardedPictureEvent,
    ImageGuardEvent,
    PictureVerdictEvent,
    RedrawEvent,
)
from taleward.images.guard.guarded_picture import (
    DrawingAttempt,
    GuardedPicture,
    ImageGuardLineage,
    JudgedPicture,
)
from taleward.images.guard.soften import soften
from taleward.images.models.base import ImageModel
from taleward.images.models.events import DrawingProgress, FinishedPicture
from taleward.images.models.request import ImageRequest
from taleward.images.models.seeds import variation_seeds
from taleward.images.picture import Picture

if TYPE_CHECKING:
    from taleward.images.guard.image_guard import ImageGuard

_log = logging.getLogger(__name__)
Emit = Callable[[ImageGuardEvent], None]
Steps = Generator[ImageGuardEvent, None, RefusalReason | None]
"""Events, and in the end why nothing is released, or `None`."""
_CHILD_MESSAGES: dict[RefusalReason, str] = {
    "failed": "I could not draw a good picture of that. Shall we try another idea?",
    "unjudged": "My picture checker is taking a rest. Please ask again in a little while.",
    "timeout": "My picture is taking too long today. Please ask again in a little while.",
    "input": "I would rather not draw that. Shall we think of something else?",
}


class ImageGuardRun:
    """The state of one guarded drawing."""

    def __init__(self, guard: ImageGuard, request: ImageRequest, canceled: threading.Event) -> None:
        self._guard, self._request, self._canceled = guard, request, canceled
        self._started_at, self._started_s = datetime.now(UTC), time.monotonic()
        self._deadline_s = None if guard.timeout_s is None else self._started_s + guard.timeout_s
        self._attempts: list[DrawingAttempt] = []
        self._pictures: list[Picture] = []
        self._prompt_verdict: Verdict | None = None
        self._input_verdicts: list[Verdict] = []

    def events(self, emit: Emit) -> Iterator[ImageGuardEvent]:
        """Run the guard; the last event is `done`."""
        if (reason := (yield from self._judge_request())) is None:
            reason = yield from self._draw_until_released(emit)
        result = self._released() if reason is None else self.refused(reason)
        yield GuardedPictureEvent(result=result)

    def timed_out(self) -> bool:
        """Whether the deadline has passed."""
        return self._remaining_s() == 0.0

    def _judge_request(self) -> Steps:
        """Judge the prompt, and the pictures that came with it; return why they are refused, or `None`."""
        request, judge = self._request, self._guard.prompt_judge
        passage = Passage(text=_words(request))
        verdict = self._ask(partial(judge.invoke, passage), judge.spec, judge.left_behind)
        self._prompt_verdict = verdict.without_words(passage.text) if not verdict.passed else verdict
        yield PictureVerdictEvent(what="prompt", attempt=0, verdict=self._prompt_verdict)
        if not verdict.passed:
            return self._reason(verdict, "input")
        pictures = [p for p in (request.init_image, *request.references) if p is not None]
        for picture in pictures:
            judged = self._judged(picture)
            self._input_verdicts.append(judged.verdict)
            yield PictureVerdictEvent(what="input", attempt=0, verdict=judged.verdict)
            if not judged.passed:
                return self._reason(judged.verdict, "input")
        return None

    def _draw_until_released(self, emit: Emit) -> Steps:
        """Draw until a picture passes; return why nothing is released, or `None`."""
        guard, prompt = self._guard, self._request.prompt
        seeds = variation_seeds(self._request.seed, guard.attempts)
        reason: RefusalReason = "failed"
        for number in range(1, guard.attempts + 1):
            if number > 1:
                categories = self._last_categories()
                prompt = soften(prompt, categories, strongly=number > 2)
                yield RedrawEvent(attempt=number, drawer="model", categories=categories)
            fields = {"prompt": prompt, "seed": self._seed(seeds[number - 1], number), "n": guard.n_of(self._request)}
            reason_or_none = yield from self._attempt(guard.model, self._request.model_copy(update=fields), emit)
            if reason_or_none is None:
                return None
            reason = reason_or_none
            # A judge that gives no answer would give none about another picture.
            if reason in ("unjudged", "timeout") or self._attempts[-1].failure:
                break
        if guard.fallback is None or reason == "timeout":
            return reason
        yield RedrawEvent(attempt=len(self._attempts) + 1, drawer="fallback", categories=self._last_categories())
        request = ImageRequest(prompt=self._request.prompt, seed=self._request.seed, n=1, size=None)
        return (yield from self._attempt(guard.fallback, request, emit))

    def _attempt(self, model: ImageModel, request: ImageRequest, emit: Emit) -> Steps:
        """Draw and judge once; return why nothing is released, or `None`."""
        started_s = time.monotonic()
        is_fallback = model is self._guard.fallback
        number, blocked, failure = len(self._attempts) + 1, "", ""
        pictures: list[Picture] = []
        try:
            pictures = self._draw(model, request, emit)
        except PictureBlocked as error:
            blocked = str(error)
        except BackendError as error:
            # With a fallback there is a picture all the same.
            if is_fallback or self._guard.fallback is None:
                raise
            failure = format_error(error)
            _log.warning("the image model failed, so the fallback draws: %s", failure)
        judged: list[JudgedPicture] = []
        for picture in pictures:
            judged.append(self._judged(picture))
            yield PictureVerdictEvent(what="picture", attempt=number, verdict=judged[-1].verdict)
        self._attempts.append(
            DrawingAttempt(
                number=number,
                drawer="fallback" if is_fallback else "model",
                prompt=request.prompt,
                pictures=tuple(judged),
                blocked=blocked,
                failure=failure,
                duration_s=time.monotonic() - started_s,
            )
        )
        passed = {each.sha256 for each in judged if each.passed}
        self._pictures = [picture for picture in pictures if picture.sha256 in passed]
        if self._pictures:
            return None
        if not judged:
            return "timeout" if self.timed_out() else "failed"
        reasons = {self._reason(each.verdict, "failed") for each in judged}
        return "failed" if "failed" in reasons else reasons.pop()

    def _draw(self, model: ImageModel, request: ImageRequest, emit: Emit) -> list[Picture]:
        finished: dict[int, Picture] = {}
        events = model.stream(request)
        try:
            for event in events:
                if self._canceled.is_set():
                    break
                # Unfinished pictures stay here: nobody has judged them.
                if isinstance(event, DrawingProgress):
                    emit(event)
                elif isinstance(event, FinishedPicture):
                    finished[event.index] = event.picture
        finally:
            close = getattr(events, "close", None)
            if close is not None:
                close()
        return [finished[index] for index in sorted(finished)]

    def _judged(self, picture: Picture) -> JudgedPicture:
        """Ask the judges in order until one does not pass the picture."""
        verdicts: list[Verdict] = []
        for judge in self._guard.picture_judges:
            for _ in range(self._guard.asks):
                verdict = self._ask(partial(judge.invoke, picture), judge.spec, judge.left_behind)
                if verdict.outcome not in ("unparsable", "error") or self.timed_out():
                    break
            verdicts.append(verdict)
            if not verdict.passed:
                break
        return JudgedPicture(
            sha256=picture.sha256,
            seed=picture.seed,
            lineage=picture.lineage,
            verdicts=tuple(verdicts),
            picture=picture,
        )

    def _ask(self, work: Callable[[], object], judge: str, left_behind: LeftBehind) -> Verdict:
        """Ask a judge; an exception, a time-out or anything but a verdict becomes a verdict with outcome `error`."""
        try:
            answer = call_with_timeout(self._remaining_s(), work, left_behind)
        except Exception as error:  # noqa: BLE001  a judge that fails must not release anything
            return self._error(judge, format_error(error))
        if isinstance(answer, Verdict):
            return answer
        return self._error(judge, f"the judge returned {type(answer).__name__} instead of a Verdict")

    def _error(self, judge: str, detail: str) -> Verdict:
        text_judge = self._guard.prompt_judge
        return Verdict(outcome="error", judge=judge, policy=text_judge.policy.id, band=text_judge.band, detail=detail)

    def _reason(self, verdict: Verdict, if_failed: RefusalReason) -> RefusalReason:
        if verdict.outcome in ("fail", "abstain"):
            return if_failed
        return "timeout" if self.timed_out() else "unjudged"

    def _last_categories(self) -> tuple[str, ...]:
        if not self._attempts:
            return ()
        found: dict[str, None] = {}
        for judged in self._attempts[-1].pictures:
            verdict = judged.verdict
            threshold = self._guard.prompt_judge.policy.threshold
            found |= dict.fromkeys(verdict.categories)
            found |= dict.fromkeys(c for c, score in verdict.scores.items() if score >= threshold(c, verdict.band))
        return tuple(found)

    def _seed(self, seed: int, number: int) -> int | None:
        # A hosted model takes no seed, and with a cache a first request without one is found again.
        return seed if number > 1 or self._request.seed is not None or self._guard.model.capabilities.seed else None

    def _remaining_s(self) -> float | None:
        return None if self._deadline_s is None else max(0.0, self._deadline_s - time.monotonic())

    def _released(self) -> GuardedPicture:
        return GuardedPicture.model_validate({"released_pictures": tuple(self._pictures), **self._common()})

    def refused(self, reason: RefusalReason) -> GuardedPicture:
        """Return a result without pictures."""
        refusal = Refusal(
            reason=reason,
            message=self._message(reason),
            child_message=_CHILD_MESSAGES[reason],
            categories=self._last_categories() or (self._prompt_verdict.categories if self._prompt_verdict else ()),
        )
        return GuardedPicture.model_validate({"refusal": refusal, **self._common()})

    def _common(self) -> dict[str, object]:
        guard = self._guard
        lineage = ImageGuardLineage(
            taleward=version("taleward"),
            model=guard.model.spec,
            prompt_judge=guard.prompt_judge.spec,
            picture_judges=tuple(judge.spec for judge in guard.picture_judges),
            policy=guard.prompt_judge.policy.id,
            band=guard.prompt_judge.band,
            started_at=self._started_at,
            duration_s=time.monotonic() - self._started_s,
        )
        return {
            "id": uuid.uuid4().hex,
            "prompt_verdict": self._prompt_verdict,
            "input_verdicts": tuple(self._input_verdicts),
            "attempts": tuple(self._attempts),
            "lineage": lineage,
        }

    def _message(self, reason: RefusalReason) -> str:
        if reason == "timeout":
            return f"the time limit of {self._guard.timeout_s or 0:g} s passed after {len(self._attempts)} attempts"
        last = next((j.verdict for a in reversed(self._attempts) for j in reversed(a.pictures)), None)
        if not self._attempts:
            verdict = self._input_verdicts[-1] if self._input_verdicts else self._prompt_verdict
            what = "a picture that came with the request" if self._input_verdicts else "the prompt"
            return f"{what} did not pass {_describe(verdict)}"
        blocked = self._attempts[-1].blocked
        if last is None:
            return blocked or "the model drew nothing"
        return f"no picture of {len(self._attempts)} attempts passed; the last {_describe(last)}"


def _describe(verdict: Verdict | None) -> str:
    if verdict is None:
        return "the judge: there is no verdict"
    why = ", ".join(verdict.categories) or verdict.detail or "no reason given"
    return f"the judge {verdict.judge} ({verdict.outcome}): {why}"


def without_pictures(result: GuardedPicture) -> GuardedPicture:
    """Return a result whose attempts hold no pictures, so that what was refused does not travel with it."""
    attempts = tuple(
        attempt.model_copy(
            update={"pictures": tuple(judged.model_copy(update={"picture": None}) for judged in attempt.pictures)}
        )
        for attempt in result.attempts
    )
    return result.model_copy(update={"attempts": attempts})


def _words(request: ImageRequest) -> str:
    """All words of a prompt that can be seen in the picture."""
    spec = request.prompt
    shown = spec.text_shown.words if spec.text_shown else ""
    options = [str(v) for given in spec.options.values() for v in given.values() if isinstance(v, str)]
    return "\n".join(dict.fromkeys(text for text in (spec.prompt, spec.alt_text, shown, *options) if text))
