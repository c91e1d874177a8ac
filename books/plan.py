"""The plan of a book: what stands on each page and what its picture shows, as YAML that a person can edit."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import AwareDatetime, Field, model_validator

from taleward.books.beats import MOST_PAGES
from taleward.books.book import Shot
from taleward.books.changes import apply_changes
from taleward.books.folder import PLAN_FILE, write_whole
from taleward.books.places_told import kind_of_place
from taleward.books.things_told import main_things
from taleward.core.errors import InvalidInputs
from taleward.core.frozen_model import FrozenModel
from taleward.core.yaml_files import load_yaml
from taleward.images.aspect_ratio import AspectRatio
from taleward.images.prompt_spec import CastMember, Phrase, PromptSpec, Words

DEFAULT_STYLE = "watercolor"
_CAMERA: dict[Shot, str] = {
    "wide": "wide shot",
    "medium": "medium shot",
    "close": "close-up",
    "from above": "high-angle view from above",
}
_NEGATIVE = ("letters", "watermark")


class Place(FrozenModel):
    """A place that looks the same on every page.

    Attributes:
        name: The place, with its preposition, such as `"in the forest"`.
        looks: What is always to be seen there, such as `("a crooked oak",)`.
    """

    name: Words
    looks: tuple[Words, ...] = ()


class PlannedPage(FrozenModel):
    """What stands on a page, and what its picture shows.

    Attributes:
        text: The text.
        shows: What the picture shows, in a sentence with names.
        things: What else is in it.
        cast: Who is in it, by name.
        place: Where it is: the name of a place.
        light: The light, empty by day.
        shot: How much of the scene it shows.
        changes: What a person asked for when the picture was drawn anew.
        again: How often it was drawn anew with another seed.
    """

    text: Annotated[str, Field(min_length=1, max_length=6_000)]
    shows: Words
    things: tuple[Words, ...] = ()
    cast: tuple[Words, ...] = ()
    place: Phrase = ""
    light: Phrase = ""
    shot: Shot = "medium"
    changes: tuple[Words, ...] = ()
    again: int = Field(default=0, ge=0)


class BookPlan(FrozenModel):
    """A book before it is drawn; edit its YAML and go on from there.

    Attributes:
        title: The title.
        band: The age band.
        language: The language's code.
        style: The pictures' style.
        aspect_ratio: The pictures' format.
        seed: The seed that the pictures' seeds follow from.
        cast: The characters; `looks` never change.
        places: The places.
        pages: The pages.
        writer: Who wrote the tale: a model's spec, or `pasted`.
        tale_id: The tale's id, empty if it was pasted.
        created: When the book was begun.
    """

    title: Annotated[str, Field(min_length=1, max_length=200)]
    band: str = Field(min_length=1)
    language: str = "en"
    style: Phrase = DEFAULT_STYLE
    aspect_ratio: AspectRatio = "4:3"
    seed: int = Field(default=0, ge=0, le=2**31)
    cast: tuple[CastMember, ...] = ()
    places: tuple[Place, ...] = ()
    pages: tuple[PlannedPage, ...] = Field(min_length=1, max_length=MOST_PAGES)
    writer: str = "pasted"
    tale_id: str = ""
    created: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        known = [member.name for member in self.cast]
        for number, page in enumerate(self.pages, 1):
            if unknown := [name for name in page.cast if name not in known]:
                msg = f"page {number} has {unknown[0]!r}, who is not in the cast: {', '.join(known) or 'nobody'}"
                raise ValueError(msg)
        return self

    @classmethod
    def load(cls, path: Path | str) -> BookPlan:
        """Read a plan from its YAML file.

        Raises:
            InvalidFile: If it cannot be read, or has problems; each is listed with its line.
        """
        path = Path(path)
        return load_yaml(path / PLAN_FILE if path.is_dir() else path, cls)

    def save(self, path: Path | str) -> Path:
        """Write the plan as YAML, whole or not at all; into a folder as `plan.yaml`.

        Returns:
            The file.
        """
        path = Path(path)
        path = path if path.suffix in (".yaml", ".yml") else path / PLAN_FILE
        fields = self.model_dump(mode="json")
        for page in fields["pages"]:
            for name in [name for name in ("things", "light", "changes", "again") if not page[name]]:
                del page[name]
        text = yaml.dump(fields, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
        write_whole(path, (_HEAD + text).encode())
        return path

    def member(self, name: str) -> CastMember:
        """Return the character of a name.

        Raises:
            InvalidInputs: If there is none.
        """
        for member in self.cast:
            if member.name.casefold() in (name.casefold(), f"the {name}".casefold()):
                return member
        known = ", ".join(member.name for member in self.cast) or "nobody"
        raise InvalidInputs(None, [f"there is no {name!r} in the book; its cast: {known}"])

    @property
    def main_things(self) -> list[str]:
        """The things that the tale is about, such as `"a golden key"`."""
        return main_things([" ".join((page.text, *page.things)) for page in self.pages], self.cast)

    def prompt(self, number: int) -> PromptSpec:
        """Return the prompt of a page's picture."""
        page = self.pages[number - 1]
        place = next((p for p in self.places if p.name == page.place), None)
        noun = page.place.split()[-1].lower() if page.place else ""
        spec = PromptSpec(
            subject=page.shows,
            details=(*page.things, *(place.looks if place else ())),
            setting="" if noun and re.search(rf"\b{re.escape(noun)}\b", page.shows.lower()) else page.place,
            cast=tuple(member for member in self.cast if member.name in page.cast),
            art_style=self.style,
            lighting=page.light,
            camera=_CAMERA[page.shot],
            negative=_NEGATIVE,
            aspect_ratio=self.aspect_ratio,
        )
        return apply_changes(spec, page.changes)

    def cover_prompt(self) -> PromptSpec:
        """Return the prompt of the cover: the cast at the place where most of the book happens."""
        seen = Counter(name for page in self.pages for name in page.cast)
        cast = tuple(m for m in self.cast if seen[m.name] > 1 or m is self.cast[0])[:3]
        places = Counter(page.place for page in self.pages if page.place)
        place = places.most_common(1)[0][0] if places else ""
        names = [member.name for member in cast]
        who = ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names) or self.title
        things = [thing for thing in self.main_things if not any(thing.split()[-1] in m.kind for m in cast)]
        return PromptSpec(
            subject=who[:1].upper() + who[1:],
            details=tuple(things[:1]),
            setting=place,
            cast=cast,
            art_style=self.style,
            camera=_CAMERA["medium"],
            negative=_NEGATIVE,
            aspect_ratio=self.aspect_ratio,
        )

    def picture_seed(self, number: int) -> int:
        """Return the seed of a page's picture; 0 is the cover. Pages at one place share it, so that the place stays."""
        place = self.cover_prompt().setting if number == 0 else self.pages[number - 1].place
        again = self.pages[number - 1].again if number else 0
        text = f"{self.seed}/{kind_of_place(place)}/{again}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


_HEAD = """# The plan of a picture book. Edit it and go on: taleward book --plan FILE --out DIR
# `text` is judged again. `shows` is what the picture shows; name everybody as in `cast`, whose looks never change.
# `shot` is wide, medium, close or from above.
"""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they stand."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
