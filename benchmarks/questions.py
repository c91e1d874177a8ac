"""Pairs of questions that a semantic cache must tell apart, and pairs that it may take for the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

_WHO = ("fox", "hen", "dragon", "knight", "whale", "wizard")
_NUMBERS = ("two", "three", "seven", "12", "20")
_ASKING = ("{}", "Please {}!", "Could you {}, please?", "{}, thanks.")


def pairs() -> Iterator[tuple[str, str, bool]]:
    """Two questions, and whether they want the same answer."""
    for one, other in permutations(_WHO, 2):
        asked = f"tell a story where the {one} chases the {other}"
        yield asked, f"tell a story where the {other} chases the {one}", False
        yield asked, f"tell a story where the {one} does not chase the {other}", False
        yield asked, f"tell a story where the {one} chases a {other}", True
        for asking in _ASKING[1:]:
            yield asked, asking.format(asked), True
    for one, other in permutations(_NUMBERS, 2):
        yield f"write a tale with {one} lanterns", f"write a tale with {other} lanterns", False
    for who in _WHO:
        yield f"is it good to feed the {who}", f"is it bad to feed the {who}", False
        yield f"why may a {who} enter the castle", f"why may no {who} enter the castle", False
        yield f"what is the {who} afraid of", f"who is afraid of the {who}", False
        yield f"how does a {who} fall asleep", f"in which way does a {who} fall asleep", True
        yield f"a bedtime story about a {who}", f"a story about a {who} to fall asleep to", True
