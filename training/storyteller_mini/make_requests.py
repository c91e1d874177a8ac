"""Build template openings and requests for a finished story by simple rules.

The opening of a story template names a setting, a character, an object, an action and an outcome. Stories in the corpus
have no such opening, so one is built from phrases of the story. From it the model learns to continue such an opening
with a story about those things.
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
_END = r"(?=[.,!;]| (?:and|but|so|because|until|when|while)\b)"
_ACTION = re.compile(rf"\b(?:decided|wanted|tried|went|had an idea|made a plan) to ([a-z]+(?: [a-z]+){{1,6}}?){_END}")
_POWER = re.compile(rf"\b(?:could|can) (?:help (?:him|her|them) )?([a-z]+(?: [a-z]+){{1,5}}?){_END}")
_NOUN_PHRASE = re.compile(r"\b(?:[Aa]n?|[Tt]he|[Hh]is|[Hh]er|[Tt]heir|[Tt]his) (?:([a-z-]{3,}) )?([a-z]{3,})\b")
_NOT_A_THING = re.compile(
    rf"(?:{_WHO}|{_PLACE}|mom|mommy|mama|dad|daddy|papa|mother|father|parents|sister|brother|grandma|grandpa|friends?|day"
    r"|time|way|end|world|sun|sky|ground|side|top|bottom|middle|rest|people|children|kids|others?|moment|morning|night"
    r"|idea|places?|story|wind|air|water|hands?|eyes?|face|heart|head|name|home|room|one|first|next|same|last|whole|bit"
    r"|lot|best|new|old|big|little|small|very|more|most|two|own|sound|voice|animals?|villagers?|adventures?|journey|life"
    r"|lesson|words?|smile|back|front|edge|door|hair|mouth|arms?|feet|legs?|help|work|job|game|fun|party|air|teacher"
    r"|doctor|lady|owner|creatures?|group|team|town|weather|rain|night|evening|afternoon|corner|floor|table|bed|chair"
    r"|distance|something|anything|everything|way|part|kind|surface|challenges?|experience|power|magic|beauty|feeling)"
)
_FUNCTION_WORD = re.compile(
    r"(?:and|or|was|were|is|are|said|says|with|from|who|that|had|has|have|began|out|itself|for|but|as|to|in|on|at|of|into"
    r"|by|so|when|where|while|than|then|like|not|could|would|can|will|made|came|went|looked|felt|because|all|too|just)"
)
_MIN_MENTIONS = 3
_UNCLEAR = re.compile(
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
# Shares of the requests that are a template's opening, and a list of values.
_OPENING_SHARE, _LIST_SHARE = 0.5, 0.1
_MOODS = ("Excited and curious", "Excited", "Curious", "Full of joy", "Brave and kind", "Happy and curious")


@dataclass(frozen=True, kw_only=True)
class StoryParts:
    """The phrases of a story that an opening or a request can name; each is empty if the rules find none.

    Attributes:
        setting: Where the story takes place.
        character: The hero.
        name: The hero's name.
        item: An important object.
        power: What the object can do.
        action: What the hero decides to do.
        outcome: How the story ends.
    """

    setting: str
    character: str
    name: str
    item: str
    power: str
    action: str
    outcome: str


def extract(story: str) -> StoryParts | None:
    """Extract the parts of a story; `None` if it names no character, or fewer than two of the other parts."""
    # A character that is introduced later is rarely the hero.
    character = _CHARACTER.search(story[:300])
    if character is None:
        return None
    setting = _SETTING.search(story)
    item = _most_mentioned_object(story) or _most_mentioned_noun(story)
    action = _first_clear_match(_ACTION, story, ())
    power = _first_clear_match(_POWER, story, (action,))
    ending = story[-250:].lower()
    outcome = next((wordings[0] for keyword, wordings in _OUTCOMES if keyword in ending), "")
    parts = StoryParts(
        setting=setting[1] if setting else "",
        character=character[1],
        name=character[2] or "",
        item=item,
        power=power,
        action=action,
        outcome=outcome,
    )
    return parts if sum(map(bool, (parts.setting, item, action, outcome))) >= 2 else None


def _first_clear_match(pattern: re.Pattern[str], story: str, excluded: tuple[str, ...]) -> str:
    for match in pattern.finditer(story):
        if _is_clear(match[1]) and match[1] not in excluded:
            return match[1]
    return ""


def _is_clear(phrase: str) -> bool:
    """Return whether a phrase can stand alone: it is short and has no pronouns."""
    return not _UNCLEAR.search(phrase) and len(phrase) < 45


def _most_mentioned_object(story: str) -> str:
    """Return the object whose last word is most frequent, since a story is about it rather than mentioning it once."""
    words = re.findall(r"[a-z]+", story.lower())
    objects = [match[1] for match in _OBJECT.finditer(story) if _is_clear(match[1])]
    return max(objects, key=lambda phrase: words.count(phrase.split()[-1]), default="")


def _most_mentioned_noun(story: str) -> str:
    """Return the most frequent noun with the adjective of its first mention; empty if it has few mentions."""
    mentions: dict[str, int] = {}
    first_phrase: dict[str, str] = {}
    for word, head in _NOUN_PHRASE.findall(story):
        if _FUNCTION_WORD.fullmatch(head):
            word, head = "", word
        if head and not _NOT_A_THING.fullmatch(head) and not head.endswith(("ing", "ly", "ed", "er", "est")):
            mentions[head] = mentions.get(head, 0) + 1
            first_phrase.setdefault(head, f"{word} {head}" if word and not _UNCLEAR.search(word) else head)
    noun = max(mentions, key=lambda head: mentions[head], default="")
    return first_phrase[noun] if noun and mentions[noun] >= _MIN_MENTIONS else ""


def request_for_story(title: str, parts: StoryParts | None, rng: random.Random) -> str | None:
    """Return a request that a story with this title and these parts answers; `None` if it has neither.

    `rng` decides the wording and which parts are named.
    """
    if title and (parts is None or rng.random() < 0.3):
        return rng.choice((
            f'Tell a story called "{title}".', f'Write a bedtime story called "{title}".',
            f'Please tell me the story "{title}".', f"{title}",
        ))  # fmt: skip
    if parts is None:
        return None
    return phrase_request(parts, rng)


def phrase_request(parts: StoryParts, rng: random.Random) -> str:
    """Return a request for a story with these parts: a template's opening, a few sentences, or a list of values."""
    draw = rng.random()
    if draw < _OPENING_SHARE:
        return _opening(parts, rng)[0]
    if draw < _OPENING_SHARE + _LIST_SHARE:
        values = {
            "setting": parts.setting, "character": parts.character, "object": parts.item, "power": parts.power,
            "action": parts.action, "outcome": parts.outcome,
        }  # fmt: skip
        return rng.choice(("\n", "; ")).join(f"{name}: {value}" for name, value in values.items() if value)
    hero = f"{parts.character} named {parts.name}" if parts.name and rng.random() < 0.7 else parts.character
    start = rng.choice(("Tell a story about", "Write a story about", "Tell me about", "A bedtime story about"))
    clauses = [f"{start} {_with_article(hero, rng)}"]
    if parts.setting and rng.random() < 0.8:
        clauses.append(
            rng.choice((f"in {_with_article(parts.setting, rng)}", f"who lives in {_with_article(parts.setting, rng)}"))
        )
    if parts.item and rng.random() < 0.8:
        clauses.append(
            rng.choice((f"and {_with_article(parts.item, rng)}", f"who finds {_with_article(parts.item, rng)}"))
        )
    request = " ".join(clauses) + "."
    if parts.item and parts.power and rng.random() < 0.8:
        request += f" The {parts.item.split()[-1]} {rng.choice(('can', 'could', 'has the power to'))} {parts.power}."
    if parts.action and rng.random() < 0.8:
        request += f" The {parts.character} {rng.choice(('decides', 'wants'))} to {parts.action}."
    if parts.outcome and rng.random() < 0.8:
        request += rng.choice((f" It ends with {parts.outcome}.", f" The outcome is {parts.outcome}."))
    return request


def with_opening(story: str, rng: random.Random) -> str | None:
    """Return the story with a template's opening; `None` if no opening can be built.

    `rng` decides the wording; parts that the story does not have are left out. The opening replaces the story's own
    introduction. If it does not name the hero, a sentence with the name follows.
    """
    parts = extract(story)
    if parts is None:
        return None
    opening, has_name = _opening(parts, rng)
    rest = _without_introduction(story, parts, rng, has_name=has_name)
    if rest is None:
        return None
    return opening + rng.choice((" ", "\n")) + rest


def _opening(parts: StoryParts, rng: random.Random) -> tuple[str, bool]:
    """Return a template's opening with these parts, and whether it has the hero's name."""
    hero, has_name = parts.character, bool(parts.name) and rng.random() < 0.4
    if has_name:
        hero = f"{hero} named {parts.name}"
    if parts.setting:
        introduction = f"in {_with_article(parts.setting, rng)}, there lived {_with_article(hero, rng)}"
    else:
        introduction = f"there {rng.choice(('lived', 'was'))} {_with_article(hero, rng)}"
    # Templates insert values without an article: "One day, brave adventurer discovered ...".
    subject = parts.name if has_name else rng.choice((parts.character, parts.character, f"the {parts.character}"))
    sentences = [f"Once upon a time, {introduction}."]
    if parts.item:
        power = f" that had the power to {parts.power}" if parts.power and rng.random() < 0.8 else ""
        verb, item = rng.choice(("discovered", "discovered", "found")), _with_article(parts.item, rng)
        sentences.append(f"One day, {subject} {verb} {item}{power}.")
    if parts.action:
        mood = _MOODS[0] if rng.random() < 0.7 else rng.choice(_MOODS)
        sentences.append(f"{mood}, {subject} {rng.choice(('decided', 'decided', 'wanted'))} to {parts.action}.")
    if parts.outcome:
        wordings = next((wordings for _, wordings in _OUTCOMES if wordings[0] == parts.outcome), (parts.outcome,))
        sentences.append(f"The outcome was {rng.choice(wordings)}.")
    return " ".join(sentences), has_name


def _without_introduction(story: str, parts: StoryParts, rng: random.Random, *, has_name: bool) -> str | None:
    first, _, rest = story.partition(". ") if ". " in story[:400] else story.partition(".\n")
    if not rest or _CHARACTER.search(first) is None:
        return None
    if parts.name and not has_name:
        name_sentences = (
            f"The {parts.character}'s name was {parts.name}.",
            f"The {parts.character} was called {parts.name}.",
        )
        return f"{rng.choice(name_sentences)} {rest}"
    return rest


def _with_article(phrase: str, rng: random.Random) -> str:
    """Return the phrase with an article, sometimes the wrong one, like the fixed "a" of a template."""
    article = "an" if phrase[0] in "aeiou" else "a"
    return f"{'a' if rng.random() < 0.4 else article} {phrase}"
