"""Figures: heads of drawings on bodies of the collage's own, in poses.

Coordinates: the middle between the feet is (0, 0), up is negative; an adult is about 230 units tall.
"""

from __future__ import annotations

from dataclasses import dataclass

from taleward.images.collage.animal_bodies import animal_body, animal_curled
from taleward.images.collage.bodies import Body, Pose
from taleward.images.collage.colors import darker, lighter, recolor, repaint
from taleward.images.collage.library import Artwork, library
from taleward.images.collage.looks import Look
from taleward.images.collage.shapes import circle, ellipse, path

_PUPIL = "#2b2523"


@dataclass(frozen=True)
class Figure:
    """A figure as SVG, and where it is.

    Attributes:
        svg: The elements.
        box: Left, top, right and bottom.
        hand: Where a held thing goes.
        face: Left, top, right and bottom of the face, which nothing may cover.
    """

    svg: str
    box: tuple[float, float, float, float]
    hand: tuple[float, float] = (0.0, 0.0)
    face: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


def figure(look: Look, pose: Pose, prefix: str) -> Figure:
    """Draw a character.

    Args:
        look: How it looks.
        pose: What its body does.
        prefix: What the ids of this copy begin with.
    """
    if pose == "sleep":
        return _asleep(look, prefix)
    drawing = look.drawing
    head = head_svg(look, prefix)
    scale = {"beast": 0.82, "bust": 0.84}.get(drawing.kind, 0.86 if drawing.height < 1.3 else 0.68)
    if drawing.name == "baby":
        scale = 0.8
    tall = drawing.kind == "head" and drawing.height >= 1.3
    body = Body(tall=tall, is_bust=drawing.kind == "bust", baby=drawing.name == "baby")
    if drawing.kind == "beast" and not look.dressed and drawing.name not in ("robot", "alien"):
        base, top_y, hand, half = animal_body(look, pose)
    else:
        base, top_y, hand, half = body.draw(look, pose)
    left, top, right, bottom = drawing.box
    # The chin lies a little over the neck; the shoulders of a bust over the upper edge of the body.
    overlap = 5 if drawing.kind == "bust" else 9 if drawing.kind == "head" else 14
    y = top_y + overlap - bottom * scale
    lean = {"run": 7, "walk": 2, "dance": -4}.get(pose, 0)
    parts = [base, f'<g transform="translate({-64 * scale:.1f} {y:.1f}) scale({scale})">{head}</g>']
    extras = _accessories(look, top_y, scale, y)
    svg = "".join((*parts, extras))
    if lean:
        svg = f'<g transform="rotate({-lean})">{svg}</g>'
    width = max(half, (right - left) * scale / 2)
    face = (-40 * scale, y + 30 * scale, 40 * scale, y + 115 * scale)
    return Figure(svg, (-width, y + top * scale, width, 4.0), hand, face)


def head_svg(look: Look, prefix: str, *, asleep: bool = False) -> str:
    """Return the head of a character in the drawing's own units."""
    drawing = look.drawing
    svg = library().body(drawing.name)
    if drawing.is_person:
        svg = _person_colors(svg, look)
    elif look.color:
        svg = recolor(svg, drawing.color, look.color)
    if drawing.kind == "bust" and look.dressed and drawing.cloth:
        svg = recolor(svg, drawing.cloth, look.top)
    if asleep:
        svg += _closed_eyes(look)
    elif look.glasses:
        svg += _glasses(drawing)
    return svg.replace("~", prefix)


def _person_colors(svg: str, look: Look) -> str:
    """Give a person's drawing the skin tone and the color of hair; pupils, white hair and clothes stay."""
    skin = library().skin.get(look.tone, {})
    hair = look.hair
    mapping = dict(skin)
    if hair and look.drawing.name not in ("old-man", "old-woman", "santa-claus", "mrs-claus", "man-elf", "woman-elf"):
        for color in ("#312d2d", "#2f2f2f"):
            mapping[color] = hair
        mapping["#454140"] = lighter(hair, 0.12) if hair < "#5" else darker(hair, 0.22)
    return repaint(svg, lambda color: mapping.get(color, color))


def _closed_eyes(look: Look) -> str:
    drawing = look.drawing
    skin = library().skin.get(look.tone, {}) if drawing.is_person else {}
    parts = []
    for x, y, radius, around in drawing.eyes:
        cover = skin.get(around, around)
        if look.color and not drawing.is_person:
            cover = recolor(cover, drawing.color, look.color)
        parts += [
            circle(x, y, radius + 1.8, cover),
            path(
                f"M{x - radius:.1f} {y:.1f}q{radius:.1f} {radius * 1.1:.1f} {2 * radius:.1f} 0",
                stroke=_PUPIL,
                width=3.2,
            ),
        ]
    return "".join(parts)


def _glasses(drawing: Artwork) -> str:
    if len(drawing.eyes) != 2:
        return ""
    (x1, y1, radius, _), (x2, y2, _, _) = drawing.eyes
    rim = min(radius * 1.9, (x2 - x1) / 2 - 3)
    rims = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{rim:.1f}" fill="#fff" fill-opacity=".22" stroke="#3b3640" stroke-width="3"/>'
        for x, y in ((x1, y1), (x2, y2))
    )
    return rims + path(f"M{x1 + rim:.1f} {y1:.1f}L{x2 - rim:.1f} {y2:.1f}", stroke="#3b3640", width=3)


def _asleep(look: Look, prefix: str) -> Figure:
    """Draw a character asleep: an animal curled up, a person on a pillow under a blanket."""
    drawing = look.drawing
    head = head_svg(look, prefix, asleep=True)
    _, top, _, bottom = drawing.box
    if not drawing.is_person and drawing.name not in ("robot", "alien"):
        body, x, y, scale = animal_curled(look)
        svg = f'{body}<g transform="translate({x - 64 * scale:.1f} {y - bottom * scale:.1f}) scale({scale})">{head}</g>'
        box = (min(-112, x - 62 * scale), min(-86, y - (bottom - top) * scale), 116.0, 4.0)
        return Figure(svg, box, face=(x - 40 * scale, y - 80 * scale, x + 40 * scale, y))
    scale = 0.66
    cover = look.top
    blanket = (
        ellipse(70, -10, 122, 12, darker(cover, 0.3))
        + path("M-34 0C-44 -40 -20 -62 26 -62C80 -66 150 -58 176 -44C194 -34 192 -6 184 0Z", fill=cover)
        + path("M-34 0C-44 -40 -20 -62 26 -62C4 -52 -2 -20 4 0Z", fill=lighter(cover, 0.45))
        + path("M44 -58C40 -38 42 -18 48 -4M92 -60C88 -40 90 -18 96 -4M138 -55C136 -38 138 -18 142 -4",
               stroke=darker(cover, 0.14), width=3)
    )  # fmt: skip
    pillow = path(
        "M-124 -4C-138 -14 -138 -46 -122 -56C-92 -66 -50 -64 -26 -54C-14 -44 -16 -12 -28 -4C-56 4 -98 4 -124 -4Z",
        fill="#fbf7ef",
        stroke="#e2d9c8",
        width=2.5,
    )
    svg = (
        f'{pillow}<g transform="rotate(-16 -66 -50) translate({-70 - 64 * scale:.1f} {-12 - bottom * scale:.1f}) '
        f'scale({scale})">{head}</g>{blanket}'
    )
    return Figure(svg, (-136.0, -14 - (bottom - top) * scale, 190.0, 4.0), face=(-110.0, -80.0, -30.0, -10.0))


def _accessories(look: Look, neck: float, scale: float, head_y: float) -> str:
    """Return scarf, bow and hat over a figure."""
    parts = []
    if look.scarf:
        parts.append(
            path(f"M14 {neck + 4:.1f}l16 40l-16 5l-12 -42Z", fill=darker(look.scarf, 0.16))
            + path(f"M-34 {neck - 2:.1f}C-20 {neck + 14:.1f} 20 {neck + 14:.1f} 34 {neck - 2:.1f}L36 {neck + 10:.1f}"
                   f"C18 {neck + 26:.1f} -18 {neck + 26:.1f} -36 {neck + 10:.1f}Z", fill=look.scarf)
            + path(f"M-12 {neck + 8.5:.1f}l2 13M6 {neck + 9:.1f}l0 13", stroke=lighter(look.scarf, 0.35), width=3)
        )  # fmt: skip
    if look.bow:
        y = neck + 8
        parts.append(
            path(f"M0 {y:.1f}l-20 -10v20ZM0 {y:.1f}l20 -10v20Z", fill=look.bow) + circle(0, y, 5, darker(look.bow, 0.2))
        )
    if look.hat:
        top = head_y + (look.drawing.box[1] + 26) * scale
        wide = 47 * scale
        parts.append(
            path(f"M{-wide:.1f} {top:.1f}C{-wide:.1f} {top - 62 * scale:.1f} {wide:.1f} {top - 62 * scale:.1f} {wide:.1f} {top:.1f}Z",
                 fill=look.hat)
            + path(f"M{-wide - 4:.1f} {top:.1f}Q0 {top - 16 * scale:.1f} {wide + 4:.1f} {top:.1f}", stroke=darker(look.hat, 0.18), width=11 * scale)
            + circle(0, top - 48 * scale, 9 * scale, lighter(look.hat, 0.55))
        )  # fmt: skip
    return "".join(parts)
