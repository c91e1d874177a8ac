"""The drawings that scenes are composed from, as they lie in the package."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from typing import Any, Literal

Kind = Literal[
    "head", "bust", "beast", "animal", "fullbody", "fullflyer", "flyer", "swimmer", "floater", "tree", "flower", "plant",
    "building", "mountain", "vehicle", "boat", "aircraft", "furniture", "wall", "thing", "food", "sky", "skything",
]  # fmt: skip

SIDE = 128
"""Drawings are squares of this many units."""


@dataclass(frozen=True)
class Artwork:
    """One drawing.

    Attributes:
        name: Its name in the library.
        words: What it shows; captions use the first.
        kind: How it takes part in a scene. A `head` needs a body, a `bust` legs, a `beast` is an animal's head.
        height: How tall the thing is in meters.
        facing: The way it looks: `l`, `r`, or `f` for neither.
        box: Left, top, right and bottom of the drawing within its square.
        color: The color that covers most of it.
        collection: The set it comes from, a key of `Library.credits`.
        eyes: Of a head: for each eye the middle, the radius and the color around it.
        cloth: Of a bust: the color of its clothes at the lower edge.
        shoulders: Of a bust: the left and right end of that edge.
    """

    name: str
    words: tuple[str, ...]
    kind: Kind
    height: float
    facing: Literal["l", "r", "f"]
    box: tuple[float, float, float, float]
    color: str
    collection: str
    eyes: tuple[tuple[float, float, float, str], ...] = ()
    cloth: str = ""
    shoulders: tuple[float, float] = (0.0, 0.0)

    @property
    def is_person(self) -> bool:
        """Whether it shows a human being or the like, with a body of the collage's own."""
        return self.kind in ("head", "bust")

    @property
    def is_living(self) -> bool:
        """Whether it can be a character."""
        return self.kind in ("head", "bust", "beast", "animal", "fullbody", "fullflyer", "swimmer") or (
            self.kind in ("flyer", "floater") and self.name in _LIVING
        )


_LIVING = frozenset(
    (
        "bird",
        "black-bird",
        "dove",
        "eagle",
        "bat",
        "phoenix",
        "butterfly",
        "monarch-butterfly",
        "honeybee",
        "fly",
        "swan",
    )
)


class Library:
    """The drawings by name.

    Attributes:
        drawings: The drawings.
        skin: For each skin tone what the colors of the lightest become.
        credits: For each set its name, author, license, address and version.
    """

    def __init__(self) -> None:
        # Read once, and small: a file that stays open would be in the way of a fork.
        self._archive = zipfile.ZipFile(
            BytesIO(files("taleward.images.collage").joinpath("data/drawings.zip").read_bytes())
        )
        index = json.loads(self._archive.read("index.json"))
        self.drawings: Mapping[str, Artwork] = {
            name: _drawing(name, entry) for name, entry in index["drawings"].items()
        }
        self.skin: Mapping[str, Mapping[str, str]] = index["skin"]
        self.credits: Mapping[str, Mapping[str, str]] = index["sets"]

    @lru_cache(maxsize=256)  # noqa: B019 - there is one library
    def body(self, name: str) -> str:
        """Return a drawing's SVG elements; `~` stands for the prefix of its ids."""
        return self._archive.read(f"{name}.svg").decode("utf-8")

    def credit(self, collections: set[str]) -> tuple[str, ...]:
        """Return the credits of some sets."""
        lines = []
        for key in sorted(collections & self.credits.keys()):
            entry = self.credits[key]
            lines.append(f"{entry['name']} by {entry['author']}, {entry['license']} ({entry['url']})")
        return tuple(lines)


@lru_cache(maxsize=1)
def library() -> Library:
    """Return the library; it is read once."""
    return Library()


def _drawing(name: str, entry: Mapping[str, Any]) -> Artwork:
    left, top, right, bottom = entry["box"]
    low, high = entry.get("shoulders", (0, 0))
    return Artwork(
        name=name,
        words=tuple(entry["names"]),
        kind=entry["kind"],
        height=entry["height"],
        facing=entry["facing"],
        box=(left, top, right, bottom),
        color=entry["color"],
        collection=entry["set"],
        eyes=tuple((x, y, r, f"#{color:06x}") for x, y, r, color in entry.get("eyes", ())),
        cloth=entry.get("cloth", ""),
        shoulders=(low, high),
    )
