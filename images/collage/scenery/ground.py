"""Parts that landscapes share: ground, grass, trees and far hills."""

from __future__ import annotations

from taleward.images.collage.colors import darker, lighter, mix
from taleward.images.collage.scenery.elements import (
    pine,
    ridge,
    round_tree,
    small_flower,
    tuft,
)
from taleward.images.collage.scenery.stage import Stage
from taleward.images.collage.shapes import gradient, path

GRASS = {"spring": "#8ecb62", "summer": "#7fc25b", "autumn": "#b9b35a", "winter": "#eef4fa"}
LEAVES = {
    "spring": ("#7fc463", "#9bd46f", "#f3b7cd"),
    "summer": ("#5fae55", "#4c9c55", "#76bb5c"),
    "autumn": ("#e2913c", "#d2693a", "#e6b94a"),
    "winter": ("#7aa598", "#6b978f", "#86ad9f"),
}
FLOWERS = ("#ff8fab", "#ffffff", "#ffd166", "#c79bf2", "#ff9f6b")
TRUNK = "#8a6246"


def snowy(stage: Stage) -> bool:
    """Whether snow lies."""
    return stage.season == "winter" or stage.weather == "snow"


def grass_color(stage: Stage) -> str:
    """Return the color of the ground by day."""
    return GRASS["winter" if snowy(stage) else stage.season]


def ground_of(stage: Stage, color: str, defs_name: str = "ground") -> tuple[str, str]:
    """Return the near ground with a gradient that lightens to the horizon."""
    near, far = stage.lit(darker(color, 0.1)), stage.lit(lighter(color, 0.12), 0.18)
    y = stage.horizon
    shape = path(
        f"M0 {y + 16:.0f}Q{stage.width * 0.5:.0f} {y - 22:.0f} {stage.width:.0f} {y + 12:.0f}V{stage.height:.0f}H0Z",
        fill=f"url(#{defs_name})",
    )
    return shape, gradient(defs_name, ((0, far, 1), (1, near, 1)))


def sprinkle(stage: Stage, color: str, *, flowers: float = 0.35, number: int = 26) -> str:
    """Return tufts of grass and flowers, larger in front."""
    draws, parts = stage.draws, []
    for index in range(number):
        near = (index + draws.unit()) / number
        y = stage.horizon + 30 + (stage.height - stage.horizon - 36) * near
        x = draws.between(0, stage.width)
        size = 9 + 20 * near
        if draws.chance(flowers) and not snowy(stage):
            parts.append(
                small_flower(x, y, size * 0.95, stage.lit(draws.choice(FLOWERS)), stage.lit(darker(color, 0.25)))
            )
        else:
            parts.append(tuft(x, y, size, stage.lit(darker(color, 0.2 if not snowy(stage) else 0.12))))
    return "".join(parts)


def far_hills(stage: Stage, color: str) -> str:
    """Return two rows of hills at the horizon."""
    draws, h = stage.draws, stage.height
    return ridge(
        draws, stage.width, h, stage.horizon - h * 0.07, h * 0.035, stage.lit(mix(color, "#6aa7a0", 0.35), 0.55)
    ) + ridge(
        draws,
        stage.width,
        h,
        stage.horizon - h * 0.025,
        h * 0.028,
        stage.lit(mix(color, "#5b9a7a", 0.2), 0.3),
        waves=2.2,
    )


def tree_of(stage: Stage, x: float, y: float, height: float, depth: float, *, conifer: bool) -> str:
    """Return a tree of the season; `y` is its foot."""
    season = "winter" if snowy(stage) else stage.season
    if conifer:
        leaf = mix("#3f7f5f", LEAVES[season][0], 0.2)
        snow = stage.lit("#ffffff", depth) if season == "winter" else ""
        return pine(x, y, height, stage.lit(leaf, depth), stage.lit(TRUNK, depth), snow)
    return round_tree(x, y, height, stage.lit(stage.draws.choice(LEAVES[season]), depth), stage.lit(TRUNK, depth))
