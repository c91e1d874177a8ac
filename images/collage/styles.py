"""Styles: what a prompt's art style, mood and colors change in a collage."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from taleward.images.collage.colors import color_of, mix, to_hex, to_rgb
from taleward.images.collage.draws import Draws
from taleward.images.collage.shapes import gradient, path
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
    """

    name: str = "flat"
    color: Callable[[str], str] = field(default=lambda color: color, repr=False)

    @property
    def defs(self) -> str:
        """Filters and gradients that the style needs."""
        if self.name in ("watercolor", "vintage"):
            edge = "#fffaf0" if self.name == "watercolor" else "#6b4a2a"
            return gradient(
                "edge", ((0, edge, 0), (0.74, edge, 0), (1, edge, 0.5 if edge == "#fffaf0" else 0.26)), radial=True
            )
        return ""

    def wrap_thing(self, svg: str, scale: float) -> str:
        """Return one thing in this style; `scale` is what it is enlarged by."""
        if self.name != "paper":
            return svg
        # A cut-out: its edge in the white of the paper, and a soft shadow.
        edge, blur = 3.2 / scale, 7 / scale
        name = f"cut{round(scale * 1000)}"
        return (
            f'<filter id="{name}" x="-.2" y="-.2" width="1.4" height="1.4" color-interpolation-filters="sRGB">'
            f'<feMorphology in="SourceAlpha" operator="dilate" radius="{edge:.2f}" result="a"/><feFlood flood-color="#fffdf6"/>'
            f'<feComposite in2="a" operator="in" result="e"/><feGaussianBlur in="a" stdDeviation="{blur:.2f}"/>'
            f'<feOffset dx="{blur * 0.6:.2f}" dy="{blur * 0.9:.2f}"/><feComponentTransfer result="s"><feFuncA type="linear" slope=".38"/>'
            f'<feFuncR type="linear" slope="0" intercept=".14"/><feFuncG type="linear" slope="0" intercept=".1"/>'
            f'<feFuncB type="linear" slope="0" intercept=".22"/></feComponentTransfer>'
            f'<feMerge><feMergeNode in="s"/><feMergeNode in="e"/><feMergeNode in="SourceGraphic"/></feMerge></filter>'
            f'<g filter="url(#{name})">{svg}</g>'
        )

    def overlay(self, width: float, height: float, draws: Draws) -> str:
        """Return what lies over the whole picture."""
        area = f'width="{width:.0f}" height="{height:.0f}"'
        match self.name:
            case "crayon":
                return _strokes(width, height, draws) + _specks(width, height, draws, "#fffdf5", 0.35)
            case "watercolor":
                return (
                    _washes(width, height, draws)
                    + f'<rect {area} fill="url(#edge)"/>'
                    + _torn_edge(width, height, draws)
                )
            case "vintage":
                return f'<rect {area} fill="url(#edge)"/>' + _specks(width, height, draws, "#5b3d22", 0.16)
            case "paper":
                return _specks(width, height, draws, "#8a7a66", 0.14)
        return ""


def _specks(width: float, height: float, draws: Draws, color: str, opacity: float) -> str:
    """Return the fibers of paper."""
    fibers = "".join(
        f"M{draws.between(0, width):.0f} {draws.between(0, height):.0f}l{draws.between(-5, 5):.1f} {draws.between(-4, 4):.1f}"
        for _ in range(int(width * height / 1500))
    )
    return path(fibers, stroke=color, width=1.5, opacity=opacity)


def _strokes(width: float, height: float, draws: Draws) -> str:
    """Return the gaps that the strokes of a crayon leave on rough paper."""
    lines = "".join(
        f"M{x - height * 0.78:.0f} {height:.0f}q{height * 0.36 + draws.between(-9, 9):.0f} {-height * 0.5:.0f} {height * 0.78:.0f} {-height:.0f}"
        for x in range(0, int(width + height * 0.78), 11)
    )
    return path(lines, stroke="#fffdf5", width=1.7, opacity=0.4)


def _washes(width: float, height: float, draws: Draws) -> str:
    """Return blots of pigment and water."""
    parts = []
    for _ in range(46):
        x, y, size = draws.between(0, width), draws.between(0, height), draws.between(30, 150)
        points = [(draws.between(0.72, 1.12) * size) for _ in range(8)]
        color = draws.choice(("#ffffff", "#fff6e0", "#4a6a9a", "#8a6a9a"))
        edge = "".join(
            f"{'M' if i == 0 else 'Q'}" + (f"{x + r:.0f} {y:.0f}" if i == 0 else
            f"{x + points[i - 1] * 1.12 * _COS[i * 2 - 1]:.0f} {y + points[i - 1] * 0.7 * _SIN[i * 2 - 1]:.0f} {x + r * _COS[i * 2]:.0f} {y + r * 0.62 * _SIN[i * 2]:.0f}")
            for i, r in enumerate(points)
        )  # fmt: skip
        parts.append(path(edge + "Z", fill=color, opacity=0.075 if color[1] == "f" else 0.03))
    return "".join(parts)


_COS = tuple(math.cos(math.pi * step / 8) for step in range(17))
_SIN = tuple(math.sin(math.pi * step / 8) for step in range(17))


def _torn_edge(width: float, height: float, draws: Draws) -> str:
    """Return the white of the paper around a painted area with an uneven edge."""
    margin = min(width, height) * 0.035
    points: list[tuple[float, float]] = []
    steps = 26
    for index in range(4 * steps):
        side, along = divmod(index, steps)
        t, inset = along / steps, margin * draws.between(0.45, 1.15)
        points.append(
            [
                (t * width, inset),
                (width - inset, t * height),
                (width - t * width, height - inset),
                (inset, height - t * height),
            ][side]
        )
    inner = f"M{points[0][0]:.0f} {points[0][1]:.0f}"
    for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True):
        inner += f"Q{x1:.0f} {y1:.0f} {(x1 + x2) / 2:.0f} {(y1 + y2) / 2:.0f}"
    return f'<path fill-rule="evenodd" fill="#fffaf0" d="M0 0H{width:.0f}V{height:.0f}H0Z{inner}Z"/>'


def style_of(spec: PromptSpec) -> Style:
    """Return the style of a prompt."""
    text = " ".join((spec.art_style, *spec.influences, *spec.techniques)).casefold()
    name = next((style for style, words in _NAMES.items() if any(word in text for word in words)), "flat")
    palette = tuple(color for words in spec.colors if (color := color_of(words)))
    return Style(name, _changer(name, palette, spec.mood.casefold()))


def _changer(name: str, palette: tuple[str, ...], mood: str) -> Callable[[str], str]:
    """Return what a style, a palette and a mood make of a color."""
    cache: dict[str, str] = {}
    dim = 0.12 if any(word in mood for word in ("gloomy", "eerie", "spooky", "mysterious", "sad", "dark")) else 0.0

    def change(color: str) -> str:
        if color not in cache:
            value = _STYLE_COLORS.get(name, _same)(color)
            if palette:
                value = mix(value, _nearest(value, palette), 0.22)
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
    "vintage": lambda color: mix(_saturate(color, 0.72), "#f0d29a", 0.24),
    "vivid": lambda color: _saturate(color, 1.35),
    "monochrome": _gray,
    "paper": lambda color: mix(_saturate(color, 0.95), "#fff3df", 0.06),
}
