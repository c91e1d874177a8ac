"""Contact sheets: size, alt text, parents, and that every picture is on it."""

from __future__ import annotations

import pytest

from taleward.core.errors import ConfigurationError
from taleward.images.contact_sheet import contact_sheet
from taleward.images.picture import Picture
from tests.helpers.image_models import png


def test_every_picture_is_on_the_sheet_with_its_number() -> None:
    colors = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200)]
    pictures = [
        Picture.from_bytes(png(c, (64, 32)), prompt="a field", seed=n, credits=("c",)) for n, c in enumerate(colors)
    ]
    sheet = contact_sheet(pictures, width=100)
    seen = {color for _, color in sheet.to_pil().getcolors(1 << 20)}
    assert set(colors) <= seen
    assert sheet.lineage.parents == tuple(picture.sha256 for picture in pictures)
    assert sheet.alt_text.startswith("5 pictures side by side. 1: ")
    assert sheet.credits == ("c",)
    assert contact_sheet(pictures, columns=5, width=100).width > sheet.width


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="at least one"):
        contact_sheet([])
    with pytest.raises(ConfigurationError, match="columns"):
        contact_sheet([Picture.from_bytes(png(), prompt="x")], columns=0)
