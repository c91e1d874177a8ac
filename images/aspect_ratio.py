"""Aspect ratios of pictures: their spelling, and the size in pixels that a backend can draw."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator

_NAMED = {"square": (1, 1), "landscape": (3, 2), "portrait": (2, 3)}
_WIDTH_HEIGHT = re.compile(r"([0-9]{1,4}):([0-9]{1,4})")
_DECIMALS = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?):([0-9]{1,4}(?:\.[0-9]{1,3})?)")


def parse_ratio(aspect_ratio: str) -> tuple[int, int]:
    """Return width and height of an aspect ratio in lowest terms: `(16, 9)` for `"32:18"`, `(3, 2)` for `"landscape"`.

    Raises:
        ValueError: If it is none of `square`, `landscape`, `portrait`, or two whole numbers from 1 to 9999.
    """
    if aspect_ratio in _NAMED:
        return _NAMED[aspect_ratio]
    match = _WIDTH_HEIGHT.fullmatch(aspect_ratio)
    if match and int(match[1]) and int(match[2]):
        return _lowest_terms(int(match[1]), int(match[2]))
    msg = (
        f"got {aspect_ratio!r}; an aspect ratio is 'square', 'landscape' (3:2), 'portrait' (2:3), or width:height as "
        "whole numbers from 1 to 9999, such as '16:9'"
    )
    decimals = _DECIMALS.fullmatch(aspect_ratio)
    if decimals and (width := Fraction(decimals[1])) and (height := Fraction(decimals[2])):
        whole = width / height
        msg += f"; for {aspect_ratio!r} write '{whole.numerator}:{whole.denominator}'"
    raise ValueError(msg)


def size_for(ratio: tuple[int, int], *, pixels: int, multiple: int) -> tuple[int, int]:
    """Return width and height in pixels, as close as possible to a ratio and to a number of pixels.

    Args:
        ratio: Width and height in any unit.
        pixels: The area to aim for, such as `1024 * 1024`.
        multiple: Both sides are multiples of it: 8 for Stable Diffusion, 16 for Flux and gpt-image.
    """
    width, height = ratio
    scale = math.sqrt(pixels / (width * height))
    return (_round_to(width * scale, multiple), _round_to(height * scale, multiple))


def _round_to(side: float, multiple: int) -> int:
    return max(multiple, round(side / multiple) * multiple)


def _lowest_terms(width: int, height: int) -> tuple[int, int]:
    divisor = math.gcd(width, height)
    return (width // divisor, height // divisor)


def _check(aspect_ratio: str) -> str:
    parse_ratio(aspect_ratio)
    return aspect_ratio


AspectRatio = Annotated[str, AfterValidator(_check)]
"""`square`, `landscape`, `portrait`, or width:height in whole numbers."""
