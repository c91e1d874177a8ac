"""What a collage shows, in words: exactly what is drawn, no more."""

from __future__ import annotations

from collections.abc import Mapping

from taleward.images.collage.lexicon import IRREGULAR, singulars
from taleward.images.collage.reading import find_drawing
from taleward.images.collage.scene import CollageScene, Thing

_PLACES: Mapping[str, str] = {
    "meadow": "in a meadow", "forest": "in a forest", "jungle": "in a jungle", "savanna": "in dry grassland", "hills": "among hills",
    "mountains": "before mountains", "snow": "in a snowy plain", "desert": "in a desert", "garden": "in a garden",
    "park": "in a park", "farm": "on a farm with a red barn", "village": "in a village", "city": "in a city street",
    "cave": "in a cave", "sea": "on the sea", "beach": "on a beach", "lake": "by a lake", "river": "by a river",
    "underwater": "under water", "space": "in space among stars", "moonscape": "on the surface of a moon",
    "clouds": "in the sky over clouds", "bedroom": "in a bedroom", "kitchen": "in a kitchen",
    "living": "in a living room with a fireplace", "classroom": "in a classroom", "study": "in a room full of books",
    "hall": "in the hall of a castle", "stage": "on a stage between curtains",
}  # fmt: skip
_TIMES = {"dawn": "at sunrise", "day": "by day", "dusk": "at sunset", "night": "at night"}
_WEATHERS = {
    "rain": "in the rain", "storm": "in a thunderstorm", "snow": "in falling snow", "fog": "in fog", "cloudy": "under clouds",
    "wind": "in the wind", "rainbow": "under a rainbow",
}  # fmt: skip
_POSES = {
    "sleep": "asleep", "run": "running", "walk": "walking", "sit": "sitting", "dance": "dancing", "wave": "waving", "fly": "flying",
}  # fmt: skip
_DRAWN_POSES = frozenset(_POSES) - {"fly"}
_NUMBERS = ("no", "a", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_RELATIONS = {
    "under": "under",
    "on": "on",
    "in": "in",
    "behind": "behind",
    "before": "in front of",
    "hold": "holding",
    "above": "over",
}
_PLURALS = {singular: plural for plural, singular in IRREGULAR.items()} | {"person": "people"}


def plural(noun: str) -> str:
    """Return the plural of a noun."""
    head, _, last = noun.rpartition(" ")
    if last in _PLURALS:
        last = _PLURALS[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in tuple("aeiou"):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}".strip()


def noun_phrase(thing: Thing, *, count: int | None = None) -> str:
    """Return a thing as a phrase: `two red foxes`."""
    number = thing.count if count is None else count
    words = f"{thing.color_said} {thing.noun}".strip()
    if thing.size >= 1.6:
        words = f"giant {words}"
    elif thing.size <= 0.5:
        words = f"tiny {words}"
    if number > 1:
        said = _NUMBERS[number] if number < len(_NUMBERS) else str(number)
        return f"{said} {plural(words)}"
    last = words.split()[-1]
    if singulars(last)[-1] != last and find_drawing(singulars(last)[-1]):
        return words  # "a pile of leaves" is one thing that is called by a plural
    article = "an" if words[0] in "aeiou" and not words.startswith(("uni", "one")) else "a"
    if thing.noun in (
        "bread",
        "cheese",
        "honey",
        "milk",
        "soup",
        "treasure",
        "music",
        "yarn",
        "gold",
        "popcorn",
        "grapes",
    ):
        return words
    return f"{article} {words}"


def describe(scene: CollageScene, drawn: Mapping[int, int], text: str = "") -> str:
    """Return what a picture shows.

    Args:
        scene: The scene.
        drawn: How many of each thing are drawn, by its number.
        text: The words that are written in it.
    """
    phrases: list[str] = []
    belonging: dict[int, list[int]] = {}
    for number, thing in enumerate(scene.things):
        if number in drawn and thing.relation in _RELATIONS and thing.other in drawn:
            belonging.setdefault(thing.other, []).append(number)
    attached = {number for numbers in belonging.values() for number in numbers}
    for number, thing in enumerate(scene.things):
        if number not in drawn or number in attached:
            continue
        phrases.append(_with_belongings(scene, number, thing, drawn, belonging))
    place = _PLACES.get(scene.place, "")
    when = "" if scene.place in ("space", "moonscape", "underwater") and scene.time != "night" else _TIMES[scene.time]
    if scene.place in ("space", "moonscape"):
        when = ""
    weather = (
        ""
        if scene.indoors or scene.place in ("underwater", "space", "moonscape", "cave")
        else _WEATHERS.get(scene.weather, "")
    )
    where = " ".join(part for part in (place, when, weather) if part)
    body = f"{_list(phrases)}, {where}" if phrases else f"A scene {where}"
    sentence = f"{body[:1].upper()}{body[1:]}."
    return f'{sentence} The words "{text}" are written in it.' if text else sentence


def _with_belongings(
    scene: CollageScene, number: int, thing: Thing, drawn: Mapping[int, int], belonging: Mapping[int, list[int]]
) -> str:
    phrase = noun_phrase(thing, count=drawn[number])
    # "The fox" says already what it is; Pip has to be introduced.
    introduced = thing.name and thing.name.casefold() != f"the {thing.noun}".casefold()
    if thing.name:
        phrase = f"{thing.name}, {phrase}" if introduced else thing.name
    if thing.look is not None and thing.look.worn:
        phrase += f" with {_list([_article(worn) for worn in dict.fromkeys(thing.look.worn)])}"
    if introduced:
        phrase += ","
    if thing.has_body and thing.pose in _DRAWN_POSES:
        phrase += f" {_POSES[thing.pose]}"
    elif thing.pose == "fly" and thing.drawing.kind in ("flyer", "fullflyer", "aircraft"):
        phrase += " flying"
    for other in belonging.get(number, []):
        thing_there = scene.things[other]
        phrase += f" {_RELATIONS[thing_there.relation]} {_with_belongings(scene, other, thing_there, drawn, belonging)}"
    return phrase.replace(",,", ",").strip()


def _article(noun: str) -> str:
    if noun.endswith("s") and not noun.endswith("ss"):
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _list(phrases: list[str]) -> str:
    if len(phrases) < 2:
        return "".join(phrases).rstrip(",")
    return f"{', '.join(p.rstrip(',') for p in phrases[:-1])} and {phrases[-1].rstrip(',')}"
