"""The things of a tale that can be drawn, each described alike on every page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from taleward.books.places_told import SKY
from taleward.books.wording import QUOTED, UNSEEN
from taleward.images.collage.colors import color_of
from taleward.images.collage.lexicon import INSIDE_OF, PLACES
from taleward.images.collage.looks import GARMENTS
from taleward.images.collage.reading import Mention, read
from taleward.images.prompt_spec import CastMember

_ARTICLES = {"a", "an", "the", "his", "her", "their", "its", "some", "one", "two", "three", "four", "five", "many"}
_MOST_THINGS = 2
_PORTABLE = ("thing", "food", "flower", "vehicle", "boat")
_TOLD_OFTEN = 3


def things_on(within: Sequence[str], shows: str, cast: Sequence[CastMember]) -> tuple[str, ...]:
    """Return things of the page's other sentences that can be drawn and are there for certain."""
    kinds = {word for member in cast for word in " ".join((member.kind, member.name, *member.looks)).lower().split()}
    taken = {mention.drawing.name for mention in read(shows).mentions}
    found: dict[str, str] = {}
    for sentence in within:
        text = QUOTED.sub(" ", sentence)
        if UNSEEN.search(text):
            continue
        for mention in read(text).mentions:
            if mention.drawing.name in taken or set(mention.said.split()) & {*kinds, *SKY} or _is_place(mention):
                continue
            if mention.drawing.is_living and not mention.is_plural:
                continue
            if not _ARTICLES & set(mention.phrase.split()):
                continue  # "saw" is a tool only after an article
            color = _color(mention)
            number = "three" if mention.is_plural else "an" if (color or mention.said)[0] in "aeiou" else "a"
            found.setdefault(mention.drawing.name, " ".join(f"{number} {color} {mention.said}".split()))
    return tuple(found.values())[:_MOST_THINGS]


def descriptions(resolved: Sequence[str]) -> dict[str, str]:
    """Return how things are first described, by their nouns: the key that was golden stays golden."""
    found: dict[str, str] = {}
    for sentence in resolved:
        for mention in read(QUOTED.sub(" ", sentence)).mentions:
            if mention.drawing.is_living or mention.is_plural or _is_place(mention):
                continue
            noun = mention.said.split()[-1]
            color = _color(mention)
            found.setdefault(noun, f"{color} {mention.said}".strip())
    return {noun: words for noun, words in found.items() if words != noun}


def described_alike(phrase: str, described: Mapping[str, str]) -> str:
    """Return a phrase in which things are called as they were when they came."""
    for noun, words in described.items():
        phrase = re.sub(rf"\b(the|an?|his|her|its|their) {noun}\b", rf"\1 {words}", phrase, flags=re.IGNORECASE)
    return phrase


def main_things(texts: Iterable[str], cast: Sequence[CastMember]) -> list[str]:
    """Return the things that a tale is about, the most frequent first, such as `"a golden key"`.

    Args:
        texts: The texts of the pages, and what else is on them.
        cast: Everyone in the tale.
    """
    found: Counter[str] = Counter()
    said: dict[str, str] = {}
    names = {name for member in cast for name in f"{member.name} {member.kind}".lower().split()}
    for text in texts:
        for mention in read(text).mentions:
            if mention.drawing.is_living or mention.drawing.kind not in _PORTABLE:
                continue
            if mention.said in (*names, *GARMENTS, "fire") or mention.is_plural:
                continue
            noun = mention.said.split()[-1]
            found[noun] += 1
            words = f"{_color(mention)} {mention.said}".strip()
            if len(words) > len(said.get(noun, "")):
                said[noun] = words
    often = [said[noun] for noun, count in found.most_common() if count >= _TOLD_OFTEN]
    return [f"{'an' if words[0] in 'aeiou' else 'a'} {words}" for words in often]


def _color(mention: Mention) -> str:
    return next((word for word in mention.phrase.split() if mention.color and color_of(word)), "")


def _is_place(mention: Mention) -> bool:
    return mention.said in PLACES or mention.said in INSIDE_OF or mention.drawing.kind in ("sky", "mountain")
