"""Formats of picture files, recognized by their first bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import BytesIO
from types import ModuleType
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from taleward.core.errors import MissingExtra

if TYPE_CHECKING:
    from PIL import Image

MediaType = Literal["image/png", "image/jpeg", "image/webp", "image/svg+xml"]

SUFFIXES: Mapping[MediaType, str] = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/svg+xml": ".svg",
}
MAX_PIXELS = 50_000_000
"""A picture with more pixels is refused before it is decoded: it could fill the memory."""
MAX_BYTES = 50_000_000

_PIL_FORMATS = ("PNG", "JPEG", "WEBP")
_SVG_ROOT = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}\?>\s*)?(?:<!--.{0,2000}?-->\s*)*<svg\b([^>]{0,4000})>", re.S
)
_LENGTH = rb"""\b%s\s*=\s*["']\s*(\d+(?:\.\d+)?)(?:px)?\s*["']"""
_SVG_WIDTH, _SVG_HEIGHT = (re.compile(_LENGTH % name) for name in (b"width", b"height"))
_SVG_VIEW_BOX = re.compile(
    rb"""\bviewBox\s*=\s*["']\s*[-\d.]+[\s,]+[-\d.]+[\s,]+(\d+(?:\.\d+)?)[\s,]+(\d+(?:\.\d+)?)\s*["']"""
)


class PictureHeader(NamedTuple):
    """What a picture file's first bytes say.

    Attributes:
        media_type: The format.
        width: Pixels, or for SVG the units of its drawing.
        height: As for `width`.
    """

    media_type: MediaType
    width: int
    height: int


def read_header(data: bytes) -> PictureHeader:
    """Recognize a PNG, JPEG, WebP or SVG file and read its size; nothing is decoded.

    Raises:
        ValueError: If the bytes are no such file, say no size, or are too large.
        MissingExtra: If Pillow is not installed.
    """
    if not data:
        msg = "the picture is empty: 0 bytes"
        raise ValueError(msg)
    if len(data) > MAX_BYTES:
        msg = f"a picture has at most {MAX_BYTES:,} bytes; got {len(data):,}"
        raise ValueError(msg)
    header = _svg_header(data) or _bitmap_header(data)
    if header.width < 1 or header.height < 1 or header.width * header.height > MAX_PIXELS:
        msg = f"a picture has 1 to {MAX_PIXELS:,} pixels; got {header.width}x{header.height}"
        raise ValueError(msg)
    return header


def open_bitmap(data: bytes) -> Image.Image:
    """Decode a PNG, JPEG or WebP file; SVG is drawn by `resvg_py` first.

    Raises:
        ValueError: If the file is damaged or too large.
        MissingExtra: If a library is not installed.
    """
    if read_header(data).media_type == "image/svg+xml":
        data = rasterize_svg(data)
    image: Image.Image = _pillow().open(BytesIO(data), formats=_PIL_FORMATS)
    try:
        image.load()
    except (OSError, SyntaxError) as error:  # Pillow raises both for damaged files
        msg = f"the picture cannot be decoded: {error}"
        raise ValueError(msg) from error
    return image


def value_ranges(image: Image.Image) -> list[tuple[int, int]]:
    """Return the least and the greatest value of each channel, from 0 to 255."""
    return [cast("tuple[int, int]", band.getextrema()) for band in image.split()]


def rasterize_svg(data: bytes, width: int | None = None) -> bytes:
    """Draw an SVG file as PNG.

    Args:
        data: The SVG file.
        width: Pixels of the result's width; the drawing's own by default.

    Raises:
        ValueError: If the file is not valid SVG.
        MissingExtra: If `resvg_py` is not installed.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise MissingExtra("drawing an SVG picture", "images") from error
    try:
        # Nothing outside of the file is read: there is no resources folder.
        return bytes(resvg_py.svg_to_bytes(svg_string=data.decode("utf-8"), width=width, skip_system_fonts=False))
    except (ValueError, UnicodeDecodeError) as error:
        msg = f"the SVG picture cannot be drawn: {error}"
        raise ValueError(msg) from error


def _svg_header(data: bytes) -> PictureHeader | None:
    root = _SVG_ROOT.match(data[:16_384])
    if root is None:
        return None
    attributes = root[1]
    width, height, box = (p.search(attributes) for p in (_SVG_WIDTH, _SVG_HEIGHT, _SVG_VIEW_BOX))
    if width and height:
        return PictureHeader("image/svg+xml", round(float(width[1])), round(float(height[1])))
    if box:
        return PictureHeader("image/svg+xml", round(float(box[1])), round(float(box[2])))
    msg = "the SVG picture says no size: give its root element width and height, or a viewBox"
    raise ValueError(msg)


def _bitmap_header(data: bytes) -> PictureHeader:
    pillow = _pillow()
    try:
        with pillow.open(BytesIO(data), formats=_PIL_FORMATS) as image:
            media_type: MediaType
            match image.format:
                case "PNG":
                    media_type = "image/png"
                case "JPEG":
                    media_type = "image/jpeg"
                case _:
                    media_type = "image/webp"
            return PictureHeader(media_type, *image.size)
    except (OSError, SyntaxError, pillow.DecompressionBombError) as error:
        msg = f"not a PNG, JPEG, WebP or SVG picture: {len(data):,} bytes that begin with {data[:8]!r}"
        raise ValueError(msg) from error


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("reading a picture", "images") from error
    return Image
