"""Events of an image model's stream. No picture in them has been judged."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from taleward.core.frozen_model import FrozenModel
from taleward.images.picture import Picture


class DrawingProgress(FrozenModel):
    """Some steps of the drawing are done.

    Attributes:
        step: The steps done.
        steps: The steps in all.
        indices: The variations that are being drawn, from 0.
    """

    type: Literal["progress"] = "progress"
    step: int = Field(ge=0)
    steps: int = Field(ge=1)
    indices: tuple[int, ...] = ()


class PartialPicture(FrozenModel):
    """An unfinished picture.

    Attributes:
        index: The variation, from 0.
        number: The number of this state of it, from 1.
        picture: How it looks so far.
    """

    type: Literal["partial"] = "partial"
    index: int = Field(ge=0)
    number: int = Field(ge=1)
    picture: Picture


class FinishedPicture(FrozenModel):
    """A finished picture.

    Attributes:
        index: The variation, from 0.
        picture: The picture.
        cached: Whether it was in the cache.
    """

    type: Literal["picture"] = "picture"
    index: int = Field(ge=0)
    picture: Picture
    cached: bool = False


ImageEvent: TypeAlias = DrawingProgress | PartialPicture | FinishedPicture
