"""Where the things of a scene stand, how large they are, and which way they look."""

from __future__ import annotations

from taleward.images.collage.arrangement import FLOATING, LARGE, Arrangement
from taleward.images.collage.belongings import place_bearer, place_held
from taleward.images.collage.characters import place_characters
from taleward.images.collage.placed import Layout
from taleward.images.collage.scatter import scatter
from taleward.images.collage.scene import CollageScene, Thing
from taleward.images.collage.scenery.stage import Backdrop, Stage


def lay_out(scene: CollageScene, stage: Stage, backdrop: Backdrop) -> Layout:
    """Place the things of a scene."""
    page = Arrangement(scene, stage, backdrop)
    things = list(enumerate(page.scene.things))
    if not things:
        return page.layout
    carried = {n for n, t in things if t.relation in ("hold",) and _holder(page, t) is not None}
    bearers = {n for n, t in things if page.bears(t)}
    main = [(n, t) for n, t in things if n not in carried and n not in bearers and _is_actor(page, t)]
    if not main:
        first = next(((n, t) for n, t in things if n not in carried and n not in bearers), None)
        main = [first] if first else [(n, t) for n, t in things[:1]]
    place_characters(page, main)
    rest = [(n, t) for n, t in things if n not in page.by_number]
    for number, thing in sorted(rest, key=lambda item: _rank(page, item[0], item[1], carried, bearers)):
        if number in carried:
            place_held(page, number, thing)
        elif number in bearers:
            place_bearer(page, number, thing)
        else:
            scatter(page, number, thing)
    _face_each_other(page)
    page.layout.placed.sort(key=lambda p: p.order)
    return page.layout


def _is_actor(page: Arrangement, thing: Thing) -> bool:
    kind = thing.drawing.kind
    if thing.drawing.is_living and kind not in ("flyer", "floater", "swimmer"):
        return not (thing.drawing.height < 0.25 and kind != "beast" and page.scene.things[0] is not thing)
    return thing.drawing.is_living and thing is page.scene.things[0]


def _holder(page: Arrangement, thing: Thing) -> int | None:
    if thing.relation == "hold" and 0 <= thing.other < len(page.scene.things):
        holder = page.scene.things[thing.other]
        if holder.drawing.is_living and thing.drawing.kind not in (
            "building",
            "mountain",
            "tree",
            "vehicle",
            "boat",
            "furniture",
        ):
            return thing.other
    return None


def _rank(page: Arrangement, number: int, thing: Thing, carried: set[int], bearers: set[int]) -> int:
    if number in bearers:
        return 0
    if number in carried:
        return 1
    return 2 if thing.drawing.kind in LARGE else 3 if thing.drawing.kind not in FLOATING else 4


def _face_each_other(page: Arrangement) -> None:
    """Turn the characters to each other, a single one into the picture, and vehicles inward."""
    living = [p for p in page.layout.placed if p.thing.drawing.is_living]
    for p in page.layout.placed:
        if p.piece.facing == "f":
            continue
        others = [q.x for q in living if q is not p]
        goal = sum(others) / len(others) if others and p in living else page.w / 2
        if len({q.number for q in living}) == 1 and len(living) > 1:
            goal = page.w / 2 - page.side * page.w * 2
        look_right = goal > p.x
        p.flip = look_right if p.piece.facing == "l" else not look_right
    for p in page.layout.placed:
        bearer = next(
            (
                q
                for q in page.layout.placed
                if q.thing.other == p.number and q.thing.relation in ("in", "on") and page.bears(q.thing)
            ),
            None,
        )
        if bearer is not None and p.piece.facing != "f":
            p.flip = bearer.flip if bearer.piece.facing == p.piece.facing else p.flip
