"""What the placing of things shares: the picture's measures, what stands in it already, and how large things are."""

from __future__ import annotations

from taleward.images.collage.draws import Draws
from taleward.images.collage.placed import Layout, Placed
from taleward.images.collage.scene import CollageScene, Thing
from taleward.images.collage.scenery.stage import Backdrop, Stage
from taleward.images.collage.sprites import Sprite

LIVING = ("head", "bust", "beast", "animal", "fullbody")
FLOATING = ("flyer", "fullflyer", "aircraft", "skything")
LARGE = ("building", "mountain", "tree", "vehicle", "boat", "furniture")
RIDDEN = frozenset(
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
HOLLOW = frozenset(["basket", "bucket", "bathtub", "package", "nest-with-eggs", "empty-nest", "shopping-cart", "sled", "treasure-chest", "jar", "amphora", "handbag", "backpack", "hiking-boot", "bed", "pot-of-food"])  # fmt: skip


class Arrangement:
    """A picture while its things are placed.

    Attributes:
        scene: The scene.
        stage: Where it plays.
        backdrop: The scenery.
        w: Width of the picture.
        h: Height of the picture.
        unit: What sizes are shares of.
        draws: Decides what the scene leaves open.
        layout: What is placed.
        by_number: The first placed copy of each thing, by its number in the scene.
        side: On which side the main character stands: -1 for the left.
        row_height: How tall a row of characters is where there are several.
    """

    def __init__(self, scene: CollageScene, stage: Stage, backdrop: Backdrop) -> None:
        self.scene, self.stage, self.backdrop = scene, stage, backdrop
        self.w, self.h = stage.width, stage.height
        self.unit = min(self.h, self.w * 1.15)
        self.draws: Draws = stage.draws
        self.layout = Layout()
        self.by_number: dict[int, Placed] = {}
        self.side = self.draws.choice((-1, 1))
        self.row_height = 0.0

    def bears(self, thing: Thing) -> bool:
        """Whether a thing carries the character it is named with: a boat, a horse, a chair."""
        if thing.relation not in ("in", "on") or not 0 <= thing.other < len(self.scene.things):
            return False
        rider = self.scene.things[thing.other]
        if not rider.drawing.is_living:
            return False
        kind, name = thing.drawing.kind, thing.drawing.name
        return (
            kind in ("boat", "vehicle", "furniture", "aircraft", "tree")
            or name in RIDDEN | HOLLOW
            or (thing.relation == "on" and kind in ("thing", "food", "flower", "plant", "building"))
        )

    def main_height(self, total: int) -> float:
        """Return how tall a character is where so many are."""
        share = {1: 0.5, 2: 0.45, 3: 0.38, 4: 0.34, 5: 0.3, 6: 0.27}.get(total, 0.23)
        return self.unit * share

    def height(self, thing: Thing, reference: float) -> float:
        """Return how tall a thing is; a character by how tall one usually is here."""
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

    def scale(self, piece: Sprite, height: float, limit: float = 0.46) -> float:
        """Return the scale for a height; wide pieces are kept within a share of the width."""
        scale = height / max(1.0, piece.height)
        return min(scale, self.w * limit / max(1.0, piece.width))

    def baseline(self, thing: Thing, height: float) -> float:
        """Return where the foot of a character of such a height is."""
        surface, kind = self.backdrop.surface, thing.drawing.kind
        if surface == "deep":
            if kind in ("swimmer", "floater", "flyer", "fullflyer", "boat"):
                return self.h * self.draws.between(0.46, 0.56) + height / 2
            return self.h * 0.93
        if surface == "air":
            return self.h * 0.54 + height / 2
        if self.flies(thing):
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

    def flies(self, thing: Thing) -> bool:
        """Whether a character that else stands on the ground is in the air."""
        number = next((n for n, other in enumerate(self.scene.things) if other is thing), -1)
        over = any(t.relation == "above" and t.other == number for t in self.scene.things)
        return thing.drawing.kind in LIVING and not self.scene.indoors and (thing.pose == "fly" or over)

    def put(self, number: int, thing: Thing, piece: Sprite, x: float, y: float, scale: float) -> Placed:
        """Place a thing."""
        surface = self.backdrop.surface
        is_hill = thing.drawing.kind == "building" and self.backdrop.crest and y == self.backdrop.crest[1]
        if is_hill and self.backdrop.crest:
            x = self.backdrop.crest[0]
        grounded = not self.flies(thing) and surface in ("ground", "floor") and thing.drawing.kind not in FLOATING
        placed = Placed(thing, piece, x, y, scale, order=y, shadow=grounded and not is_hill, number=number)
        self.layout.placed.append(placed)
        self.layout.shown.append(number)
        self.by_number.setdefault(number, placed)
        return placed

    def shown_by(self, number: int, owner: Placed) -> None:
        """Count a thing as shown that another's drawing contains."""
        self.layout.shown.append(number)
        self.by_number.setdefault(number, owner)
