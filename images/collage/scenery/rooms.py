"""Rooms by kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from taleward.images.collage.colors import darker, lighter, mix
from taleward.images.collage.draws import Draws
from taleward.images.collage.scenery.sky import wall_window
from taleward.images.collage.scenery.stage import Backdrop, Stage
from taleward.images.collage.shapes import circle, ellipse, gradient, line, path, rect

BOOKS = ("#c8553d", "#588b8b", "#f2a65a", "#4a6fa5", "#8d6a9f", "#6a994e", "#e0c068")


@dataclass(frozen=True)
class _Room:
    """The colors of a room."""

    wall: str
    floor: str
    accent: str
    pattern: str = "stripes"
    boards: str = "planks"


_ROOMS: Mapping[str, tuple[_Room, ...]] = {
    "bedroom": (_Room("#bcd4e6", "#d8b48a", "#e8a0b4", "dots"), _Room("#e6d3ea", "#cfa67e", "#7fb5c9", "dots"), _Room("#d3e7d2", "#d6b088", "#f2b56b", "stripes")),
    "kitchen": (_Room("#fbe3bf", "#d9c4a6", "#d96f52", "plain", "tiles"), _Room("#d5ebe3", "#e2cfb4", "#e0954f", "plain", "tiles")),
    "living": (_Room("#f3d9bd", "#b98a63", "#8fae8b", "stripes"), _Room("#d9e4dc", "#b5885f", "#d58a6d", "stripes"), _Room("#efd9d4", "#b0845e", "#6f9bb0", "dots")),
    "classroom": (_Room("#f5e9c9", "#c99f72", "#5f9a7c", "plain"),),
    "study": (_Room("#e4d2b5", "#a67850", "#a14e44", "stripes"), _Room("#cfd8cf", "#a2754f", "#5a7f8c", "plain")),
    "hall": (_Room("#d7cdd9", "#b9adb9", "#a33f4f", "stones", "tiles"), _Room("#d5cfc0", "#b5ab9a", "#3f5f9e", "stones", "tiles")),
    "stage": (_Room("#5b2b45", "#b5804f", "#c23a4b", "plain"),),
}  # fmt: skip


def room(stage: Stage) -> Backdrop:
    """Draw a room."""
    draws, w, h, y = stage.draws, stage.width, stage.height, stage.horizon
    look = draws.choice(_ROOMS[stage.place])
    night = stage.time == "night"
    shade: Callable[[str], str] = (lambda c: mix(c, "#3a3f78", 0.34)) if night else (lambda c: c)
    wall, floor, accent = shade(look.wall), shade(look.floor), shade(look.accent)
    defs = gradient("wall", ((0, darker(wall, 0.06), 1), (1, lighter(wall, 0.14), 1)))
    defs += gradient("floor", ((0, lighter(floor, 0.1), 1), (1, darker(floor, 0.12), 1)))
    parts = [f'<rect width="{w:.0f}" height="{y:.0f}" fill="url(#wall)"/>', _paper(look, wall, w, y)]
    parts.append(f'<rect y="{y:.0f}" width="{w:.0f}" height="{h - y:.0f}" fill="url(#floor)"/>')
    parts.append(_floor(look, floor, w, h, y))
    parts.append(rect(0, y - 20, w, 22, lighter(wall, 0.5)) + rect(0, y + 1, w, 5, darker(floor, 0.25)))
    furnish = {
        "bedroom": _bedroom,
        "kitchen": _kitchen,
        "living": _living,
        "classroom": _classroom,
        "study": _study,
        "hall": _hall,
        "stage": _theater,
    }
    parts.append(furnish[stage.place](stage, draws, shade, accent))
    if stage.place not in ("kitchen", "hall", "stage", "classroom"):
        parts.append(
            ellipse(w * 0.5, h * 0.875, w * 0.4, h * 0.085, mix(accent, floor, 0.25))
            + ellipse(w * 0.5, h * 0.875, w * 0.355, h * 0.068, lighter(accent, 0.3))
            + ellipse(w * 0.5, h * 0.875, w * 0.31, h * 0.053, mix(accent, floor, 0.1))
        )
    front = ""
    if night:
        defs += gradient("lamp", ((0, "#ffd98a", 0.42), (0.5, "#ffd98a", 0.16), (1, "#ffd98a", 0)), radial=True)
        front = f'<circle cx="{w * 0.5:.0f}" cy="{y * 0.8:.0f}" r="{min(w, h) * 0.62:.0f}" fill="url(#lamp)"/>'
    return Backdrop("".join(parts), front, defs, "floor", y)


def _paper(look: _Room, wall: str, w: float, y: float) -> str:
    match look.pattern:
        case "stripes":
            return "".join(rect(x, 0, 26, y, lighter(wall, 0.16), opacity=0.6) for x in range(20, int(w), 78))
        case "dots":
            return "".join(
                circle(x + (36 if row % 2 else 0), 34 + row * 56, 5, lighter(wall, 0.4), opacity=0.8)
                for row in range(int(y / 56)) for x in range(30, int(w), 72)
            )  # fmt: skip
        case "stones":
            return "".join(
                f'<rect x="{x + (55 if row % 2 else 0) - 55:.0f}" y="{row * 62:.0f}" width="106" height="58" rx="8" fill="{darker(wall, 0.05)}" opacity=".55"/>'
                for row in range(int(y / 62) + 1) for x in range(0, int(w) + 110, 110)
            )  # fmt: skip
    return ""


def _floor(look: _Room, floor: str, w: float, h: float, y: float) -> str:
    if look.boards == "tiles":
        lines = "".join(
            f"M{w / 2 + (x - w / 2) * 0.62:.0f} {y:.0f}L{w / 2 + (x - w / 2) * 1.5:.0f} {h:.0f}"
            for x in range(-int(w * 0.4), int(w * 1.4), 110)
        )
        lines += "".join(f"M0 {y + (h - y) * v:.0f}H{w:.0f}" for v in (0.16, 0.38, 0.66))
        return path(lines, stroke=darker(floor, 0.12), width=3, opacity=0.7)
    lines = "".join(f"M0 {y + (h - y) * v:.0f}H{w:.0f}" for v in (0.14, 0.32, 0.54, 0.8))
    return path(lines, stroke=darker(floor, 0.16), width=3, opacity=0.6)


def _window(stage: Stage, u: float, accent: str, size: float = 190.0) -> str:
    return wall_window(stage, stage.width * u - size / 2, stage.horizon * 0.22, size, size * 1.1, "#fffaf0", accent)


def _lamp(x: float, y: float, accent: str, *, lit: bool) -> str:
    shade = "#ffe9a8" if lit else lighter(accent, 0.4)
    return (
        line(x, y, x, y - 230, 8, "#8a7357")
        + ellipse(x, y, 38, 9, "#8a7357")
        + path(f"M{x - 52:.0f} {y - 216:.0f}l24 -70h56l24 70Z", fill=shade)
    )


def _frame(x: float, y: float, width: float, height: float, color: str) -> str:
    return (
        rect(x - 8, y - 8, width + 16, height + 16, "#a5774f", radius=5) + rect(x, y, width, height, lighter(color, 0.5))
        + path(f"M{x:.0f} {y + height:.0f}l{width * 0.35:.0f} {-height * 0.5:.0f}l{width * 0.25:.0f} {height * 0.28:.0f}l{width * 0.16:.0f} {-height * 0.18:.0f}l{width * 0.24:.0f} {height * 0.4:.0f}Z", fill=color)
    )  # fmt: skip


def _bookcase(
    x: float, y: float, width: float, height: float, draws: Draws, shade: Callable[[str], str], shelves: int = 4
) -> str:
    wood = shade("#9c6b44")
    parts = [rect(x, y - height, width, height, wood, radius=6)]
    cell = height / shelves
    for row in range(shelves):
        top = y - height + row * cell + 10
        parts.append(rect(x + 10, top, width - 20, cell - 18, darker(wood, 0.32)))
        bx = x + 14.0
        while bx < x + width - 34:
            bw, bh = draws.between(13, 24), (cell - 22) * draws.between(0.66, 0.96)
            parts.append(rect(bx, top + cell - 18 - bh, bw, bh, shade(draws.choice(BOOKS)), radius=2))
            bx += bw + 2
    return "".join(parts)


def _bedroom(stage: Stage, draws: Draws, shade: Callable[[str], str], accent: str) -> str:
    w, y = stage.width, stage.horizon
    left = draws.chance(0.5)
    window = _window(stage, 0.5, accent)
    x = w * (0.02 if left else 0.72)
    wood = shade("#b98457")
    bed = (
        rect(x, y - 150, 20, 190, wood, radius=8) + rect(x + w * 0.25 - 10, y - 90, 18, 130, wood, radius=8)
        + rect(x + 12, y - 52, w * 0.25 - 14, 60, shade("#fdf6ea"), radius=14)
        + path(f"M{x + w * 0.08:.0f} {y - 56:.0f}h{w * 0.16:.0f}q8 0 8 8v58h{-w * 0.18:.0f}q-6 -40 10 -66Z", fill=accent)
        + ellipse(x + 52, y - 62, 42, 20, shade("#ffffff")) + rect(x + 10, y + 4, w * 0.25 - 12, 20, wood, radius=6)
    )  # fmt: skip
    shelf_x = w * (0.78 if left else 0.06)
    shelf = rect(shelf_x, y * 0.48, 160, 13, wood, radius=4) + "".join(
        rect(shelf_x + 14 + 24 * i, y * 0.48 - 44 - 7 * (i % 3), 19, 44 + 7 * (i % 3), shade(BOOKS[(i * 2) % 7]), radius=2) for i in range(4)
    ) + circle(shelf_x + 132, y * 0.48 - 17, 17, accent)  # fmt: skip
    return window + bed + shelf + _lamp(w * (0.93 if left else 0.07), y + 12, accent, lit=stage.time == "night")


def _kitchen(stage: Stage, draws: Draws, shade: Callable[[str], str], accent: str) -> str:
    w, y = stage.width, stage.horizon
    counter = shade("#f7efe0")
    parts = [_window(stage, 0.5, accent, 170)]
    for x0, x1 in ((0.0, 0.32), (0.68, 1.0)):
        width = w * (x1 - x0)
        parts += [
            rect(w * x0, y - 118, width, 126, accent),
            rect(w * x0 - 4, y - 132, width + 8, 18, counter, radius=5),
        ]
        parts += [
            rect(w * x0 + width * u, y - 104, width * 0.42, 96, lighter(accent, 0.16), radius=6)
            + circle(w * x0 + width * (u + 0.37), y - 60, 6, counter)
            for u in (0.05, 0.53)
        ]
        parts += [rect(w * x0 + 20, y * 0.36, width - 46, 12, shade("#a9784e"), radius=4)]
        parts += [
            "".join(
                rect(w * x0 + 36 + 46 * i, y * 0.36 - 38, 30, 38, shade(BOOKS[(i + 1) % len(BOOKS)]), radius=8)
                for i in range(int((width - 80) / 46))
            )
        ]
    parts.append(
        ellipse(w * 0.84, y - 146, 46, 12, shade("#55606b"))
        + rect(w * 0.84 - 44, y - 190, 88, 46, shade("#6f7c88"), radius=12)
        + line(w * 0.84 + 44, y - 172, w * 0.84 + 70, y - 176, 9, shade("#55606b"))
    )
    return "".join(parts)


def _living(stage: Stage, draws: Draws, shade: Callable[[str], str], accent: str) -> str:
    w, y = stage.width, stage.horizon
    left = draws.chance(0.5)
    fx = w * (0.16 if left else 0.84)
    brick = shade("#b5654d")
    fire = (
        rect(fx - 125, y - 215, 250, 222, brick, radius=6) + rect(fx - 145, y - 238, 290, 30, shade("#8f5f41"), radius=6)
        + path(f"M{fx - 76:.0f} {y + 6:.0f}v-100q76 -74 152 0v100Z", fill="#3d2b2e")
        + path(f"M{fx - 40:.0f} {y:.0f}q-10 -46 18 -76q2 26 18 32q0 -34 26 -54q-2 40 20 58q8 22 -4 40Z", fill="#ff9f40")
        + path(f"M{fx - 20:.0f} {y:.0f}q-4 -26 14 -44q4 18 14 22q6 -10 12 -18q6 24 -2 40Z", fill="#ffe08a")
    )  # fmt: skip
    other = 0.84 if left else 0.16
    return (
        _window(stage, 0.52, accent)
        + fire
        + _frame(fx - 60, y - 400, 120, 96, shade("#7fa87a"))
        + _frame(w * other - 55, y * 0.34, 110, 130, shade("#c58a6a"))
        + _lamp(w * (0.95 if left else 0.05), y + 12, accent, lit=stage.time == "night")
    )


def _classroom(stage: Stage, draws: Draws, shade: Callable[[str], str], accent: str) -> str:
    w, y = stage.width, stage.horizon
    board = rect(w * 0.26, y * 0.2, w * 0.48, y * 0.46, shade("#a9784e"), radius=8) + rect(
        w * 0.275, y * 0.225, w * 0.45, y * 0.41, shade("#3f6f5a"), radius=4
    )
    chalk = path(
        f"M{w * 0.32:.0f} {y * 0.34:.0f}h{w * 0.13:.0f}m-{w * 0.13:.0f} {y * 0.08:.0f}h{w * 0.2:.0f}m-{w * 0.2:.0f} {y * 0.08:.0f}h{w * 0.09:.0f}",
        stroke="#e9f2ec",
        width=7,
        opacity=0.7,
    )
    suns = circle(w * 0.63, y * 0.4, 34, "#f3e9b4", opacity=0.75)
    shelf = _bookcase(w * 0.02, y + 6, w * 0.18, y * 0.5, draws, shade, 3)
    return board + chalk + suns + shelf + _window(stage, 0.88, accent, 150)


def _study(stage: Stage, draws: Draws, shade: Callable[[str], str], accent: str) -> str:
    w, y = stage.width, stage.horizon
    return (
        _bookcase(w * 0.02, y + 6, w * 0.3, y * 0.84, draws, shade, 5)
        + _bookcase(w * 0.68, y + 6, w * 0.3, y * 0.84, draws, shade, 5)
        + _window(stage, 0.5, accent, 170)
    )


def _hall(stage: Stage, draws: Draws, shade: Callable[[str], str], accent: str) -> str:
    w, h, y = stage.width, stage.height, stage.horizon
    stone = shade("#efe7e0")
    parts = [wall_window(stage, w * u - 55, y * 0.26, 110, y * 0.42, stone, "") for u in (0.3, 0.7)]
    for u in (0.04, 0.5, 0.96):
        x = w * u
        parts.append(
            rect(x - 30, 0, 60, y, stone)
            + rect(x + 8, 0, 12, y, darker(stone, 0.08))
            + rect(x - 42, y - 34, 84, 36, darker(stone, 0.06), radius=5)
            + rect(x - 42, 40, 84, 26, darker(stone, 0.06), radius=5)
        )
    for u in (0.17, 0.83):
        x = w * u
        parts.append(
            path(f"M{x - 46:.0f} {y * 0.12:.0f}h92v{y * 0.46:.0f}l-46 -40l-46 40Z", fill=accent)
            + circle(x, y * 0.3, 24, "#f2c14e")
        )
    carpet = path(f"M{w * 0.4:.0f} {y:.0f}H{w * 0.6:.0f}L{w * 0.76:.0f} {h:.0f}H{w * 0.24:.0f}Z", fill=accent) + path(
        f"M{w * 0.415:.0f} {y:.0f}L{w * 0.27:.0f} {h:.0f}M{w * 0.585:.0f} {y:.0f}L{w * 0.73:.0f} {h:.0f}",
        stroke="#f2c14e",
        width=7,
    )
    return "".join(parts) + carpet


def _theater(stage: Stage, draws: Draws, shade: Callable[[str], str], accent: str) -> str:
    w, h, y = stage.width, stage.height, stage.horizon
    folds = "".join(
        path(
            f"M{x:.0f} 0q{w * 0.03:.0f} {y * 0.5:.0f} 0 {y + 20:.0f}h{w * 0.066:.0f}q{w * 0.03:.0f} {-y * 0.5:.0f} 0 {-y - 20:.0f}Z",
            fill=accent if i % 2 else darker(accent, 0.14),
        )
        for i, x in enumerate([w * 0.066 * k for k in range(-1, 3)] + [w - w * 0.066 * k for k in range(1, 4)])
    )
    valance = "".join(
        path(
            f"M{w * k / 6:.0f} -6h{w / 6:.0f}v64q{-w / 12:.0f} 60 {-w / 6:.0f} 0Z",
            fill=darker(accent, 0.08 if k % 2 else 0.2),
        )
        for k in range(6)
    )
    light = path(
        f"M{w * 0.44:.0f} 0h{w * 0.12:.0f}L{w * 0.78:.0f} {h:.0f}H{w * 0.22:.0f}Z", fill="#fff3c4", opacity=0.24
    )
    return rect(w * 0.16, 0, w * 0.68, y, "#43284d") + light + folds + valance
