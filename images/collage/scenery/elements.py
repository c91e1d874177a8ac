"""Trees, hills, clouds and other parts of landscapes."""

from __future__ import annotations

import math
from itertools import pairwise

from taleward.images.collage.colors import darker, lighter, mix
from taleward.images.collage.draws import Draws
from taleward.images.collage.shapes import circle, ellipse, line, path, rect


def ridge(draws: Draws, width: float, height: float, y: float, swell: float, fill: str, *, waves: float = 1.6) -> str:
    """Return a hilly strip from `y` down to the lower edge."""
    phase, other = draws.between(0, 6.28), draws.between(0, 6.28)
    points = []
    for step in range(25):
        x = width * step / 24
        turn = x / width * waves * math.pi
        points.append((x, y + swell * (0.65 * math.sin(turn + phase) + 0.35 * math.sin(2.3 * turn + other))))
    return path(f"M0 {height:.0f}L0 {points[0][1]:.1f}{_smooth(points)}L{width:.0f} {height:.0f}Z", fill=fill)


def _smooth(points: list[tuple[float, float]]) -> str:
    parts = []
    for (x1, y1), (x2, y2) in pairwise(points):
        middle = (x1 + x2) / 2
        parts.append(f"C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}")
    return "".join(parts)


def cloud(x: float, y: float, size: float, color: str, opacity: float = 0.92) -> str:
    """Return a cloud, `size` units wide."""
    s = size / 100
    return (
        f'<g opacity="{opacity:g}">'
        + rect(x - 50 * s, y - 14 * s, 100 * s, 22 * s, color, radius=11 * s)
        + circle(x - 18 * s, y - 16 * s, 19 * s, color)
        + circle(x + 10 * s, y - 24 * s, 25 * s, color)
        + circle(x + 30 * s, y - 12 * s, 14 * s, color)
        + "</g>"
    )


def round_tree(x: float, y: float, height: float, leaf: str, trunk: str) -> str:
    """Return a tree with a round crown; `y` is its foot."""
    h = height
    return (
        path(
            f"M{x - h * 0.045:.1f} {y:.1f}L{x - h * 0.03:.1f} {y - h * 0.45:.1f}h{h * 0.06:.1f}L{x + h * 0.045:.1f} {y:.1f}Z",
            fill=trunk,
        )
        + ellipse(x, y - h * 0.64, h * 0.27, h * 0.33, leaf)
        + ellipse(x - h * 0.16, y - h * 0.52, h * 0.18, h * 0.19, darker(leaf, 0.1))
        + ellipse(x + h * 0.15, y - h * 0.54, h * 0.19, h * 0.2, darker(leaf, 0.06))
        + ellipse(x - h * 0.05, y - h * 0.76, h * 0.14, h * 0.13, lighter(leaf, 0.16), opacity=0.8)
    )


def pine(x: float, y: float, height: float, leaf: str, trunk: str, snow: str = "") -> str:
    """Return a conifer; `y` is its foot."""
    h = height
    parts = [rect(x - h * 0.03, y - h * 0.16, h * 0.06, h * 0.16, trunk)]
    for number, (bottom, top, half) in enumerate(((0.12, 0.52, 0.25), (0.34, 0.76, 0.2), (0.58, 1.0, 0.145))):
        shade = leaf if number != 1 else lighter(leaf, 0.07)
        tier = (
            f"M{x:.1f} {y - h * top:.1f}L{x - h * half:.1f} {y - h * bottom:.1f}"
            f"Q{x:.1f} {y - h * (bottom - 0.05):.1f} {x + h * half:.1f} {y - h * bottom:.1f}Z"
        )
        parts.append(path(tier, fill=shade))
        if snow:
            cap = top - (top - bottom) * 0.45
            half_cap = half * 0.47
            parts.append(
                path(f"M{x:.1f} {y - h * top:.1f}L{x - h * half_cap:.1f} {y - h * cap:.1f}Q{x - h * half_cap * 0.4:.1f} {y - h * (cap - 0.05):.1f} {x:.1f} {y - h * cap:.1f}"
                     f"T{x + h * half_cap:.1f} {y - h * cap:.1f}Z", fill=snow)
            )  # fmt: skip
    return "".join(parts)


def bush(x: float, y: float, size: float, color: str) -> str:
    """Return a bush, `size` units wide; `y` is its foot."""
    s = size / 100
    shape = (
        f"M{x - 50 * s:.1f} {y:.1f}c{-4 * s:.1f} {-26 * s:.1f} {18 * s:.1f} {-36 * s:.1f} {28 * s:.1f} {-26 * s:.1f}"
        f"c{6 * s:.1f} {-26 * s:.1f} {40 * s:.1f} {-26 * s:.1f} {44 * s:.1f} 0c{18 * s:.1f} {-8 * s:.1f} {34 * s:.1f} {6 * s:.1f} {28 * s:.1f} {26 * s:.1f}Z"
    )
    return path(shape, fill=color) + ellipse(x + 4 * s, y - 28 * s, 17 * s, 8 * s, lighter(color, 0.15), opacity=0.7)


def tuft(x: float, y: float, size: float, color: str) -> str:
    """Return a tuft of grass."""
    s = size
    blades = "".join(f"M{x + dx * s:.1f} {y:.1f}q{bend * s:.1f} {-0.5 * s:.1f} {bend * 1.8 * s:.1f} {-tall * s:.1f}"
                     for dx, bend, tall in ((-0.2, -0.18, 0.75), (0, 0.02, 1.0), (0.2, 0.2, 0.7)))  # fmt: skip
    return path(blades, stroke=color, width=max(1.6, s * 0.13))


def small_flower(x: float, y: float, size: float, color: str, stem: str) -> str:
    """Return a flower on a stem."""
    petals = "".join(
        circle(x + size * 0.34 * math.cos(a), y - size * 1.1 + size * 0.34 * math.sin(a), size * 0.26, color)
        for a in (0.3, 1.56, 2.8, 4.1, 5.3)
    )
    return (
        line(x, y, x, y - size, max(1.4, size * 0.12), stem) + petals + circle(x, y - size * 1.1, size * 0.2, "#ffd54f")
    )


def peak(x: float, y: float, half: float, height: float, rock: str, snow: str) -> str:
    """Return a mountain with a white cap; `y` is its foot."""
    top = y - height
    face = path(f"M{x - half:.0f} {y:.0f}L{x:.0f} {top:.0f}L{x + half:.0f} {y:.0f}Z", fill=rock)
    shade = path(
        f"M{x:.0f} {top:.0f}L{x + half:.0f} {y:.0f}L{x + half * 0.16:.0f} {y:.0f}L{x + half * 0.12:.0f} {top + height * 0.45:.0f}Z",
        fill=darker(rock, 0.12),
    )
    low = top + height * 0.3
    reach = half * 0.3
    cap = path(
        f"M{x:.0f} {top:.0f}L{x - reach:.0f} {low:.0f}L{x - reach * 0.45:.0f} {low - height * 0.05:.0f}L{x - reach * 0.1:.0f} {low + height * 0.05:.0f}"
        f"L{x + reach * 0.4:.0f} {low - height * 0.04:.0f}L{x + reach:.0f} {low:.0f}Z",
        fill=snow,
    )
    return face + shade + cap


def cottage(x: float, y: float, size: float, wall: str, roof: str, light: str) -> str:
    """Return a small house, `size` units wide; `y` is its foot."""
    s = size / 100
    return (
        rect(x + 16 * s, y - 106 * s, 13 * s, 34 * s, darker(roof, 0.25))
        + rect(x - 40 * s, y - 60 * s, 80 * s, 60 * s, wall)
        + path(
            f"M{x - 52 * s:.1f} {y - 56 * s:.1f}L{x:.1f} {y - 108 * s:.1f}L{x + 52 * s:.1f} {y - 56 * s:.1f}Z",
            fill=roof,
        )
        + rect(x - 9 * s, y - 34 * s, 20 * s, 34 * s, darker(roof, 0.3), radius=3 * s)
        + rect(x - 32 * s, y - 42 * s, 16 * s, 17 * s, light, radius=2 * s)
        + rect(x + 19 * s, y - 42 * s, 16 * s, 17 * s, light, radius=2 * s)
    )


def tower_block(x: float, y: float, width: float, height: float, wall: str, light: str, draws: Draws) -> str:
    """Return a city building; `y` is its foot."""
    parts = [rect(x, y - height, width, height, wall, radius=3)]
    columns = max(2, int(width / 26))
    rows = max(2, int(height / 34))
    cell_x, cell_y = width / columns, height / rows
    for row in range(rows - 1):
        for column in range(columns):
            glow = light if draws.chance(0.6) else mix(wall, "#20263a", 0.2)
            parts.append(
                rect(
                    x + column * cell_x + cell_x * 0.27,
                    y - height + row * cell_y + cell_y * 0.3,
                    cell_x * 0.46,
                    cell_y * 0.44,
                    glow,
                )
            )
    return "".join(parts)


def small_palm(x: float, y: float, height: float, leaf: str, trunk: str) -> str:
    """Return a palm; `y` is its foot."""
    h = height
    top_x, top_y = x + h * 0.16, y - h * 0.8
    fronds = "".join(
        path(f"M{top_x:.1f} {top_y:.1f}Q{top_x + dx * h * 0.6:.1f} {top_y + up * h:.1f} {top_x + dx * h:.1f} {top_y + down * h:.1f}"
             f"Q{top_x + dx * h * 0.4:.1f} {top_y + (up * 0.35) * h:.1f} {top_x:.1f} {top_y:.1f}Z", fill=shade)
        for dx, up, down, shade in (
            (-0.42, -0.22, 0.1, leaf), (0.42, -0.22, 0.1, leaf), (-0.3, -0.4, -0.1, lighter(leaf, 0.1)),
            (0.32, -0.38, -0.08, lighter(leaf, 0.1)), (-0.24, 0.02, 0.26, darker(leaf, 0.1)), (0.26, 0.02, 0.26, darker(leaf, 0.1)),
        )
    )  # fmt: skip
    return (
        path(
            f"M{x:.1f} {y:.1f}Q{x + h * 0.02:.1f} {y - h * 0.5:.1f} {top_x:.1f} {top_y:.1f}",
            stroke=trunk,
            width=h * 0.06,
        )
        + fronds
    )


def star(x: float, y: float, size: float, color: str, opacity: float = 1.0) -> str:
    """Return a star with four points."""
    s = size
    return path(
        f"M{x:.1f} {y - s:.1f}Q{x:.1f} {y:.1f} {x + s:.1f} {y:.1f}Q{x:.1f} {y:.1f} {x:.1f} {y + s:.1f}"
        f"Q{x:.1f} {y:.1f} {x - s:.1f} {y:.1f}Q{x:.1f} {y:.1f} {x:.1f} {y - s:.1f}Z",
        fill=color,
        opacity=opacity,
    )
