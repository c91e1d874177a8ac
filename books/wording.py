"""A tale's sentences as pictures can show them: with names for pronouns and kinds, without speech and denials."""

from __future__ import annotations

import re
from collections.abc import Sequence

from taleward.images.collage.reading import read
from taleward.images.prompt_spec import CastMember
from taleward.images.prompts.lexicon import picture_lexicon
from taleward.images.prompts.pronouns import names_character

QUOTED = re.compile(r"[\"“][^\"”]*[\"”]?,?")
UNSEEN = re.compile(
    r"\b(?:thought|knew|wondered|remembered|believed|hoped|decided|learned|understood|wished|wanted|meant|asked|said"
    r"|replied|told|always|every|never|not|no|nobody|nothing|none|without|could|would|if|n't|secret|idea|name|named|called"
    r"|like[ds]?|love[ds]?|felt|feel|because)\b|n't\b",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"^(?:(?:every day(?: after \w+)?|and|but|so|then|now|suddenly|finally|meanwhile|once upon a time|once|there"
    r"|one (?:\w+ )?(?:day|morning|evening|night|afternoon|time)|the next \w+|at last"
    r"|after that|that (?:night|day|evening|morning)|just then|soon|still|also|again|when|as|while),?\s+)+",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r",? (?:but|and|so|because|until|though) [^,]*?(?:\bnot\b|n't\b|\bno\b|\bnever\b|\bnothing\b).*$", re.I
)
_PARENT = re.compile(r"\b(?:his|her|its) (?:mother|father|mom|dad|mommy|daddy|grandmother|grandfather)\b", re.I)
_SIBLING = re.compile(r"\b(?:his|her|its) (?:little |baby )?(?:sister|brother|baby)\b", re.I)
_PRONOUN = re.compile(r"^(?:He|She|It)\b|\bhim\b")
_FRIEND = re.compile(r"\b(?:an?|his|her|their|its) (?:[a-z]+ )?friends?\b", re.IGNORECASE)
_SPEAKER = re.compile(
    r"^(?:said|asked|replied|called|cried|shouted|whispered|answered|laughed) (?P<who>the [a-z]+|[A-Z][a-z]+),? and"
    r" (?:(?:he|she|it|they) )?",
    re.IGNORECASE,
)
_ADJECTIVES = r"(?:(?!(?:for|of|the|an?|and|to|with|in|on|at|by|from|his|her|their)\b)[a-z-]+,? ){0,3}?"
_BUILDING = "house|cottage|castle|hut|cabin|palace|tower"
_PLACED = "put|packed|placed|dropped|laid|hid|hung|threw|poured"
_HOLDER = "tree|rock|stone|box|nest|bush|log|chest|table|basket|drawer"
_BOAT = "boat|ship|raft|canoe|sailboat"
_GOES = "came|went|walked|ran|got|sailed|flew|hurried|were|was|go|come|walk|run|get|be"
_OWN = "an?|the|his|her|its|their"
_AS_SEEN = (
    # Somebody's house is first seen from outside.
    (re.compile(rf"\blived in (?=(?:{_OWN}) (?:[a-z]+ ){{0,2}}?(?:{_BUILDING})\b)"), "lived by "),
    # Who puts a key on a tree is beside the tree, not on it.
    (re.compile(rf"\b(?P<put>(?:{_PLACED})\b[^,.]*?) (?:into|inside|in|onto|on|to) (?=(?:{_OWN}) )"), r"\g<put> by "),
    (
        re.compile(
            r"\b(?P<put>(?:found|saw|spotted|noticed)\b[^,.]*?) (?:in|on|under|inside|behind) "
            rf"(?=(?:{_OWN}) (?:[a-z]+ )?(?:{_HOLDER})\b)"
        ),
        r"\g<put> by ",
    ),
    (re.compile(rf"\b(sailed|rowed|steered|paddled) (?=(?:{_OWN}) (?:[a-z]+ )?(?:{_BOAT})\b)"), r"\1 in "),
    (
        re.compile(
            r"\b(came|went|walked|ran|got|sailed|flew|hurried|were|was|go|come|walk|run|get|be) (?:back )?home\b"
        ),
        r"\1",
    ),
    (re.compile(r"\b(?:under|beneath) the (?:stars|moon)\b"), "at night"),
)


def with_names(sentence: str, cast: Sequence[CastMember]) -> str:
    """Return a sentence with a character's name where it calls it by its kind: "a fox" and "the girl"."""
    for member in cast:
        noun = (member.kind or member.name).split()[-1]
        if sum((m.kind or m.name).split()[-1] == noun for m in cast) > 1 or not noun.islower():
            continue
        if member.name.startswith("the "):
            pattern = rf"(?<!was )(?<!is )\b(?:an?|his|her|their|the) {_ADJECTIVES}{noun}\b(?! (?:named|called))"
        else:
            pattern = rf"(?<!was )(?<!is )\b(?:the|an?) {_ADJECTIVES}{noun}\b(?! (?:named|called))"
            named = rf"\b(?:an?|the|his|her|their|one) (?:[a-z-]+ ){{0,3}}?{noun},? (?:named|called) {member.name}\b"
            sentence = re.sub(named, member.name, sentence, flags=re.IGNORECASE)
        outside = [(m.start(), m.end()) for m in QUOTED.finditer(sentence)]

        def name_for(match: re.Match[str], name: str = member.name, quoted: list[tuple[int, int]] = outside) -> str:
            if any(start <= match.start() < end for start, end in quoted):
                return match[0]
            return f"{name[:1].upper()}{name[1:]}" if match.start() == 0 else name

        sentence = re.sub(pattern, name_for, sentence, flags=re.IGNORECASE)
        sentence = re.sub(rf"\b{re.escape(member.name)}, {re.escape(member.name)}\b", member.name, sentence)
    return sentence


def with_kin(sentence: str, cast: Sequence[CastMember]) -> str:
    """Return a sentence with a family that is of the main character's kind: a fox's mother is no woman."""
    noun = (cast[0].kind or cast[0].name).split()[-1] if cast else ""
    if not noun or picture_lexicon().kind_of(noun) == "person" or not noun.islower():
        return sentence
    return _SIBLING.sub(f"a small {noun}", _PARENT.sub(f"a big {noun}", sentence))


def as_seen(sentence: str) -> str:
    """Return a sentence without speech, linking words, and a last clause that says what is not."""
    text = _LEAD.sub("", " ".join(QUOTED.sub(" ", sentence).split())).strip(" ,")
    short = _DENIED.sub("", text)
    text = short if len(short.split()) >= 2 else text
    text = _SPEAKER.sub(lambda m: f"{m['who'][:1].upper()}{m['who'][1:]} ", text)
    for pattern, instead in _AS_SEEN:
        text = pattern.sub(instead, text)
    return text


def with_everybody(shows: str, here: Sequence[str]) -> str:
    """Return the sentence of a picture, with those in it who are there: for pronouns, for "a friend", or at its end.

    Args:
        shows: The sentence.
        here: Who is there, by name.
    """
    missing = _missing(shows, here)
    if missing:
        friends = listed(missing)
        shows = re.sub(rf"\b(?:had|has|made|found) {_FRIEND.pattern}", f"and {friends} together", shows)
        shows = _FRIEND.sub(friends, shows)
        missing = _missing(shows, here)
    if len(missing) == 1:
        name = missing[0]
        shows = _PRONOUN.sub(lambda m: capitalized(name) if m.start() == 0 else name, shows, count=1)
    if len(here) > 1:
        shows = re.sub(r"^(?:They|Both)\b", capitalized(listed(here)), shows)
    missing = _missing(shows, here)
    if not missing:
        return shows
    there = " there" if len(missing) == len(here) and not any(m.drawing.is_living for m in read(shows).mentions) else ""
    return f"{shows}, with {listed(missing)}{there}"


def listed(names: Sequence[str]) -> str:
    """Return names as a list in words."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def capitalized(text: str) -> str:
    """Return a text with a capital letter at its beginning."""
    return f"{text[:1].upper()}{text[1:]}"


def _missing(shows: str, here: Sequence[str]) -> list[str]:
    return [name for name in here if not names_character(shows, name)]
