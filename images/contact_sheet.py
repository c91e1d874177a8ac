"""A contact sheet: several pictures side by side on one, to choose from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from taleward.core.errors import ConfigurationError
from taleward.images.picture import Picture, PictureLineage

_MARGIN, _LABEL_HEIGHT, _FONT_SIZE = 16, 30, 17
_PAPER, _INK, _EDGE = "#f7f5f0", "#3b3b3b", "#d8d4ca"


def contact_sheet(pictures: Sequence[Picture], *, columns: int | None = None, width: int = 420) -> Picture:
    """Put pictures side by side, each with its number and seed.

    Args:
        pictures: The pictures; they may differ in size.
        columns: Pictures per row; about as many as rows by default.
        width: The width of a picture on the sheet, in pixels.

    Raises:
        ConfigurationError: If there are no pictures, or a number is below 1.
        MissingExtra: If Pillow is not installed.
    """
    if not pictures:
        raise ConfigurationError("a contact sheet needs at least one picture; got none.")
    if width < 16 or (columns is not None and columns < 1):
        raise ConfigurationError(f"columns must be 1 or more, and width 16 or more; got {columns} and {width}.")
    from PIL import Image, ImageDraw

    per_row = min(len(pictures), columns or math.ceil(math.sqrt(len(pictures))))
    images = [_scaled(picture, width) for picture in pictures]
    rows = [images[start : start + per_row] for start in range(0, len(images), per_row)]
    heights = [max(image.height for image in row) + _LABEL_HEIGHT for row in rows]
    size = (per_row * (width + _MARGIN) + _MARGIN, sum(heights) + (len(rows) + 1) * _MARGIN)
    sheet = Image.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(sheet), _font()
    number, top = 0, _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, image in enumerate(row):
            left = _MARGIN + column * (width + _MARGIN)
            sheet.paste(image, (left, top))
            draw.rectangle((left - 1, top - 1, left + image.width, top + image.height), outline=_EDGE)
            seed = pictures[number].seed
            label = f"{number + 1}" + ("" if seed is None else f"   seed {seed}")
            draw.text((left, top + image.height + 6), label, fill=_INK, font=font)
            number += 1
        top += height + _MARGIN
    buffer = BytesIO()
    sheet.save(buffer, "PNG")
    descriptions = "; ".join(f"{n}: {picture.alt_text}" for n, picture in enumerate(pictures, 1))
    first = pictures[0]
    return Picture.from_bytes(
        buffer.getvalue(),
        prompt=first.prompt,
        alt_text=f"{len(pictures)} pictures side by side. {descriptions}",
        lineage=PictureLineage(model=first.lineage.model, parents=tuple(picture.sha256 for picture in pictures)),
        credits=tuple(dict.fromkeys(credit for picture in pictures for credit in picture.credits)),
    )


def _scaled(picture: Picture, width: int) -> Any:
    from PIL import Image

    image = picture.to_pil().convert("RGBA")
    image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(_FONT_SIZE)
