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
_ENDS = r"(?=[.,!;]| (?:and|but|so|because|until|when|while)\b)"
_ACTION = re.compile(rf"\b(?:decided|wanted|tried|went|had an idea|made a plan) to ([a-z]+(?: [a-z]+){{1,6}}?){_ENDS}")
_POWER = re.compile(rf"\b(?:could|can) (?:help (?:him|her|them) )?([a-z]+(?: [a-z]+){{1,5}}?){_ENDS}")
_NAMED = re.compile(r"\b(?:[Aa]n?|[Tt]he|[Hh]is|[Hh]er|[Tt]heir|[Tt]his) (?:([a-z-]{3,}) )?([a-z]{3,})\b")
_NO_THING = re.compile(
    rf"(?:{_WHO}|{_PLACE}|mom|mommy|mama|dad|daddy|papa|mother|father|parents|sister|brother|grandma|grandpa|friends?|day"
    r"|time|way|end|world|sun|sky|ground|side|top|bottom|middle|rest|people|children|kids|others?|moment|morning|night"
    r"|idea|places?|story|wind|air|water|hands?|eyes?|face|heart|head|name|home|room|one|first|next|same|last|whole|bit"
    r"|lot|best|new|old|big|little|small|very|more|most|two|own|sound|voice|animals?|villagers?|adventures?|journey|life"
    r"|lesson|words?|smile|back|front|edge|door|hair|mouth|arms?|feet|legs?|help|work|job|game|fun|party|air|teacher"
    r"|doctor|lady|owner|creatures?|group|team|town|weather|rain|night|evening|afternoon|corner|floor|table|bed|chair"
    r"|distance|something|anything|everything|way|part|kind|surface|challenges?|experience|power|magic|beauty|feeling)"
)
_SMALL = re.compile(
    r"(?:and|or|was|were|is|are|said|says|with|from|who|that|had|has|have|began|out|itself|for|but|as|to|in|on|at|of|into"
    r"|by|so|when|where|while|than|then|like|not|could|would|can|will|made|came|went|looked|felt|because|all|too|just)"
)
_SAID_OFTEN = 3
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
_AS_OPENING, _AS_LIST = 0.5, 0.1
"""Shares of the requests that have the shape of a template's opening, and of a list of values."""
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
    item, action = _recurring(_OBJECT, story) or _often_named(story), _first(_ACTION, story, ())
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


def _often_named(story: str) -> str:
    """The thing that the story names most often, with the word before it at first; empty where none is named often."""
    heads: dict[str, int] = {}
    first: dict[str, str] = {}
    for word, head in _NAMED.findall(story):
        if _SMALL.fullmatch(head):
            word, head = "", word
        if head and not _NO_THING.fullmatch(head) and not head.endswith(("ing", "ly", "ed", "er", "est")):
            heads[head] = heads.get(head, 0) + 1
            first.setdefault(head, f"{word} {head}" if word and not _BAD.search(word) else head)
    found = max(heads, key=lambda head: heads[head], default="")
    return first[found] if found and heads[found] >= _SAID_OFTEN else ""


def as_request(title: str, parts: Parts | None, rng: random.Random) -> str | None:
    """A request, in a sentence or two, that a story with this title and these parts answers; None when it has neither.

    The wording and the parts that are named vary with `rng`.
    """
    if title and (parts is None or rng.random() < 0.3):
        return rng.choice((
            f'Tell a story called "{title}".', f'Write a bedtime story called "{title}".',
            f'Please tell me the story "{title}".', f"{title}",
        ))  # fmt: skip
    if parts is None:
        return None
    return asked_for(parts, rng)


def asked_for(parts: Parts, rng: random.Random) -> str:
    """A request for a story with these parts: a template's opening, a wish in a sentence or two, or a list."""
    draw = rng.random()
    if draw < _AS_OPENING:
        return _opening(parts, rng)[0]
    if draw < _AS_OPENING + _AS_LIST:
        told = {
            "setting": parts.setting, "character": parts.character, "object": parts.item, "power": parts.power,
            "action": parts.action, "outcome": parts.outcome,
        }  # fmt: skip
        return rng.choice(("\n", "; ")).join(f"{name}: {value}" for name, value in told.items() if value)
    who = f"{parts.character} named {parts.name}" if parts.name and rng.random() < 0.7 else parts.character
    begin = rng.choice(("Tell a story about", "Write a story about", "Tell me about", "A bedtime story about"))
    said = [f"{begin} {_a(who, rng)}"]
    if parts.setting and rng.random() < 0.8:
        said.append(rng.choice((f"in {_a(parts.setting, rng)}", f"who lives in {_a(parts.setting, rng)}")))
    if parts.item and rng.random() < 0.8:
        said.append(rng.choice((f"and {_a(parts.item, rng)}", f"who finds {_a(parts.item, rng)}")))
    asked = " ".join(said) + "."
    if parts.item and parts.power and rng.random() < 0.8:
        asked += f" The {parts.item.split()[-1]} {rng.choice(('can', 'could', 'has the power to'))} {parts.power}."
    if parts.action and rng.random() < 0.8:
        asked += f" The {parts.character} {rng.choice(('decides', 'wants'))} to {parts.action}."
    if parts.outcome and rng.random() < 0.8:
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
    opening, named = _opening(parts, rng)
    rest = _without_introduction(story, parts, rng, named=named)
    if rest is None:
        return None
    return opening + rng.choice((" ", "\n")) + rest


def _opening(parts: Parts, rng: random.Random) -> tuple[str, bool]:
    """A template's opening with these parts, and whether it names the hero."""
    who, named = parts.character, bool(parts.name) and rng.random() < 0.4
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
        wordings = next((words for _, words in _OUTCOMES if words[0] == parts.outcome), (parts.outcome,))
        sentences.append(f"The outcome was {rng.choice(wordings)}.")
    return " ".join(sentences), named


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
