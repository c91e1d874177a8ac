"""Where things are at home, and which scenery can carry them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taleward.images.collage.lexicon import INDOORS
from taleward.images.collage.scene import Thing

_HAUNTS: Mapping[str, str] = {
    "fox": "forest", "wolf": "forest", "bear": "forest", "deer": "forest", "owl": "forest", "badger": "forest",
    "chipmunk": "forest", "hedgehog": "forest", "boar": "forest", "mushroom": "forest", "evergreen-tree": "forest",
    "woman-fairy": "forest", "man-elf": "forest", "unicorn": "meadow", "camel": "desert", "cactus": "desert",
    "scorpion": "desert", "penguin": "snow", "polar-bear": "snow", "snowman-without-snow": "snow", "seal": "snow", "skier": "snow",
    "sled": "snow", "mammoth": "snow", "lion": "savanna", "zebra": "savanna", "giraffe": "savanna", "elephant": "savanna",
    "rhinoceros": "savanna", "leopard": "savanna", "hippopotamus": "river", "cow": "farm", "pig": "farm", "ewe": "farm",
    "rooster": "farm", "chicken": "farm", "tractor": "farm", "farmer": "farm", "goat": "farm", "baby-chick": "farm",
    "monkey": "jungle", "gorilla": "jungle", "orangutan": "jungle", "tiger": "jungle", "parrot": "jungle", "sloth": "jungle",
    "sauropod": "jungle", "t-rex": "jungle", "crocodile": "river", "beaver": "river", "otter": "river", "frog": "lake",
    "duck": "lake", "swan": "lake", "lotus": "lake", "flamingo": "lake", "goose": "lake", "crab": "beach",
    "umbrella-on-ground": "beach", "palm-tree": "beach", "spiral-shell": "beach", "astronaut": "moonscape",
    "alien": "moonscape", "flying-saucer": "space", "rocket": "space", "ringed-planet": "space", "satellite": "space",
    "comet": "space", "globe-showing-europe-africa": "space", "automobile": "city", "taxi": "city", "bus": "city",
    "police-car": "city", "fire-engine": "city", "tram-car": "city", "vertical-traffic-light": "city", "castle": "hills",
    "dragon": "hills", "horse-racing": "hills", "sandcastle": "beach", "lighthouse": "beach", "treasure-chest": "beach", "desert-island": "beach",
    "playground-slide": "park", "ferris-wheel": "park", "circus-tent": "park", "bed": "bedroom", "couch-and-lamp": "living",
    "chair": "living", "bathtub": "living", "cook": "kitchen", "teacher": "classroom", "scientist": "study",
    "singer": "stage", "honeybee": "garden", "butterfly": "garden", "sunflower": "garden", "snail": "garden",
    "bat": "cave", "person-with-crown": "hall", "knight": "hills", "pirate": "beach", "bench": "park", "table": "living", "troll": "cave", "volcano": "meadow", "locomotive": "meadow",
}  # fmt: skip
"""Where a thing is at home, for prompts that name no place."""


def home_of(things: Sequence[Thing]) -> str:
    """Return where things are at home, for a prompt that names no place."""
    if things and all(t.drawing.kind == "swimmer" for t in things):
        return "underwater"
    if any(t.drawing.kind == "boat" for t in things):
        return "sea"
    if things and all(t.drawing.kind == "aircraft" for t in things):
        return next((_HAUNTS[t.drawing.name] for t in things if t.drawing.name in _HAUNTS), "clouds")
    homes = [_HAUNTS[thing.drawing.name] for thing in things if thing.drawing.name in _HAUNTS]
    if any(thing.drawing.kind in ("building", "mountain", "tree", "vehicle", "aircraft") for thing in things):
        homes = [home for home in homes if home not in INDOORS]
    return homes[0] if homes else "meadow"


def fit_place(place: str, things: Sequence[Thing]) -> str:
    """Return scenery that can carry the things: water for boats, a shore for those who have none."""
    boats = any(thing.drawing.kind == "boat" for thing in things)
    swimmers = [thing for thing in things if thing.drawing.kind in ("swimmer", "floater")]
    walkers = [
        t
        for t in things
        if t.drawing.kind in ("head", "bust", "beast", "animal", "fullbody") and t.relation not in ("in", "on")
    ]
    aboard = {t.other for t in things if t.drawing.kind == "boat" and t.relation in ("in", "on", "by")}
    walkers = [t for t in walkers if things.index(t) not in aboard]
    if boats and place in ("lake", "river", "meadow", "beach", "sea"):
        return "beach" if walkers else "sea"
    if place == "sea" and walkers and not boats:
        return "beach"
    if place == "sea" and swimmers and len(swimmers) == len(things):
        return "sea" if any(t.drawing.name in ("spouting-whale", "dolphin", "orca") for t in things) else "underwater"
    return place
