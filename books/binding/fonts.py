"""The typefaces that every book contains: Andika for reading, Fraunces for titles."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from taleward.core.errors import ConfigurationError, MissingExtra

FOLDER = Path(__file__).parent / "fonts"


class FontFace(NamedTuple):
    """A font file.

    Attributes:
        family: The family's name.
        weight: Its weight in CSS.
        file: The file's name.
    """

    family: str
    weight: int
    file: str

    @property
    def path(self) -> Path:
        """The file."""
        return FOLDER / self.file

    @property
    def data_url(self) -> str:
        """The file as a `data:` URL."""
        return f"data:font/ttf;base64,{base64.b64encode(self.path.read_bytes()).decode('ascii')}"


READING = FontFace("Andika", 400, "andika-regular.ttf")
BOLD = FontFace("Andika", 700, "andika-bold.ttf")
TITLES = FontFace("Fraunces", 640, "fraunces.ttf")
FACES = (READING, BOLD, TITLES)

_MEASURED_SIZE = 100


@cache
def _measure(face: FontFace) -> Any:
    try:
        from PIL import ImageFont
    except ImportError as error:
        raise MissingExtra("binding a book", "books") from error
    return ImageFont.truetype(face.path, _MEASURED_SIZE, layout_engine=ImageFont.Layout.BASIC)


@cache
def text_width(text: str, face: FontFace) -> float:
    """Return the width of a text on one line, in units of the font's size."""
    return float(_measure(face).getlength(text)) / _MEASURED_SIZE


def check_letters(text: str, face: FontFace, where: str) -> None:
    """Check that a font has every letter of a text, so that none is left out.

    Raises:
        ConfigurationError: If one is missing.
    """
    from fontTools.ttLib import TTFont

    with TTFont(face.path, lazy=True) as font:
        known = font.getBestCmap()
    missing = sorted({letter for letter in text if ord(letter) not in known and not letter.isspace()})
    if missing:
        raise ConfigurationError(
            f"{face.family}, the typeface of books, has no {', '.join(map(repr, missing[:8]))}, which {where} needs.",
            hint="Bind it as html or epub-reflowable, where readers fall back to a typeface of their own.",
        )
