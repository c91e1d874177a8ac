"""Things at their places in a picture."""

from __future__ import annotations

from dataclasses import dataclass, field

from taleward.images.collage.scene import Thing
from taleward.images.collage.sprites import Sprite

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


@dataclass
class Placed:
    """A thing at its place.

    Attributes:
        thing: The thing.
        piece: Its SVG.
        x: The middle of its foot.
        y: Its foot.
        scale: Its scale.
        flip: Whether it is mirrored.
        order: What it is drawn in the order of; the nearer, the higher.
        shadow: Whether it throws a shadow on the ground.
        turn: Its rotation in degrees.
        string_to: Where a string from it ends.
        number: Its number in the scene.
    """

    thing: Thing
    piece: Sprite
    x: float
    y: float
    scale: float
    flip: bool = False
    order: float = 0.0
    shadow: bool = True
    turn: float = 0.0
    string_to: tuple[float, float] | None = None
    number: int = -1

    @property
    def afloat(self) -> bool:
        """Whether it is a boat, whose hull the water washes."""
        return self.thing.drawing.kind == "boat" and not self.shadow and not self.turn

    @property
    def box(self) -> Box:
        """Left, top, right and bottom."""
        left, right = (self.piece.right, self.piece.left) if self.flip else (self.piece.left, self.piece.right)
        return (self.x - left * self.scale, self.y + self.piece.top * self.scale, self.x + right * self.scale, self.y)

    @property
    def height(self) -> float:
        """Its height."""
        return self.piece.height * self.scale

    def at(self, point: tuple[float, float]) -> tuple[float, float]:
        """Return where a point of the piece lies in the picture."""
        return (self.x + (-point[0] if self.flip else point[0]) * self.scale, self.y + point[1] * self.scale)


@dataclass
class Layout:
    """The things at their places.

    Attributes:
        placed: The things, from the farthest to the nearest.
        shown: The number of each thing that is to be seen, as often as it is.
    """

    placed: list[Placed] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)


def overlap(a: Box, b: Box) -> float:
    """Return the area that two boxes share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0
