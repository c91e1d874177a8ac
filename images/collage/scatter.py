"""Where everything else is: at the best of many places, by what it would hide and what it belongs to."""

from __future__ import annotations

from taleward.images.collage.arrangement import FLOATING, LARGE, Arrangement
from taleward.images.collage.placed import Placed, overlap
from taleward.images.collage.scene import Thing
from taleward.images.collage.sprites import Sprite, sprite

INCLUDED = {
    "woman-fairy": ("magic-wand",), "man-fairy": ("magic-wand",), "detective": ("magnifying-glass-tilted-left",),
    "artist": ("artist-palette", "paintbrush"), "person-biking": ("bicycle",), "cook": ("spoon",), "mechanic": ("wrench",),
    "scientist": ("test-tube",), "horse-racing": ("horse",), "snowman-without-snow": ("top-hat",),
}  # fmt: skip
"""What a drawing shows already in its character's hands."""


def scatter(page: Arrangement, number: int, thing: Thing, *, near: Placed | None = None) -> None:
    """Place a thing, near another if one is given, unless something shows it already."""
    if 0 <= thing.other < len(page.scene.things):
        owner = page.scene.things[thing.other]
        if thing.drawing.name in INCLUDED.get(owner.drawing.name, ()) and thing.other in page.by_number:
            page.shown_by(number, page.by_number[thing.other])
            return
    if _in_scenery(page, thing):
        page.layout.shown.append(number)
        return
    partner = near or (page.by_number.get(thing.other) if thing.other >= 0 else None)
    reference = page.main_height(max(1, len(page.layout.placed)))
    for variant in range(thing.count):
        piece = sprite(thing, f"t{number}v{variant}-", variant=variant)
        height = page.height(thing, reference)
        if thing.relation == "under" and thing.drawing.kind == "tree":
            height = page.unit * 0.7
        scale = page.scale(piece, height, 0.56 if thing.drawing.kind in LARGE else 0.4)
        best, best_cost = (page.w / 2, page.h * 0.9), float("inf")
        for _ in range(48):
            x, y = _candidate(page, thing, piece, scale, partner)
            cost = _cost(page, thing, piece, x, y, scale, partner)
            if cost < best_cost:
                best, best_cost = (x, y), cost
        x, y = best
        if best_cost > 1.6 and thing.count > 1 and variant:
            continue
        placed = page.put(number, thing, piece, x, y, scale * _distance(page, thing, y))
        if thing.drawing.kind == "aircraft" and page.backdrop.surface != "ground":
            placed.turn = 0.0
        if thing.relation == "behind" and partner:
            placed.order = partner.order + 0.3


def _distance(page: Arrangement, thing: Thing, y: float) -> float:
    """Return how much smaller a thing on the ground is for standing farther away."""
    if thing.drawing.kind in (
        *FLOATING,
        "wall",
        "building",
        "mountain",
        "tree",
        "swimmer",
    ) or page.backdrop.surface in ("air", "deep"):
        return 1.0
    near = (y - page.backdrop.horizon) / max(1.0, page.h - page.backdrop.horizon)
    return 0.55 + 0.5 * max(0.0, min(1.0, near))


def _candidate(
    page: Arrangement, thing: Thing, piece: Sprite, scale: float, partner: Placed | None
) -> tuple[float, float]:
    kind, surface = thing.drawing.kind, page.backdrop.surface
    half = max(piece.left, piece.right) * scale
    margin = min(page.w * 0.03 + half, page.w / 2)
    x = page.draws.between(margin, page.w - margin) if margin < page.w / 2 else page.w / 2
    low, high = page.backdrop.horizon, page.h
    depth = high - low
    if kind in FLOATING or surface == "air":
        top = page.h * 0.05 + piece.height * scale
        bottom = page.h * (0.86 if surface in ("air", "deep") else 0.52)
        return x, page.draws.between(top, max(top + 1, bottom))
    if kind == "wall":
        return x, page.h * page.draws.between(0.32, 0.44)
    if surface == "deep" and kind in ("swimmer", "floater", "boat"):
        return x, page.draws.between(page.h * 0.18 + piece.height * scale * 0.5, page.h * 0.82)
    if kind == "building":
        if page.backdrop.crest and page.draws.chance(0.5):
            return page.backdrop.crest
        return x, low + depth * page.draws.between(0.1, 0.34)
    if kind == "mountain":
        return x, low + depth * 0.04
    if kind in ("tree", "furniture"):
        under = thing.relation in ("under", "by") and partner is not None
        return x, low + depth * (page.draws.between(0.5, 0.66) if under else page.draws.between(0.16, 0.5))
    if kind in ("vehicle",):
        return x, low + depth * page.draws.between(0.3, 0.62)
    if kind in ("boat", "floater", "swimmer") and surface == "water":
        return x, low + depth * page.draws.between(0.3, 0.7)
    if kind == "floater" and page.scene.place == "lake":
        return page.draws.between(page.w * 0.2, page.w * 0.8), low + depth * page.draws.between(0.22, 0.38)
    if partner is not None and thing.relation in ("by", "behind", "on"):
        return x, min(page.h * 0.955, partner.y + page.draws.between(-0.01, 0.045) * page.h)
    if partner is not None and thing.relation == "before":
        return x, partner.y - page.h * 0.06
    return x, low + depth * page.draws.between(0.42, 0.9)


def _cost(
    page: Arrangement, thing: Thing, piece: Sprite, x: float, y: float, scale: float, partner: Placed | None
) -> float:
    scale *= _distance(page, thing, y)
    box = (x - piece.left * scale, y + piece.top * scale, x + piece.right * scale, y)
    area = max(1.0, (box[2] - box[0]) * (box[3] - box[1]))
    cost = 0.0
    for other in page.layout.placed:
        shared = overlap(box, other.box)
        if not shared:
            continue
        own = max(1.0, (other.box[2] - other.box[0]) * (other.box[3] - other.box[1]))
        # What is large and far may be partly hidden; what is small may not, nor may it hide a character.
        hidden = shared / (area if y < other.y else own)
        tolerance = 0.35 if thing.drawing.kind in ("building", "mountain", "tree") and y < other.y else 1.0
        cost += (3.4 if hidden > 0.3 else 2.0) * hidden * tolerance + 0.2 * tolerance
    if box[1] < page.h * 0.02:
        cost += 2.0
    cost += 0.9 * max(0.0, page.w * 0.02 - box[0]) / page.w * 10 + 0.9 * max(0.0, box[2] - page.w * 0.98) / page.w * 10
    if partner is not None and thing.relation in ("by", "under", "above", "before", "behind", "on", "hold", "in"):
        wanted = 0.0 if thing.relation in ("under", "above") else 0.12
        cost += 1.6 * abs(abs(x - partner.x) / page.w - wanted)
    elif thing.drawing.kind in LARGE or thing.drawing.kind in FLOATING:
        main = page.layout.placed[0] if page.layout.placed else None
        if main is not None:
            cost += 0.6 * max(0.0, 0.32 - abs(x - main.x) / page.w)
    return cost


def _in_scenery(page: Arrangement, thing: Thing) -> bool:
    """Whether the background shows a thing already."""
    name, place = thing.drawing.name, page.scene.place
    return (
        thing.count == 1
        and not thing.color
        and (
            (name == "window" and place in ("bedroom", "kitchen", "living", "classroom", "study", "hall"))
            or (name == "bed" and place == "bedroom" and thing.relation not in ("in", "on"))
        )
    )
