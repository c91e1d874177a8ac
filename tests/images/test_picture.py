"""Pictures: what is accepted as one, JSON, notebooks, files."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from PIL import Image
from pydantic import ValidationError

from taleward.core.errors import ConfigurationError
from taleward.images.picture import Picture, PictureLineage
from taleward.images.picture_formats import MAX_PIXELS, read_header
from tests.helpers.image_models import png

SVG = (
    b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20">'
    b'<rect width="40" height="20"/></svg>'
)


def encoded(kind: str) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (12, 8), "teal").save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "media_type", "size"),
    [
        (encoded("PNG"), "image/png", (12, 8)),
        (encoded("JPEG"), "image/jpeg", (12, 8)),
        (encoded("WEBP"), "image/webp", (12, 8)),
        (SVG, "image/svg+xml", (40, 20)),
        (b'<svg width="30px" height="10">x</svg>', "image/svg+xml", (30, 10)),
    ],
)
def test_format_and_size_are_read_from_the_bytes(data: bytes, media_type: str, size: tuple[int, int]) -> None:
    picture = Picture.from_bytes(data, prompt="a teal field")
    assert (picture.media_type, picture.width, picture.height) == (media_type, *size)
    assert picture.alt_text == picture.prompt.alt_text


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", encoded("GIF"), encoded("PNG")[:10], b"<svg>no size</svg>", b"<html><svg width='1' height='1'>"],
)
def test_anything_else_is_no_picture(data: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"picture|SVG"):
        Picture.from_bytes(data, prompt="a teal field")


def test_a_picture_too_large_to_decode_is_refused() -> None:
    with pytest.raises(ValueError, match="pixels"):
        read_header(f'<svg width="{MAX_PIXELS}" height="2"/>'.encode())


def test_json_keeps_the_bytes() -> None:
    picture = Picture.from_bytes(
        png(), prompt="a red field", seed=0, lineage=PictureLineage(model="m", scheduler="Euler")
    )
    assert Picture.model_validate_json(picture.model_dump_json()) == picture
    assert Picture.model_validate(json.loads(picture.model_dump_json())) == picture
    assert Picture.model_validate(picture.model_dump()) == picture


@pytest.mark.parametrize(
    "change", [{"data": png("blue")}, {"width": 17}, {"media_type": "image/jpeg"}, {"sha256": "0" * 64}]
)
def test_bytes_and_claims_cannot_disagree(change: dict[str, object]) -> None:
    picture = Picture.from_bytes(png(), prompt="a red field")
    with pytest.raises(ValidationError):
        picture.model_copy(update=change)


def test_neither_repr_nor_log_show_bytes_or_the_prompt() -> None:
    picture = Picture.from_bytes(png(), prompt="a secret garden", seed=3)
    assert "secret" not in f"{picture!r} {picture}"
    assert len(repr(picture)) < 120


def test_a_notebook_shows_the_picture_with_its_text_escaped() -> None:
    picture = Picture.from_bytes(SVG, prompt='a "<script>" on a hill')
    html = picture._repr_html_()
    assert "<script" not in html
    assert 'alt="' in html
    assert (picture._repr_png_() or b"").startswith(b"\x89PNG")
    assert Picture.from_bytes(encoded("JPEG"), prompt="a field")._repr_png_() is None


def test_a_damaged_file_is_an_error_only_when_it_is_decoded() -> None:
    whole = encoded("PNG")
    broken = Picture.from_bytes(whole[: len(whole) - 20], prompt="a field")
    with pytest.raises(ConfigurationError, match="cannot be decoded"):
        broken.to_pil()
