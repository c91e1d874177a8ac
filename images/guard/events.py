"""Events of an image guard's stream. Only the last one, `done`, holds pictures, and only judged ones."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from taleward.core.frozen_model import FrozenModel
from taleward.core.verdict import Verdict
from taleward.images.guard.guarded_picture import Drawer, GuardedPicture
from taleward.images.models.events import DrawingProgress


class PictureVerdictEvent(FrozenModel):
    """The prompt or a picture was judged.

    Attributes:
        what: What was judged: the `prompt`, a picture that came with the request (`input`), or one that was drawn.
        attempt: The number of the attempt that drew it, from 1; 0 for what came with the request.
        verdict: The verdict that decided.
    """

    type: Literal["verdict"] = "verdict"
    what: Literal["prompt", "input", "picture"]
    attempt: int = Field(ge=0)
    verdict: Verdict


class RedrawEvent(FrozenModel):
    """Another attempt begins.

    Attributes:
        attempt: Its number.
        drawer: Who draws: the model with a softer prompt, or the fallback.
        categories: The categories for which the last pictures failed.
    """

    type: Literal["redraw"] = "redraw"
    attempt: int = Field(ge=2)
    drawer: Drawer
    categories: tuple[str, ...] = ()


class GuardedPictureEvent(FrozenModel):
    """The last event of every stream.

    Attributes:
        result: What `invoke` would have returned.
    """

    type: Literal["done"] = "done"
    result: GuardedPicture


ImageGuardEvent: TypeAlias = DrawingProgress | PictureVerdictEvent | RedrawEvent | GuardedPictureEvent
