"""Where the things of a character are: in its hands, over it, or under it if they carry it."""

from __future__ import annotations

from dataclasses import replace

from taleward.images.collage.arrangement import HOLLOW, LIVING, RIDDEN, Arrangement
from taleward.images.collage.placed import Placed, overlap
from taleward.images.collage.scatter import INCLUDED, scatter
from taleward.images.collage.scene import Thing
from taleward.images.collage.sprites import sprite

FRONT = "<!--front-->"
"""Stands in a drawing before what covers those who ride in it."""


def place_held(page: Arrangement, number: int, thing: Thing) -> None:
    """Put a thing into a character's hands, over it, or beside it."""
    owner = page.by_number[thing.other]
    if thing.drawing.name in INCLUDED.get(owner.thing.drawing.name, ()):
        page.shown_by(number, owner)
        return
    piece = sprite(thing, f"t{number}v0-")
    name, kind = thing.drawing.name, thing.drawing.kind
    x, y = owner.at(owner.piece.hand)
    if kind == "flyer" and name in ("balloon", "kite"):
        scale = owner.height * (0.42 if name == "balloon" else 0.46) / piece.height
        away = 1 if x >= owner.x else -1
        top = max(page.h * 0.05 + piece.height * scale, y - owner.height * 0.75)
        shift = owner.height * (0.18 if name == "balloon" else 0.62)
        bx = min(max(x + away * shift, piece.left * scale + 12), page.w - piece.right * scale - 12)
        placed = page.put(number, thing, piece, bx, top, scale)
        placed.string_to, placed.order, placed.shadow = (x, y), owner.order - 0.1, False
        return
    if name == "umbrella":
        scale = owner.height * 0.98 / piece.height
        placed = page.put(number, thing, piece, x - (x - owner.x) * 0.3, y + owner.height * 0.06, scale)
        placed.order, placed.shadow = owner.order - 0.1, False
        return
    if not owner.thing.has_body:
        scatter(page, number, thing, near=owner)
        return
    share = min(0.5, max(0.24, 0.27 * (thing.drawing.height / 0.3) ** 0.4)) * min(1.4, thing.size)
    scale = owner.height * share / max(piece.height, piece.width * 0.85)
    if owner.thing.pose in ("sleep",):
        scatter(page, number, thing, near=owner)
        return
    if owner.thing.pose == "sit" or thing.drawing.name in (
        "open-book",
        "world-map",
        "newspaper",
        "accordion",
        "laptop",
    ):
        x, y = owner.x, owner.y - owner.height * (0.2 if owner.thing.pose == "sit" else 0.3)
    placed = page.put(number, thing, piece, x, y + piece.height * scale * 0.5, scale)
    placed.order, placed.shadow = owner.order + 0.1, False


def place_bearer(page: Arrangement, number: int, thing: Thing) -> None:
    """Put a thing under those whom it carries."""
    riders = [p for p in page.layout.placed if p.number == thing.other]
    if page.backdrop.surface == "water":
        riders = [p for p in page.layout.placed if p.thing.drawing.kind in LIVING]
    if not riders:
        scatter(page, number, thing)
        return
    piece = sprite(thing, f"t{number}v0-")
    kind, name = thing.drawing.kind, thing.drawing.name
    for variant, p in enumerate(riders):
        if (
            p.thing.has_body
            and p.thing.pose in ("stand", "run", "walk")
            and (name in RIDDEN or kind in ("furniture", "thing"))
        ):
            p.thing = replace(p.thing, pose="sit")
            p.piece = sprite(p.thing, f"t{p.number}v{variant}-", variant=variant)
        smallest = page.unit * (0.26 if p.thing.size > 0.6 else 0.16)
        p.scale *= max(1.0, smallest / p.height)
    rider = riders[0]
    if kind == "tree":
        scale = page.unit * 0.74 / piece.height
        placed = page.put(number, thing, piece, rider.x, page.h * 0.88, scale)
        placed.order = 1.0
        for p in riders:
            p.scale *= 0.56
            p.y, p.shadow, p.order = placed.y - placed.height * 0.5, False, placed.order + 1
        return
    lift, sink, share = 0.5, 0.0, 1.5
    deck = 0.0
    behind = True
    if kind == "boat":
        lift, share = {"sailboat": (0.17, 1.9), "canoe": (0.3, 0.66), "galleon": (0.16, 2.0)}.get(name, (0.36, 1.2))
        deck, behind = {"sailboat": -0.1}.get(name, 0.0), name != "sailboat"
    elif kind == "vehicle":
        lift, share = (0.5, 1.0)
        if name in ("bicycle", "motorcycle", "motor-scooter", "kick-scooter", "manual-wheelchair"):
            lift, share, behind = (0.4, 0.72, name in ("bicycle", "motorcycle"))
    elif kind == "aircraft":
        lift, share = (0.02, 4.6) if name == "hot-air-balloon" else (0.34, 1.5)
    elif name in RIDDEN:
        lift, share, behind = (0.56, 1.3, False)
    elif name in HOLLOW:
        lift, share = (0.3, 0.72)
        behind = name != "bed"
    elif kind == "furniture":
        lift, share, behind = (0.42, 0.95, False)
    elif kind == "building":
        lift, share, behind = (0.92, 1.8, False)
    else:
        lift, share, behind = (0.86, 0.5, False)
    height = rider.height * share * thing.size**0.5
    scale = min(page.scale(piece, height, 0.86), page.h * 0.66 / piece.height)
    group = sum(p.piece.width * p.scale for p in riders)
    if group > piece.width * scale * 0.9:
        scale = min(page.w * 0.9 / piece.width, group / 0.9 / piece.width)
    x = sum(p.x for p in riders) / len(riders)
    x = min(max(x, piece.left * scale + page.w * 0.04), page.w * 0.96 - piece.right * scale)
    y = page.baseline(thing, piece.height * scale)
    placed = page.put(number, thing, piece, x, y, scale)
    if FRONT in piece.svg:
        # The part before the riders is drawn a second time, over them.
        back, _, front = piece.svg.partition(FRONT)
        opening = back[: back.index(">") + 1]
        placed.piece = replace(piece, svg=f"{back}</g>")
        over = replace(placed, piece=replace(piece, svg=f"{opening}{front}"), order=placed.order + 0.4, shadow=False)
        page.layout.placed.append(over)
    room = y - placed.height * lift - page.h * 0.05
    most = placed.height * {"hot-air-balloon": 0.21, "galleon": 0.46, "sailboat": 0.42, "sled": 1.6}.get(name, 9.0)
    for index, p in enumerate(riders):
        p.scale *= min(1.0, room / p.height, 0.92, most / p.height)
        offset = (index - (len(riders) - 1) / 2) * min(
            p.piece.width * p.scale, placed.piece.width * scale * 0.8 / len(riders)
        )
        offset += placed.piece.width * scale * deck
        p.x, p.y, p.shadow, p.turn = x + offset, y - placed.height * (lift - sink), False, 0.0
        p.order = placed.order + (0.2 if FRONT in piece.svg else -0.5 if behind else 0.5)
    for p in page.layout.placed:
        if (
            p not in riders
            and p is not placed
            and p.number != number
            and p.thing.relation == "hold"
            and p.thing.other == thing.other
        ):
            p.order = placed.order + 0.2
    _make_room(page, placed, riders)


def _make_room(page: Arrangement, bearer: Placed, riders: list[Placed]) -> None:
    """Move other characters aside from what carries some."""
    left, _, right, _ = bearer.box
    for p in page.layout.placed:
        if p is bearer or p in riders or p.number == bearer.number or not overlap(p.box, bearer.box):
            continue
        half = (p.box[2] - p.box[0]) / 2
        if p.x < bearer.x:
            p.x = max(half + page.w * 0.02, left - half)
        else:
            p.x = min(page.w * 0.98 - half, right + half)
        if overlap(p.box, bearer.box) > 0.1 * half * p.height:
            shift = p.box[2] - left if p.x < bearer.x else p.box[0] - right
            free = (page.w * 0.98 - right) if shift > 0 else (left - page.w * 0.02)
            shift = min(shift, free) if shift > 0 else max(shift, -free)
            for q in (q for q in page.layout.placed if q is bearer or q in riders or q.number == bearer.number):
                q.x += shift
            left, right = left + shift, right + shift
