"""Everybody in a tale, for its pictures: with a kind each, so that nobody is missing in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from taleward.books.wording import QUOTED
from taleward.images.collage.lexicon import singulars
from taleward.images.collage.reading import find_drawing, read
from taleward.images.prompt_spec import CastMember
from taleward.images.prompts.cast import cast_of
from taleward.images.prompts.pronouns import find_gender, names_character
from taleward.moderation.text.sentences import sentences

_MAX_CAST = 8
_HEROES = ("vehicle", "boat", "aircraft", "thing", "flower", "tree", "skything", "sky")
_GIRLS = "Alice Amy Anna Bella Clara Daisy Ella Emily Emma Eva Grace Jane Jenny Julia Kate Lena Lily Lucy Maria Mary Mia Molly Nina Nora Olivia Polly Rosa Rose Ruby Sara Sarah Sofia Sophie Sue Zoe"  # noqa: E501
_BOYS = "Adam Alex Ben Billy Bob Charlie Dan Daniel David Finn Fred George Harry Henry Jack Jake James Jim Joe John Leo Luke Mark Max Mike Noah Oscar Paul Peter Sam Ted Tim Timmy Tom Tommy Will"  # noqa: E501
_KINDS = {**dict.fromkeys(_GIRLS.split(), "a girl"), **dict.fromkeys(_BOYS.split(), "a boy")}
"""What most stories mean by a name, where no pronoun tells."""


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
            kind = {"she": "a girl", "he": "a boy"}.get(gender or "") or _KINDS.get(member.name, "a child")
            members[number] = member.model_copy(update={"kind": kind})
    taken = {word for member in members for word in f"{member.name} {member.kind}".lower().split()}
    narrated = QUOTED.sub(" ", text)
    spoken_of = Counter(
        word for pair in re.findall(r"\b[Tt]he ([a-z]+)(?: ([a-z]+))?", narrated) for word in pair if word
    )
    for noun, count in spoken_of.items():
        drawing = find_drawing(noun) if count > 1 and noun not in taken else None
        if drawing is not None and drawing.is_living and not drawing.is_person and singulars(noun) == (noun,):
            members.append(_of_kind(noun))
    if not members:
        living = next((m for m in read(narrated).mentions if m.drawing.is_living and not m.is_plural), None)
        if living is not None:
            members.append(_of_kind(living.said))
    # A tale may be about a train.
    things = [n for n, count in spoken_of.most_common() if count > 1 and (d := find_drawing(n)) and d.kind in _HEROES]
    if not members and things:
        members.append(_of_kind(things[0]))
    return tuple(members[:_MAX_CAST])


def known_looks(text: str, cast: Sequence[CastMember], known: Sequence[CastMember]) -> tuple[CastMember, ...]:
    """Return the cast of a tale, with the looks that its characters have in earlier books.

    Args:
        text: The tale.
        cast: Its cast.
        known: Characters of earlier books; those whom the tale names are in its cast, too.
    """
    before = {member.name.casefold(): member for member in known if names_character(text, member.name)}
    found = {member.name.casefold() for member in cast}
    everybody = [
        *(before.get(member.name.casefold(), member) for member in cast),
        *(member for name, member in before.items() if name not in found),
    ]
    return tuple(sorted(everybody, key=lambda m: text.casefold().find(m.name.casefold().removeprefix("the "))))


def _of_kind(noun: str) -> CastMember:
    return CastMember(name=f"the {noun}", kind=f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}")
