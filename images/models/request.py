"""What an image model is asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from taleward.core.errors import InvalidInputs
from taleward.core.frozen_model import FrozenModel
from taleward.images.picture import Picture
from taleward.images.prompt_spec import PromptSpec

MAX_PICTURES = 64
MAX_SEED = 2**32 - 1
"""The largest seed that every model takes."""
MAX_SIDE = 8192


def _as_spec(prompt: object) -> object:
    return PromptSpec.of(prompt) if isinstance(prompt, str) else prompt


Side = Annotated[int, Field(ge=16, le=MAX_SIDE)]


class ImageRequest(FrozenModel):
    """A prompt with what the picture is made from.

    Attributes:
        prompt: The prompt; a sentence becomes a `PromptSpec`.
        n: How many variations to draw, 1 to 64; the model's default if `None`.
        seed: The seed of the first; those of the others follow from it. Random if `None`.
        size: Width and height in pixels; from the prompt's aspect ratio if `None`.
        init_image: A picture to change, image-to-image.
        strength: How far to change it, above 0 (not at all) to 1 (only its colors and layout may be left); 0.6 if
            `None`.
        mask: Where to change `init_image`, of the same size: white or transparent is redrawn, black and opaque is kept.
        references: Pictures of characters or styles to follow.
    """

    prompt: Annotated[PromptSpec, BeforeValidator(_as_spec)]
    n: int | None = Field(default=None, ge=1, le=MAX_PICTURES)
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    size: tuple[Side, Side] | None = None
    init_image: Picture | None = None
    strength: float | None = Field(default=None, gt=0.0, le=1.0)
    mask: Picture | None = None
    references: tuple[Picture, ...] = ()

    @model_validator(mode="after")
    def _check_pictures(self) -> Self:
        image = self.init_image
        if image is None and (self.mask is not None or self.strength is not None):
            given = "mask" if self.mask is not None else "strength"
            msg = f"{given} is for changing a picture: give init_image too"
            raise ValueError(msg)
        if image and self.mask and (image.width, image.height) != (self.mask.width, self.mask.height):
            msg = (
                f"the mask must have the size of init_image, {image.width}x{image.height}; "
                f"got {self.mask.width}x{self.mask.height}"
            )
            raise ValueError(msg)
        return self

    @property
    def parents(self) -> tuple[str, ...]:
        """The SHA-256 of the pictures it is made from."""
        pictures = (self.init_image, self.mask, *self.references)
        return tuple(picture.sha256 for picture in pictures if picture is not None)

    def sha256(self, **context: object) -> str:
        """Return what identifies the request: the SHA-256 of its fields, pictures by their digests.

        Args:
            context: What else decides the result, such as the model and its parameters.
        """
        fields = self.model_dump(mode="json", exclude={"init_image", "mask", "references"})
        fields["pictures"] = [p and p.sha256 for p in (self.init_image, self.mask, *self.references)]
        text = json.dumps({"request": fields, "context": context}, sort_keys=True, ensure_ascii=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


ImageInput = PromptSpec | str | ImageRequest
"""What an image model takes."""


def as_request(value: object, fields: Mapping[str, Any]) -> ImageRequest:
    """Return the request for an input, with some fields set.

    Args:
        value: A `PromptSpec`, a sentence, an `ImageRequest`, or a mapping of a request's fields.
        fields: Fields of the request that override those of `value`.

    Raises:
        InvalidInputs: If the input is of another type or a field is unknown or invalid.
    """
    match value:
        case ImageRequest():
            given: dict[str, Any] = dict(value)
        case PromptSpec() | str():
            given = {"prompt": value}
        case Mapping():
            given = dict(value)
        case _:
            raise InvalidInputs(
                None,
                [f"an image model takes a PromptSpec, a sentence or an ImageRequest; got {type(value).__name__}"],
                hint="For example image_model('collage').invoke('a fox asleep in a snowy forest').",
            )
    try:
        return ImageRequest.model_validate({**given, **fields})
    except ValidationError as error:
        # Without the input: it may be a picture, or a child's words.
        problems = [
            f"{'.'.join(map(str, e['loc'])) or 'request'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        known = ", ".join(ImageRequest.model_fields)
        raise InvalidInputs(None, problems, hint=f"A request has the fields {known}.") from None
