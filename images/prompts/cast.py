"""The cast of a tale for its pictures: who is in it, and how they look on every page."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence

from taleward.agents.cast_sheet import characters_in
from taleward.images.prompt_spec import CastMember
from taleward.images.prompts.lexicon import picture_lexicon
from taleward.images.prompts.pronouns import names_character
from taleward.images.prompts.read_prompt import colors_in
from taleward.moderation.text.sentences import sentences

_MAX_CAST = 6
_MANY_TIMES = 3
_INTRODUCED = re.compile(
    r"\b(?:there (?:was|lived)|lived|met|saw|came|found|heard) (?:once )?"
    r"(?P<kind>an? (?:[a-z]+ ){0,3}?(?P<noun>[a-z]+))"
    r"(?=[.,;!]| who| named| called| in| on| at| by| and| with| near| under)"
    r"|(?:^|(?<=[.!?,] )|(?<=\n))(?P<kind2>[Aa]n? (?:[a-z]+ ){0,3}?(?P<noun2>[a-z]+))"
    r" (?:came|was|sat|lived|appeared|looked|hopped|stood|ran|flew|swam|walked|jumped|peeked|waited|lay)\b"
)
_PERSON_KINDS = ("person",)
_ANIMAL_KINDS = ("animal", "bird", "sea animal", "creature")
_RELATED = re.compile(
    r"\b(?:[Hh]is|[Hh]er|[Tt]heir|[Aa]nother|[Aa]n?|[Tt]wo|[Oo]ne) (?P<kind>(?:[a-z]+ ){0,2}?(?P<noun>[a-z]+))\b"
)
_BODY = "fur hair eyes ears tail nose wings feathers beard whiskers paws scales beak mane curls braids spots stripes"
_CLOTHES = (
    "scarf hat cap coat dress boots shoes cape crown glasses sweater raincoat bow ribbon jacket apron mittens backpack "
    "satchel cloak gown tunic bandana neckerchief helmet"
)
_LOOK = rf"(?:an? |the )?(?:[a-z-]+ ){{1,3}}?(?:{'|'.join(f'{_BODY} {_CLOTHES}'.split())})"
_WORN_OR_HAD = re.compile(
    rf"\b(?:with|wore|wearing|has|had|his|her|its|in)\s+(?P<looks>{_LOOK}(?:(?:,| and|, and) {_LOOK})*)\b"
)
_NOT_LOOKS = re.compile(r"\b(?:his|her|its|their|own|new|old|lost|favorite|two|and|said|big smile|the)\b")


def cast_of(text: str, *, invent_looks: bool = True, seed: int = 0) -> tuple[CastMember, ...]:
    """Return who is in a tale, with looks for every picture, those who join first coming first.

    Looks are those that the tale mentions. A character of whom it says nothing gets one thing to wear, chosen by its
    name and the seed, so that it is recognized from page to page.

    Args:
        text: The tale.
        invent_looks: Whether a character without looks gets one.
        seed: Chooses among what may be worn.
    """
    named = {c.name: re.split(r" (?:with|in|of) ", c.about)[0] for c in characters_in(text)}
    named = {name: kind or _apposition(name, text) for name, kind in named.items()}
    unnamed = _unnamed(text, taken=" ".join(named.values()))
    kinds = {**named, **unnamed}
    order = sorted(kinds, key=lambda name: _first_mention(name, text))[:_MAX_CAST]
    all_sentences = sentences(text)
    members = [CastMember(name=n, kind=kinds[n], looks=_looks(n, kinds[n], order, all_sentences)) for n in order]
    return _with_invented_looks(members, seed) if invent_looks else tuple(members)


def _apposition(name: str, text: str) -> str:
    """Return what a tale says beside a name: `Olive, a small brown owl` and `her dog, Biscuit`."""
    lexicon = picture_lexicon()
    for pattern in (
        rf"\b{name}, (?P<kind>an? (?:[a-z-]+,? ){{0,3}}?(?P<noun>[a-z]+))\b(?=[.,;!]| who| with| in| on| at)",
        rf"\b(?:an?|the|his|her|their|old|little) (?P<kind>(?:[a-z]+ ){{0,2}}?(?P<noun>[a-z]+)),? {name}\b",
    ):
        for match in re.finditer(pattern, text):
            if lexicon.kind_of(match["noun"]) in (*_PERSON_KINDS, *_ANIMAL_KINDS):
                kind = re.sub(r"^an? ", "", match["kind"])
                return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    return ""


def _unnamed(text: str, *, taken: str) -> dict[str, str]:
    """Return characters that are introduced without a name and come again: `the fox`, who was a clever fox."""
    lexicon = picture_lexicon()
    found: dict[str, str] = {}
    for match in _INTRODUCED.finditer(text):
        noun = match["noun"] or match["noun2"]
        kind = match["kind"] or match["kind2"][0].lower() + match["kind2"][1:]
        if lexicon.kind_of(noun) not in (*_PERSON_KINDS, *_ANIMAL_KINDS) or noun in taken.split():
            continue
        if re.match(r",? (?:who was )?(?:named|called)\b", text[match.end() :]):
            continue
        if re.search(rf"\bthe (?:[a-z]+ )?{noun}\b", text, re.IGNORECASE):
            found.setdefault(f"the {noun}", kind)
    for match in _RELATED.finditer(text):
        # "Her dog", or "a bird" in the middle of a sentence: a character if the tale speaks of it again and again.
        noun, kind = match["noun"], match["kind"]
        if (
            lexicon.kind_of(noun) not in (*_PERSON_KINDS, *_ANIMAL_KINDS)
            or noun in f"{taken} {' '.join(found)}".split()
        ):
            continue
        if lexicon.kind_of(noun) == lexicon.kind_of(kind) and _times_called(noun, text) >= _MANY_TIMES:
            said = re.search(
                rf"\b(?:the|his|her|their) {noun} was (?P<kind>an? (?:[a-z]+,? ){{1,3}}{noun})\b", text, re.I
            )
            found[f"the {noun}"] = said["kind"] if said else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    return found


def _times_called(noun: str, text: str) -> int:
    return len(re.findall(rf"\b(?:the|his|her|their) (?:[a-z]+ )?{noun}\b", text, re.IGNORECASE))


def _first_mention(name: str, text: str) -> int:
    match = re.search(rf"\b{re.escape(name.removeprefix('the '))}\b", text)
    return match.start() if match else len(text)


def _looks(name: str, kind: str, cast: Sequence[str], all_sentences: Sequence[str]) -> tuple[str, ...]:
    """Return what sentences that name only this character say about how it looks."""
    looks: dict[str, str] = {}
    for sentence in all_sentences:
        named = [other for other in cast if names_character(sentence, other)]
        introduces = kind and kind in sentence
        if named != [name] and not (introduces and named in ([], [name])):
            continue
        for match in _WORN_OR_HAD.finditer(sentence):
            for look in re.split(r",? and |, ", match["looks"]):
                noun = look.split()[-1]
                is_certain = colors_in(look) or noun in _BODY.split() or look.startswith("a ")
                if is_certain and not _NOT_LOOKS.search(look.split(" ", 1)[-1]):
                    looks.setdefault(noun, look)
    return tuple(looks.values())


def _with_invented_looks(members: Sequence[CastMember], seed: int) -> tuple[CastMember, ...]:
    lexicon, given, result = picture_lexicon(), Counter[str](), []
    for member in members:
        if member.looks:
            result.append(member)
            continue
        is_animal = lexicon.kind_of(f"{member.kind or member.name}") in _ANIMAL_KINDS
        choices = lexicon.looks["animal" if is_animal else "person"]
        order = random.Random(f"{seed}\n{member.name}").sample(choices, k=len(choices))  # noqa: S311  clothes, no key
        look = min(order, key=lambda choice: given[choice])
        given[look] += 1
        result.append(member.model_copy(update={"looks": (look,)}))
    return tuple(result)
