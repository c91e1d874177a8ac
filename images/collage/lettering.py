"""Words that can be read in a picture, on a banner of paper; the letters are outlines, so no font is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from taleward.images.collage.shapes import path

_MOST_LETTERS = 60
_INK = "#4a3540"


@lru_cache(maxsize=1)
def _letters() -> Mapping[str, Any]:
    text = files("taleward.images.collage").joinpath("data/letters.json").read_text(encoding="utf-8")
    content: Mapping[str, Any] = json.loads(text)
    return content


def lettering(words: str, place: str, width: float, height: float) -> str:
    """Return words on a banner; empty if they are too many, or in letters that the font lacks.

    Args:
        words: The words.
        place: Where they stand: at the bottom if it says so, otherwise at the top.
        width: The picture's width.
        height: The picture's height.
    """
    glyphs = _letters()["glyphs"]
    if len(words) > _MOST_LETTERS or any(letter not in glyphs for letter in words):
        return ""
    lines = _wrap(words)
    units = _letters()["units"]
    longest = max(sum(glyphs[letter][0] for letter in line) for line in lines) / units
    size = min(96.0, width * 0.78 / longest, height * 0.2 / len(lines))
    leading = size * 1.12
    box_width, box_height = longest * size + size * 1.1, leading * len(lines) + size * 0.55
    left = (width - box_width) / 2
    low = any(word in place.casefold() for word in ("bottom", "below", "lower", "under", "foot"))
    top = height * 0.965 - box_height if low else height * 0.035
    parts = [_banner(left, top, box_width, box_height)]
    for number, line in enumerate(lines):
        wide = sum(glyphs[letter][0] for letter in line) / units * size
        x, y = (width - wide) / 2, top + size * 0.27 + leading * number + size * 0.86
        for letter in line:
            advance, outline = glyphs[letter]
            if outline:
                scale = size / units
                parts.append(
                    f'<path transform="translate({x:.1f} {y:.1f}) scale({scale:.5f} {-scale:.5f})" fill="{_INK}" d="{outline}"/>'
                )
            x += advance / units * size
    return "".join(parts)


def _wrap(words: str) -> list[str]:
    if len(words) <= 22 or " " not in words:
        return [words]
    middle = len(words) / 2
    cut = min((i for i, letter in enumerate(words) if letter == " "), key=lambda i: abs(i - middle))
    return [words[:cut], words[cut + 1 :]]


def _banner(x: float, y: float, width: float, height: float) -> str:
    tail = height * 0.42
    ends = "".join(
        path(
            f"M{edge:.1f} {y + height * 0.2:.1f}h{side * tail:.1f}l{-side * tail * 0.4:.1f} {height * 0.45:.1f}l{side * tail * 0.4:.1f} {height * 0.45:.1f}h{-side * tail:.1f}Z",
            fill="#e9c98f",
        )
        for edge, side in ((x + 6, -1), (x + width - 6, 1))
    )
    body = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{height * 0.16:.1f}" fill="#fff6e0" stroke="#e0bd7e" stroke-width="4"/>'
    return ends + body
