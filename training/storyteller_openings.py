"""Openings in the shape that story templates use, made from a finished story by simple rules.

A template opening names a setting, a character, an object, an action and an outcome before the tale goes on. Stories
in the corpus have no such opening, so one is built from what the story itself says; the model then learns that an
opening of this shape is followed by a story about those things.
"""

import random
import re
from dataclasses import dataclass

_ADJECTIVES_NOUN = r"((?:[a-z-]+,? ){0,2}[a-z]+)"
_WHO = (
    r"girl|boy|dog|cat|bird|bunny|rabbit|bear|fox|mouse|fish|frog|duck|lion|tiger|elephant|monkey|turtle|owl|squirrel"
    r"|bug|ant|bee|butterfly|horse|pony|pig|cow|sheep|goat|hen|puppy|kitten|princess|prince|king|queen|man|woman|child"
    r"|fairy|dragon|robot|car|truck|train|boat|tree|flower|cloud|star|farmer|wizard|knight|family|leopard|deer|hippo"
    r"|giraffe|zebra|crab|snail|spider|worm|crocodile|kangaroo|penguin|pirate|ghost|snowman|doll|toy|leaf|ball"
)
_CHARACTER = re.compile(
    rf"\b(?:there (?:was|lived) |[Oo]nce upon a time,? |[Oo]ne (?:[a-z]+ )?day,? )(?:an? )"
    rf"((?:[a-z]+,? ){{0,3}}(?:{_WHO}))\b(?: (?:named|called) ([A-Z][a-z]+))?"
)
_PLACE = (
    r"forest|park|garden|woods?|jungle|village|town|city|house|farm|beach|ocean|sea|lake|river|pond|meadow|field|castle"
    r"|kingdom|mountains?|island|zoo|school|playground|cave|store|shop|market|kitchen|yard|backyard|land|desert|barn|hill"
)
_SETTING = re.compile(
    rf"\b(?:in|at|to|into|near|by|through) (?:the|a|an|his|her|their) ((?:[a-z]+,? ){{0,2}}(?:{_PLACE}))\b"
)
_OBJECT = re.compile(
    rf"\b(?:found|saw|discovered|stumbled upon|came across|spotted|had|noticed|got|bought|made) an? {_ADJECTIVES_NOUN}"
    r"(?=[.,!]| (?:in|on|under|that|and|with|near|by|at)\b)"
)
_ACTION = re.compile(r"\b(?:decided|wanted|tried|went|started|had an idea) to ([a-z]+(?: [a-z]+){1,7})(?=[.,!])")
_POWER = re.compile(r"\b(?:could|can) (?:help (?:him|her|them) )?([a-z]+(?: [a-z]+){1,5})(?=[.,!])")
_BAD = re.compile(
    r"\b(?:he|she|they|it|his|her|him|their|them|its|i|you|we|my|your|not|be|big|house|closer look"
    r"|the|if|but|so|because|when|day|time|idea)\b"
)
_OUTCOMES = (
    ("friend", ("a new friendship", "new friends", "a friendship that lasted")),
    ("shar", ("learning to share", "the joy of sharing")),
    ("sorry", ("forgiveness", "a promise to do better", "making up again")),
    ("learned", ("a lesson learned", "an important lesson")),
    ("brave", ("finding courage", "being brave")),
    ("home", ("a safe way home", "coming home happy")),
    ("help", ("helping each other", "the joy of helping")),
    ("proud", ("feeling very proud",)),
    ("happy", ("a happy ending", "great happiness", "a very happy day")),
    ("fun", ("a day full of fun", "lots of fun")),
    ("sad", ("a sad goodbye", "a lesson learned")),
)
_MOODS = ("Excited and curious", "Excited", "Curious", "Full of joy", "Brave and kind", "Happy and curious")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a story says of itself; an empty text where the rules found nothing."""

    setting: str
    character: str
    name: str
    item: str
    power: str
    action: str
    outcome: str


def extract(story: str) -> Parts | None:
    """The parts of an opening, or None when the story shows no character or fewer than two of the others."""
    who = _CHARACTER.search(story[:300])
    if who is None:
        return None
    where = _SETTING.search(story)
    item, action, power = _recurring(_OBJECT, story), _first(_ACTION, story, ()), ""
    power = _first(_POWER, story, (action,))
    tail = story[-250:].lower()
    outcome = next((words[0] for key, words in _OUTCOMES if key in tail), "")
    parts = Parts(
        setting=where[1] if where else "",
        character=who[1],
        name=who[2] or "",
        item=item,
        power=power,
        action=action,
        outcome=outcome,
    )
    return parts if sum(map(bool, (parts.setting, item, action, outcome))) >= 2 else None


def _first(pattern: re.Pattern[str], story: str, taken: tuple[str, ...]) -> str:
    for hit in pattern.finditer(story):
        if not _BAD.search(hit[1]) and hit[1] not in taken and len(hit[1]) < 45:
            return hit[1]
    return ""


def _recurring(pattern: re.Pattern[str], story: str) -> str:
    """The hit whose last word the story says most often: what it is about, and not what it passes by."""
    words = re.findall(r"[a-z]+", story.lower())
    hits = [hit[1] for hit in pattern.finditer(story) if not _BAD.search(hit[1]) and len(hit[1]) < 45]
    return max(hits, key=lambda hit: words.count(hit.split()[-1]), default="")


def as_request(title: str, story: str, rng: random.Random) -> str | None:
    """A request, in a sentence or two, that the story answers; None when it has no title and shows no parts.

    The wording and the parts that are named vary with `rng`.
    """
    parts = extract(story)
    if title and (parts is None or rng.random() < 0.3):
        return rng.choice((
            f'Tell a story called "{title}".', f'Write a bedtime story called "{title}".',
            f'Please tell me the story "{title}".', f"{title}",
        ))  # fmt: skip
    if parts is None:
        return None
    who = f"{parts.character} named {parts.name}" if parts.name and rng.random() < 0.7 else parts.character
    begin = rng.choice(("Tell a story about", "Write a story about", "Tell me about", "A bedtime story about"))
    said = [f"{begin} {_a(who, rng)}"]
    if parts.setting and rng.random() < 0.8:
        said.append(rng.choice((f"in {_a(parts.setting, rng)}", f"who lives in {_a(parts.setting, rng)}")))
    if parts.item and rng.random() < 0.8:
        said.append(rng.choice((f"and {_a(parts.item, rng)}", f"who finds {_a(parts.item, rng)}")))
    asked = " ".join(said) + "."
    if parts.action and rng.random() < 0.6:
        asked += f" The {parts.character} {rng.choice(('decides', 'wants'))} to {parts.action}."
    if parts.outcome and rng.random() < 0.6:
        asked += rng.choice((f" It ends with {parts.outcome}.", f" The outcome is {parts.outcome}."))
    return asked


def with_opening(story: str, rng: random.Random) -> str | None:
    """The story behind an opening of the template's shape, or None when no opening could be made.

    The wording varies with `rng`; parts that the story does not show are left out. The story's own introduction goes
    where the opening already says it; an opening without the hero's name is followed by a sentence giving it.
    """
    parts = extract(story)
    if parts is None:
        return None
    who, named = parts.character, parts.name and rng.random() < 0.4
    if named:
        who = f"{who} named {parts.name}"
    if parts.setting:
        place = f"in {_a(parts.setting, rng)}, there lived {_a(who, rng)}"
    else:
        place = f"there {rng.choice(('lived', 'was'))} {_a(who, rng)}"
    # Templates paste phrases in as they are: "One day, brave adventurer discovered ...".
    again = parts.name if named else rng.choice((parts.character, parts.character, f"the {parts.character}"))
    sentences = [f"Once upon a time, {place}."]
    if parts.item:
        power = f" that had the power to {parts.power}" if parts.power and rng.random() < 0.8 else ""
        sentences.append(
            f"One day, {again} {rng.choice(('discovered', 'discovered', 'found'))} {_a(parts.item, rng)}{power}."
        )
    if parts.action:
        mood = _MOODS[0] if rng.random() < 0.7 else rng.choice(_MOODS)
        sentences.append(f"{mood}, {again} {rng.choice(('decided', 'decided', 'wanted'))} to {parts.action}.")
    if parts.outcome:
        wordings = next(words for _, words in _OUTCOMES if words[0] == parts.outcome)
        sentences.append(f"The outcome was {rng.choice(wordings)}.")
    rest = _without_introduction(story, parts, rng, named=bool(named))
    if rest is None:
        return None
    return " ".join(sentences) + rng.choice((" ", "\n")) + rest


def _without_introduction(story: str, parts: Parts, rng: random.Random, *, named: bool) -> str | None:
    first, _, rest = story.partition(". ") if ". " in story[:400] else story.partition(".\n")
    if not rest or _CHARACTER.search(first) is None:
        return None
    if parts.name and not named:
        calling = (
            f"The {parts.character}'s name was {parts.name}.",
            f"The {parts.character} was called {parts.name}.",
        )
        return f"{rng.choice(calling)} {rest}"
    return rest


def _a(phrase: str, rng: random.Random) -> str:
    """The phrase with an article; sometimes the wrong one, since a template's fixed "a" does the same."""
    right = "an" if phrase[0] in "aeiou" else "a"
    return f"{'a' if rng.random() < 0.4 else right} {phrase}"
