"""A scene as an SVG picture."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from taleward.images.collage.colors import repaint
from taleward.images.collage.draws import Draws
from taleward.images.collage.layout import lay_out
from taleward.images.collage.lettering import lettering
from taleward.images.collage.placed import Layout, Placed
from taleward.images.collage.scene import CollageScene
from taleward.images.collage.scenery.backdrop import backdrop
from taleward.images.collage.scenery.sky import weather, weather_defs
from taleward.images.collage.scenery.stage import Stage
from taleward.images.collage.shapes import ellipse, group, path
from taleward.images.collage.shots import Shot, zoomed
from taleward.images.collage.styles import Style
from taleward.images.prompt_spec import TextShown


@dataclass(frozen=True)
class Composition:
    """A composed picture.

    Attributes:
        svg: The picture, without a title.
        layout: What is drawn where.
        collections: The sets whose drawings are in it.
        text_drawn: Whether the words to be shown are in it.
    """

    svg: str
    layout: Layout
    collections: frozenset[str]
    text_drawn: bool = False

    def titled(self, caption: str) -> str:
        """Return the picture with a caption for screen readers."""
        head, _, rest = self.svg.partition("<defs>")
        return f"{head}<title>{escape(caption)}</title><defs>{rest}"


def compose(
    scene: CollageScene,
    size: tuple[int, int],
    seed: int,
    style: Style,
    *,
    text: TextShown | None = None,
    shot: Shot = "whole",
) -> Composition:
    """Draw a scene.

    Args:
        scene: The scene.
        size: Width and height in pixels.
        seed: Decides what the scene leaves open.
        style: How it is drawn.
        text: The words to be shown.
        shot: How much of the scene is in the picture.
    """
    width, height = size
    unit = min(width, height) / 1000
    stage = Stage(
        width / unit, height / unit, scene.place, scene.time, scene.weather, scene.season,
        Draws(f"{seed}/{scene.place}/{scene.time}/{scene.weather}"), scene.indoors,
    )  # fmt: skip
    behind = backdrop(stage)
    layout = lay_out(scene, stage, behind)
    shift = style.color
    things = "".join(_place(placed, stage, style) for placed in layout.placed)
    shadows = "".join(_shadow(placed, stage) for placed in layout.placed if placed.shadow)
    air = "" if stage.indoors or behind.surface in ("deep", "air") else weather(stage)
    defs = repaint(behind.defs + weather_defs(stage), shift) + style.defs
    back, front = repaint(behind.back, shift), repaint(behind.front + air, shift)
    style_over = style.overlay(stage.width, stage.height, Draws(f"{seed}/style"))
    banner = lettering(text.words, text.place, stage.width, stage.height) if text else ""
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}" height="{height}" '
        f'viewBox="0 0 {stage.width:.2f} {stage.height:.2f}" role="img">'
        f"<defs>{defs}</defs>{zoomed(back + shadows + things + front, layout, stage, shot)}{style_over}{banner}</svg>"
    )
    collections = frozenset(placed.thing.drawing.collection for placed in layout.placed)
    return Composition(svg, layout, collections, bool(banner))


def _place(placed: Placed, stage: Stage, style: Style) -> str:
    far = placed.thing.drawing.kind in ("tree", "building", "mountain")
    svg = repaint(placed.piece.svg, lambda color: style.color(stage.thing_lit(color, far=far)))
    drawn = group(
        style.wrap_thing(svg, placed.scale), placed.x, placed.y, placed.scale, flip=placed.flip, turn=placed.turn
    )
    if placed.string_to is None:
        return drawn + (_foam(placed) if placed.afloat else "")
    x, y = placed.string_to
    middle = (placed.x + x) / 2
    string = path(
        f"M{placed.x:.1f} {placed.y - 4:.1f}Q{middle + 12:.1f} {(placed.y + y) / 2 + 24:.1f} {x:.1f} {y:.1f}",
        stroke="#6b6470",
        width=2.2,
    )
    return string + drawn


def _foam(placed: Placed) -> str:
    """Return the water's edge along a boat's hull."""
    left, _, right, bottom = placed.box
    middle, half = (left + right) / 2, (right - left) / 2
    line = f"M{left + half * 0.12:.1f} {bottom - 9:.1f}q{half * 0.22:.1f} 9 {half * 0.44:.1f} 0t{half * 0.44:.1f} 0t{half * 0.44:.1f} 0t{half * 0.44:.1f} 0"
    under = ellipse(middle, bottom + 2, half * 0.86, max(8.0, half * 0.09), "#2f86ba", opacity=0.55)
    return under + path(line, stroke="#ffffff", width=7, opacity=0.85)


def _shadow(placed: Placed, stage: Stage) -> str:
    left, _, right, bottom = placed.box
    half = (right - left) / 2
    strength = 0.2 if stage.time != "night" or stage.indoors else 0.3
    wide = 0.9 if placed.thing.drawing.kind in ("vehicle", "building", "furniture") else 0.74
    if placed.thing.drawing.kind == "tree":
        wide = 0.5
    return ellipse(
        (left + right) / 2, bottom - 2, half * wide, max(5.0, half * wide * 0.14), "#221a3a", opacity=strength
    )
