"""Who a pronoun in a tale stands for, where that is certain."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from taleward.core.frozen_model import FrozenModel

Gender = Literal["she", "he", "it"]

_FEMALE = (
    "girl woman princess queen mother mom grandmother grandma sister aunt witch lady daughter hen doe lioness mermaid "
    "mama granny"
)
_MALE = "boy man prince king father dad grandfather grandpa brother uncle wizard knight gentleman son rooster stag papa"
_NOUN_GENDER: Mapping[str, Gender] = {
    **dict.fromkeys(_FEMALE.split(), "she"),
    **dict.fromkeys(_MALE.split(), "he"),
}
_PRONOUN_GENDER: Mapping[str, Gender] = {
    "she": "she", "her": "she", "hers": "she", "herself": "she",
    "he": "he", "him": "he", "his": "he", "himself": "he",
}  # fmt: skip
_PRONOUN = re.compile(r"\b(she|her|he|him|his)\b", re.IGNORECASE)
_ANY_GENDERED = re.compile(r"\b(she|hers?|herself|he|him|his|himself)\b", re.IGNORECASE)
_QUOTED = re.compile(r"[\"“][^\"”]*[\"”]?")
# "her" before one of these is an object, "saw her in the garden"; before other words it is possessive, "her garden".
_AFTER_OBJECT = re.compile(
    r"\s*(?:$|[.,;:!?]|(?:and|but|or|in|on|at|to|by|for|from|with|into|over|under|as|so|when|while|because|that|if|then"
    r"|again|away|back|home|up|down|off|out|too|there|here|how|what|where|why|a|an|the|his|her|its|their|one|some|two)\b)",
    re.IGNORECASE,
)
_WINDOW = 2
"""How many sentences before a pronoun may name the one it stands for."""


class Referent(FrozenModel):
    """A character that pronouns may stand for.

    Attributes:
        name: What the tale calls it: a name, or a noun with `the`.
        gender: Its pronoun, if that is known.
    """

    name: str
    gender: Gender | None = None

    def is_named_in(self, sentence: str) -> bool:
        """Return whether a sentence names the character."""
        return names_character(sentence, self.name)


def names_character(sentence: str, name: str) -> bool:
    """Return whether a sentence names a character; `the brave fox` names `the fox`."""
    return _mention(sentence, name) is not None


def find_gender(name: str, kind: str, sentences: Sequence[str], others: Sequence[str] = ()) -> Gender | None:
    """Return a character's pronoun by what it is, or by the pronouns that follow its name.

    Those count that come in a sentence which names nobody else, or that open the sentence after it. If they differ, the
    pronoun is not known.

    Args:
        name: What the tale calls the character.
        kind: What the character is, such as `"a little girl"`.
        sentences: The sentences of the tale.
        others: What the tale calls the other characters.
    """
    for word in reversed(re.findall(r"[a-z]+", f"{kind} {name}".lower())):
        if word in _NOUN_GENDER:
            return _NOUN_GENDER[word]
    member, rest = Referent(name=name), [Referent(name=other) for other in others]
    votes: set[Gender] = set()
    alone_before = False  # whether the sentence before names the character and nobody else
    for sentence in sentences:
        prose = _QUOTED.sub(" ", sentence)
        names_others = any(other.is_named_in(prose) for other in rest) or _other_persons(prose, member)
        start = _mention(prose, name)
        after = prose[start.end() :] if start else ""
        if alone_before and not start and (opening := re.match(r"\s*(she|he)\b", prose, re.IGNORECASE)):
            after = opening[0]
        if not names_others:
            used = {_PRONOUN_GENDER[m[0].lower()] for m in _ANY_GENDERED.finditer(after)}
            votes |= used if len(used) == 1 else set()
        alone_before = start is not None and not names_others
    return votes.pop() if len(votes) == 1 else None


def resolve_pronouns(sentences: Sequence[str], cast: Sequence[Referent]) -> list[str]:
    """Return the sentences with `she`, `he`, `her`, `him` and `his` replaced by the name, where it is certain.

    It is certain if exactly one character who may be meant is named before it in the sentence, or in the two sentences
    before, and no other person of that gender is mentioned there. In a sentence that names the character already, and
    within quotation marks, nothing is replaced; nor is `they`.
    """
    resolved: list[str] = []
    for index, sentence in enumerate(sentences):
        before = list(sentences[max(0, index - _WINDOW) : index])
        resolved.append(_resolve(sentence, before, resolved[max(0, index - _WINDOW) : index], cast))
    return resolved


def _resolve(sentence: str, before: Sequence[str], before_resolved: Sequence[str], cast: Sequence[Referent]) -> str:
    quoted = [(match.start(), match.end()) for match in _QUOTED.finditer(sentence)]
    replaced: set[str] = set()

    def name_for(match: re.Match[str]) -> str:
        if any(start <= match.start() < end for start, end in quoted):
            return match[0]
        word, gender = match[0].lower(), _PRONOUN_GENDER[match[0].lower()]
        member = _certain(gender, [*before, *before_resolved, sentence[: match.start()]], cast)
        # One name a sentence reads well; the pronouns after it are as clear as they were.
        if member is None or member.name in replaced or member.is_named_in(sentence):
            return match[0]
        is_possessive = word == "his" or (word == "her" and not _AFTER_OBJECT.match(sentence[match.end() :]))
        replaced.add(member.name)
        name = f"{member.name}'s" if is_possessive else member.name
        return f"{name[:1].upper()}{name[1:]}" if match.start() == 0 else name

    return _PRONOUN.sub(name_for, sentence)


def _mention(sentence: str, name: str) -> re.Match[str] | None:
    if name.startswith("the "):
        pattern = rf"(?<!\w)the (?:[\w-]+ ){{0,2}}{re.escape(name[4:])}(?!\w)"
        return re.search(pattern, sentence, re.IGNORECASE)
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sentence)


def _certain(gender: Gender, context: Sequence[str], cast: Sequence[Referent]) -> Referent | None:
    # Somebody of unknown gender may be meant as well.
    candidates = [
        member for member in cast if member.gender in (gender, None) and any(map(member.is_named_in, context))
    ]
    if len(candidates) != 1 or candidates[0].gender is None:
        return None
    if any(_other_persons(_QUOTED.sub(" ", text), candidates[0], gender) for text in context):
        return None
    return candidates[0]


def _other_persons(text: str, member: Referent, gender: Gender | None = None) -> bool:
    """Return whether a text mentions a person by a noun that is not the character's own."""
    own = set(member.name.lower().split())
    # "the girl was called Mia" speaks of Mia.
    if re.search(rf"\b(?:named|called|was an?|is an?) (?:\w+ ){{0,4}}{re.escape(member.name)}\b", text):
        return False
    if re.search(rf"\b{re.escape(member.name)} (?:was|is) an? ", text, re.IGNORECASE):
        return False
    words = set(re.findall(r"[a-z]+", text.lower())) - own
    return any(word in _NOUN_GENDER and gender in (None, _NOUN_GENDER[word]) for word in words)
