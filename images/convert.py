"""Convert a picture to another file format."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import Any

from taleward.images.picture import Picture
from taleward.images.picture_formats import MediaType

DEFAULT_QUALITY = 90
_PIL_NAMES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}


def convert_picture(picture: Picture, media_type: MediaType, *, quality: int | None = None) -> Picture:
    """Return a picture in another format; one that has it already is returned unchanged.

    Args:
        picture: The picture. An SVG picture is drawn at its own size.
        media_type: The format: PNG, JPEG, on white where the picture is transparent, or WebP.
        quality: How well JPEG and WebP keep the picture, 0 to 100.

    Raises:
        ValueError: If a bitmap is to become an SVG picture.
        ConfigurationError: If the file is damaged.
        MissingExtra: If a library is not installed.
    """
    if picture.media_type == media_type and quality is None:
        return picture
    if media_type not in _PIL_NAMES:
        msg = f"a picture cannot be converted to {media_type}; it is {picture.media_type}"
        raise ValueError(msg)
    image: Any = picture.to_pil()
    if image.mode == "P":
        image = image.convert("RGBA")
    if media_type == "image/jpeg":
        image = _on_white(image)
    options = {} if media_type == "image/png" else {"quality": DEFAULT_QUALITY if quality is None else quality}
    buffer = BytesIO()
    image.save(buffer, _PIL_NAMES[media_type], **options)
    data = buffer.getvalue()
    fields = {"data": data, "media_type": media_type, "sha256": hashlib.sha256(data).hexdigest()}
    return picture.model_copy(update=fields)


def _on_white(image: Any) -> Any:
    from PIL import Image

    if "A" not in image.getbands():
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
