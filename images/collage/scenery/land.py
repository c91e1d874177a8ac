"""Landscapes: meadows, forests, mountains, snow, deserts and caves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taleward.images.collage.colors import darker, mix
from taleward.images.collage.scenery.elements import (
    bush,
    peak,
    pine,
    ridge,
    small_palm,
)
from taleward.images.collage.scenery.ground import TRUNK, far_hills, grass_color, ground_of, snowy, sprinkle, tree_of
from taleward.images.collage.scenery.sky import sky
from taleward.images.collage.scenery.stage import Backdrop, Stage
from taleward.images.collage.shapes import ellipse, gradient, line, path


def meadow(stage: Stage) -> Backdrop:
    """Draw a meadow with hills and a few trees far away."""
    back, defs = sky(stage)
    color = grass_color(stage)
    ground, ground_defs = ground_of(stage, color)
    draws = stage.draws
    trees = "".join(
        tree_of(
            stage,
            stage.width * u + draws.between(-30, 30),
            stage.horizon + 10,
            draws.between(80, 130),
            0.3,
            conifer=draws.chance(0.3),
        )
        for u in (0.06, 0.15, 0.83, 0.95)
    )
    return Backdrop(
        back + far_hills(stage, color) + trees + ground + sprinkle(stage, color),
        defs=defs + ground_defs,
        horizon=stage.horizon,
    )


def forest(stage: Stage) -> Backdrop:
    """Draw a forest in three depths, with trunks that frame the scene."""
    back, defs = sky(stage)
    draws, color = stage.draws, mix(grass_color(stage), "#5c9a58", 0.0 if snowy(stage) else 0.35)
    conifers = snowy(stage) or (draws.chance(0.4) and stage.season != "autumn")
    rows = []
    for depth, number, tall, y in ((0.68, 13, 0.34, -4), (0.42, 9, 0.46, 14)):
        for index in range(number):
            x = stage.width * (index + draws.between(0.1, 0.9)) / number
            rows.append(
                tree_of(
                    stage,
                    x,
                    stage.horizon + y,
                    stage.height * tall * draws.between(0.75, 1.1),
                    depth,
                    conifer=conifers != draws.chance(0.22),
                )
            )
        shade = stage.lit(mix(color, "#4a8455", 0.0 if snowy(stage) else 0.55), depth * 0.9)
        rows.append(
            "".join(
                bush(stage.width * (i + 0.5) / 8, stage.horizon + y + 12, stage.width * 0.19, shade) for i in range(8)
            )
        )
    ground, ground_defs = ground_of(stage, color)
    near = "".join(
        tree_of(
            stage, stage.width * u, stage.horizon + 44, stage.height * draws.between(0.56, 0.66), 0.12, conifer=conifers
        )
        for u in (0.015, 0.985)
    )
    shrubs = "".join(
        bush(
            stage.width * u,
            stage.horizon + 40,
            draws.between(110, 180),
            stage.lit(mix(color, "#3f7f4f", 0.0 if snowy(stage) else 0.5), 0.1),
        )
        for u in (0.12, 0.88)
    )
    return Backdrop(
        back + "".join(rows) + ground + near + shrubs + sprinkle(stage, color, flowers=0.2),
        defs=defs + ground_defs,
        horizon=stage.horizon,
    )


def jungle(stage: Stage) -> Backdrop:
    """Draw a jungle: palms, broad leaves and vines."""
    back, defs = sky(stage)
    draws, color = stage.draws, "#5faa52"
    rows = []
    for depth, number, tall in ((0.55, 9, 0.4), (0.28, 6, 0.54)):
        for index in range(number):
            x = stage.width * (index + draws.between(0.15, 0.85)) / number
            rows.append(
                small_palm(
                    x,
                    stage.horizon + 12,
                    stage.height * tall * draws.between(0.8, 1.1),
                    stage.lit("#3f9650", depth),
                    stage.lit("#8b6a48", depth),
                )
            )
        rows.append(
            "".join(
                bush(stage.width * (i + 0.5) / 7, stage.horizon + 22, 190, stage.lit("#3d8a4b", depth))
                for i in range(7)
            )
        )
    ground, ground_defs = ground_of(stage, color)
    vines = "".join(
        path(
            f"M{x:.0f} -10q{draws.between(-30, 30):.0f} {draws.between(80, 160):.0f} 0 {draws.between(160, 300):.0f}",
            stroke=stage.lit("#3a7d44"),
            width=7,
        )
        for x in (stage.width * 0.05, stage.width * 0.16, stage.width * 0.86, stage.width * 0.95)
    )
    return Backdrop(
        back + "".join(rows) + ground + vines + sprinkle(stage, color, flowers=0.25),
        defs=defs + ground_defs,
        horizon=stage.horizon,
    )


def savanna(stage: Stage) -> Backdrop:
    """Draw dry grassland with flat-topped trees."""
    back, defs = sky(stage)
    draws, color = stage.draws, "#d9b65f"
    ground, ground_defs = ground_of(stage, color)
    trees = []
    for u in (0.1, 0.32, 0.9):
        x, y, h = stage.width * u, stage.horizon + 12, draws.between(110, 190)
        trees.append(
            path(
                f"M{x:.0f} {y:.0f}q6 {-h * 0.4:.0f} -4 {-h * 0.62:.0f}m4 {h * 0.2:.0f}q20 {-h * 0.12:.0f} 34 {-h * 0.26:.0f}",
                stroke=stage.lit("#7d5b3c", 0.2),
                width=9,
            )
            + ellipse(x + 6, y - h * 0.72, h * 0.5, h * 0.13, stage.lit("#8a9a4a", 0.22))
            + ellipse(x + h * 0.16, y - h * 0.82, h * 0.32, h * 0.1, stage.lit("#9aab54", 0.22))
        )
    return Backdrop(
        back + far_hills(stage, "#c9a25a") + "".join(trees) + ground + sprinkle(stage, color, flowers=0.0),
        defs=defs + ground_defs,
        horizon=stage.horizon,
    )


def hills(stage: Stage) -> Backdrop:
    """Draw rolling hills; one of them carries what stands on a hilltop."""
    back, defs = sky(stage)
    color, w, h = grass_color(stage), stage.width, stage.height
    draws = stage.draws
    x, y = w * draws.choice((0.34, 0.66)), stage.horizon - h * 0.11
    hill = path(f"M{x - w * 0.62:.0f} {h * 0.86:.0f}C{x - w * 0.34:.0f} {h * 0.8:.0f} {x - w * 0.3:.0f} {y:.0f} {x:.0f} {y:.0f}"
                f"S{x + w * 0.34:.0f} {h * 0.8:.0f} {x + w * 0.62:.0f} {h * 0.86:.0f}Z", fill="url(#hill)")  # fmt: skip
    ground, ground_defs = ground_of(stage, color)
    lane = path(
        f"M{x - 6:.0f} {y + 6:.0f}C{x + w * 0.1:.0f} {y + h * 0.1:.0f} {x - w * 0.16:.0f} {y + h * 0.16:.0f} {x - w * 0.02:.0f} {h * 0.84:.0f}L{x + w * 0.1:.0f} {h * 0.84:.0f}"
        f"C{x - w * 0.08:.0f} {y + h * 0.17:.0f} {x + w * 0.15:.0f} {y + h * 0.1:.0f} {x + 10:.0f} {y + 6:.0f}Z",
        fill=stage.lit("#e6d3a3" if not snowy(stage) else "#dfe6ee", 0.1),
    )
    defs += ground_defs + gradient(
        "hill", ((0, stage.lit(darker(color, 0.04)), 1), (1, stage.lit(darker(color, 0.16)), 1))
    )
    trees = "".join(
        tree_of(stage, w * u, stage.horizon + 18, draws.between(90, 140), 0.25, conifer=draws.chance(0.5))
        for u in (0.04, 0.93)
    )
    low = path(
        f"M0 {h * 0.84:.0f}Q{w * 0.4:.0f} {h * 0.76:.0f} {w:.0f} {h * 0.85:.0f}V{h:.0f}H0Z",
        fill=stage.lit(darker(color, 0.08)),
    )
    return Backdrop(
        back + far_hills(stage, color) + trees + ground + hill + lane + low + sprinkle(stage, color, number=18),
        defs=defs, horizon=stage.horizon, crest=(x, y + 24),
    )  # fmt: skip


def mountains(stage: Stage) -> Backdrop:
    """Draw mountains with white peaks over a valley."""
    back, defs = sky(stage)
    draws, w, h, color = stage.draws, stage.width, stage.height, grass_color(stage)
    parts = []
    for u, half, tall, depth in ((0.2, 0.3, 0.34, 0.45), (0.82, 0.32, 0.38, 0.42), (0.5, 0.36, 0.44, 0.3)):
        x = w * (u + draws.between(-0.04, 0.04))
        parts.append(
            peak(
                x,
                stage.horizon + 10,
                w * half,
                h * tall,
                stage.lit("#7d8fa8", depth),
                stage.lit("#ffffff", depth * 0.35),
            )
        )
    ground, ground_defs = ground_of(stage, color)
    firs = "".join(
        tree_of(stage, w * u, stage.horizon + 14 + 18 * draws.unit(), draws.between(90, 150), 0.2, conifer=True)
        for u in (0.03, 0.1, 0.17, 0.8, 0.88, 0.96)
    )
    return Backdrop(
        back
        + "".join(parts)
        + ridge(draws, w, h, stage.horizon - 6, 16, stage.lit(mix(color, "#5b9a7a", 0.3), 0.25))
        + ground
        + firs
        + sprinkle(stage, color),
        defs=defs + ground_defs,
        horizon=stage.horizon,
    )


def snowfield(stage: Stage) -> Backdrop:
    """Draw a snowy plain with ice and firs far away."""
    back, defs = sky(stage)
    draws, w, h = stage.draws, stage.width, stage.height
    far = "".join(
        peak(w * u, stage.horizon + 8, w * 0.26, h * t, stage.lit("#a9c0d8", 0.35), stage.lit("#ffffff", 0.1))
        for u, t in ((0.15, 0.2), (0.78, 0.26))
    )
    ground, ground_defs = ground_of(stage, "#eef4fb")
    drifts = "".join(
        path(
            f"M{draws.between(-80, w * 0.8):.0f} {stage.horizon + (h - stage.horizon) * v:.0f}q{w * 0.16:.0f} -26 {w * 0.34:.0f} 0",
            stroke=stage.lit("#cfdcec"),
            width=6,
            opacity=0.8,
        )
        for v in (0.2, 0.42, 0.62, 0.85)
    )
    firs = "".join(
        pine(
            w * u,
            stage.horizon + 14,
            draws.between(80, 150),
            stage.lit("#4f8a78", 0.3),
            stage.lit(TRUNK, 0.3),
            stage.lit("#ffffff", 0.2),
        )
        for u in (0.05, 0.12, 0.9, 0.97)
    )
    return Backdrop(back + far + ground + drifts + firs, defs=defs + ground_defs, horizon=stage.horizon)


def desert(stage: Stage) -> Backdrop:
    """Draw dunes with cacti far away."""
    back, defs = sky(stage)
    draws, w, h = stage.draws, stage.width, stage.height
    dunes = ridge(draws, w, h, stage.horizon - h * 0.05, h * 0.04, stage.lit("#e9c07d", 0.35)) + ridge(
        draws, w, h, stage.horizon + 4, h * 0.03, stage.lit("#e5b46a", 0.15), waves=2.4
    )
    ground, ground_defs = ground_of(stage, "#f0c987")
    ripples = "".join(
        path(
            f"M{draws.between(-60, w * 0.85):.0f} {stage.horizon + (h - stage.horizon) * draws.between(0.15, 0.95):.0f}q40 -14 90 0t90 0",
            stroke=stage.lit("#dcab62"),
            width=4,
            opacity=0.7,
        )
        for _ in range(9)
    )
    cacti = "".join(_cactus(stage, w * u, stage.horizon + 22, draws.between(80, 120)) for u in (0.08, 0.92))
    return Backdrop(back + dunes + ground + cacti + ripples, defs=defs + ground_defs, horizon=stage.horizon)


def _cactus(stage: Stage, x: float, y: float, h: float) -> str:
    color = stage.lit("#5d9b66", 0.15)
    return line(x, y, x, y - h, h * 0.2, color) + path(
        f"M{x - h * 0.3:.0f} {y - h * 0.72:.0f}v{h * 0.2:.0f}q0 {h * 0.12:.0f} {h * 0.28:.0f} {h * 0.1:.0f}M{x + h * 0.3:.0f} {y - h * 0.85:.0f}v{h * 0.2:.0f}q0 {h * 0.12:.0f} {-h * 0.28:.0f} {h * 0.1:.0f}",
        stroke=color, width=h * 0.13,
    )  # fmt: skip


def cave(stage: Stage) -> Backdrop:
    """Draw a cave with an opening to the sky."""
    back, defs = sky(stage)
    w, h, draws = stage.width, stage.height, stage.draws
    rock = "#7a6f80" if stage.time != "night" else "#4b4a66"
    x, y = w * draws.choice((0.3, 0.7)), h * 0.4
    hole = f"M{x - w * 0.2:.0f} {h * 0.62:.0f}C{x - w * 0.25:.0f} {y - h * 0.1:.0f} {x - w * 0.08:.0f} {y - h * 0.2:.0f} {x + w * 0.04:.0f} {y - h * 0.17:.0f}S{x + w * 0.24:.0f} {y:.0f} {x + w * 0.19:.0f} {h * 0.62:.0f}Z"
    wall = f'<path fill-rule="evenodd" fill="{darker(rock, 0.3)}" d="M0 0H{w:.0f}V{h:.0f}H0Z{hole}"/>' + path(
        hole, stroke=darker(rock, 0.12), width=24
    )
    spikes = "".join(
        path(f"M{sx:.0f} -4l{sw:.0f} 0l{-sw / 2:.0f} {sh:.0f}Z", fill=darker(rock, 0.42))
        for sx, sw, sh in ((draws.between(0, w), draws.between(50, 100), draws.between(80, 220)) for _ in range(9))
    )
    floor = path(
        f"M0 {h * 0.64:.0f}Q{w * 0.3:.0f} {h * 0.58:.0f} {w * 0.6:.0f} {h * 0.63:.0f}T{w:.0f} {h * 0.62:.0f}V{h:.0f}H0Z",
        fill=rock,
    )
    stones = "".join(
        ellipse(
            draws.between(0, w),
            draws.between(h * 0.72, h),
            draws.between(14, 40),
            draws.between(6, 13),
            darker(rock, 0.16),
        )
        for _ in range(9)
    )
    crystals = "".join(
        path(
            f"M{cx:.0f} {h * 0.64:.0f}l-15 -30l15 -58l15 58Z", fill=mix("#8fd3f0", "#c6a6f2", draws.unit()), opacity=0.9
        )
        for cx in (w * 0.06, w * 0.11, w * 0.9, w * 0.95)
    )
    return Backdrop(back + wall + spikes + crystals + floor + stones, defs=defs, horizon=h * 0.62)


LAND: Mapping[str, Callable[[Stage], Backdrop]] = {
    "meadow": meadow, "forest": forest, "jungle": jungle, "savanna": savanna, "hills": hills, "mountains": mountains,
    "snow": snowfield, "desert": desert, "cave": cave,
}  # fmt: skip
