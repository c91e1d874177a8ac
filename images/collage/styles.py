"""Styles: what a prompt's art style, mood and colors change in a collage."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from taleward.images.collage.colors import color_of, mix, to_hex, to_rgb
from taleward.images.collage.draws import Draws
from taleward.images.prompt_spec import PromptSpec

_NAMES: Mapping[str, tuple[str, ...]] = {
    "paper": ("paper", "cut-out", "cutout", "collage", "papercut", "origami", "felt", "layered"),
    "watercolor": ("watercolor", "watercolour", "gouache", "wash", "ink", "impressionism", "impressionist", "painting"),
    "crayon": ("crayon", "chalk", "pencil", "pastels", "colored pencil", "child's drawing", "hand-drawn"),
    "pastel": ("pastel", "soft colors", "kawaii", "muted"),
    "vintage": ("vintage", "retro", "sepia", "old-fashioned", "classic", "victorian", "engraving", "woodcut"),
    "vivid": ("vivid", "pop art", "comic", "cartoon", "bold", "saturated", "bright colors"),
    "monochrome": ("black and white", "monochrome", "grayscale", "greyscale", "noir"),
}
STYLES = ("flat", *_NAMES)
"""The styles that the collage has."""


@dataclass(frozen=True)
class Style:
    """A style.

    Attributes:
        name: Its name.
        color: What each color becomes.
        defs: Filters and patterns.
        texture: Whether the paper shows.
        outline: The width of a white edge around the things, in units of the picture.
    """

    name: str = "flat"
    color: Callable[[str], str] = field(default=lambda color: color, repr=False)
    defs: str = ""
    palette: tuple[str, ...] = ()

    def wrap_back(self, svg: str) -> str:
        """Return the background in this style."""
        if self.name == "watercolor":
            return f'<g opacity=".9">{svg}</g>'
        return svg

    def wrap_thing(self, svg: str, scale: float) -> str:
        """Return one thing in this style; `scale` is what it is enlarged by."""
        return svg

    def overlay(self, width: float, height: float, draws: Draws) -> str:
        """Return what lies over the whole picture."""
        return ""


def style_of(spec: PromptSpec) -> Style:
    """Return the style of a prompt."""
    text = " ".join((spec.art_style, *spec.influences, *spec.techniques)).casefold()
    name = next((style for style, words in _NAMES.items() if any(word in text for word in words)), "flat")
    palette = tuple(color for words in spec.colors if (color := color_of(words)))
    return Style(name, _changer(name, palette, spec.mood.casefold()), palette=palette)


def _changer(name: str, palette: tuple[str, ...], mood: str) -> Callable[[str], str]:
    """Return what a style, a palette and a mood make of a color."""
    cache: dict[str, str] = {}
    dim = 0.12 if any(word in mood for word in ("gloomy", "eerie", "spooky", "mysterious", "sad", "dark")) else 0.0

    def change(color: str) -> str:
        if color not in cache:
            value = _STYLE_COLORS.get(name, _same)(color)
            if palette:
                value = mix(value, _nearest(value, palette), 0.3)
            cache[color] = mix(value, "#2b2a55", dim) if dim else value
        return cache[color]

    return change if palette or dim or name in _STYLE_COLORS else _same


def _same(color: str) -> str:
    return color


def _nearest(color: str, palette: tuple[str, ...]) -> str:
    """Return the palette's color of the nearest lightness, in that lightness."""
    _, light, _ = colorsys.rgb_to_hls(*to_rgb(color))

    def apart(other: str) -> float:
        return abs(colorsys.rgb_to_hls(*to_rgb(other))[1] - light)

    hue, _, saturation = colorsys.rgb_to_hls(*to_rgb(min(palette, key=apart)))
    return to_hex(colorsys.hls_to_rgb(hue, light, saturation * 0.8))


def _saturate(color: str, factor: float, lift: float = 0.0) -> str:
    hue, light, saturation = colorsys.rgb_to_hls(*to_rgb(color))
    return to_hex(colorsys.hls_to_rgb(hue, min(1.0, light + (1 - light) * lift), min(1.0, saturation * factor)))


def _gray(color: str) -> str:
    red, green, blue = to_rgb(color)
    value = 0.3 * red + 0.59 * green + 0.11 * blue
    return to_hex((value, value, value))


_STYLE_COLORS: Mapping[str, Callable[[str], str]] = {
    "watercolor": lambda color: mix(_saturate(color, 0.9), "#fff8ea", 0.16),
    "pastel": lambda color: mix(_saturate(color, 0.85), "#fff4f4", 0.34),
    "crayon": lambda color: mix(_saturate(color, 1.05), "#fff6e2", 0.12),
    "vintage": lambda color: mix(_saturate(color, 0.62), "#e8c98f", 0.26),
    "vivid": lambda color: _saturate(color, 1.35),
    "monochrome": _gray,
    "paper": lambda color: mix(_saturate(color, 0.95), "#fff3df", 0.06),
}
