"""Forests and jungles."""

from __future__ import annotations

from taleward.images.collage.colors import mix
from taleward.images.collage.scenery.elements import (
    bush,
    small_palm,
)
from taleward.images.collage.scenery.ground import grass_color, ground_of, snowy, sprinkle, tree_of
from taleward.images.collage.scenery.sky import sky
from taleward.images.collage.scenery.stage import Backdrop, Stage
from taleward.images.collage.shapes import path


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
