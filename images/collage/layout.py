"""Where the things of a scene stand, how large they are, and which way they look."""

from __future__ import annotations

from dataclasses import replace

from taleward.images.collage.draws import Draws
from taleward.images.collage.placed import Layout, Placed, overlap
from taleward.images.collage.scene import CollageScene, Thing
from taleward.images.collage.scenery.stage import Backdrop, Stage
from taleward.images.collage.sprites import Sprite, sprite

LIVING = ("head", "bust", "beast", "animal", "fullbody")
FLOATING = ("flyer", "fullflyer", "aircraft", "skything")
LARGE = ("building", "mountain", "tree", "vehicle", "boat", "furniture")
_RIDDEN = frozenset(
    [
        "horse",
        "unicorn",
        "donkey",
        "zebra",
        "camel",
        "llama",
        "elephant",
        "mammoth",
        "dragon",
        "giraffe",
        "sauropod",
        "ox",
        "cow",
        "kangaroo",
        "deer",
        "turtle",
        "spouting-whale",
        "dolphin",
        "goose",
        "ram",
        "tiger",
    ]
)
_HOLLOW = frozenset(["basket", "bucket", "bathtub", "package", "nest-with-eggs", "empty-nest", "shopping-cart", "sled", "treasure-chest", "jar", "amphora", "handbag", "backpack", "hiking-boot", "bed", "pot-of-food"])  # fmt: skip


FRONT = "<!--front-->"
"""Stands in a drawing before what covers those who ride in it."""
_INCLUDED = {
    "woman-fairy": ("magic-wand",), "man-fairy": ("magic-wand",), "detective": ("magnifying-glass-tilted-left",),
    "artist": ("artist-palette", "paintbrush"), "person-biking": ("bicycle",), "cook": ("spoon",), "mechanic": ("wrench",),
    "scientist": ("test-tube",), "horse-racing": ("horse",), "snowman-without-snow": ("top-hat",),
}  # fmt: skip
"""What a drawing shows already in its character's hands."""


def lay_out(scene: CollageScene, stage: Stage, backdrop: Backdrop) -> Layout:
    """Place the things of a scene."""
    return _Layouter(scene, stage, backdrop).run()


class _Layouter:
    def __init__(self, scene: CollageScene, stage: Stage, backdrop: Backdrop) -> None:
        self.scene, self.stage, self.backdrop = scene, stage, backdrop
        self.w, self.h = stage.width, stage.height
        self.unit = min(self.h, self.w * 1.15)
        self.draws: Draws = stage.draws
        self.layout = Layout()
        self.by_number: dict[int, Placed] = {}
        self.side = self.draws.choice((-1, 1))
        """On which side the main character stands: -1 for the left."""
        self._row_height = 0.0
        """How tall a row of characters is where there are several."""

    def run(self) -> Layout:
        things = list(enumerate(self.scene.things))
        if not things:
            return self.layout
        carried = {n for n, t in things if t.relation in ("hold",) and self._holder(t) is not None}
        bearers = {n for n, t in things if self._bears(t)}
        main = [(n, t) for n, t in things if n not in carried and n not in bearers and self._is_actor(t)]
        if not main:
            first = next(((n, t) for n, t in things if n not in carried and n not in bearers), None)
            main = [first] if first else [(n, t) for n, t in things[:1]]
        self._actors(main)
        rest = [(n, t) for n, t in things if n not in self.by_number]
        for number, thing in sorted(rest, key=lambda item: self._rank(item[0], item[1], carried, bearers)):
            if number in carried:
                self._held(number, thing)
            elif number in bearers:
                self._bearer(number, thing)
            else:
                self._scatter(number, thing)
        self._face_each_other()
        self.layout.placed.sort(key=lambda p: p.order)
        return self.layout

    # What takes part how.

    def _is_actor(self, thing: Thing) -> bool:
        kind = thing.drawing.kind
        if thing.drawing.is_living and kind not in ("flyer", "floater", "swimmer"):
            return not (thing.drawing.height < 0.25 and kind != "beast" and self.scene.things[0] is not thing)
        return thing.drawing.is_living and thing is self.scene.things[0]

    def _holder(self, thing: Thing) -> int | None:
        if thing.relation == "hold" and 0 <= thing.other < len(self.scene.things):
            holder = self.scene.things[thing.other]
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

    def _bears(self, thing: Thing) -> bool:
        """Whether a thing carries the character it is named with: a boat, a horse, a chair."""
        if thing.relation not in ("in", "on") or not 0 <= thing.other < len(self.scene.things):
            return False
        rider = self.scene.things[thing.other]
        if not rider.drawing.is_living:
            return False
        kind, name = thing.drawing.kind, thing.drawing.name
        return (
            kind in ("boat", "vehicle", "furniture", "aircraft", "tree")
            or name in _RIDDEN | _HOLLOW
            or (thing.relation == "on" and kind in ("thing", "food", "flower", "plant", "building"))
        )

    def _rank(self, number: int, thing: Thing, carried: set[int], bearers: set[int]) -> int:
        if number in bearers:
            return 0
        if number in carried:
            return 1
        return 2 if thing.drawing.kind in LARGE else 3 if thing.drawing.kind not in FLOATING else 4

    # Sizes.

    def _main_height(self, total: int) -> float:
        share = {1: 0.5, 2: 0.45, 3: 0.38, 4: 0.34, 5: 0.3, 6: 0.27}.get(total, 0.23)
        return self.unit * share

    def _height(self, thing: Thing, reference: float) -> float:
        kind, size = thing.drawing.kind, thing.size
        tall = thing.drawing.height
        match kind:
            case "building":
                return float(self.unit * min(0.66, 0.4 * (tall / 5) ** 0.4 * size**0.5))
            case "mountain":
                return float(self.unit * 0.5)
            case "tree":
                return float(self.unit * min(0.7, (0.5 if tall > 3 else 0.36) * size**0.6))
            case "vehicle":
                return float(self.unit * min(0.5, 0.3 * (tall / 1.7) ** 0.4 * size**0.6))
            case "boat":
                return float(self.unit * min(0.6, 0.42 * (tall / 3) ** 0.35 * size**0.6))
            case "aircraft":
                return float(self.unit * 0.26 * size**0.6)
            case "furniture":
                return float(self.unit * 0.27 * tall**0.4)
            case "skything":
                return float(self.unit * 0.1 * (0.5 + tall) * size)
            case "wall":
                return float(self.unit * 0.17)
            case "flyer" | "fullflyer":
                return float(self.unit * min(0.42, 0.13 * (0.7 + tall**0.6) * size))
            case "swimmer" | "floater":
                return float(self.unit * min(0.5, 0.2 * (tall / 0.6) ** 0.4 * size))
        if kind in LIVING:
            return float(reference * min(1.55, max(0.5, (tall / 1.2) ** 0.42)) * size**0.8)
        return float(self.unit * min(0.34, 0.135 * (tall / 0.35) ** 0.38 * size))

    def _scale(self, piece: Sprite, height: float, limit: float = 0.46) -> float:
        """Return the scale for a height; wide pieces are kept within a share of the width."""
        scale = height / max(1.0, piece.height)
        return min(scale, self.w * limit / max(1.0, piece.width))

    # The characters.

    def _actors(self, main: list[tuple[int, Thing]]) -> None:
        instances = [(n, t, v) for n, t in main for v in range(t.count)]
        total = len(instances)
        reference = self._main_height(total)
        pieces: list[tuple[int, Thing, Sprite, float]] = []
        first_height = main[0][1].drawing.height if main else 1.0
        for number, thing, variant in instances:
            piece = sprite(thing, f"t{number}v{variant}-", variant=variant)
            height = self._height(thing, reference)
            if total == 1 and thing.drawing.kind in LIVING:
                height = reference * min(1.2, max(0.72, (thing.drawing.height / 1.2) ** 0.25)) * thing.size**0.5
            elif total == 1 and thing.drawing.kind in ("swimmer", "flyer", "fullflyer", "floater"):
                height = self.unit * 0.36 * thing.size**0.4
            elif total == 1 and thing.drawing.kind in ("thing", "food", "flower", "plant"):
                height = self.unit * 0.34 * thing.size**0.4
            elif thing.drawing.kind in LIVING and first_height < 0.3 and thing.drawing.height < 0.5:
                height = max(height, reference * 0.75)
            if thing.pose == "sleep" and thing.has_body:
                height *= 0.5
            if self._flies(thing):
                height = min(height, self.unit * 0.36)
            pieces.append((number, thing, piece, self._scale(piece, height, 0.62 if total == 1 else 0.5)))
        room = self.w * (0.9 if total > 2 else 0.84)
        rows = self._rows(pieces, room)
        if len(rows) > 1:
            most = self.unit * 0.46 / (1 + 0.72 * (len(rows) - 1))
            rows = [
                [(n, t, piece, min(s, most * s / max(1.0, self._tallest(pieces)))) for n, t, piece, s in row]
                for row in rows
            ]
            self._row_height = min(most, self._tallest(pieces))
        for row, members in enumerate(rows):
            self._row(members, row, len(rows), room, total)

    @staticmethod
    def _tallest(pieces: list[tuple[int, Thing, Sprite, float]]) -> float:
        return max(piece.height * scale for _, _, piece, scale in pieces)

    def _rows(
        self, pieces: list[tuple[int, Thing, Sprite, float]], room: float
    ) -> list[list[tuple[int, Thing, Sprite, float]]]:
        wide = sum(piece.width * scale for _, _, piece, scale in pieces) * 1.12
        number = 1 if len(pieces) < 6 or wide < room * 1.1 else 2 if len(pieces) < 11 else 3
        rows: list[list[tuple[int, Thing, Sprite, float]]] = [[] for _ in range(number)]
        for index, entry in enumerate(pieces):
            rows[index * number // len(pieces)].append(entry)
        return rows

    def _row(
        self, members: list[tuple[int, Thing, Sprite, float]], row: int, rows: int, room: float, total: int
    ) -> None:
        """Place one row of characters; the first row is the nearest."""
        wide = sum(piece.width * scale for _, _, piece, scale in members) * 1.1
        shrink = min(1.0, room / wide) * (0.84**row)
        gap = (room - wide * min(1.0, room / wide)) / (len(members) + 1)
        gap = min(gap, self.w * 0.16)
        span = sum(piece.width * scale * shrink for _, _, piece, scale in members) + gap * (len(members) - 1)
        if total == 1:
            middle = self.w * (0.5 + 0.12 * self.side)
        elif len(self.scene.things) > len({n for n, *_ in members}) and total < 3:
            middle = self.w * (0.5 + 0.06 * self.side)
        else:
            middle = self.w * 0.5
        if row % 2:
            middle += (self.w * 0.04 + span / len(members) * 0.42) * self.side
        x = middle - span / 2
        for index, (number, thing, piece, scale) in enumerate(members):
            s = scale * shrink
            x += piece.left * s
            y = self._baseline(thing, piece.height * s) - row * self._row_height * 0.74
            y += self.draws.between(-0.012, 0.012) * self.h * (1 if total > 1 else 0)
            if self.backdrop.surface in ("air", "deep") and index % 2 and total > 1:
                y -= self.h * 0.12
            x = min(max(x, piece.left * s + self.w * 0.03), self.w * 0.97 - piece.right * s)
            placed = self._put(number, thing, piece, x, y, s)
            if self.backdrop.surface == "air":
                placed.turn = self.draws.between(-9, 9)
            x += piece.right * s + gap

    def _baseline(self, thing: Thing, height: float) -> float:
        surface, kind = self.backdrop.surface, thing.drawing.kind
        if surface == "deep":
            if kind in ("swimmer", "floater", "flyer", "fullflyer", "boat"):
                return self.h * self.draws.between(0.46, 0.56) + height / 2
            return self.h * 0.93
        if surface == "air":
            return self.h * 0.54 + height / 2
        if self._flies(thing):
            return self.h * 0.3 + height / 2
        if kind in FLOATING:
            return self.h * 0.46 + height / 2 if kind != "fullflyer" else self.h * 0.6
        if kind == "building" and self.backdrop.crest and self.scene.things[0] is thing:
            return self.backdrop.crest[1]
        if kind in ("building", "mountain"):
            return self.backdrop.horizon + (self.h - self.backdrop.horizon) * (0.32 if kind == "building" else 0.06)
        if surface == "water":
            return self.backdrop.horizon + (self.h - self.backdrop.horizon) * 0.66
        near = 0.9 if self.h <= self.w * 1.2 else 0.86
        return self.h * near

    def _flies(self, thing: Thing) -> bool:
        """Whether a character that else stands on the ground is in the air."""
        number = next((n for n, other in enumerate(self.scene.things) if other is thing), -1)
        over = any(t.relation == "above" and t.other == number for t in self.scene.things)
        return thing.drawing.kind in LIVING and not self.scene.indoors and (thing.pose == "fly" or over)

    def _put(self, number: int, thing: Thing, piece: Sprite, x: float, y: float, scale: float) -> Placed:
        surface = self.backdrop.surface
        is_hill = thing.drawing.kind == "building" and self.backdrop.crest and y == self.backdrop.crest[1]
        if is_hill and self.backdrop.crest:
            x = self.backdrop.crest[0]
        grounded = not self._flies(thing) and surface in ("ground", "floor") and thing.drawing.kind not in FLOATING
        placed = Placed(thing, piece, x, y, scale, order=y, shadow=grounded and not is_hill, number=number)
        self.layout.placed.append(placed)
        self.layout.shown.append(number)
        self.by_number.setdefault(number, placed)
        return placed

    def _shown_by(self, number: int, owner: Placed) -> None:
        """Count a thing as shown that another's drawing contains."""
        self.layout.shown.append(number)
        self.by_number.setdefault(number, owner)

    def _in_scenery(self, thing: Thing) -> bool:
        """Whether the background shows a thing already."""
        name, place = thing.drawing.name, self.scene.place
        return (
            thing.count == 1
            and not thing.color
            and (
                (name == "window" and place in ("bedroom", "kitchen", "living", "classroom", "study", "hall"))
                or (name == "bed" and place == "bedroom" and thing.relation not in ("in", "on"))
            )
        )

    # What belongs to a character.

    def _held(self, number: int, thing: Thing) -> None:
        owner = self.by_number[thing.other]
        if thing.drawing.name in _INCLUDED.get(owner.thing.drawing.name, ()):
            self._shown_by(number, owner)
            return
        piece = sprite(thing, f"t{number}v0-")
        name, kind = thing.drawing.name, thing.drawing.kind
        x, y = owner.at(owner.piece.hand)
        if kind == "flyer" and name in ("balloon", "kite"):
            scale = owner.height * (0.42 if name == "balloon" else 0.46) / piece.height
            away = 1 if x >= owner.x else -1
            top = max(self.h * 0.05 + piece.height * scale, y - owner.height * 0.75)
            shift = owner.height * (0.18 if name == "balloon" else 0.62)
            bx = min(max(x + away * shift, piece.left * scale + 12), self.w - piece.right * scale - 12)
            placed = self._put(number, thing, piece, bx, top, scale)
            placed.string_to, placed.order, placed.shadow = (x, y), owner.order - 0.1, False
            return
        if name == "umbrella":
            scale = owner.height * 0.98 / piece.height
            placed = self._put(number, thing, piece, x - (x - owner.x) * 0.3, y + owner.height * 0.06, scale)
            placed.order, placed.shadow = owner.order - 0.1, False
            return
        if not owner.thing.has_body:
            self._scatter(number, thing, near=owner)
            return
        share = min(0.5, max(0.24, 0.27 * (thing.drawing.height / 0.3) ** 0.4)) * min(1.4, thing.size)
        scale = owner.height * share / max(piece.height, piece.width * 0.85)
        if owner.thing.pose in ("sleep",):
            self._scatter(number, thing, near=owner)
            return
        if owner.thing.pose == "sit" or thing.drawing.name in (
            "open-book",
            "world-map",
            "newspaper",
            "accordion",
            "laptop",
        ):
            x, y = owner.x, owner.y - owner.height * (0.2 if owner.thing.pose == "sit" else 0.3)
        placed = self._put(number, thing, piece, x, y + piece.height * scale * 0.5, scale)
        placed.order, placed.shadow = owner.order + 0.1, False

    def _bearer(self, number: int, thing: Thing) -> None:
        """Put a thing under those whom it carries."""
        riders = [p for p in self.layout.placed if p.number == thing.other]
        if self.backdrop.surface == "water":
            riders = [p for p in self.layout.placed if p.thing.drawing.kind in LIVING]
        if not riders:
            self._scatter(number, thing)
            return
        piece = sprite(thing, f"t{number}v0-")
        kind, name = thing.drawing.kind, thing.drawing.name
        for variant, p in enumerate(riders):
            if (
                p.thing.has_body
                and p.thing.pose in ("stand", "run", "walk")
                and (name in _RIDDEN or kind in ("furniture", "thing"))
            ):
                p.thing = replace(p.thing, pose="sit")
                p.piece = sprite(p.thing, f"t{p.number}v{variant}-", variant=variant)
            smallest = self.unit * (0.26 if p.thing.size > 0.6 else 0.16)
            p.scale *= max(1.0, smallest / p.height)
        rider = riders[0]
        if kind == "tree":
            scale = self.unit * 0.74 / piece.height
            placed = self._put(number, thing, piece, rider.x, self.h * 0.88, scale)
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
        elif name in _RIDDEN:
            lift, share, behind = (0.56, 1.3, False)
        elif name in _HOLLOW:
            lift, share = (0.3, 0.72)
            behind = name != "bed"
        elif kind == "furniture":
            lift, share, behind = (0.42, 0.95, False)
        elif kind == "building":
            lift, share, behind = (0.92, 1.8, False)
        else:
            lift, share, behind = (0.86, 0.5, False)
        height = rider.height * share * thing.size**0.5
        scale = min(self._scale(piece, height, 0.86), self.h * 0.66 / piece.height)
        group = sum(p.piece.width * p.scale for p in riders)
        if group > piece.width * scale * 0.9:
            scale = min(self.w * 0.9 / piece.width, group / 0.9 / piece.width)
        x = sum(p.x for p in riders) / len(riders)
        x = min(max(x, piece.left * scale + self.w * 0.04), self.w * 0.96 - piece.right * scale)
        y = self._baseline(thing, piece.height * scale)
        placed = self._put(number, thing, piece, x, y, scale)
        if FRONT in piece.svg:
            # The part before the riders is drawn a second time, over them.
            back, _, front = piece.svg.partition(FRONT)
            opening = back[: back.index(">") + 1]
            placed.piece = replace(piece, svg=f"{back}</g>")
            over = replace(
                placed, piece=replace(piece, svg=f"{opening}{front}"), order=placed.order + 0.4, shadow=False
            )
            self.layout.placed.append(over)
        room = y - placed.height * lift - self.h * 0.05
        most = placed.height * {"hot-air-balloon": 0.21, "galleon": 0.46, "sailboat": 0.42, "sled": 1.6}.get(name, 9.0)
        for index, p in enumerate(riders):
            p.scale *= min(1.0, room / p.height, 0.92, most / p.height)
            offset = (index - (len(riders) - 1) / 2) * min(
                p.piece.width * p.scale, placed.piece.width * scale * 0.8 / len(riders)
            )
            offset += placed.piece.width * scale * deck
            p.x, p.y, p.shadow, p.turn = x + offset, y - placed.height * (lift - sink), False, 0.0
            p.order = placed.order + (0.2 if FRONT in piece.svg else -0.5 if behind else 0.5)
        for p in self.layout.placed:
            if (
                p not in riders
                and p is not placed
                and p.number != number
                and p.thing.relation == "hold"
                and p.thing.other == thing.other
            ):
                p.order = placed.order + 0.2
        self._make_room(placed, riders)

    def _make_room(self, bearer: Placed, riders: list[Placed]) -> None:
        """Move other characters aside from what carries some."""
        left, _, right, _ = bearer.box
        for p in self.layout.placed:
            if p is bearer or p in riders or p.number == bearer.number or not overlap(p.box, bearer.box):
                continue
            half = (p.box[2] - p.box[0]) / 2
            if p.x < bearer.x:
                p.x = max(half + self.w * 0.02, left - half)
            else:
                p.x = min(self.w * 0.98 - half, right + half)
            if overlap(p.box, bearer.box) > 0.1 * half * p.height:
                shift = p.box[2] - left if p.x < bearer.x else p.box[0] - right
                free = (self.w * 0.98 - right) if shift > 0 else (left - self.w * 0.02)
                shift = min(shift, free) if shift > 0 else max(shift, -free)
                for q in (q for q in self.layout.placed if q is bearer or q in riders or q.number == bearer.number):
                    q.x += shift
                left, right = left + shift, right + shift

    # Everything else.

    def _scatter(self, number: int, thing: Thing, *, near: Placed | None = None) -> None:
        if 0 <= thing.other < len(self.scene.things):
            owner = self.scene.things[thing.other]
            if thing.drawing.name in _INCLUDED.get(owner.drawing.name, ()) and thing.other in self.by_number:
                self._shown_by(number, self.by_number[thing.other])
                return
        if self._in_scenery(thing):
            self.layout.shown.append(number)
            return
        partner = near or (self.by_number.get(thing.other) if thing.other >= 0 else None)
        reference = self._main_height(max(1, len(self.layout.placed)))
        for variant in range(thing.count):
            piece = sprite(thing, f"t{number}v{variant}-", variant=variant)
            height = self._height(thing, reference)
            if thing.relation == "under" and thing.drawing.kind == "tree":
                height = self.unit * 0.7
            scale = self._scale(piece, height, 0.56 if thing.drawing.kind in LARGE else 0.4)
            best, best_cost = (self.w / 2, self.h * 0.9), float("inf")
            for _ in range(48):
                x, y = self._candidate(thing, piece, scale, partner)
                cost = self._cost(thing, piece, x, y, scale, partner)
                if cost < best_cost:
                    best, best_cost = (x, y), cost
            x, y = best
            if best_cost > 1.6 and thing.count > 1 and variant:
                continue
            placed = self._put(number, thing, piece, x, y, scale * self._distance(thing, y))
            if thing.drawing.kind == "aircraft" and self.backdrop.surface != "ground":
                placed.turn = 0.0
            if thing.relation == "behind" and partner:
                placed.order = partner.order + 0.3

    def _distance(self, thing: Thing, y: float) -> float:
        """Return how much smaller a thing on the ground is for standing farther away."""
        if thing.drawing.kind in (
            *FLOATING,
            "wall",
            "building",
            "mountain",
            "tree",
            "swimmer",
        ) or self.backdrop.surface in ("air", "deep"):
            return 1.0
        near = (y - self.backdrop.horizon) / max(1.0, self.h - self.backdrop.horizon)
        return 0.55 + 0.5 * max(0.0, min(1.0, near))

    def _candidate(self, thing: Thing, piece: Sprite, scale: float, partner: Placed | None) -> tuple[float, float]:
        kind, surface = thing.drawing.kind, self.backdrop.surface
        half = max(piece.left, piece.right) * scale
        margin = min(self.w * 0.03 + half, self.w / 2)
        x = self.draws.between(margin, self.w - margin) if margin < self.w / 2 else self.w / 2
        low, high = self.backdrop.horizon, self.h
        depth = high - low
        if kind in FLOATING or surface == "air":
            top = self.h * 0.05 + piece.height * scale
            bottom = self.h * (0.86 if surface in ("air", "deep") else 0.52)
            return x, self.draws.between(top, max(top + 1, bottom))
        if kind == "wall":
            return x, self.h * self.draws.between(0.32, 0.44)
        if surface == "deep" and kind in ("swimmer", "floater", "boat"):
            return x, self.draws.between(self.h * 0.18 + piece.height * scale * 0.5, self.h * 0.82)
        if kind == "building":
            if self.backdrop.crest and self.draws.chance(0.5):
                return self.backdrop.crest
            return x, low + depth * self.draws.between(0.1, 0.34)
        if kind == "mountain":
            return x, low + depth * 0.04
        if kind in ("tree", "furniture"):
            under = thing.relation in ("under", "by") and partner is not None
            return x, low + depth * (self.draws.between(0.5, 0.66) if under else self.draws.between(0.16, 0.5))
        if kind in ("vehicle",):
            return x, low + depth * self.draws.between(0.3, 0.62)
        if kind in ("boat", "floater", "swimmer") and surface == "water":
            return x, low + depth * self.draws.between(0.3, 0.7)
        if kind == "floater" and self.scene.place == "lake":
            return self.draws.between(self.w * 0.2, self.w * 0.8), low + depth * self.draws.between(0.22, 0.38)
        if partner is not None and thing.relation in ("by", "behind", "on"):
            return x, min(self.h * 0.955, partner.y + self.draws.between(-0.01, 0.045) * self.h)
        if partner is not None and thing.relation == "before":
            return x, partner.y - self.h * 0.06
        return x, low + depth * self.draws.between(0.42, 0.9)

    def _cost(self, thing: Thing, piece: Sprite, x: float, y: float, scale: float, partner: Placed | None) -> float:
        scale *= self._distance(thing, y)
        box = (x - piece.left * scale, y + piece.top * scale, x + piece.right * scale, y)
        area = max(1.0, (box[2] - box[0]) * (box[3] - box[1]))
        cost = 0.0
        for other in self.layout.placed:
            shared = overlap(box, other.box)
            if not shared:
                continue
            own = max(1.0, (other.box[2] - other.box[0]) * (other.box[3] - other.box[1]))
            # What is large and far may be partly hidden; what is small may not, nor may it hide a character.
            hidden = shared / (area if y < other.y else own)
            tolerance = 0.35 if thing.drawing.kind in ("building", "mountain", "tree") and y < other.y else 1.0
            cost += (3.4 if hidden > 0.3 else 2.0) * hidden * tolerance + 0.2 * tolerance
        if box[1] < self.h * 0.02:
            cost += 2.0
        cost += (
            0.9 * max(0.0, self.w * 0.02 - box[0]) / self.w * 10 + 0.9 * max(0.0, box[2] - self.w * 0.98) / self.w * 10
        )
        if partner is not None and thing.relation in ("by", "under", "above", "before", "behind", "on", "hold", "in"):
            wanted = 0.0 if thing.relation in ("under", "above") else 0.12
            cost += 1.6 * abs(abs(x - partner.x) / self.w - wanted)
        elif thing.drawing.kind in LARGE or thing.drawing.kind in FLOATING:
            main = self.layout.placed[0] if self.layout.placed else None
            if main is not None:
                cost += 0.6 * max(0.0, 0.32 - abs(x - main.x) / self.w)
        return cost

    def _face_each_other(self) -> None:
        """Turn the characters to each other, a single one into the picture, and vehicles inward."""
        living = [p for p in self.layout.placed if p.thing.drawing.is_living]
        for p in self.layout.placed:
            if p.piece.facing == "f":
                continue
            others = [q.x for q in living if q is not p]
            goal = sum(others) / len(others) if others and p in living else self.w / 2
            if len({q.number for q in living}) == 1 and len(living) > 1:
                goal = self.w / 2 - self.side * self.w * 2
            look_right = goal > p.x
            p.flip = look_right if p.piece.facing == "l" else not look_right
        for p in self.layout.placed:
            bearer = next(
                (
                    q
                    for q in self.layout.placed
                    if q.thing.other == p.number and q.thing.relation in ("in", "on") and self._bears(q.thing)
                ),
                None,
            )
            if bearer is not None and p.piece.facing != "f":
                p.flip = bearer.flip if bearer.piece.facing == p.piece.facing else p.flip
