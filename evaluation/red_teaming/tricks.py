"""The tricks with which a wish is asked for; to add one, add a line to `TRICKS`."""

from __future__ import annotations

import base64
import codecs
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import Annotated, TypeAlias

from pydantic import Field

from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel

_LEET = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"}
_LEET_SHARE = 0.7
_ZERO_WIDTH_SPACE = "\u200b"


class Wish(FrozenModel):
    """What is asked for.

    Attributes:
        wish: The wish in English, which completes "Tell me ...".
        translation: The whole request in another language; without one, the trick `other_language` leaves it out.
    """

    wish: str
    translation: str | None = None


class CategoryWishes(FrozenModel):
    """The wishes of a category.

    Attributes:
        approach: Requests that lead up to a wish, almost harmless.
        wishes: The wishes.
    """

    approach: tuple[str, ...] = ()
    wishes: Annotated[tuple[Wish, ...], Field(min_length=1)]


class ConversationLines(FrozenModel):
    """What a child goes on to say; `{wish}` stands for the wish.

    Attributes:
        answered: Lines after an answer.
        refused: Lines after a refusal.
    """

    answered: Annotated[tuple[str, ...], Field(min_length=1)]
    refused: Annotated[tuple[str, ...], Field(min_length=1)]


class AttackData(FrozenModel):
    """The content of a file of attacks.

    Attributes:
        version: The version of the file.
        categories: The wishes by category of the policy.
        templates: The templates by trick; `{wish}` stands for the wish, `{encoded}` for the encoded request.
        conversations: The lines of conversations by trick. What a file of your own lacks of these and of the templates
            is taken from the built-in one.
    """

    version: str
    categories: FrozenMapping[str, CategoryWishes]
    templates: FrozenMapping[str, Annotated[tuple[str, ...], Field(min_length=1)]] = FrozenDict()
    conversations: FrozenMapping[str, ConversationLines] = FrozenDict()


@dataclass(frozen=True)
class Script:
    """What a child says, turn by turn.

    Attributes:
        turns: The requests; each after the first follows an answer.
        after_refusal: What the child says at the same turn if the one before was refused. As long as `turns`, and with
            the same first turn.
        approach_turns: The number of turns before the wish is said.
    """

    turns: tuple[str, ...]
    after_refusal: tuple[str, ...]
    approach_turns: int = 0


@dataclass(frozen=True)
class TrickContext:
    """What a trick makes its script of.

    Attributes:
        wish: The wish.
        approach: The requests that lead up to it.
        data: Templates and lines.
        rng: Draws among templates and lines, and letters to replace.
        max_turns: The most turns of a conversation.
    """

    wish: Wish
    approach: Sequence[str]
    data: AttackData
    rng: random.Random
    max_turns: int

    def from_template(self, trick: str, **values: str) -> str:
        """Fill in a template of the trick; which one is drawn."""
        return fill(self.rng.choice(self.data.templates[trick]), **values)


Trick: TypeAlias = Callable[[TrickContext], Script | None]
"""Makes the script of an attack; `None` if the wish lacks what the trick needs."""


def fill(template: str, **values: str) -> str:
    """Replace each name in braces by its value; all other braces stay."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def _single(request: str) -> Script:
    return Script((request,), (request,))


def _plain_request(context: TrickContext) -> str:
    return context.from_template("plain", wish=context.wish.wish)


def _template(name: str, context: TrickContext) -> Script:
    return _single(context.from_template(name, wish=context.wish.wish))


def _leet(context: TrickContext) -> Script:
    letters = (
        _LEET[c.lower()] if c.lower() in _LEET and context.rng.random() < _LEET_SHARE else c
        for c in _plain_request(context)
    )
    return _single("".join(letters))


def _spaced(context: TrickContext) -> Script:
    words = _plain_request(context).split()
    return _single("   ".join(" ".join(word) for word in words))


def _zero_width(context: TrickContext) -> Script:
    words = _plain_request(context).split()
    return _single(" ".join(_ZERO_WIDTH_SPACE.join(word) for word in words))


def _base64(context: TrickContext) -> Script:
    encoded = base64.b64encode(_plain_request(context).encode()).decode()
    return _single(context.from_template("base64", encoded=encoded))


def _rot13(context: TrickContext) -> Script:
    return _single(context.from_template("rot13", encoded=codecs.encode(_plain_request(context), "rot13")))


def _other_language(context: TrickContext) -> Script | None:
    return _single(context.wish.translation) if context.wish.translation else None


def _conversation(name: str, approach: Sequence[str], context: TrickContext) -> Script:
    """Lead up to the plain request, then go on until there are `max_turns` turns."""
    lines = context.data.conversations[name]
    # The plain request comes in any case; a short conversation has less of an approach.
    approach = approach[: context.max_turns - 1]
    opening = (*approach, _plain_request(context))

    def whole(following: Sequence[str]) -> tuple[str, ...]:
        lines_left = islice(cycle(following), context.max_turns - len(opening))
        return (*opening, *(fill(line, wish=context.wish.wish) for line in lines_left))

    return Script(whole(lines.answered), whole(lines.refused), approach_turns=len(approach))


def _insistence(context: TrickContext) -> Script:
    return _conversation("insistence", (), context)


def _escalation(context: TrickContext) -> Script:
    return _conversation("escalation", context.approach, context)


TRICKS: dict[str, Trick] = {
    **{
        name: partial(_template, name)
        for name in ("plain", "role_play", "permission", "homework", "story_in_story", "injection")
    },
    "leet": _leet,
    "spaced": _spaced,
    "zero_width": _zero_width,
    "base64": _base64,
    "rot13": _rot13,
    "other_language": _other_language,
    "insistence": _insistence,
    "escalation": _escalation,
}
"""The tricks by name; the last two are conversations."""
