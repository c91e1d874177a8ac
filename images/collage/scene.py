"""What is to be drawn: the things of a scene, where it is, and when."""

from __future__ import annotations

from dataclasses import dataclass

from taleward.images.collage.lexicon import INDOORS
from taleward.images.collage.library import Artwork
from taleward.images.collage.looks import Look
from taleward.images.collage.scenery.stage import Time


@dataclass(frozen=True)
class Thing:
    """One thing of a scene, perhaps several of a kind.

    Attributes:
        drawing: Its drawing.
        noun: What captions call it.
        count: How many are drawn.
        look: How a character looks; `None` for things.
        color: Its color; empty for the drawing's own.
        color_said: The color in words.
        size: How much larger than usual.
        pose: What a character does.
        relation: How it stands to another: see `Mention`.
        other: The number of the other, -1 for none.
        name: A character's name.
    """

    drawing: Artwork
    noun: str
    count: int = 1
    look: Look | None = None
    color: str = ""
    color_said: str = ""
    size: float = 1.0
    pose: str = "stand"
    relation: str = ""
    other: int = -1
    name: str = ""

    @property
    def has_body(self) -> bool:
        """Whether the collage draws its body."""
        return self.drawing.kind in ("head", "bust", "beast")


@dataclass(frozen=True)
class CollageScene:
    """What is to be drawn.

    Attributes:
        place: The kind of scenery.
        place_said: Whether the prompt named it.
        time: The time of day.
        weather: The weather, empty for fair.
        season: The season.
        things: The things, the main one first.
        unknown: Words that nothing is drawn for.
        omitted: Things left out because the picture is full, or because they must not be in it.
    """

    place: str
    place_said: bool
    time: Time
    weather: str
    season: str
    things: tuple[Thing, ...]
    unknown: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()

    @property
    def indoors(self) -> bool:
        """Whether it is in a room."""
        return self.place in INDOORS
