"""Pairs of questions for the semantic cache: paraphrases, and questions that look alike but differ."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

_CHARACTERS = ("fox", "hen", "dragon", "knight", "whale", "wizard")
_NUMBERS = ("two", "three", "seven", "12", "20")
_PHRASINGS = ("{}", "Please {}!", "Could you {}, please?", "{}, thanks.")


def pairs() -> Iterator[tuple[str, str, bool]]:
    """Yield two questions, and whether they have the same answer."""
    for first, second in permutations(_CHARACTERS, 2):
        question = f"tell a story where the {first} chases the {second}"
        yield question, f"tell a story where the {second} chases the {first}", False
        yield question, f"tell a story where the {first} does not chase the {second}", False
        yield question, f"tell a story where the {first} chases a {second}", True
        for phrasing in _PHRASINGS[1:]:
            yield question, phrasing.format(question), True
    for first, second in permutations(_NUMBERS, 2):
        yield f"write a tale with {first} lanterns", f"write a tale with {second} lanterns", False
    for character in _CHARACTERS:
        yield f"is it good to feed the {character}", f"is it bad to feed the {character}", False
        yield f"why may a {character} enter the castle", f"why may no {character} enter the castle", False
        yield f"what is the {character} afraid of", f"who is afraid of the {character}", False
        yield f"how does a {character} fall asleep", f"in which way does a {character} fall asleep", True
        yield f"a bedtime story about a {character}", f"a story about a {character} to fall asleep to", True
