"""Seas, shores, lakes, rivers, the deep, the sky and space."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taleward.images.collage.colors import darker, lighter, mix
from taleward.images.collage.scenery.elements import cloud, ridge, small_palm, star
from taleward.images.collage.scenery.land import meadow
from taleward.images.collage.scenery.sky import sky
from taleward.images.collage.scenery.stage import Backdrop, Stage
from taleward.images.collage.shapes import circle, ellipse, gradient, path, rect

WATER = "#3fa3d6"


def _water_color(stage: Stage) -> str:
    return mix(stage.lit(WATER), stage.sky[1], 0.22)


def sea(stage: Stage) -> Backdrop:
    """Draw the open sea."""
    back, defs = sky(stage)
    w, h, y, draws = stage.width, stage.height, stage.horizon, stage.draws
    color = _water_color(stage)
    rough = 1.8 if stage.weather in ("storm", "wind") else 1.0
    defs += gradient("water", ((0, mix(color, stage.haze, 0.45), 1), (1, darker(color, 0.22), 1)))
    parts = [f'<rect y="{y:.0f}" width="{w:.0f}" height="{h - y:.0f}" fill="url(#water)"/>']
    isle_x = w * draws.choice((0.12, 0.86))
    parts.append(ellipse(isle_x, y + 2, 120, 24, stage.lit("#8fbf8a", 0.5)))
    for index in range(5):
        near = index / 4
        parts.append(
            ridge(
                draws,
                w,
                h,
                y + 26 + (h - y) * 0.78 * near**1.3,
                (4 + 9 * near) * rough,
                mix(darker(color, 0.05 + 0.16 * near), "#ffffff", 0.04),
                waves=9 - 4 * near,
            )
        )
    glints = "".join(
        path(
            f"M{draws.between(0, w):.0f} {y + 20 + (h - y) * draws.unit() * 0.9:.0f}q16 -7 32 0",
            stroke="#ffffff",
            width=3,
            opacity=0.5,
        )
        for _ in range(26)
    )
    front = ridge(draws, w, h, h * 0.93, 12 * rough, darker(color, 0.24), waves=6) + ridge(
        draws, w, h, h * 0.965, 9 * rough, darker(color, 0.32), waves=7
    )
    return Backdrop(back + "".join(parts) + glints, front, defs, "water", y)


def beach(stage: Stage) -> Backdrop:
    """Draw a beach with the sea behind it."""
    back, defs = sky(stage)
    w, h, y, draws = stage.width, stage.height, stage.horizon, stage.draws
    color = _water_color(stage)
    defs += gradient("water", ((0, mix(color, stage.haze, 0.4), 1), (1, lighter(color, 0.12), 1)))
    shore = y + (h - y) * 0.27
    parts = [f'<rect y="{y:.0f}" width="{w:.0f}" height="{shore - y + 50:.0f}" fill="url(#water)"/>']
    parts += [
        path(
            f"M{draws.between(0, w):.0f} {draws.between(y + 12, shore - 14):.0f}q14 -6 28 0",
            stroke="#ffffff",
            width=3,
            opacity=0.55,
        )
        for _ in range(12)
    ]
    sand = stage.lit("#f6dfae")
    wave = f"M0 {shore:.0f}q{w * 0.25:.0f} 40 {w * 0.5:.0f} 10t{w * 0.5:.0f} 4V{h:.0f}H0Z"
    parts += [path(wave, fill=sand, stroke="#ffffff", width=16, opacity=0.96), path(wave, fill=sand)]
    defs += gradient("sand", ((0, sand, 1), (1, darker(sand, 0.12), 1)))
    parts.append(
        path(f"M0 {shore + 26:.0f}q{w * 0.25:.0f} 40 {w * 0.5:.0f} 10t{w * 0.5:.0f} 4V{h:.0f}H0Z", fill="url(#sand)")
    )
    parts += [
        ellipse(draws.between(0, w), draws.between(shore + 70, h), draws.between(3, 8), 3, darker(sand, 0.16))
        for _ in range(24)
    ]
    side = draws.choice((0.04, 0.9))
    palm = small_palm(w * side, shore + 66, h * 0.46, stage.lit("#4da35a"), stage.lit("#a27b52"))
    return Backdrop(back + "".join(parts) + palm, "", defs, "ground", shore)


def lake(stage: Stage) -> Backdrop:
    """Draw a lake in a meadow; what stands on land stands before it."""
    base = meadow(stage)
    w, h, y = stage.width, stage.height, stage.horizon
    color = _water_color(stage)
    top, low = y + (h - y) * 0.1, y + (h - y) * 0.46
    middle = (top + low) / 2
    defs = base.defs + gradient("water", ((0, mix(color, stage.haze, 0.5), 1), (1, color, 1)))
    rim = stage.lit("#d9c79a" if stage.season != "winter" else "#dfe7ef")
    parts = [
        ellipse(w * 0.5, middle + 4, w * 0.47, (low - top) / 2 + 9, rim),
        f'<ellipse cx="{w * 0.5:.0f}" cy="{middle:.0f}" rx="{w * 0.46:.0f}" ry="{(low - top) / 2:.0f}" fill="url(#water)"/>',
    ]
    draws = stage.draws
    parts += [
        path(
            f"M{draws.between(w * 0.15, w * 0.8):.0f} {draws.between(top + 16, low - 16):.0f}q16 -6 32 0",
            stroke="#ffffff",
            width=3,
            opacity=0.55,
        )
        for _ in range(12)
    ]
    reeds = "".join(
        path(f"M{x:.0f} {low + 8:.0f}q4 -40 -2 -78", stroke=stage.lit("#6f9a4e"), width=5)
        + ellipse(x - 2, low - 74, 5, 17, stage.lit("#8a5a3c"))
        for x in (w * 0.1, w * 0.13, w * 0.155, w * 0.86, w * 0.89)
    )
    return Backdrop(base.back + "".join(parts) + reeds, "", defs, "ground", y)


def river(stage: Stage) -> Backdrop:
    """Draw a river that winds through a meadow."""
    base = meadow(stage)
    w, h, y, draws = stage.width, stage.height, stage.horizon, stage.draws
    color = _water_color(stage)
    stream = (
        f"M{w * 0.5:.0f} {y + 4:.0f}C{w * 0.42:.0f} {y + h * 0.06:.0f} {w * 0.72:.0f} {y + h * 0.08:.0f} {w * 0.66:.0f} {y + h * 0.14:.0f}"
        f"S{w * 0.5:.0f} {h * 0.86:.0f} {w * 0.62:.0f} {h:.0f}H{w * 1.1:.0f}C{w * 0.86:.0f} {h * 0.86:.0f} {w * 0.94:.0f} {y + h * 0.2:.0f} {w * 0.84:.0f} {y + h * 0.13:.0f}"
        f"S{w * 0.52:.0f} {y + h * 0.06:.0f} {w * 0.54:.0f} {y + 4:.0f}Z"
    )
    glints = "".join(
        path(
            f"M{w * draws.between(0.66, 0.84):.0f} {draws.between(y + h * 0.12, h * 0.97):.0f}q16 -6 32 0",
            stroke="#ffffff",
            width=3.5,
            opacity=0.6,
        )
        for _ in range(12)
    )
    bank = path(stream, fill=color, stroke=stage.lit("#cdbb8c"), width=14) + path(stream, fill=color)
    return Backdrop(base.back + bank + glints, "", base.defs, "ground", y)


def underwater(stage: Stage) -> Backdrop:
    """Draw the bottom of the sea with weeds, corals and bubbles."""
    w, h, draws = stage.width, stage.height, stage.draws
    top, low = ("#5fd0e0", "#12659e") if stage.time != "night" else ("#2a6aa8", "#0d2f63")
    defs = gradient("water", ((0, top, 1), (0.6, mix(top, low, 0.7), 1), (1, low, 1)))
    parts = [f'<rect width="{w:.0f}" height="{h:.0f}" fill="url(#water)"/>']
    parts += [
        path(
            f"M{x:.0f} -10L{x + 70:.0f} -10L{x + 10 + d:.0f} {h * 0.8:.0f}L{x - 120 + d:.0f} {h * 0.8:.0f}Z",
            fill="#ffffff",
            opacity=0.09,
        )
        for x, d in ((w * 0.2, -60), (w * 0.45, 0), (w * 0.72, 70))
    ]
    sand = mix("#f0d9a4", low, 0.3)
    parts.append(ridge(draws, w, h, h * 0.8, 18, mix("#3f7f9e", low, 0.4)))
    for _ in range(12):
        x, tall = draws.choice((draws.between(0, w * 0.25), draws.between(w * 0.75, w))), draws.between(90, 260)
        color = mix(draws.choice(("#3fae7a", "#2f8f6f", "#63b86b")), low, 0.25)
        parts.append(
            path(
                f"M{x:.0f} {h * 0.9:.0f}q-26 {-tall * 0.3:.0f} 0 {-tall * 0.5:.0f}t0 {-tall * 0.5:.0f}",
                stroke=color,
                width=13,
            )
        )
    parts.append(ridge(draws, w, h, h * 0.87, 12, sand))
    for x in (w * 0.1, w * 0.88):
        color = mix(draws.choice(("#ff7f8e", "#ff9f5b", "#c77fe0")), low, 0.15)
        parts.append(path(f"M{x:.0f} {h * 0.9:.0f}v-76m0 40q-34 -4 -36 -48m36 20q34 -6 34 -50", stroke=color, width=15))
    bubbles = "".join(
        f'<circle cx="{draws.between(0, w):.0f}" cy="{draws.between(h * 0.06, h * 0.8):.0f}" r="{draws.between(4, 15):.0f}" fill="#fff" fill-opacity=".16" stroke="#fff" stroke-opacity=".6" stroke-width="2"/>'
        for _ in range(26)
    )
    return Backdrop("".join(parts) + bubbles, "", defs, "deep", h * 0.84)


def space(stage: Stage) -> Backdrop:
    """Draw outer space with stars, a nebula and planets."""
    w, h, draws = stage.width, stage.height, stage.draws
    defs = gradient("sky", ((0, "#0c1035", 1), (0.6, "#231a55", 1), (1, "#3c2470", 1)))
    defs += gradient("nebula", ((0, "#d36ad0", 0.38), (1, "#d36ad0", 0)), radial=True) + gradient(
        "nebula2", ((0, "#4aa8e8", 0.34), (1, "#4aa8e8", 0)), radial=True
    )
    parts = [f'<rect width="{w:.0f}" height="{h:.0f}" fill="url(#sky)"/>']
    parts += [
        f'<ellipse cx="{w * u:.0f}" cy="{h * v:.0f}" rx="{w * 0.5:.0f}" ry="{h * 0.36:.0f}" fill="url(#{name})"/>'
        for u, v, name in ((0.25, 0.3, "nebula"), (0.8, 0.75, "nebula2"))
    ]
    for _ in range(130):
        x, y, size = draws.between(0, w), draws.between(0, h), draws.unit()
        parts.append(
            star(x, y, 5 + 7 * draws.unit(), "#fff6d8")
            if size > 0.9
            else circle(x, y, 0.9 + 1.9 * size, "#ffffff", opacity=0.8)
        )
    x, y, r = w * draws.choice((0.14, 0.86)), h * draws.between(0.16, 0.26), 90.0
    parts += [
        circle(x, y, r, "#f2a65a"),
        ellipse(x - 20, y - 26, 40, 12, "#f8c48a"),
        ellipse(x + 16, y + 24, 46, 13, "#dd8b45"),
    ]
    parts.append(
        path(
            f"M{x - 140:.0f} {y + 34:.0f}C{x - 60:.0f} {y + 70:.0f} {x + 110:.0f} {y + 10:.0f} {x + 140:.0f} {y - 34:.0f}",
            stroke="#ffe0b0",
            width=11,
            opacity=0.9,
        )
    )
    return Backdrop("".join(parts), "", defs, "air", h * 0.9)


def moonscape(stage: Stage) -> Backdrop:
    """Draw the surface of a moon with craters, and the Earth above it."""
    base = space(stage)
    w, h, draws = stage.width, stage.height, stage.draws
    y = h * 0.62
    ground = path(f"M0 {y + 26:.0f}Q{w * 0.5:.0f} {y - 40:.0f} {w:.0f} {y + 22:.0f}V{h:.0f}H0Z", fill="#b9bccb")
    craters = "".join(
        ellipse(cx, cy, r, r * 0.3, "#9da1b5") + ellipse(cx, cy + r * 0.07, r * 0.86, r * 0.22, "#8b8fa6")
        for cx, cy, r in (
            (draws.between(0, w), y + (h - y) * draws.between(0.15, 0.95), draws.between(24, 74)) for _ in range(9)
        )
    )
    return Backdrop(base.back + ground + craters, "", base.defs, "ground", y)


def clouds(stage: Stage) -> Backdrop:
    """Draw the sky above the clouds."""
    back, defs = sky(stage)
    w, h, draws = stage.width, stage.height, stage.draws
    color = mix("#ffffff", stage.sky[2], 0.25 if stage.time == "day" else 0.6)
    puffs = "".join(
        cloud(
            w * (i + draws.unit()) / 5,
            h * draws.between(0.84, 0.95),
            draws.between(320, 460),
            mix(color, stage.sky[1], 0.2),
            1,
        )
        for i in range(5)
    )
    puffs += "".join(
        cloud(w * (i + draws.unit()) / 4, h * draws.between(0.97, 1.04), draws.between(420, 560), color, 1)
        for i in range(4)
    )
    base = rect(0, h * 0.9, w, h * 0.1, color)
    return Backdrop(back + puffs + base, "", defs, "air", h * 0.86)


WATERS: Mapping[str, Callable[[Stage], Backdrop]] = {
    "sea": sea, "beach": beach, "lake": lake, "river": river, "underwater": underwater, "space": space,
    "moonscape": moonscape, "clouds": clouds,
}  # fmt: skip
