"""Where people live: gardens, parks, farms, villages and cities."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taleward.images.collage.colors import mix
from taleward.images.collage.scenery.elements import (
    bush,
    cottage,
    tower_block,
)
from taleward.images.collage.scenery.ground import far_hills, grass_color, ground_of, snowy, sprinkle, tree_of
from taleward.images.collage.scenery.land import meadow
from taleward.images.collage.scenery.sky import sky
from taleward.images.collage.scenery.stage import Backdrop, Stage
from taleward.images.collage.shapes import circle, line, path, rect


def garden(stage: Stage) -> Backdrop:
    """Draw a garden with a fence, hedges and many flowers."""
    back, defs = sky(stage)
    draws, w, color = stage.draws, stage.width, grass_color(stage)
    ground, ground_defs = ground_of(stage, color)
    y = stage.horizon + 30
    hedges = "".join(
        bush(
            w * (i + 0.5) / 6,
            stage.horizon + 16,
            w / 4.6,
            stage.lit("#5fa45a" if not snowy(stage) else "#b9d0cd", 0.15),
        )
        for i in range(6)
    )
    slats = "".join(
        path(f"M{x:.0f} {y:.0f}v-66l11 -14l11 14v66Z", fill=stage.lit("#fffaf0")) for x in range(6, int(w), 40)
    )
    rails = rect(0, y - 52, w, 9, stage.lit("#ece3d2")) + rect(0, y - 24, w, 9, stage.lit("#ece3d2"))
    trees = "".join(
        tree_of(stage, w * u, stage.horizon + 6, draws.between(190, 260), 0.2, conifer=False) for u in (0.08, 0.92)
    )
    return Backdrop(
        back
        + far_hills(stage, color)
        + trees
        + hedges
        + ground
        + rails
        + slats
        + sprinkle(stage, color, flowers=0.75, number=34),
        defs=defs + ground_defs,
        horizon=stage.horizon,
    )


def park(stage: Stage) -> Backdrop:
    """Draw a park with a path and trees."""
    base = meadow(stage)
    w, h, y = stage.width, stage.height, stage.horizon
    lane = path(
        f"M{w * 0.46:.0f} {y + 2:.0f}C{w * 0.6:.0f} {y + 60:.0f} {w * 0.3:.0f} {h * 0.8:.0f} {w * 0.24:.0f} {h:.0f}H{w * 0.72:.0f}C{w * 0.6:.0f} {h * 0.82:.0f} {w * 0.7:.0f} {y + 70:.0f} {w * 0.52:.0f} {y + 2:.0f}Z",
        fill=stage.lit("#ead9b0", 0.05),
    )
    trees = "".join(
        tree_of(stage, w * u, y + 26, stage.draws.between(200, 270), 0.1, conifer=False) for u in (0.05, 0.95)
    )
    return Backdrop(base.back + lane + trees, defs=base.defs, horizon=y)


def farm(stage: Stage) -> Backdrop:
    """Draw a farm: fields in rows, a red barn and a fence."""
    back, defs = sky(stage)
    draws, w, h, color, y = stage.draws, stage.width, stage.height, grass_color(stage), stage.horizon
    side = draws.choice((0.16, 0.84))
    rows = "".join(
        path(
            f"M0 {y - 10 + 9 * i:.0f}Q{w * 0.5:.0f} {y - 34 + 9 * i:.0f} {w:.0f} {y - 8 + 9 * i:.0f}",
            stroke=stage.lit("#d9c15f" if i % 2 else "#b8b656", 0.2),
            width=9,
        )
        for i in range(4)
    )
    x, s = w * side, 1.5
    red = stage.lit("#c7513f", 0.08)
    barn = (
        path(
            f"M{x - 80 * s:.0f} {y + 18:.0f}V{y - 62 * s:.0f}L{x - 52 * s:.0f} {y - 104 * s:.0f}L{x:.0f} {y - 124 * s:.0f}L{x + 52 * s:.0f} {y - 104 * s:.0f}L{x + 80 * s:.0f} {y - 62 * s:.0f}V{y + 18:.0f}Z",
            fill=red,
        )
        + path(
            f"M{x - 86 * s:.0f} {y - 58 * s:.0f}L{x - 54 * s:.0f} {y - 106 * s:.0f}L{x:.0f} {y - 127 * s:.0f}L{x + 54 * s:.0f} {y - 106 * s:.0f}L{x + 86 * s:.0f} {y - 58 * s:.0f}",
            stroke=stage.lit("#7e3a34", 0.08),
            width=11,
        )
        + rect(x - 28 * s, y - 50 * s, 56 * s, 50 * s + 18, stage.lit("#f6ead7", 0.08))
        + path(
            f"M{x - 24 * s:.0f} {y - 46 * s:.0f}L{x + 24 * s:.0f} {y + 12:.0f}M{x + 24 * s:.0f} {y - 46 * s:.0f}L{x - 24 * s:.0f} {y + 12:.0f}",
            stroke=red,
            width=7,
        )
        + circle(x, y - 84 * s, 13 * s, stage.lit("#f6ead7", 0.08))
    )
    ground, ground_defs = ground_of(stage, color)
    fence_y = y + 34
    fence = "".join(
        rect(fx, fence_y - 46, 11, 52, stage.lit("#9b7653", 0.05), radius=4)
        for fx in range(int(w * 0.3), int(w * 0.72), 74)
    ) + "".join(rect(w * 0.29, fence_y - k, w * 0.44, 8, stage.lit("#ab855f", 0.05), radius=3) for k in (36, 16))
    return Backdrop(
        back + far_hills(stage, color) + rows + ground + barn + fence + sprinkle(stage, color),
        defs=defs + ground_defs,
        horizon=h * 0.62,
    )


def village(stage: Stage) -> Backdrop:
    """Draw a village of small houses along a lane."""
    back, defs = sky(stage)
    draws, w, h, y, color = stage.draws, stage.width, stage.height, stage.horizon, grass_color(stage)
    light = "#ffe08a" if stage.time in ("night", "dusk") else stage.lit("#cfe6ef")
    walls, roofs = ("#fbeed7", "#f4d9c0", "#e9e1f0", "#dfeee4"), ("#c9604a", "#a9544b", "#7b6aa0", "#5f86a8")
    roof_color = (lambda c: mix(c, "#ffffff", 0.75)) if snowy(stage) else (lambda c: c)
    parts = []
    for depth, number, size, down in ((0.38, 7, 90, 4), (0.12, 5, 150, 30)):
        for index in range(number):
            u = (index + draws.between(0.25, 0.75)) / number
            if depth < 0.2 and 0.3 < u < 0.7:
                continue
            parts.append(
                cottage(
                    w * u,
                    y + down,
                    size * draws.between(0.9, 1.2),
                    stage.lit(draws.choice(walls), depth),
                    stage.lit(roof_color(draws.choice(roofs)), depth),
                    light,
                )
            )
    ground, ground_defs = ground_of(stage, color)
    lane = path(
        f"M{w * 0.47:.0f} {y + 2:.0f}C{w * 0.5:.0f} {y + 70:.0f} {w * 0.3:.0f} {h * 0.8:.0f} {w * 0.22:.0f} {h:.0f}H{w * 0.8:.0f}C{w * 0.62:.0f} {h * 0.8:.0f} {w * 0.56:.0f} {y + 70:.0f} {w * 0.53:.0f} {y + 2:.0f}Z",
        fill=stage.lit("#e3cda3" if not snowy(stage) else "#e0e7ef", 0.04),
    )
    return Backdrop(
        back
        + far_hills(stage, color)
        + "".join(parts[:7])
        + ground
        + lane
        + "".join(parts[7:])
        + sprinkle(stage, color, number=16),
        defs=defs + ground_defs,
        horizon=y,
    )


def city(stage: Stage) -> Backdrop:
    """Draw a street between tall buildings."""
    back, defs = sky(stage)
    draws, w, h, y = stage.draws, stage.width, stage.height, stage.horizon
    light = "#ffe08a" if stage.time in ("night", "dusk") else "#d8ecf5"
    colors = ("#e0937a", "#8fb0c9", "#d9b98a", "#a7a3cf", "#93bfae", "#c98fa5")
    parts = []
    for depth, number, low, high in ((0.55, 11, 0.22, 0.42), (0.16, 7, 0.2, 0.36)):
        for index in range(number):
            width = w / number * 0.98
            parts.append(
                tower_block(
                    index * w / number + 2,
                    y + 6,
                    width,
                    h * draws.between(low, high),
                    stage.lit(draws.choice(colors), depth),
                    mix(light, stage.haze, depth * 0.5),
                    draws,
                )
            )
    walk = rect(0, y, w, h * 0.09, stage.lit("#d8d2c8")) + rect(0, y + h * 0.085, w, 9, stage.lit("#b9b1a6"))
    road = rect(0, y + h * 0.095, w, h, stage.lit("#7f8792"))
    dashes = "".join(
        rect(x, y + h * 0.2, w * 0.1, 11, stage.lit("#f3efe2"), radius=4)
        for x in range(int(w * 0.03), int(w), int(w * 0.17))
    )
    lamps = "".join(
        line(w * u, y + 20, w * u, y - 150, 8, stage.lit("#4d5566"))
        + circle(w * u, y - 158, 17, "#ffe9a8" if stage.time in ("night", "dusk") else stage.lit("#f3f0e4"))
        for u in (0.05, 0.95)
    )
    return Backdrop(back + "".join(parts) + walk + road + dashes + lamps, defs=defs, horizon=y)


SETTLED: Mapping[str, Callable[[Stage], Backdrop]] = {
    "garden": garden, "park": park, "farm": farm, "village": village, "city": city,
}  # fmt: skip
