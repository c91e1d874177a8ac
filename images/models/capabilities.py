"""What an image model can do."""

from __future__ import annotations

from pydantic import Field

from taleward.core.frozen_model import FrozenModel


class ImageCapabilities(FrozenModel):
    """What an image model can do; a request for anything else is refused before it runs.

    Attributes:
        text_to_image: Whether it draws from a prompt alone.
        image_to_image: Whether it changes a picture (`init_image`).
        inpainting: Whether it changes a part of a picture (`mask`).
        references: How many pictures of characters or styles it follows.
        seed: Whether the same seed gives the same picture.
        strength: Whether it takes `strength`; other models read from the prompt how much to change.
        negative_prompt: Whether it is told what to leave out.
        partial_pictures: Whether its stream shows unfinished pictures.
        size_multiple: Both sides of a picture are multiples of it.
        max_pixels: The largest area in pixels, `None` if unknown.
    """

    text_to_image: bool = True
    image_to_image: bool = False
    inpainting: bool = False
    references: int = Field(default=0, ge=0)
    seed: bool = True
    strength: bool = False
    negative_prompt: bool = False
    partial_pictures: bool = False
    size_multiple: int = Field(default=8, ge=1)
    max_pixels: int | None = None
