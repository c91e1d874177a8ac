"""Masks: which part of a picture is to be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taleward.core.errors import InvalidInputs
from taleward.images.picture import Picture
from taleward.images.picture_formats import value_ranges

if TYPE_CHECKING:
    from PIL import Image

_OPAQUE = 255


def change_mask(mask: Picture) -> Image.Image:
    """Return a gray picture that is white where the picture is to be changed.

    A mask with transparency, as OpenAI's API takes it, says it by being transparent; any other by being white.

    Raises:
        InvalidInputs: If the mask changes nothing.
    """
    image: Image.Image = mask.to_pil()
    if image.mode == "P":
        image = image.convert("RGBA")
    alpha = image.getchannel("A") if "A" in image.getbands() else None
    if alpha is not None and value_ranges(alpha)[0][0] < _OPAQUE:
        changed: Image.Image = alpha.point(lambda value: _OPAQUE - value)
    else:
        changed = image.convert("L")
    if value_ranges(changed)[0][1] == 0:
        raise InvalidInputs(
            None, ["mask: nothing in it is white or transparent, so nothing would change"], hint="Paint it white."
        )
    return changed
