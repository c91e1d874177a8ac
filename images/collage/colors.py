"""Colors: their names, and how drawings are recolored."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

COLORS: Mapping[str, str] = {
    "red": "#e53935", "scarlet": "#d32f2f", "crimson": "#c2185b", "pink": "#f48fb1", "rose": "#f06292",
    "orange": "#fb8c00", "amber": "#ffb300", "yellow": "#fdd835", "gold": "#f6b93b", "golden": "#f6b93b",
    "green": "#43a047", "emerald": "#2e9e6b", "lime": "#9ccc65", "turquoise": "#26a69a", "teal": "#00897b",
    "blue": "#1e88e5", "navy": "#283593", "indigo": "#3949ab", "violet": "#8e44ad", "purple": "#8e44ad",
    "lavender": "#b39ddb", "lilac": "#b39ddb", "brown": "#8d6e63", "chestnut": "#8a4b32", "tan": "#d2a679",
    "beige": "#e8d8b9", "cream": "#fbf0d4", "white": "#f7f7f7", "silver": "#c5ccd3", "gray": "#9e9e9e",
    "grey": "#9e9e9e", "black": "#3a3a3f", "copper": "#c5703a", "ginger": "#e8792f", "sapphire": "#2f5fc4",
    "ruby": "#c2213a", "aqua": "#4dd0e1", "cyan": "#4dd0e1", "peach": "#ffbe98", "coral": "#ff7f66",
    "mint": "#a8e6cf", "magenta": "#d81b8c", "maroon": "#802b3a", "olive": "#8d8c3a", "bronze": "#b07b3e",
}  # fmt: skip
"""Names of colors, without modifiers."""

_SHADES: Mapping[str, float] = {"light": 0.35, "pale": 0.5, "pastel": 0.4, "bright": 0.0, "dark": -0.35, "deep": -0.25}
_HEX = re.compile(r"#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b")
Rgb = tuple[float, float, float]


def color_of(words: str) -> str | None:
    """Return the hexadecimal color of words such as `deep blue`, `None` if they name none."""
    *modifiers, name = words.casefold().split() or [""]
    if name not in COLORS:
        return None
    color = COLORS[name]
    for modifier in modifiers:
        if (shade := _SHADES.get(modifier)) is not None:
            color = mix(color, "#ffffff" if shade > 0 else "#101020", abs(shade))
    return color


def to_rgb(color: str) -> Rgb:
    """Return red, green and blue from 0 to 1."""
    digits = color[1:] if len(color) == 7 else "".join(digit * 2 for digit in color[1:])
    return (int(digits[:2], 16) / 255, int(digits[2:4], 16) / 255, int(digits[4:], 16) / 255)


def to_hex(rgb: Rgb) -> str:
    """Return the hexadecimal color; values are clipped to the range from 0 to 1."""
    return "#" + "".join(f"{round(255 * min(1.0, max(0.0, value))):02x}" for value in rgb)


@lru_cache(maxsize=8192)
def mix(color: str, other: str, share: float) -> str:
    """Return a color with a share of another mixed in, from 0 to 1."""
    a, b = to_rgb(color), to_rgb(other)
    return to_hex((a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share))


def darker(color: str, share: float = 0.2) -> str:
    """Return a darker, slightly cooler color, for shadows."""
    return mix(color, "#1d1838", share)


def lighter(color: str, share: float = 0.3) -> str:
    """Return a lighter, slightly warmer color."""
    return mix(color, "#fffaf0", share)


def repaint(svg: str, change: Callable[[str], str]) -> str:
    """Return an SVG fragment with every color changed."""
    return _HEX.sub(lambda match: change(match[0]), svg)


def recolor(svg: str, main: str, target: str) -> str:
    """Return a drawing whose main color, with its lights and shadows, has become another.

    Outlines, eyes, whites and what has another hue stay as they are.

    Args:
        svg: The drawing.
        main: The color that covers most of it.
        target: What it becomes.
    """
    main_hue, main_light, main_saturation = colorsys.rgb_to_hls(*to_rgb(main))
    hue, light, saturation = colorsys.rgb_to_hls(*to_rgb(target))

    def change(color: str) -> str:
        h, l, s = colorsys.rgb_to_hls(*to_rgb(color))  # noqa: E741
        if main_saturation < 0.12:
            belongs = s < 0.25 and abs(l - main_light) < 0.3 and 0.16 < l < 0.985
        else:
            apart = abs(h - main_hue)
            belongs = min(apart, 1 - apart) < 0.075 and s > 0.15 and 0.12 < l < 0.97
        if not belongs:
            return color
        lightness = min(0.97, max(0.06, light + (l - main_light) * 0.9))
        return to_hex(colorsys.hls_to_rgb(hue, lightness, saturation))

    return repaint(svg, change)
