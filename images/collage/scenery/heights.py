"""Hills, mountains and caves."""

from __future__ import annotations

from taleward.images.collage.colors import darker, mix
from taleward.images.collage.scenery.elements import (
    peak,
    ridge,
)
from taleward.images.collage.scenery.ground import far_hills, grass_color, ground_of, snowy, sprinkle, tree_of
from taleward.images.collage.scenery.sky import sky
from taleward.images.collage.scenery.stage import Backdrop, Stage
from taleward.images.collage.shapes import ellipse, gradient, path


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
