"""Pictures as a book contains them: in a format that readers show, no larger than needed, marked as made by AI."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any, Literal, NamedTuple

from taleward.images.picture import Picture
from taleward.images.picture_formats import open_bitmap, rasterize_svg
from taleward.images.picture_metadata import labeled

PictureFormat = Literal["image/jpeg", "image/webp"]

_MAX_SIDE = 1_800
_OPTIONS: dict[PictureFormat, dict[str, Any]] = {
    "image/jpeg": {"format": "JPEG", "quality": 90, "subsampling": 0, "optimize": True},
    "image/webp": {"format": "WEBP", "quality": 90, "method": 4},
}


class PictureFile(NamedTuple):
    """A picture's file in a book.

    Attributes:
        data: The file.
        media_type: Its format.
        width: Its width in pixels.
        height: Its height in pixels.
    """

    data: bytes
    media_type: str
    width: int
    height: int

    @property
    def data_url(self) -> str:
        """The picture as a `data:` URL."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"


def picture_file(picture: Picture, media_type: PictureFormat) -> PictureFile:
    """Return a picture's file in another format; the label that says it was made by AI is in it."""
    image = bitmap(picture, _MAX_SIDE)
    image.thumbnail((_MAX_SIDE, _MAX_SIDE))
    buffer = BytesIO()
    image.save(buffer, **_OPTIONS[media_type])
    coded = Picture.from_bytes(
        buffer.getvalue(),
        prompt=picture.prompt,
        lineage=picture.lineage,
        alt_text=picture.alt_text,
        credits=picture.credits,
    )
    return PictureFile(labeled(coded), media_type, coded.width, coded.height)


def bitmap(picture: Picture, side: int) -> Any:
    """Return a picture as an opaque Pillow image on white; a drawing (SVG) has `side` pixels on its longer side."""
    if picture.media_type == "image/svg+xml":
        width = side if picture.width >= picture.height else max(1, round(side * picture.width / picture.height))
        image = open_bitmap(rasterize_svg(picture.data, width))
    else:
        image = picture.to_pil()
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    opaque = image.convert("RGBA")
    paper = opaque.copy()
    paper.paste((255, 255, 255, 255), (0, 0, *paper.size))
    paper.alpha_composite(opaque)
    return paper.convert("RGB")
