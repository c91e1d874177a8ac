"""The plan of a book: what stands on each page and what its picture shows, as YAML that a person can edit."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AwareDatetime, Field, model_validator

from taleward.books.beats import MOST_PAGES, divide, words_per_page
from taleward.books.book import Shot
from taleward.books.changes import apply_changes
from taleward.books.folder import PLAN_FILE, write_whole
from taleward.books.seen import Seen, seen_on
from taleward.core.errors import InvalidInputs
from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Policy
from taleward.core.yaml_files import load_yaml
from taleward.images.aspect_ratio import AspectRatio
from taleward.images.collage.colors import color_of
from taleward.images.collage.lexicon import PLACES, singulars
from taleward.images.collage.looks import GARMENTS
from taleward.images.collage.reading import find_drawing, read
from taleward.images.prompt_spec import CastMember, Phrase, PromptSpec, Words
from taleward.images.prompts.cast import cast_of
from taleward.images.prompts.pronouns import find_gender, names_character
from taleward.moderation.text.sentences import sentences

DEFAULT_STYLE = "watercolor"
_CAMERA: dict[Shot, str] = {
    "wide": "wide shot",
    "medium": "medium shot",
    "close": "close-up",
    "from above": "high-angle view from above",
}
_SHOTS: tuple[Shot, ...] = ("wide", "medium", "close", "medium", "wide", "close", "medium")
_SMALL_WORDS = ("a", "an", "the", "of", "and", "in", "on", "with", "to", "for", "at", "by")
_NEGATIVE = ("letters", "watermark")
_MAX_TITLE = 60
_MAX_CAST = 8


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
        things = [thing for thing in _main_things(self) if not any(thing.split()[-1] in m.kind for m in cast)]
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
        text = f"{self.seed}/{_noun(place)}/{again}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def plan_by_rules(
    text: str,
    *,
    policy: Policy,
    band: str,
    pages: int | None = None,
    title: str | None = None,
    style: str = DEFAULT_STYLE,
    seed: int = 0,
    cast: Sequence[CastMember] | None = None,
    **fields: Any,
) -> BookPlan:
    """Plan a book by rules, offline: pages end at beats, shots vary, and characters and places look the same throughout.

    Args:
        text: The tale.
        policy: The policy.
        band: The age band, which says how much text a page has.
        pages: The number of pages; by the length of the tale if `None`.
        title: The title; by the main character and what the tale is about if `None`.
        style: The pictures' style.
        seed: Chooses looks that the tale does not mention.
        cast: Characters that the reader knows already; their looks stay.
        fields: Other fields of the plan.

    Raises:
        InvalidInputs: If there is no text, too much of it for a picture book, or `pages` is not from 1 to 24.
    """
    words = words_per_page(policy, band)
    if (count := len(text.split())) > MOST_PAGES * words.most:
        raise InvalidInputs(
            None,
            [f"the tale has {count:,} words; {MOST_PAGES} pages for {band} hold at most {MOST_PAGES * words.most:,}"],
            hint="Shorten it with `taleward summarize`, or make a book of its first part.",
        )
    texts = divide(text, words, pages)
    members = _known_looks(whole_cast(text, seed=seed), [m for m in cast or () if names_character(text, m.name)])
    seen = _same_places(seen_on(texts, members))
    planned = [
        PlannedPage(
            text=page, shows=s.shows[:1000], things=s.things, cast=s.cast, place=s.place, light=s.light,
            shot=_shot(number, s, seen[number - 1] if number else None, len(texts)),
        )
        for number, (page, s) in enumerate(zip(texts, seen, strict=True))
    ]  # fmt: skip
    plan = BookPlan(
        title=title or "A Story",
        band=band,
        style=style,
        seed=seed,
        cast=members,
        places=tuple(Place(name=name) for name in dict.fromkeys(s.place for s in seen if s.place)),
        pages=tuple(planned),
        **fields,
    )
    return plan if title else plan.model_copy(update={"title": title_of(plan)})


def title_of(plan: BookPlan) -> str:
    """Return a title: the main character, and the thing or character that the tale is about."""
    if not plan.cast:
        return "A Story"
    main = plan.cast[0]
    name = main.name if main.name[0].isupper() else _without_article(main.kind or main.name)
    lead = name if main.name[0].isupper() else f"the {name}"
    thing = next((t for t in _main_things(plan) if t.split()[-1] not in lead), "")
    second = next((m.name for m in plan.cast[1:] if sum(m.name in p.cast for p in plan.pages) > 1), "")
    if thing:
        lead += f" and the {_without_article(thing)}"
    elif second:
        lead += f" and {second}"
    return _title_case(lead)[:_MAX_TITLE]


def _main_things(plan: BookPlan) -> list[str]:
    """Return things that several pages show, the most frequent first."""
    found: Counter[str] = Counter()
    said: dict[str, str] = {}
    for page in plan.pages:
        names = {name for member in plan.cast for name in f"{member.name} {member.kind}".lower().split()}
        for mention in read(" ".join((page.text, *page.things))).mentions:
            if mention.drawing.is_living or mention.drawing.kind not in ("thing", "food", "flower", "vehicle", "boat"):
                continue
            if mention.said in (*names, *GARMENTS, "fire") or mention.is_plural:
                continue
            found[mention.drawing.name] += 1
            color = next((word for word in mention.phrase.split() if mention.color and color_of(word)), "")
            phrase = f"{'an' if (color or mention.said)[0] in 'aeiou' else 'a'} {color} {mention.said}"
            if color or mention.drawing.name not in said:
                said[mention.drawing.name] = " ".join(phrase.split())
    return [said[name] for name, count in found.most_common() if count > 2]


def _shot(number: int, seen: Seen, before: Seen | None, total: int) -> Shot:
    """Return a page's shot: wide where the book or a place begins and at the end, near where somebody is alone."""
    if number in (0, total - 1) or before is None or _noun(before.place) != _noun(seen.place):
        return "wide"
    if re.search(r"\b(?:flew|looked down|from the top|high up|far below)\b", seen.shows, re.IGNORECASE):
        return "from above"
    shot = _SHOTS[number % len(_SHOTS)]
    return "medium" if shot == "close" and len(seen.cast) + len(seen.things) > 3 else shot


def _same_places(seen: Sequence[Seen]) -> list[Seen]:
    """Give a place one name throughout: `in a castle` and `in the castle` are one."""
    names: dict[str, str] = {}
    result = []
    for page in seen:
        if page.place:
            name = names.setdefault(_noun(page.place), page.place)
            page = page.model_copy(update={"place": name})
        result.append(page)
    return result


def _known_looks(cast: Sequence[CastMember], known: Sequence[CastMember]) -> tuple[CastMember, ...]:
    """Return the cast of a tale, with the looks that its characters have in earlier books."""
    before = {member.name.casefold(): member for member in known}
    found = {member.name.casefold() for member in cast}
    return (
        *(before.get(member.name.casefold(), member) for member in cast),
        *(member for name, member in before.items() if name not in found),
    )


def whole_cast(text: str, *, seed: int = 0) -> tuple[CastMember, ...]:
    """Return who is in a tale: everybody has a kind, so that nobody is missing in a picture.

    To those of `cast_of` come animals that the tale speaks of more than once: "the magpie". A name of whom it does not
    say what it is stands for a girl, a boy or a child.
    """
    all_sentences = sentences(text)
    members = list(cast_of(text, seed=seed))
    names = [member.name for member in members]
    for number, member in enumerate(members):
        if not member.kind and member.name[:1].isupper():
            gender = find_gender(member.name, "", all_sentences, [name for name in names if name != member.name])
            kind = {"she": "a girl", "he": "a boy"}.get(gender or "", "a child")
            members[number] = member.model_copy(update={"kind": kind})
    taken = {word for member in members for word in f"{member.name} {member.kind}".lower().split()}
    narrated = re.sub(r"[\"“][^\"”]*[\"”]?", " ", text)
    spoken_of = Counter(
        word for pair in re.findall(r"\b[Tt]he ([a-z]+)(?: ([a-z]+))?", narrated) for word in pair if word
    )
    for noun, count in spoken_of.items():
        drawing = find_drawing(noun) if count > 1 and noun not in taken else None
        if drawing is not None and drawing.is_living and not drawing.is_person and singulars(noun) == (noun,):
            members.append(CastMember(name=f"the {noun}", kind=f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"))
    if not members:
        living = next((m for m in read(narrated).mentions if m.drawing.is_living and not m.is_plural), None)
        if living is not None:
            members.append(
                CastMember(
                    name=f"the {living.said}", kind=f"{'an' if living.said[0] in 'aeiou' else 'a'} {living.said}"
                )
            )
    return tuple(members[:_MAX_CAST])


def _noun(place: str) -> str:
    """Return what kind of place it is, or its noun: woods and trees are the forest."""
    noun = place.split()[-1].lower() if place else ""
    return PLACES.get(noun, noun)


def _without_article(phrase: str) -> str:
    return re.sub(r"^(?:an?|the) ", "", phrase)


def _title_case(text: str) -> str:
    words = text.split()
    return " ".join(word if n and word in _SMALL_WORDS else word[:1].upper() + word[1:] for n, word in enumerate(words))


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
