"""The image guard: only judged pictures leave, whatever fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from taleward.core.errors import BackendError, ConfigurationError, InvalidInputs, PictureBlocked, Refused
from taleward.core.frozen_model import FrozenDict
from taleward.core.verdict import Finding
from taleward.images.guard.events import GuardedPictureEvent, PictureVerdictEvent, RedrawEvent
from taleward.images.guard.guarded_picture import GuardedPicture
from taleward.images.guard.image_guard import ImageGuard
from taleward.images.guard.picture_judge import PictureJudge
from taleward.images.guard.soften import soften
from taleward.images.models.base import DrawingTask
from taleward.images.models.events import DrawingProgress
from taleward.images.models.request import ImageRequest
from taleward.images.picture import Picture
from taleward.images.prompt_spec import PromptSpec
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge
from tests.helpers.image_models import NoiseModel, noise_png, png

Script = Callable[[Picture, int], Assessment]
FRIGHTENING = Assessment(findings=(Finding(category="frightening", severity="severe", rationale="a monster"),))
OK = Assessment()


class ScriptedPictureJudge(PictureJudge):
    """A picture judge that answers by a function of the picture and the number of the call, from 0."""

    def __init__(self, script: Script, **options: Any) -> None:
        super().__init__("scripted", **options)
        self.script, self.calls = script, 0

    def assess(self, picture: Picture) -> Assessment:
        self.calls += 1
        return self.script(picture, self.calls - 1)


def guard_of(script: Script = lambda *_: OK, *, model: NoiseModel | None = None, **options: Any) -> ImageGuard:
    options = {"fallback": None, "picture_judges": ["picture-checks", ScriptedPictureJudge(script)], **options}
    return ImageGuard(model or NoiseModel(), options.pop("judge", FakeJudge()), **options)


def test_a_picture_that_passes_is_released_with_its_verdicts() -> None:
    result = guard_of().invoke("a fox", seed=3)
    assert result.released
    assert result.picture.seed == 3
    assert [verdict.judge for verdict in result.attempts[0].pictures[0].verdicts] == ["picture-checks", "scripted"]
    assert result.prompt_verdict is not None
    assert result.attempts[0].pictures[0].picture is None
    assert result.drawer == "model"
    assert "<img" in result._repr_html_()


def test_a_prompt_that_fails_is_never_drawn() -> None:
    model = NoiseModel()
    result = guard_of(model=model).invoke("a bad fox")
    assert (result.released, result.refusal and result.refusal.reason) == (False, "input")
    assert model.prompts == []
    assert "bad fox" not in result.refusal.message  # type: ignore[union-attr]
    with pytest.raises(Refused, match="not released"):
        _ = result.picture


def test_words_to_be_shown_are_judged_too() -> None:
    from taleward.images.prompt_spec import TextShown

    judge = FakeJudge()
    guard_of(judge=judge).invoke(PromptSpec(subject="a shop", text_shown=TextShown(words="TOYS")))
    assert "TOYS" in judge.judged_texts[0]


def test_a_picture_that_fails_is_drawn_again_from_a_softer_prompt() -> None:
    model = NoiseModel()
    result = guard_of(lambda _, call: FRIGHTENING if call == 0 else OK, model=model).invoke("a fox", seed=3)
    assert result.released
    assert [attempt.number for attempt in result.attempts] == [1, 2]
    assert "monsters" in result.attempts[1].prompt.negative
    assert "warm and friendly" in model.prompts[1]
    assert result.picture.seed != 3


def test_after_all_attempts_the_fallback_draws_and_is_judged_like_the_model() -> None:
    model, fallback = NoiseModel(), NoiseModel()
    script: Script = lambda _, call: FRIGHTENING if call < 2 else OK  # noqa: E731
    result = guard_of(script, model=model, fallback=fallback, attempts=2).invoke("a fox")
    assert (result.drawer, len(model.prompts), len(fallback.prompts)) == ("fallback", 2, 1)
    assert result.attempts[-1].prompt.mood == ""
    refused = guard_of(lambda *_: FRIGHTENING, model=model, fallback=fallback, attempts=2).invoke("a fox")
    assert refused.refusal is not None
    assert (refused.refusal.reason, refused.refusal.categories) == ("failed", ("frightening",))


@pytest.mark.parametrize(
    "assessment", [Assessment(outcome=outcome) for outcome in ("unparsable", "error", "abstain", "fail")]
)
def test_no_other_outcome_releases_a_picture(assessment: Assessment) -> None:
    result = guard_of(lambda *_: assessment).invoke("a fox")
    assert not result.released
    assert result.released_pictures == ()
    assert result.refusal is not None
    assert result.refusal.reason == ("failed" if assessment.outcome in ("abstain", "fail") else "unjudged")


def test_a_judge_without_an_answer_is_asked_again_and_not_about_new_pictures() -> None:
    def script(_: Picture, call: int) -> Assessment:
        if call == 0:
            raise RuntimeError("busy")
        return OK

    model = NoiseModel()
    assert guard_of(script, model=model).invoke("a fox").released
    assert len(model.prompts) == 1
    judge = ScriptedPictureJudge(lambda *_: Assessment(outcome="error"))
    assert not ImageGuard(model, FakeJudge(), picture_judges=[judge], fallback=None).invoke("a fox").released
    assert (judge.calls, len(model.prompts)) == (2, 2)


def test_a_score_at_the_threshold_softens_by_its_category() -> None:
    script: Script = lambda _, call: Assessment(scores=FrozenDict({"sexual": 0.9 if call == 0 else 0.0}))  # noqa: E731
    result = guard_of(script).invoke("a fox")
    assert "nudity" in result.attempts[1].prompt.negative


def test_only_the_variations_that_pass_are_released() -> None:
    result = guard_of(lambda _, call: FRIGHTENING if call % 2 else OK).invoke("a fox", n=4)
    assert len(result.pictures) == 2
    assert len(result.attempts[0].pictures) == 4


def test_a_blocked_request_is_softened_and_a_flagged_picture_fails() -> None:
    class Blocking(NoiseModel):
        def _draw(self, drawing: DrawingTask) -> Any:
            if not self.prompts:
                self.prompts.append("")
                raise PictureBlocked("the filter blocked the prompt", categories=("violence",))
            yield from super()._draw(drawing)

    result = guard_of(model=Blocking()).invoke("a fox")
    assert result.released
    assert "blocked" in result.attempts[0].blocked
    half = guard_of(model=NoiseModel(blocked=frozenset({0})), attempts=1).invoke("a fox", n=2)
    assert len(half.pictures) == 1
    assert "flagged" in half.attempts[0].pictures[0].verdict.detail


def test_a_model_that_fails_hands_over_to_the_fallback_or_raises() -> None:
    class Failing(NoiseModel):
        def _draw(self, drawing: DrawingTask) -> Any:
            yield DrawingProgress(step=1, steps=2)
            raise BackendError("the server is down")

    result = guard_of(model=Failing(), fallback=NoiseModel()).invoke("a fox")
    assert result.drawer == "fallback"
    assert "server is down" in result.attempts[0].failure
    with pytest.raises(BackendError):
        guard_of(model=Failing()).invoke("a fox")


def test_pictures_that_come_with_the_request_are_judged_first() -> None:
    model = NoiseModel()
    image = Picture.from_bytes(noise_png(1), prompt="a barn")
    result = guard_of(lambda *_: FRIGHTENING, model=model).invoke("a fox", init_image=image)
    assert result.refusal is not None
    assert (result.refusal.reason, model.prompts) == ("input", [])
    blank = Picture.from_bytes(png("white", (32, 32)), prompt="x")
    assert not guard_of().invoke("a fox", init_image=blank).released
    assert guard_of().invoke("a fox", init_image=image).released


def test_when_time_runs_out_nothing_is_released() -> None:
    slow = NoiseModel(step_s=0.05, steps=100)
    result = guard_of(model=slow, timeout_s=0.2, fallback=NoiseModel()).invoke("a fox")
    assert result.refusal is not None
    assert result.refusal.reason == "timeout"

    def hang(*_: object) -> Assessment:
        time.sleep(2)
        return OK

    started_s = time.monotonic()
    assert not guard_of(hang, timeout_s=0.3).invoke("a fox").released
    assert time.monotonic() - started_s < 1.8


async def test_a_stream_tells_the_verdicts_and_shows_no_picture_before_the_end() -> None:
    guard = guard_of(lambda _, call: FRIGHTENING if call in (0, 2) else OK)
    for events in (list(guard.stream("a fox")), [event async for event in guard.astream("a fox")]):
        assert isinstance(events[-1], GuardedPictureEvent)
        assert not any(isinstance(value, Picture) for event in events[:-1] for _, value in event)
        assert {DrawingProgress, PictureVerdictEvent, RedrawEvent} <= {type(event) for event in events}
    assert (await guard.ainvoke("a fox")).released


def test_recorders_get_all_pictures_and_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[GuardedPicture] = []

    class Recorder:
        def record(self, result: GuardedPicture, request: ImageRequest) -> None:
            seen.append(result)
            raise OSError("disk full")

    result = guard_of(lambda _, call: FRIGHTENING if call == 0 else OK, recorder=Recorder()).invoke("a fox")
    assert result.released
    assert all(judged.picture for attempt in seen[0].attempts for judged in attempt.pictures)
    assert "disk full" in caplog.text
    assert "fox" not in caplog.text


def test_no_picture_is_released_without_its_verdicts_however_the_result_is_made() -> None:
    result, other = guard_of().invoke("a fox"), Picture.from_bytes(noise_png(9), prompt="x")
    for change in (
        {"released_pictures": (other,)},
        {"attempts": ()},
        {"prompt_verdict": None},
        {"released_pictures": ()},
        {"lineage": result.lineage.model_copy(update={"picture_judges": ("a", "b", "c")})},
    ):
        with pytest.raises(ValidationError):
            result.model_copy(update=change)
        with pytest.raises(ValidationError):
            GuardedPicture.model_construct(**{**dict(result), **change})
    assert GuardedPicture.model_validate_json(result.model_dump_json()) == result


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"attempts": 0}, "attempts"),
        ({"n": 0}, "n must"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"picture_judges": []}, "at least one"),
        ({"judge": "lexicon"}, "needs a judge"),
        ({"judge": FakeJudge(band="3-5")}, "another policy or band"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        guard_of(**options)
    with pytest.raises(InvalidInputs):
        guard_of().invoke("a fox", n=-1)


def test_soften_asks_for_less_of_what_was_found() -> None:
    spec = PromptSpec(subject="a fox", action="fighting", lighting="lightning", negative=("people",))
    once, twice = soften(spec, ["violence"]), soften(spec, ["violence", "unknown"], strongly=True)
    assert once.negative[0] == "people"
    assert {"weapons", "letters"} <= set(once.negative)
    assert (once.action, twice.action, twice.lighting) == ("fighting", "", "soft daylight")
    assert soften(once, ["violence"]) == once


def test_the_collage_is_the_default_fallback() -> None:
    result = ImageGuard(NoiseModel(blocked=frozenset({0})), FakeJudge(), attempts=1).invoke("a fox in the snow", seed=1)
    assert (result.drawer, result.released) == ("fallback", True)
    assert result.picture.lineage.model.startswith("collage")
