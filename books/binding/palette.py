"""Colors of a book, taken from its cover: the board of the cover, and an accent for light and for dark paper."""

from __future__ import annotations

import colorsys
from typing import NamedTuple

from taleward.images.picture import Picture

Color = tuple[int, int, int]

PAPER: Color = (255, 252, 244)
INK: Color = (37, 45, 56)
SOFT: Color = (92, 98, 106)
CREAM: Color = (255, 250, 238)
NIGHT_PAPER: Color = (31, 38, 54)
_CALM: Color = (40, 70, 92)
_SAMPLE = 48
_COLORS = 8
_TEXT_CONTRAST, _BOARD_CONTRAST = 4.8, 7.5
_OLIVE, _DRAB = (0.1, 0.23), 0.15
_MAX_SATURATION, _MIN_SATURATION = 0.58, 0.34


class Palette(NamedTuple):
    """Colors that go with a book's pictures.

    Attributes:
        board: The cover, dark enough for cream letters.
        accent: On light paper.
        night_accent: On dark paper.
    """

    board: Color
    accent: Color
    night_accent: Color


def palette_of(picture: Picture | None) -> Palette:
    """Return the palette of a cover's picture; a calm blue without one."""
    hue, saturation = _main_hue(_CALM if picture is None else _main_color(picture))
    board, accent = _shade(hue, saturation, CREAM, _BOARD_CONTRAST), _shade(hue, saturation, PAPER, _TEXT_CONTRAST)
    return Palette(board, accent, _shade(hue, saturation, NIGHT_PAPER, _TEXT_CONTRAST))


def contrast(one: Color, other: Color) -> float:
    """Return the contrast of two colors, from 1 to 21, as WCAG 2.2 defines it."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def css(color: Color) -> str:
    """Return a color as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def _main_color(picture: Picture) -> Color:
    image = picture.to_pil().convert("RGB").resize((_SAMPLE, _SAMPLE)).quantize(_COLORS)
    colors = image.convert("RGB").getcolors(_COLORS)
    strongest: Color = max((count * _strength(rgb), rgb) for count, rgb in colors)[1]
    return strongest


def _strength(color: Color) -> float:
    """Return how much a color counts: gray skies and white paper give no book its color, and dark yellow is drab."""
    chroma = (max(color) - min(color)) / 255
    hue = colorsys.rgb_to_hls(*_unit(color))[0]
    return (0.02 + chroma) * (_DRAB if _OLIVE[0] < hue < _OLIVE[1] else 1.0)


def _main_hue(color: Color) -> tuple[float, float]:
    hue, _, saturation = colorsys.rgb_to_hls(*_unit(color))
    return hue, min(max(saturation, _MIN_SATURATION), _MAX_SATURATION)


def _shade(hue: float, saturation: float, against: Color, least: float) -> Color:
    """Return the shade of a hue nearest to the other color that can still be read on it."""
    steps = range(100, -1, -1) if _luminance(against) > 0.5 else range(101)
    shades = (_bytes(colorsys.hls_to_rgb(hue, step / 100, saturation)) for step in steps)
    return next(shade for shade in shades if contrast(shade, against) >= least)


def _luminance(color: Color) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in _unit(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _unit(color: Color) -> tuple[float, float, float]:
    return color[0] / 255, color[1] / 255, color[2] / 255


def _bytes(color: tuple[float, float, float]) -> Color:
    return round(color[0] * 255), round(color[1] * 255), round(color[2] * 255)
