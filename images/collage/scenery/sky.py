"""Skies: colors, sun, moon, stars, clouds and weather."""

from __future__ import annotations

from taleward.images.collage.colors import mix
from taleward.images.collage.scenery.elements import cloud, star
from taleward.images.collage.scenery.stage import Stage
from taleward.images.collage.shapes import circle, gradient, path, rect

RAINBOW = ("#ef5350", "#ffa726", "#ffee58", "#66bb6a", "#42a5f5", "#7e57c2")


def sky(stage: Stage) -> tuple[str, str]:
    """Return the sky and its gradients."""
    width, height, draws = stage.width, stage.height, stage.draws
    top, middle, low = stage.sky
    defs = gradient("sky", ((0, top, 1), (0.55, middle, 1), (1, low, 1)))
    parts = [f'<rect width="{width:.0f}" height="{min(height, stage.horizon * 1.05):.0f}" fill="url(#sky)"/>']
    side = draws.choice((0.2, 0.8))
    x, y = width * (side + draws.between(-0.05, 0.05)), stage.horizon * draws.between(0.22, 0.34)
    veiled = stage.weather in ("rain", "storm", "snow", "fog", "cloudy")
    if stage.time == "night":
        count = 20 if veiled else 70
        for _ in range(count):
            sx, sy, size = draws.between(0, width), draws.between(0, stage.horizon * 0.85), draws.unit()
            if size > 0.86:
                parts.append(star(sx, sy, 5 + 8 * draws.unit(), "#fff6d8", 0.95))
            else:
                parts.append(circle(sx, sy, 1.0 + 1.8 * size, "#ffffff", opacity=0.75))
        if not veiled or stage.weather in ("snow", "fog"):
            defs += gradient("glow", ((0, "#fff3c4", 0.55), (0.35, "#fff3c4", 0.22), (1, "#fff3c4", 0)), radial=True)
            parts += [
                circle(x, y, 190, "url(#glow)"),
                _moon(x, y, 58, crescent=draws.chance(0.5), night=mix(top, middle, 0.5)),
            ]
    elif not veiled:
        if stage.time in ("dawn", "dusk"):
            y = stage.horizon * 0.9
            x = width * (0.3 if side < 0.5 else 0.7)
        sun = {"dawn": "#ffe08a", "day": "#ffe066", "dusk": "#ffd27a"}[stage.time]
        defs += gradient("glow", ((0, sun, 0.7), (0.3, sun, 0.32), (1, sun, 0)), radial=True)
        big = 1.35 if stage.time != "day" else 1.0
        parts += [circle(x, y, 230 * big, "url(#glow)"), circle(x, y, 58 * big, mix(sun, "#ffffff", 0.35))]
    if stage.weather == "rainbow":
        parts.append(_rainbow(width, stage.horizon))
    parts.append(_clouds(stage, x))
    return "".join(parts), defs


def _clouds(stage: Stage, sun_x: float) -> str:
    draws = stage.draws
    number = {"rain": 7, "storm": 8, "cloudy": 7, "snow": 5, "clear": 0, "fog": 3, "wind": 5}.get(stage.weather, 3)
    if stage.time == "night" and number == 3:
        number = 2
    color = mix("#ffffff", stage.sky[1], {"night": 0.72, "dusk": 0.42, "dawn": 0.28}.get(stage.time, 0.04))
    if stage.weather in ("rain", "storm"):
        color = mix(stage.sky[1], "#5d6a78", 0.35)
    parts = []
    for index in range(number):
        x = stage.width * ((index + draws.between(0.2, 0.8)) / number)
        if stage.weather not in ("rain", "storm", "cloudy") and abs(x - sun_x) < stage.width * 0.12:
            x += stage.width * (0.2 if sun_x < stage.width / 2 else -0.2)
        y = stage.horizon * draws.between(0.14, 0.5)
        parts.append(cloud(x, y, draws.between(150, 290), color, 0.9))
    return "".join(parts)


def _moon(x: float, y: float, radius: float, *, crescent: bool, night: str) -> str:
    if crescent:
        r = radius
        shape = f"M{x + r * 0.3:.1f} {y - r:.1f}A{r:.1f} {r:.1f} 0 1 0 {x + r:.1f} {y + r * 0.3:.1f}A{r * 0.78:.1f} {r * 0.78:.1f} 0 0 1 {x + r * 0.3:.1f} {y - r:.1f}Z"
        return path(shape, fill="#fff0bf")
    return (
        circle(x, y, radius, "#fff4d0")
        + circle(x - radius * 0.3, y - radius * 0.2, radius * 0.17, "#efdfb0")
        + circle(x + radius * 0.28, y + radius * 0.3, radius * 0.23, "#efdfb0")
        + circle(x + radius * 0.2, y - radius * 0.45, radius * 0.1, "#efdfb0")
    )


def _rainbow(width: float, horizon: float) -> str:
    x, radius = width * 0.5, min(width * 0.44, horizon * 0.86)
    return "".join(
        path(f"M{x - radius + i * 15:.0f} {horizon:.0f}A{radius - i * 15:.0f} {radius - i * 15:.0f} 0 0 1 {x + radius - i * 15:.0f} {horizon:.0f}",
             stroke=color, width=15.5, opacity=0.72)
        for i, color in enumerate(RAINBOW)
    )  # fmt: skip


def weather(stage: Stage) -> str:
    """Return rain, snow, fog or lightning in front of everything."""
    draws, width, height = stage.draws, stage.width, stage.height
    match stage.weather:
        case "rain" | "storm":
            drops = "".join(
                f"M{draws.between(-20, width):.0f} {draws.between(-40, height):.0f}l-9 34"
                for _ in range(int(width * height / 11000))
            )
            rain = path(drops, stroke="#e6f1f8", width=2.6, opacity=0.5)
            return rain + (_lightning(stage) if stage.weather == "storm" else "")
        case "snow":
            return "".join(
                circle(
                    draws.between(0, width), draws.between(0, height), draws.between(2.2, 7.5), "#ffffff", opacity=0.88
                )
                for _ in range(int(width * height / 12000))
            )
        case "fog":
            bands = []
            for index in range(5):
                y = height * (0.42 + 0.12 * index)
                shift = draws.between(-0.2, 0.2) * width
                bands.append(
                    f'<ellipse cx="{width / 2 + shift:.0f}" cy="{y:.0f}" rx="{width * 0.75:.0f}" ry="{height * 0.07:.0f}" fill="url(#mist)"/>'
                )
            return "".join(bands)
        case "wind":
            return "".join(
                path(f"M{draws.between(0, width * 0.8):.0f} {draws.between(height * 0.1, height * 0.6):.0f}q60 -22 120 0t70 -10q24 -14 8 -26t-22 4",
                     stroke="#ffffff", width=4, opacity=0.6)
                for _ in range(4)
            )  # fmt: skip
    return ""


def weather_defs(stage: Stage) -> str:
    """Return the gradients that `weather` needs."""
    if stage.weather != "fog":
        return ""
    color = mix(stage.haze, "#ffffff", 0.35)
    return gradient("mist", ((0, color, 0.34), (0.6, color, 0.2), (1, color, 0)), radial=True)


def _lightning(stage: Stage) -> str:
    x, y = stage.width * stage.draws.choice((0.18, 0.8)), stage.horizon * 0.2
    return path(f"M{x:.0f} {y:.0f}l-34 110h34l-26 100l84 -136h-36l30 -74Z", fill="#ffe873")


def wall_window(stage: Stage, x: float, y: float, width: float, height: float, frame: str, curtain: str) -> str:
    """Return a window of a room through which the sky is seen."""
    top, _, low = stage.sky
    parts = [
        rect(x - 10, y - 10, width + 20, height + 20, frame, radius=8),
        rect(x, y, width, height, mix(top, low, 0.35)),
        path(
            f"M{x:.0f} {y + height * 0.78:.0f}q{width * 0.3:.0f} {-height * 0.2:.0f} {width:.0f} 0v{height * 0.22:.0f}h{-width:.0f}Z",
            fill=Stage.lit(_outside(stage), "#86bf6a"),
        ),
    ]
    if stage.time == "night":
        parts += [circle(x + width * 0.7, y + height * 0.25, width * 0.1, "#fff0bf")]
        parts += [
            circle(x + width * u, y + height * v, 2.2, "#ffffff")
            for u, v in ((0.2, 0.2), (0.4, 0.36), (0.16, 0.5), (0.85, 0.5))
        ]
    elif stage.weather not in ("rain", "storm"):
        parts.append(circle(x + width * 0.74, y + height * 0.26, width * 0.1, "#fff3b0"))
    if stage.weather in ("rain", "storm"):
        parts.append(
            path(
                "".join(
                    f"M{x + width * u:.0f} {y + height * v:.0f}l-5 18"
                    for u in (0.15, 0.4, 0.65, 0.9)
                    for v in (0.1, 0.35, 0.6)
                ),
                stroke="#eef6fb",
                width=2.5,
                opacity=0.8,
            )
        )
    if stage.weather == "snow":
        parts += [
            circle(x + width * u, y + height * v, 4, "#ffffff")
            for u in (0.15, 0.4, 0.62, 0.9)
            for v in (0.12, 0.36, 0.6)
        ]
    parts += [
        rect(x + width / 2 - 4, y, 8, height, frame),
        rect(x, y + height * 0.46, width, 8, frame),
        rect(x - 22, y + height + 6, width + 44, 14, mix(frame, "#000000", 0.08), radius=5),
    ]
    if curtain:
        for side in (-1, 1):
            edge = x - 26 if side < 0 else x + width + 26
            parts.append(
                path(
                    f"M{edge:.0f} {y - 24:.0f}h{-side * width * 0.38:.0f}q{side * 4:.0f} {height * 0.5:.0f} {side * width * 0.24:.0f} {height + 36:.0f}h{side * width * 0.14:.0f}Z",
                    fill=curtain,
                )
            )
        parts.append(rect(x - 40, y - 32, width + 80, 11, mix(curtain, "#3a2b2b", 0.45), radius=5))
    return "".join(parts)


def _outside(stage: Stage) -> Stage:
    return Stage(stage.width, stage.height, "meadow", stage.time, stage.weather, stage.season, stage.draws)
