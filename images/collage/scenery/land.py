"""Open land: meadows, savannas, snow and deserts; and all landscapes by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taleward.images.collage.scenery.elements import (
    peak,
    pine,
    ridge,
)
from taleward.images.collage.scenery.ground import TRUNK, far_hills, grass_color, ground_of, sprinkle, tree_of
from taleward.images.collage.scenery.heights import cave, hills, mountains
from taleward.images.collage.scenery.sky import sky
from taleward.images.collage.scenery.stage import Backdrop, Stage
from taleward.images.collage.scenery.woods import forest, jungle
from taleward.images.collage.shapes import ellipse, line, path


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


LAND: Mapping[str, Callable[[Stage], Backdrop]] = {
    "meadow": meadow, "forest": forest, "jungle": jungle, "savanna": savanna, "hills": hills, "mountains": mountains,
    "snow": snowfield, "desert": desert, "cave": cave,
}  # fmt: skip
