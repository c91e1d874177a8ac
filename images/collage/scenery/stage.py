"""What a background is drawn for, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from taleward.images.collage.colors import mix, to_hex, to_rgb
from taleward.images.collage.draws import Draws

Time = Literal["dawn", "day", "dusk", "night"]
Surface = Literal["ground", "floor", "water", "deep", "air"]

_LIGHT: dict[Time, tuple[float, float, float]] = {
    "dawn": (1.0, 0.95, 0.93),
    "day": (1.0, 1.0, 1.0),
    "dusk": (1.0, 0.84, 0.8),
    "night": (0.46, 0.53, 0.74),
}


@dataclass(frozen=True)
class Stage:
    """What a background is drawn for. The shorter side has 1,000 units.

    Attributes:
        width: Its width.
        height: Its height.
        place: The kind of scenery.
        time: The time of day.
        weather: The weather.
        season: The season.
        draws: What varies with the seed.
        indoors: Whether it is a room.
    """

    width: float
    height: float
    place: str
    time: Time
    weather: str
    season: str
    draws: Draws
    indoors: bool = False

    @property
    def horizon(self) -> float:
        """Where the ground begins."""
        return self.height * {"sea": 0.56, "beach": 0.5, "space": 1.2, "clouds": 0.9}.get(
            self.place, 0.7 if self.indoors else 0.6
        )

    @property
    def haze(self) -> str:
        """The color that far things fade into."""
        return self.sky[2]

    @property
    def sky(self) -> tuple[str, str, str]:
        """The colors of the sky, from above to the horizon."""
        colors = {
            "dawn": ("#9cc3ea", "#f7cfc4", "#ffe8c8"),
            "day": ("#67bdef", "#a8dcf6", "#e6f6fb"),
            "dusk": ("#514b94", "#e07f92", "#ffc486"),
            "night": ("#0e1840", "#22336e", "#5063a3"),
        }[self.time]
        veil = {"rain": 0.62, "storm": 0.75, "snow": 0.45, "fog": 0.45, "cloudy": 0.55}.get(self.weather, 0.0)
        gray = {"night": "#3a4466", "dusk": "#9a8a9d"}.get(self.time, "#b9c6cf")
        if self.weather == "storm":
            gray = mix(gray, "#3c4657", 0.5)
        top, middle, low = (mix(color, gray, veil) for color in colors)
        return (top, middle, low)

    def lit(self, color: str, depth: float = 0.0) -> str:
        """Return a color in the light of the time of day, faded by distance.

        Args:
            color: The color by day.
            depth: The distance, from 0 to 1.
        """
        red, green, blue = to_rgb(color)
        light = (1.0, 1.0, 1.0) if self.indoors else _LIGHT[self.time]
        shaded = to_hex((red * light[0], green * light[1], blue * light[2]))
        if self.weather in ("rain", "storm", "cloudy", "fog") and not self.indoors:
            shaded = mix(shaded, "#8d99a3" if self.time == "day" else "#4d5470", 0.22)
        return mix(shaded, self.haze, depth * 0.75) if depth else shaded

    def thing_lit(self, color: str, *, far: bool = False) -> str:
        """Return a drawing's color in the light of the time of day: milder than the scenery's, so that it stands out.

        Args:
            color: The color by day.
            far: Whether the thing belongs to the background, as a tree does.
        """
        if self.indoors:
            return mix(color, "#3a3570", 0.07) if self.time == "night" else color
        share = 0.0 if self.time == "day" else 0.75 if far else 0.5
        return mix(color, Stage.lit(self, color), share) if share or self.weather in ("rain", "storm", "fog") else color


@dataclass(frozen=True)
class Backdrop:
    """A drawn background.

    Attributes:
        back: What is behind the things.
        front: What is before them.
        defs: Gradients.
        surface: What things stand on.
        horizon: Where the ground begins.
        crest: The top of a hill that a building can stand on.
        features: What is seen in it, for captions.
    """

    back: str
    front: str = ""
    defs: str = ""
    surface: Surface = "ground"
    horizon: float = 600.0
    crest: tuple[float, float] | None = None
    features: tuple[str, ...] = ()
