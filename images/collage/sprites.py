"""Things as pieces of SVG that can be placed: their foot at (0, 0), scaled to a height."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from taleward.images.collage.bodies import Pose
from taleward.images.collage.colors import recolor
from taleward.images.collage.figures import figure
from taleward.images.collage.library import library
from taleward.images.collage.looks import look_of
from taleward.images.collage.scene import Thing

_MIXED = {"child": ("child", "girl", "boy"), "person": ("person", "woman", "man")}
"""What groups are made of."""
_POSES = ("stand", "wave", "walk", "run", "sit", "hold", "dance", "sleep")


@dataclass(frozen=True)
class Sprite:
    """A piece of a picture.

    Attributes:
        svg: Its elements, in its own units.
        left: Its extent to the left of its foot, in its own units.
        right: Its extent to the right.
        top: Its extent upward, as a negative number.
        hand: Where a held thing goes.
        face: Left, top, right and bottom of what nothing may cover; empty if it has no face of its own.
        facing: The way it looks: `l`, `r` or `f`.
    """

    svg: str
    left: float
    right: float
    top: float
    hand: tuple[float, float] = (0.0, 0.0)
    face: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    facing: str = "f"

    @property
    def width(self) -> float:
        """Its width in its own units."""
        return self.left + self.right

    @property
    def height(self) -> float:
        """Its height in its own units."""
        return -self.top


def sprite(thing: Thing, prefix: str, *, variant: int = 0) -> Sprite:
    """Return the piece for a thing.

    Args:
        thing: The thing.
        prefix: What the ids in it begin with.
        variant: Which of several of a kind: unnamed persons of one group look different.
    """
    drawing = thing.drawing
    if thing.has_body and thing.look is not None:
        look = thing.look
        if variant and drawing.is_person and not thing.name:
            mixed = _MIXED.get(drawing.name, (drawing.name,))
            drawing = library().drawings[mixed[variant % len(mixed)]]
            other = look_of(drawing, (), f"{prefix}/{variant}/{look.top}{look.hair}")
            look = replace(other, scarf=look.scarf, cape=look.cape, hat=look.hat, dressed=look.dressed)
        pose = cast("Pose", thing.pose if thing.pose in _POSES else "stand")
        drawn = figure(look, pose, prefix)
        left, top, right, _ = drawn.box
        return Sprite(drawn.svg, -left, right, top, drawn.hand, drawn.face, "l" if pose in ("run", "walk") else "f")
    svg = library().body(drawing.name)
    if thing.color:
        svg = recolor(svg, drawing.color, thing.color)
    left, top, right, bottom = drawing.box
    middle = (left + right) / 2
    placed = f'<g transform="translate({-middle:.1f} {-bottom:.1f})">{svg.replace("~", prefix)}</g>'
    half = (right - left) / 2
    return Sprite(placed, half, half, top - bottom, hand=(half * 0.8, (top - bottom) * 0.45), facing=drawing.facing)
