"""Landscapes: meadows, forests, mountains, snow, deserts, towns and caves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taleward.images.collage.colors import darker, lighter, mix
from taleward.images.collage.scenery.elements import (
    bush,
    cottage,
    peak,
    pine,
    ridge,
    round_tree,
    small_flower,
    small_palm,
    tower_block,
    tuft,
)
from taleward.images.collage.scenery.sky import sky
from taleward.images.collage.scenery.stage import Backdrop, Stage
from taleward.images.collage.shapes import circle, ellipse, gradient, line, path, rect

GRASS = {"spring": "#8ecb62", "summer": "#7fc25b", "autumn": "#b9b35a", "winter": "#eef4fa"}
LEAVES = {
    "spring": ("#7fc463", "#9bd46f", "#f3b7cd"),
    "summer": ("#5fae55", "#4c9c55", "#76bb5c"),
    "autumn": ("#e2913c", "#d2693a", "#e6b94a"),
    "winter": ("#7aa598", "#6b978f", "#86ad9f"),
}
FLOWERS = ("#ff8fab", "#ffffff", "#ffd166", "#c79bf2", "#ff9f6b")
TRUNK = "#8a6246"


def _snowy(stage: Stage) -> bool:
    return stage.season == "winter" or stage.weather == "snow"


def _grass(stage: Stage) -> str:
    return GRASS["winter" if _snowy(stage) else stage.season]


def _ground(stage: Stage, color: str, defs_name: str = "ground") -> tuple[str, str]:
    """Return the near ground with a gradient that lightens to the horizon."""
    near, far = stage.lit(darker(color, 0.1)), stage.lit(lighter(color, 0.12), 0.18)
    y = stage.horizon
    shape = path(f"M0 {y + 16:.0f}Q{stage.width * 0.5:.0f} {y - 22:.0f} {stage.width:.0f} {y + 12:.0f}V{stage.height:.0f}H0Z", fill=f"url(#{defs_name})")
    return shape, gradient(defs_name, ((0, far, 1), (1, near, 1)))


def _sprinkle(stage: Stage, color: str, *, flowers: float = 0.35, number: int = 26) -> str:
    """Return tufts of grass and flowers, larger in front."""
    draws, parts = stage.draws, []
    for index in range(number):
        near = (index + draws.unit()) / number
        y = stage.horizon + 30 + (stage.height - stage.horizon - 36) * near
        x = draws.between(0, stage.width)
        size = 9 + 20 * near
        if draws.chance(flowers) and not _snowy(stage):
            parts.append(small_flower(x, y, size * 0.95, stage.lit(draws.choice(FLOWERS)), stage.lit(darker(color, 0.25))))
        else:
            parts.append(tuft(x, y, size, stage.lit(darker(color, 0.2 if not _snowy(stage) else 0.12))))
    return "".join(parts)


def _far_hills(stage: Stage, color: str) -> str:
    draws, h = stage.draws, stage.height
    return ridge(draws, stage.width, h, stage.horizon - h * 0.07, h * 0.035, stage.lit(mix(color, "#6aa7a0", 0.35), 0.55)) + ridge(
        draws, stage.width, h, stage.horizon - h * 0.025, h * 0.028, stage.lit(mix(color, "#5b9a7a", 0.2), 0.3), waves=2.2
    )


def _tree(stage: Stage, x: float, y: float, height: float, depth: float, *, conifer: bool) -> str:
    season = "winter" if _snowy(stage) else stage.season
    if conifer:
        leaf = mix("#3f7f5f", LEAVES[season][0], 0.2)
        snow = stage.lit("#ffffff", depth) if season == "winter" else ""
        return pine(x, y, height, stage.lit(leaf, depth), stage.lit(TRUNK, depth), snow)
    return round_tree(x, y, height, stage.lit(stage.draws.choice(LEAVES[season]), depth), stage.lit(TRUNK, depth))


def meadow(stage: Stage) -> Backdrop:
    """Draw a meadow with hills and a few trees far away."""
    back, defs = sky(stage)
    color = _grass(stage)
    ground, ground_defs = _ground(stage, color)
    draws = stage.draws
    trees = "".join(
        _tree(stage, stage.width * u + draws.between(-30, 30), stage.horizon + 10, draws.between(80, 130), 0.3, conifer=draws.chance(0.3))
        for u in (0.06, 0.15, 0.83, 0.95)
    )
    return Backdrop(back + _far_hills(stage, color) + trees + ground + _sprinkle(stage, color), defs=defs + ground_defs, horizon=stage.horizon)


def forest(stage: Stage) -> Backdrop:
    """Draw a forest in three depths, with trunks that frame the scene."""
    back, defs = sky(stage)
    draws, color = stage.draws, mix(_grass(stage), "#5c9a58", 0.0 if _snowy(stage) else 0.35)
    conifers = _snowy(stage) or (draws.chance(0.4) and stage.season != "autumn")
    rows = []
    for depth, number, tall, y in ((0.68, 13, 0.34, -4), (0.42, 9, 0.46, 14)):
        for index in range(number):
            x = stage.width * (index + draws.between(0.1, 0.9)) / number
            rows.append(_tree(stage, x, stage.horizon + y, stage.height * tall * draws.between(0.75, 1.1), depth, conifer=conifers != draws.chance(0.22)))
        shade = stage.lit(mix(color, "#4a8455", 0.0 if _snowy(stage) else 0.55), depth * 0.9)
        rows.append("".join(bush(stage.width * (i + 0.5) / 8, stage.horizon + y + 12, stage.width * 0.19, shade) for i in range(8)))
    ground, ground_defs = _ground(stage, color)
    near = "".join(
        _tree(stage, stage.width * u, stage.horizon + 44, stage.height * draws.between(0.56, 0.66), 0.12, conifer=conifers)
        for u in (0.015, 0.985)
    )
    shrubs = "".join(
        bush(stage.width * u, stage.horizon + 40, draws.between(110, 180), stage.lit(mix(color, "#3f7f4f", 0.0 if _snowy(stage) else 0.5), 0.1))
        for u in (0.12, 0.88)
    )
    return Backdrop(
        back + "".join(rows) + ground + near + shrubs + _sprinkle(stage, color, flowers=0.2), defs=defs + ground_defs, horizon=stage.horizon
    )


def jungle(stage: Stage) -> Backdrop:
    """Draw a jungle: palms, broad leaves and vines."""
    back, defs = sky(stage)
    draws, color = stage.draws, "#5faa52"
    rows = []
    for depth, number, tall in ((0.55, 9, 0.4), (0.28, 6, 0.54)):
        for index in range(number):
            x = stage.width * (index + draws.between(0.15, 0.85)) / number
            rows.append(small_palm(x, stage.horizon + 12, stage.height * tall * draws.between(0.8, 1.1), stage.lit("#3f9650", depth), stage.lit("#8b6a48", depth)))
        rows.append("".join(bush(stage.width * (i + 0.5) / 7, stage.horizon + 22, 190, stage.lit("#3d8a4b", depth)) for i in range(7)))
    ground, ground_defs = _ground(stage, color)
    vines = "".join(
        path(f"M{x:.0f} -10q{draws.between(-30, 30):.0f} {draws.between(80, 160):.0f} 0 {draws.between(160, 300):.0f}", stroke=stage.lit("#3a7d44"), width=7)
        for x in (stage.width * 0.05, stage.width * 0.16, stage.width * 0.86, stage.width * 0.95)
    )
    return Backdrop(back + "".join(rows) + ground + vines + _sprinkle(stage, color, flowers=0.25), defs=defs + ground_defs, horizon=stage.horizon)


def savanna(stage: Stage) -> Backdrop:
    """Draw dry grassland with flat-topped trees."""
    back, defs = sky(stage)
    draws, color = stage.draws, "#d9b65f"
    ground, ground_defs = _ground(stage, color)
    trees = []
    for u in (0.1, 0.32, 0.9):
        x, y, h = stage.width * u, stage.horizon + 12, draws.between(110, 190)
        trees.append(
            path(f"M{x:.0f} {y:.0f}q6 {-h * 0.4:.0f} -4 {-h * 0.62:.0f}m4 {h * 0.2:.0f}q20 {-h * 0.12:.0f} 34 {-h * 0.26:.0f}", stroke=stage.lit("#7d5b3c", 0.2), width=9)
            + ellipse(x + 6, y - h * 0.72, h * 0.5, h * 0.13, stage.lit("#8a9a4a", 0.22))
            + ellipse(x + h * 0.16, y - h * 0.82, h * 0.32, h * 0.1, stage.lit("#9aab54", 0.22))
        )
    return Backdrop(
        back + _far_hills(stage, "#c9a25a") + "".join(trees) + ground + _sprinkle(stage, color, flowers=0.0), defs=defs + ground_defs, horizon=stage.horizon
    )


def hills(stage: Stage) -> Backdrop:
    """Draw rolling hills; one of them carries what stands on a hilltop."""
    back, defs = sky(stage)
    color, w, h = _grass(stage), stage.width, stage.height
    draws = stage.draws
    x, y = w * draws.choice((0.34, 0.66)), stage.horizon - h * 0.11
    hill = path(f"M{x - w * 0.62:.0f} {h * 0.86:.0f}C{x - w * 0.3:.0f} {h * 0.8:.0f} {x - w * 0.24:.0f} {y:.0f} {x:.0f} {y:.0f}"
                f"S{x + w * 0.3:.0f} {h * 0.8:.0f} {x + w * 0.62:.0f} {h * 0.86:.0f}Z", fill="url(#hill)")  # fmt: skip
    ground, ground_defs = _ground(stage, color)
    lane = path(
        f"M{x - 6:.0f} {y + 6:.0f}C{x + w * 0.1:.0f} {y + h * 0.1:.0f} {x - w * 0.16:.0f} {y + h * 0.16:.0f} {x - w * 0.02:.0f} {h * 0.84:.0f}L{x + w * 0.1:.0f} {h * 0.84:.0f}"
        f"C{x - w * 0.08:.0f} {y + h * 0.17:.0f} {x + w * 0.15:.0f} {y + h * 0.1:.0f} {x + 10:.0f} {y + 6:.0f}Z",
        fill=stage.lit("#e6d3a3" if not _snowy(stage) else "#dfe6ee", 0.1),
    )
    defs += ground_defs + gradient("hill", ((0, stage.lit(lighter(color, 0.2), 0.04), 1), (1, stage.lit(darker(color, 0.14)), 1)))
    trees = "".join(_tree(stage, w * u, stage.horizon + 18, draws.between(90, 140), 0.25, conifer=draws.chance(0.5)) for u in (0.04, 0.93))
    low = path(f"M0 {h * 0.84:.0f}Q{w * 0.4:.0f} {h * 0.76:.0f} {w:.0f} {h * 0.85:.0f}V{h:.0f}H0Z", fill=stage.lit(darker(color, 0.08)))
    return Backdrop(
        back + _far_hills(stage, color) + trees + ground + hill + lane + low + _sprinkle(stage, color, number=18),
        defs=defs, horizon=stage.horizon, crest=(x, y + 8),
    )  # fmt: skip


def mountains(stage: Stage) -> Backdrop:
    """Draw mountains with white peaks over a valley."""
    back, defs = sky(stage)
    draws, w, h, color = stage.draws, stage.width, stage.height, _grass(stage)
    parts = []
    for u, half, tall, depth in ((0.2, 0.3, 0.34, 0.45), (0.82, 0.32, 0.38, 0.42), (0.5, 0.36, 0.44, 0.3)):
        x = w * (u + draws.between(-0.04, 0.04))
        parts.append(peak(x, stage.horizon + 10, w * half, h * tall, stage.lit("#7d8fa8", depth), stage.lit("#ffffff", depth * 0.35)))
    ground, ground_defs = _ground(stage, color)
    firs = "".join(_tree(stage, w * u, stage.horizon + 14 + 18 * draws.unit(), draws.between(90, 150), 0.2, conifer=True) for u in (0.03, 0.1, 0.17, 0.8, 0.88, 0.96))
    return Backdrop(back + "".join(parts) + ridge(draws, w, h, stage.horizon - 6, 16, stage.lit(mix(color, "#5b9a7a", 0.3), 0.25)) + ground + firs + _sprinkle(stage, color), defs=defs + ground_defs, horizon=stage.horizon)


def snowfield(stage: Stage) -> Backdrop:
    """Draw a snowy plain with ice and firs far away."""
    back, defs = sky(stage)
    draws, w, h = stage.draws, stage.width, stage.height
    far = "".join(peak(w * u, stage.horizon + 8, w * 0.26, h * t, stage.lit("#a9c0d8", 0.35), stage.lit("#ffffff", 0.1)) for u, t in ((0.15, 0.2), (0.78, 0.26)))
    ground, ground_defs = _ground(stage, "#eef4fb")
    drifts = "".join(
        path(f"M{draws.between(-80, w * 0.8):.0f} {stage.horizon + (h - stage.horizon) * v:.0f}q{w * 0.16:.0f} -26 {w * 0.34:.0f} 0", stroke=stage.lit("#cfdcec"), width=6, opacity=0.8)
        for v in (0.2, 0.42, 0.62, 0.85)
    )
    firs = "".join(pine(w * u, stage.horizon + 14, draws.between(80, 150), stage.lit("#4f8a78", 0.3), stage.lit(TRUNK, 0.3), stage.lit("#ffffff", 0.2)) for u in (0.05, 0.12, 0.9, 0.97))
    return Backdrop(back + far + ground + drifts + firs, defs=defs + ground_defs, horizon=stage.horizon)


def desert(stage: Stage) -> Backdrop:
    """Draw dunes with cacti far away."""
    back, defs = sky(stage)
    draws, w, h = stage.draws, stage.width, stage.height
    dunes = ridge(draws, w, h, stage.horizon - h * 0.05, h * 0.04, stage.lit("#e9c07d", 0.35)) + ridge(draws, w, h, stage.horizon + 4, h * 0.03, stage.lit("#e5b46a", 0.15), waves=2.4)
    ground, ground_defs = _ground(stage, "#f0c987")
    ripples = "".join(
        path(f"M{draws.between(-60, w * 0.85):.0f} {stage.horizon + (h - stage.horizon) * draws.between(0.15, 0.95):.0f}q40 -14 90 0t90 0", stroke=stage.lit("#dcab62"), width=4, opacity=0.7)
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


def garden(stage: Stage) -> Backdrop:
    """Draw a garden with a fence, hedges and many flowers."""
    back, defs = sky(stage)
    draws, w, color = stage.draws, stage.width, _grass(stage)
    ground, ground_defs = _ground(stage, color)
    y = stage.horizon + 30
    hedges = "".join(bush(w * (i + 0.5) / 6, stage.horizon + 16, w / 4.6, stage.lit("#5fa45a" if not _snowy(stage) else "#b9d0cd", 0.15)) for i in range(6))
    slats = "".join(
        path(f"M{x:.0f} {y:.0f}v-66l11 -14l11 14v66Z", fill=stage.lit("#fffaf0")) for x in range(6, int(w), 40)
    )
    rails = rect(0, y - 52, w, 9, stage.lit("#ece3d2")) + rect(0, y - 24, w, 9, stage.lit("#ece3d2"))
    trees = "".join(_tree(stage, w * u, stage.horizon + 6, draws.between(190, 260), 0.2, conifer=False) for u in (0.08, 0.92))
    return Backdrop(back + _far_hills(stage, color) + trees + hedges + ground + rails + slats + _sprinkle(stage, color, flowers=0.75, number=34), defs=defs + ground_defs, horizon=stage.horizon)


def park(stage: Stage) -> Backdrop:
    """Draw a park with a path and trees."""
    base = meadow(stage)
    w, h, y = stage.width, stage.height, stage.horizon
    lane = path(f"M{w * 0.46:.0f} {y + 2:.0f}C{w * 0.6:.0f} {y + 60:.0f} {w * 0.3:.0f} {h * 0.8:.0f} {w * 0.24:.0f} {h:.0f}H{w * 0.72:.0f}C{w * 0.6:.0f} {h * 0.82:.0f} {w * 0.7:.0f} {y + 70:.0f} {w * 0.52:.0f} {y + 2:.0f}Z", fill=stage.lit("#ead9b0", 0.05))
    trees = "".join(_tree(stage, w * u, y + 26, stage.draws.between(200, 270), 0.1, conifer=False) for u in (0.05, 0.95))
    return Backdrop(base.back + lane + trees, defs=base.defs, horizon=y)


def farm(stage: Stage) -> Backdrop:
    """Draw a farm: fields in rows, a red barn and a fence."""
    back, defs = sky(stage)
    draws, w, h, color, y = stage.draws, stage.width, stage.height, _grass(stage), stage.horizon
    side = draws.choice((0.16, 0.84))
    rows = "".join(
        path(f"M0 {y - 10 + 9 * i:.0f}Q{w * 0.5:.0f} {y - 34 + 9 * i:.0f} {w:.0f} {y - 8 + 9 * i:.0f}", stroke=stage.lit("#d9c15f" if i % 2 else "#b8b656", 0.2), width=9) for i in range(4)
    )
    x, s = w * side, 1.5
    red = stage.lit("#c7513f", 0.08)
    barn = (
        path(f"M{x - 80 * s:.0f} {y + 18:.0f}V{y - 62 * s:.0f}L{x - 52 * s:.0f} {y - 104 * s:.0f}L{x:.0f} {y - 124 * s:.0f}L{x + 52 * s:.0f} {y - 104 * s:.0f}L{x + 80 * s:.0f} {y - 62 * s:.0f}V{y + 18:.0f}Z", fill=red)
        + path(f"M{x - 86 * s:.0f} {y - 58 * s:.0f}L{x - 54 * s:.0f} {y - 106 * s:.0f}L{x:.0f} {y - 127 * s:.0f}L{x + 54 * s:.0f} {y - 106 * s:.0f}L{x + 86 * s:.0f} {y - 58 * s:.0f}", stroke=stage.lit("#7e3a34", 0.08), width=11)
        + rect(x - 28 * s, y - 50 * s, 56 * s, 50 * s + 18, stage.lit("#f6ead7", 0.08))
        + path(f"M{x - 24 * s:.0f} {y - 46 * s:.0f}L{x + 24 * s:.0f} {y + 12:.0f}M{x + 24 * s:.0f} {y - 46 * s:.0f}L{x - 24 * s:.0f} {y + 12:.0f}", stroke=red, width=7)
        + circle(x, y - 84 * s, 13 * s, stage.lit("#f6ead7", 0.08))
    )
    ground, ground_defs = _ground(stage, color)
    fence_y = y + 34
    fence = "".join(rect(fx, fence_y - 46, 11, 52, stage.lit("#9b7653", 0.05), radius=4) for fx in range(int(w * 0.3), int(w * 0.72), 74)) + "".join(
        rect(w * 0.29, fence_y - k, w * 0.44, 8, stage.lit("#ab855f", 0.05), radius=3) for k in (36, 16)
    )
    return Backdrop(back + _far_hills(stage, color) + rows + ground + barn + fence + _sprinkle(stage, color), defs=defs + ground_defs, horizon=h * 0.62)


def village(stage: Stage) -> Backdrop:
    """Draw a village of small houses along a lane."""
    back, defs = sky(stage)
    draws, w, h, y, color = stage.draws, stage.width, stage.height, stage.horizon, _grass(stage)
    light = "#ffe08a" if stage.time in ("night", "dusk") else stage.lit("#cfe6ef")
    walls, roofs = ("#fbeed7", "#f4d9c0", "#e9e1f0", "#dfeee4"), ("#c9604a", "#a9544b", "#7b6aa0", "#5f86a8")
    roof_color = (lambda c: mix(c, "#ffffff", 0.75)) if _snowy(stage) else (lambda c: c)
    parts = []
    for depth, number, size, down in ((0.38, 7, 90, 4), (0.12, 5, 150, 30)):
        for index in range(number):
            u = (index + draws.between(0.25, 0.75)) / number
            if depth < 0.2 and 0.3 < u < 0.7:
                continue
            parts.append(cottage(w * u, y + down, size * draws.between(0.9, 1.2), stage.lit(draws.choice(walls), depth), stage.lit(roof_color(draws.choice(roofs)), depth), light))
    ground, ground_defs = _ground(stage, color)
    lane = path(f"M{w * 0.47:.0f} {y + 2:.0f}C{w * 0.5:.0f} {y + 70:.0f} {w * 0.3:.0f} {h * 0.8:.0f} {w * 0.22:.0f} {h:.0f}H{w * 0.8:.0f}C{w * 0.62:.0f} {h * 0.8:.0f} {w * 0.56:.0f} {y + 70:.0f} {w * 0.53:.0f} {y + 2:.0f}Z", fill=stage.lit("#e3cda3" if not _snowy(stage) else "#e0e7ef", 0.04))
    return Backdrop(back + _far_hills(stage, color) + "".join(parts[:7]) + ground + lane + "".join(parts[7:]) + _sprinkle(stage, color, number=16), defs=defs + ground_defs, horizon=y)


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
            parts.append(tower_block(index * w / number + 2, y + 6, width, h * draws.between(low, high), stage.lit(draws.choice(colors), depth), mix(light, stage.haze, depth * 0.5), draws))
    walk = rect(0, y, w, h * 0.09, stage.lit("#d8d2c8")) + rect(0, y + h * 0.085, w, 9, stage.lit("#b9b1a6"))
    road = rect(0, y + h * 0.095, w, h, stage.lit("#7f8792"))
    dashes = "".join(rect(x, y + h * 0.2, w * 0.1, 11, stage.lit("#f3efe2"), radius=4) for x in range(int(w * 0.03), int(w), int(w * 0.17)))
    lamps = "".join(
        line(w * u, y + 20, w * u, y - 150, 8, stage.lit("#4d5566")) + circle(w * u, y - 158, 17, "#ffe9a8" if stage.time in ("night", "dusk") else stage.lit("#f3f0e4"))
        for u in (0.05, 0.95)
    )
    return Backdrop(back + "".join(parts) + walk + road + dashes + lamps, defs=defs, horizon=y)


def cave(stage: Stage) -> Backdrop:
    """Draw a cave with an opening to the sky."""
    back, defs = sky(stage)
    w, h, draws = stage.width, stage.height, stage.draws
    rock = "#7a6f80" if stage.time != "night" else "#4b4a66"
    x, y = w * draws.choice((0.3, 0.7)), h * 0.4
    hole = f"M{x - w * 0.2:.0f} {h * 0.62:.0f}C{x - w * 0.25:.0f} {y - h * 0.1:.0f} {x - w * 0.08:.0f} {y - h * 0.2:.0f} {x + w * 0.04:.0f} {y - h * 0.17:.0f}S{x + w * 0.24:.0f} {y:.0f} {x + w * 0.19:.0f} {h * 0.62:.0f}Z"
    wall = f'<path fill-rule="evenodd" fill="{darker(rock, 0.3)}" d="M0 0H{w:.0f}V{h:.0f}H0Z{hole}"/>' + path(hole, stroke=darker(rock, 0.12), width=24)
    spikes = "".join(
        path(f"M{sx:.0f} -4l{sw:.0f} 0l{-sw / 2:.0f} {sh:.0f}Z", fill=darker(rock, 0.42))
        for sx, sw, sh in ((draws.between(0, w), draws.between(50, 100), draws.between(80, 220)) for _ in range(9))
    )
    floor = path(f"M0 {h * 0.64:.0f}Q{w * 0.3:.0f} {h * 0.58:.0f} {w * 0.6:.0f} {h * 0.63:.0f}T{w:.0f} {h * 0.62:.0f}V{h:.0f}H0Z", fill=rock)
    stones = "".join(ellipse(draws.between(0, w), draws.between(h * 0.72, h), draws.between(14, 40), draws.between(6, 13), darker(rock, 0.16)) for _ in range(9))
    crystals = "".join(path(f"M{cx:.0f} {h * 0.64:.0f}l-15 -30l15 -58l15 58Z", fill=mix("#8fd3f0", "#c6a6f2", draws.unit()), opacity=0.9) for cx in (w * 0.06, w * 0.11, w * 0.9, w * 0.95))
    return Backdrop(back + wall + spikes + crystals + floor + stones, defs=defs, horizon=h * 0.62)


LAND: Mapping[str, Callable[[Stage], Backdrop]] = {
    "meadow": meadow, "forest": forest, "jungle": jungle, "savanna": savanna, "hills": hills, "mountains": mountains,
    "snow": snowfield, "desert": desert, "garden": garden, "park": park, "farm": farm, "village": village, "city": city,
    "cave": cave,
}  # fmt: skip
