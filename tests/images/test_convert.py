"""Pictures in other file formats."""

from __future__ import annotations

import pytest

import taleward as tw
from taleward.images.convert import convert_picture
from taleward.images.picture import Picture
from taleward.images.picture_formats import MediaType
from tests.helpers.image_models import noise_png, png


def test_a_bitmap_becomes_jpeg_and_webp_of_the_same_size() -> None:
    picture = Picture.from_bytes(noise_png(1, (40, 24)), prompt="noise", seed=7)
    media_types: tuple[MediaType, ...] = ("image/jpeg", "image/webp")
    for media_type in media_types:
        converted = convert_picture(picture, media_type)
        assert (converted.media_type, converted.width, converted.height) == (media_type, 40, 24)
        assert converted.seed == 7
    assert convert_picture(picture, "image/png") is picture


def test_a_transparent_picture_becomes_a_jpeg_on_white() -> None:
    picture = Picture.from_bytes(png((0, 0, 0, 0), mode="RGBA"), prompt="nothing")
    assert convert_picture(picture, "image/jpeg").to_pil().getpixel((3, 3)) == (255, 255, 255)


def test_a_drawing_becomes_png_and_a_bitmap_never_svg() -> None:
    drawing = tw.image_model("collage:svg").invoke("a fox", n=1, seed=1, size=(64, 48))[0]
    converted = convert_picture(drawing, "image/png")
    assert (converted.media_type, converted.width, converted.height) == ("image/png", 64, 48)
    with pytest.raises(ValueError, match="cannot be converted"):
        convert_picture(converted, "image/svg+xml")
