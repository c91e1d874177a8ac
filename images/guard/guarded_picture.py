"""What an image guard returns: released pictures or a refusal, with every attempt and its verdicts."""

from __future__ import annotations

from html import escape
from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from taleward.core.errors import Refused
from taleward.core.frozen_model import FrozenModel, ValidatedModel
from taleward.core.html_display import verdict_html
from taleward.core.tale import Refusal
from taleward.core.verdict import Verdict
from taleward.images.picture import Picture, PictureLineage
from taleward.images.prompt_spec import PromptSpec

Drawer = Literal["model", "fallback"]


class JudgedPicture(FrozenModel):
    """A picture that was drawn, and what the judges said; the picture itself only if the guard keeps drafts.

    Attributes:
        sha256: Identifies the picture.
        seed: Its seed.
        lineage: How it was made.
        verdicts: The verdicts in order; judging ends at the first that is no pass.
        picture: The picture, if the guard keeps drafts.
    """

    sha256: str
    seed: int | None = None
    lineage: PictureLineage
    verdicts: tuple[Verdict, ...] = Field(min_length=1)
    picture: Picture | None = Field(default=None, repr=False)

    @property
    def passed(self) -> bool:
        """Whether every judge passed it."""
        return all(verdict.passed for verdict in self.verdicts)

    @property
    def verdict(self) -> Verdict:
        """The verdict that decided: the first that is no pass, or the last one."""
        return next((verdict for verdict in self.verdicts if not verdict.passed), self.verdicts[-1])


class DrawingAttempt(FrozenModel):
    """One prompt and the pictures drawn from it.

    Attributes:
        number: The attempt's number, from 1.
        drawer: Who drew: the model, or the fallback.
        prompt: The prompt, softened after the first attempt.
        pictures: The pictures with their verdicts.
        blocked: Why the model's own filter gave no picture, empty if it did not object.
        failure: Why the model gave no picture, empty if it did.
        duration_s: Seconds from the start of the drawing to the last verdict.
    """

    number: int = Field(ge=1)
    drawer: Drawer = "model"
    prompt: PromptSpec
    pictures: tuple[JudgedPicture, ...] = ()
    blocked: str = ""
    failure: str = ""
    duration_s: float = Field(default=0.0, ge=0.0)


class ImageGuardLineage(FrozenModel):
    """How a guarded picture was made.

    Attributes:
        taleward: The version of Taleward.
        model: The image model's spec.
        prompt_judge: The judge of the prompt.
        picture_judges: The judges of the picture.
        policy: The policy's id, `name@version`.
        band: The age band.
        started_at: When the guard started.
        duration_s: Seconds from start to end.
    """

    taleward: str
    model: str
    prompt_judge: str
    picture_judges: tuple[str, ...]
    policy: str
    band: str
    started_at: AwareDatetime
    duration_s: float = Field(ge=0.0)


class GuardedPicture(ValidatedModel):
    """The result of a guarded drawing: released pictures, or a refusal.

    One with pictures cannot be created unless the prompt passed and each picture is among those of the last attempt
    that passed every judge.

    Attributes:
        id: Identifies it in records and feedback.
        released_pictures: The released pictures, empty if refused; `pictures` and `picture` raise instead.
        refusal: Why nothing was released, `None` if something was.
        prompt_verdict: The verdict on the prompt, `None` if it was not judged.
        input_verdicts: The verdicts on the pictures that came with the request.
        attempts: Every attempt, in order.
        lineage: How it was made.
    """

    id: str = Field(min_length=1)
    released_pictures: tuple[Picture, ...] = Field(default=(), repr=False)
    refusal: Refusal | None = None
    prompt_verdict: Verdict | None = None
    input_verdicts: tuple[Verdict, ...] = ()
    attempts: tuple[DrawingAttempt, ...] = ()
    lineage: ImageGuardLineage

    @model_validator(mode="after")
    def _check_release(self) -> Self:
        if bool(self.released_pictures) == (self.refusal is not None):
            msg = "a guarded picture has either released pictures or a refusal"
            raise ValueError(msg)
        if not self.released_pictures:
            return self
        if self.prompt_verdict is None or not all(v.passed for v in (self.prompt_verdict, *self.input_verdicts)):
            msg = "a picture is released only if its prompt, and the pictures it was made from, passed"
            raise ValueError(msg)
        wanted = len(self.lineage.picture_judges)
        passed = {
            judged.sha256
            for judged in (self.attempts[-1].pictures if self.attempts else ())
            if judged.passed and len(judged.verdicts) == wanted
        }
        if unjudged := [picture.sha256[:12] for picture in self.released_pictures if picture.sha256 not in passed]:
            msg = f"these pictures did not pass every judge in the last attempt: {', '.join(unjudged)}"
            raise ValueError(msg)
        return self

    @property
    def released(self) -> bool:
        """Whether something was released."""
        return bool(self.released_pictures)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The released pictures.

        Raises:
            Refused: If nothing was released; the message says why.
        """
        if self.refusal is not None:
            raise Refused(
                f"this picture was not released: {self.refusal.message}",
                hint="Check `released` first, or show `refusal.child_message`.",
            )
        return self.released_pictures

    @property
    def picture(self) -> Picture:
        """The first released picture.

        Raises:
            Refused: If nothing was released.
        """
        return self.pictures[0]

    @property
    def drawer(self) -> Drawer | None:
        """Who drew what was released: the model, or the fallback; `None` if refused."""
        return self.attempts[-1].drawer if self.released else None

    @property
    def verdict(self) -> Verdict | None:
        """The verdict that decided: on a picture of the last attempt, else on the prompt."""
        for attempt in reversed(self.attempts):
            if attempt.pictures:
                passed = [judged for judged in attempt.pictures if judged.passed]
                return (passed or list(attempt.pictures))[0].verdict
        return self.prompt_verdict

    def _repr_html_(self) -> str:
        judged = verdict_html(self.verdict) if self.verdict else ""
        if self.refusal is not None:
            return (
                f"<p>{escape(self.refusal.child_message)}<br/><small>{escape(self.refusal.message)}</small></p>{judged}"
            )
        shown = "".join(picture._repr_html_() for picture in self.released_pictures)
        note = "" if self.drawer == "model" else "<p><small>Drawn by the fallback.</small></p>"
        return f"{shown}{note}{judged}"
