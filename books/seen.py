"""What is to be seen on each page: who, where, when, and which sentence the picture shows. By rules, offline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from taleward.core.frozen_model import FrozenModel
from taleward.images.collage.colors import color_of
from taleward.images.collage.lexicon import INDOORS, INSIDE_OF, PLACES, TIMES
from taleward.images.collage.reading import Mention, read
from taleward.images.prompt_spec import CastMember
from taleward.images.prompts.lexicon import picture_lexicon
from taleward.images.prompts.pronouns import Referent, find_gender, names_character, resolve_pronouns
from taleward.images.prompts.read_prompt import place_in
from taleward.moderation.text.sentences import sentences

_QUOTED = re.compile(r"[\"“][^\"”]*[\"”]?,?")
_LEAD = re.compile(
    r"^(?:(?:every day(?: after \w+)?|and|but|so|then|now|suddenly|finally|meanwhile|once upon a time|once|there|one (?:\w+ )?(?:day|morning|evening|night|afternoon|time)|the next \w+|at last"
    r"|after that|that (?:night|day|evening|morning)|just then|soon|still|also|again|when|as|while),?\s+)+",
    re.IGNORECASE,
)
_UNSEEN = re.compile(
    r"\b(?:thought|knew|wondered|remembered|believed|hoped|decided|learned|understood|wished|wanted|meant|asked|said"
    r"|replied|told|always|every|never|not|no|nobody|nothing|none|without|could|would|if|n't|secret|idea|name|named|called"
    r"|like[ds]?|love[ds]?|felt|feel|because)\b|n't\b",
    re.IGNORECASE,
)
_SPEECH = re.compile(r"\b(?:said|asked|replied|called|cried|shouted|whispered|answered|told|laughed|yelled)\b", re.I)
_NEW_DAY = re.compile(r"\b(?:next (?:day|morning)|in the morning|the sun (?:rose|came up)|one (?:day|morning))\b", re.I)
_LIGHT: Mapping[str, str] = {"dawn": "early morning light", "dusk": "warm evening light", "night": "moonlight at night"}
_DENIED = re.compile(
    r",? (?:but|and|so|because|until|though) [^,]*?(?:\bnot\b|n't\b|\bno\b|\bnever\b|\bnothing\b).*$", re.I
)
_AT_TOP = re.compile(
    r"\b(?:climbed(?: up)?|at the (?:top|foot|bottom) of|on top of|reached|entered|crossed) (?:the|an?) (?:[a-z]+ )?"
    r"(?P<noun>[a-z]+)\b",
    re.IGNORECASE,
)
_WENT_TO = re.compile(
    r"\b(?:went|ran|walked|came|flew|swam|hurried|raced|hopped|way|got|returned|back|led|arrived|climbed)(?: \w+){0,2}?"
    r" (?:to|into|onto|at|up|over|down|through|across|along) (?:the|an?|his|her|their) (?:[a-z]+ )?(?P<noun>[a-z]+)\b",
    re.IGNORECASE,
)
_HOME = re.compile(r"\b(?:home|house again)\b", re.IGNORECASE)
_BY_WATER = ("river", "lake", "pond", "sea", "ocean", "stream", "brook", "creek", "waterfall", "lagoon", "bay")
_ON = (
    "hill",
    "hills",
    "hilltop",
    "mountain",
    "mountains",
    "island",
    "beach",
    "shore",
    "road",
    "street",
    "cliff",
    "farm",
)
_INDOORS = re.compile(r"\b(?:window|stairs|bed|bedroom|blanket|pillow|lamp|chair|sofa|kitchen|fireplace)\b", re.I)
_IN_BED = re.compile(r"\b(?:bed|blanket|pillow|bedtime)\b", re.IGNORECASE)
_PARENT = re.compile(r"\b(?:his|her|its) (?:mother|father|mom|dad|mommy|daddy|grandmother|grandfather)\b", re.I)
_SIBLING = re.compile(r"\b(?:his|her|its) (?:little |baby )?(?:sister|brother|baby)\b", re.I)
_FIRE = re.compile(r"\bfire\b", re.IGNORECASE)
_PRONOUN = re.compile(r"^(?:He|She|It)\b|\bhim\b")
_FRIEND = re.compile(r"\b(?:an?|his|her|their|its) (?:[a-z]+ )?friends?\b", re.IGNORECASE)
_IS_A = re.compile(r"\b(?:was|were|is|are) an? ", re.IGNORECASE)
_ARTICLES = {"a", "an", "the", "his", "her", "their", "its", "some", "one", "two", "three", "four", "five", "many"}
_SPEAKER = re.compile(
    r"^(?:said|asked|replied|called|cried|shouted|whispered|answered|laughed) (?P<who>the [a-z]+|[A-Z][a-z]+),? and"
    r" (?:(?:he|she|it|they) )?",
    re.IGNORECASE,
)
_AS_SEEN = (
    # Somebody's house is first seen from outside.
    (re.compile(r"\blived in (?=(?:an?|the|his|her|their) (?:[a-z]+ ){0,2}?(?:house|cottage|castle|hut|cabin|palace|tower)\b)"), "lived by "),  # noqa: E501
    # Who puts a key on a tree is beside the tree, not on it.
    (re.compile(r"\b(?P<put>(?:put|packed|placed|dropped|laid|hid|hung|threw|poured)\b[^,.]*?) (?:into|inside|in|onto|on|to) (?=(?:an?|the|his|her|its|their) )"), r"\g<put> by "),  # noqa: E501
    (re.compile(r"\b(sailed|rowed|steered|paddled) (?=(?:an?|the|his|her|its|their) (?:[a-z]+ )?(?:boat|ship|raft|canoe|sailboat)\b)"), r"\1 in "),  # noqa: E501
    (re.compile(r"\b(?P<put>(?:found|saw|spotted|noticed)\b[^,.]*?) (?:in|on|under|inside|behind) (?=(?:an?|the|his|her|their) (?:[a-z]+ )?(?:tree|rock|stone|box|nest|bush|log|chest|table|basket|drawer)\b)"), r"\g<put> by "),  # noqa: E501
    (re.compile(r"\b(came|went|walked|ran|got|sailed|flew|hurried|were|was) (?:back )?home\b"), r"\1"),
    (re.compile(r"\b(?:under|beneath) the (?:stars|moon)\b"), "at night"),
)  # fmt: skip
_MOST_THINGS = 2
_SKY = ("moon", "sun", "star", "stars", "sky", "clouds")


class Seen(FrozenModel):
    """What is to be seen on a page.

    Attributes:
        shows: The sentence that the picture shows, with names in place of pronouns.
        things: Other things on the page that can be drawn, such as `"a golden key"`.
        cast: Who is there, by name.
        place: Where, such as `"in the forest"`; empty if the tale has not said it.
        light: The light, empty by day.
    """

    shows: str
    things: tuple[str, ...] = ()
    cast: tuple[str, ...] = ()
    place: str = ""
    light: str = ""


def seen_on(pages: Sequence[str], cast: Sequence[CastMember]) -> list[Seen]:
    """Return what is to be seen on each page.

    The main character is on every page that names it or speaks of it by a pronoun; a place and a time of day hold until the tale
    names others.

    Args:
        pages: The texts of the pages.
        cast: Everyone in the tale.
    """
    split = [[part.strip() for part in sentences(page) if part.strip()] for page in pages]
    everything = [sentence for page in split for sentence in page]
    names = [member.name for member in cast]
    referents = [
        Referent(name=m.name, gender=find_gender(m.name, m.kind, everything, [n for n in names if n != m.name]))
        for m in cast
    ]
    introduced = [_with_names(sentence, cast) for sentence in everything]
    resolved = resolve_pronouns(introduced, referents)
    result: list[Seen] = []
    resolved = [_with_kin(sentence, cast) for sentence in resolved]
    place, light, start = _first_place(resolved), "", 0
    home, inside = place, ""
    present: tuple[str, ...] = (names[0],) if names else ()
    for page in split:
        within = resolved[start : start + len(page)]
        start += len(page)
        here = [name for name in names if any(names_character(_QUOTED.sub(" ", s), name) for s in within)]
        if names and names[0] not in here and any(names_character(s, names[0]) for s in within):
            here.insert(0, names[0])
        opening = next((s for s in within if re.match(r"\W*(?:they|both)\b", s, re.IGNORECASE)), "")
        told = within[: within.index(opening)] if opening else []
        if opening and len(present) > 1 and sum(any(names_character(s, n) for s in told) for n in names) < 2:
            here = [name for name in names if name in {*here, *present}]
        here = here or [name for name in names if any(names_character(s, name) for s in within)] or list(present[:1])
        index, shows = _key_sentence(within, here)
        if shows.endswith(" talking") and present and present[0] not in here:
            here.append(present[0])  # somebody listens
            index, shows = _key_sentence(within, here)
        light = _light_of(within, light)
        things = _things(within, shows, cast)
        places = [found for s in within if (found := _place_of(s, home))]
        here_place = _place_of(shows, home) or next(
            (found for s in reversed(within[: index + 1]) if (found := _place_of(s, home))), ""
        )
        if not here_place and _INDOORS.search(shows):
            here_place = "in the bedroom" if _IN_BED.search(shows) else inside or "in the room"
        here_place = here_place or place
        if _is_indoors(here_place):
            shows, things = _FIRE.sub("fireplace", shows), tuple(t for t in things if not _FIRE.search(t))
        inside = next((found for found in reversed([*places, here_place]) if _is_indoors(found)), inside)
        if others := [name for name in here if not names_character(shows, name)]:
            shows = re.sub(rf"\b(?:had|has|made|found) {_FRIEND.pattern}", f"and {_listed(others)} together", shows)
            shows = _FRIEND.sub(_listed(others), shows)
        missing = [name for name in here if not names_character(shows, name)]
        if len(missing) == 1:
            shows = _PRONOUN.sub(
                lambda m, name=missing[0]: name[:1].upper() + name[1:] if m.start() == 0 else name, shows, count=1
            )
        shows = _with_cast(re.sub(r"^(?:They|Both)\b", _they(here), shows), here)
        result.append(Seen(shows=shows, things=things, cast=tuple(here), place=here_place, light=light))
        place, present = (places or [here_place])[-1], tuple(here)
    return result


def _with_names(sentence: str, cast: Sequence[CastMember]) -> str:
    """Return a sentence with a character's name where it calls it by its kind: "a fox" and "the girl"."""
    for member in cast:
        noun = (member.kind or member.name).split()[-1]
        if sum((m.kind or m.name).split()[-1] == noun for m in cast) > 1 or not noun.islower():
            continue
        if member.name.startswith("the "):
            pattern = (
                rf"(?<!was )(?<!is )\b(?:an?|his|her|their|the) (?:[a-z-]+,? ){{0,3}}?{noun}\b(?! (?:named|called))"
            )
        else:
            pattern = rf"(?<!was )(?<!is )\b(?:the|an?) (?:[a-z-]+ ){{0,3}}?{noun}\b(?! (?:named|called))"
            named = rf"\b(?:an?|the|his|her|their|one) (?:[a-z-]+ ){{0,3}}?{noun},? (?:named|called) {member.name}\b"
            sentence = re.sub(named, member.name, sentence, flags=re.IGNORECASE)
        outside = [(m.start(), m.end()) for m in _QUOTED.finditer(sentence)]

        def name_for(match: re.Match[str], name: str = member.name, quoted: list[tuple[int, int]] = outside) -> str:
            if any(start <= match.start() < end for start, end in quoted):
                return match[0]
            return f"{name[:1].upper()}{name[1:]}" if match.start() == 0 else name

        sentence = re.sub(pattern, name_for, sentence, flags=re.IGNORECASE)
        sentence = re.sub(rf"\b{re.escape(member.name)}, {re.escape(member.name)}\b", member.name, sentence)
    return sentence


def _bare(sentence: str) -> str:
    """Return a sentence without speech, linking words, and a last clause that says what is not."""
    text = _LEAD.sub("", " ".join(_QUOTED.sub(" ", sentence).split())).strip(" ,")
    short = _DENIED.sub("", text)
    text = short if len(short.split()) >= 2 else text
    text = _SPEAKER.sub(lambda m: f"{m['who'][:1].upper()}{m['who'][1:]} ", text)
    for pattern, instead in _AS_SEEN:
        text = pattern.sub(instead, text)
    return text


def _key_sentence(within: Sequence[str], here: Sequence[str]) -> tuple[int, str]:
    """Return the sentence in which most is to be seen, without speech and linking words, and its number."""
    bare = [_bare(sentence) for sentence in within]

    def visible(index: int) -> tuple[float, int]:
        text = bare[index]
        words = text.split()
        if len(words) < 3 or (_SPEECH.search(text) and len(words) < 7):
            return (-5.0, -index)
        mentions = read(text).mentions
        score = 1.2 * min(3, len({m.drawing.name for m in mentions})) + 1.0 * bool(_carried_place(text))
        score += 2.0 * any(names_character(text, name) for name in here) + 0.8 * any(m.pose for m in mentions)
        score -= 1.0 * bool(re.match(r"it\b", text, re.IGNORECASE))
        score -= 1.5 * bool(_IS_A.search(text))
        return (score - 1.5 * len(_UNSEEN.findall(text)) - 0.06 * max(0, len(words) - 18), -index)

    index = max(range(len(within)), key=visible)
    if visible(index)[0] <= -5.0:
        # Nothing but speech: they are seen talking.
        who = _listed(here) or "somebody"
        return index, f"{who[:1].upper()}{who[1:]} talking" + (" together" if len(here) > 1 else "")
    best = bare[index].rstrip(".!?… ")
    return index, best[:1].upper() + best[1:]


def _they(here: Sequence[str]) -> str:
    said = _listed(here) if len(here) > 1 else "They"
    return f"{said[:1].upper()}{said[1:]}"


def _with_kin(sentence: str, cast: Sequence[CastMember]) -> str:
    """Return a sentence with a family that is of the main character's kind: a fox's mother is no woman."""
    noun = (cast[0].kind or cast[0].name).split()[-1] if cast else ""
    if not noun or picture_lexicon().kind_of(noun) == "person" or not noun.islower():
        return sentence
    return _SIBLING.sub(f"a small {noun}", _PARENT.sub(f"a big {noun}", sentence))


def _with_cast(shows: str, here: Sequence[str]) -> str:
    """Return the sentence, with those added who are on the page and not in it."""
    missing = [name for name in here if not names_character(shows, name)]
    if not missing:
        return shows
    if len(missing) == len(here) and not any(m.drawing.is_living for m in read(shows).mentions):
        return f"{shows}, with {_listed(missing)} there"
    return f"{shows}, with {_listed(missing)}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _things(within: Sequence[str], shows: str, cast: Sequence[CastMember]) -> tuple[str, ...]:
    """Return things of the page's other sentences that can be drawn and are there for certain."""
    kinds = {word for member in cast for word in " ".join((member.kind, member.name, *member.looks)).lower().split()}
    taken = {mention.drawing.name for mention in read(shows).mentions}
    found: dict[str, str] = {}
    for sentence in within:
        text = _QUOTED.sub(" ", sentence)
        if _UNSEEN.search(text):
            continue
        for mention in read(text).mentions:
            if mention.drawing.name in taken or set(mention.said.split()) & {*kinds, *_SKY} or _is_place(mention):
                continue
            if mention.drawing.is_living and not mention.is_plural:
                continue
            if not _ARTICLES & set(mention.phrase.split()):
                continue  # "saw" is a tool only after an article
            color = next((word for word in mention.phrase.split() if mention.color and color_of(word)), "")
            number = "three" if mention.is_plural else "an" if (color or mention.said)[0] in "aeiou" else "a"
            found.setdefault(mention.drawing.name, " ".join(f"{number} {color} {mention.said}".split()))
    return tuple(found.values())[:_MOST_THINGS]


def _is_place(mention: Mention) -> bool:
    return mention.said in PLACES or mention.said in INSIDE_OF or mention.drawing.kind in ("sky", "mountain")


def _carried_place(sentence: str) -> str:
    """Return the place that a sentence names, if it is one that several pages can happen in: no bed, no tree."""
    text = _QUOTED.sub(" ", sentence)
    if re.search(r"\b(?:to find|wanted to|wished to|looking for|dreamed of|from)\b", text, re.IGNORECASE):
        return ""
    place = place_in(text)
    noun = place.split()[-1].lower() if place else ""
    if noun in PLACES or (noun in INSIDE_OF and place.split()[0] in ("in", "inside", "into", "at")):
        return place
    return ""


def _place_of(sentence: str, home: str) -> str:
    """Return where a sentence happens or ends: a place, one that somebody comes to, or home."""
    text = _QUOTED.sub(" ", sentence)
    if _UNSEEN.search(text) and not _WENT_TO.search(text):
        return _carried_place(sentence) if not re.search(r"\bnot\b|n't", text) else ""
    for match in (*_WENT_TO.finditer(text), *_AT_TOP.finditer(text)):
        noun = match["noun"].lower()
        if noun in _BY_WATER:
            return f"by the {noun}"
        if noun in PLACES or noun in INSIDE_OF:
            return f"{'on' if noun in _ON else 'in'} the {noun}"
    return _carried_place(sentence) or (home if _HOME.search(text) else "")


def _is_indoors(place: str) -> bool:
    noun = place.split()[-1].lower() if place else ""
    return noun in INSIDE_OF or PLACES.get(noun, "") in INDOORS


def _first_place(resolved: Sequence[str]) -> str:
    return next((found for sentence in resolved for found in [_carried_place(sentence)] if found), "")


def _light_of(within: Sequence[str], before: str) -> str:
    """Return the light on a page; it stays until another time of day is named."""
    text = " ".join(_QUOTED.sub(" ", sentence) for sentence in within).lower()
    if _NEW_DAY.search(text):
        before = ""
    said = [time for word, time in TIMES.items() if word not in _SKY and re.search(rf"\b{re.escape(word)}\b", text)]
    return _LIGHT.get(said[-1], "") if said else before
