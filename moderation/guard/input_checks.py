"""Check a guard's input, extract its text, and mask personal data in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from taleward.core.errors import InvalidInputs
from taleward.core.surrogates import join_surrogates
from taleward.moderation.text.personal_data import find_personal_data

WriterInput: TypeAlias = Mapping[str, Any] | str
"""The input of a writer: named values, or one text."""


def check_input(value: object) -> WriterInput:
    """Return a guard's input.

    Raises:
        InvalidInputs: If it is neither a mapping nor a string.
    """
    if isinstance(value, str | Mapping):
        return value
    raise InvalidInputs(
        None,
        [f"a guard takes a mapping of names to values, or a string; got {type(value).__name__}"],
        hint="Pass guard.invoke({'hero': 'a fox'}) or guard.invoke('a fox'). To moderate a conversation, which is a "
        "list of messages, wrap the chat model in taleward.GuardedChat.",
    )


def as_mapping(value: WriterInput) -> Mapping[str, Any]:
    """Return the input as named values; a string is the value of `input`, as in LangChain."""
    return {"input": value} if isinstance(value, str) else value


def input_texts(value: WriterInput) -> str:
    """Return the strings in the input as one text to judge, one per line."""
    values = as_mapping(value).values()
    return "\n".join(text.strip() for text in values if isinstance(text, str) and text.strip())


def with_valid_texts(value: WriterInput) -> WriterInput:
    """Return the input without lone surrogates, which no model and no file can take; see `join_surrogates`."""
    if isinstance(value, str):
        return join_surrogates(value)
    joined = {name: join_surrogates(item) for name, item in value.items() if isinstance(item, str)}
    return value if all(value[name] == text for name, text in joined.items()) else {**value, **joined}


def masked(value: WriterInput) -> WriterInput:
    """Return the input with personal data replaced by its kind in brackets, for example `[e-mail address]`."""
    if isinstance(value, str):
        return mask(value)
    return {name: mask(item) if isinstance(item, str) else item for name, item in value.items()}


def mask(text: str) -> str:
    """Return a text with personal data replaced by its kind in brackets.

    Detected by their form are e-mail and street addresses, and telephone, card and social security numbers; names of
    people are not.
    """
    end, parts = 0, []
    # Of two matches that overlap, the one that starts first wins; of two with the same start, the longer.
    for kind, start, stop in sorted(find_personal_data(text), key=lambda match: (match[1], -match[2])):
        if start >= end:
            parts += [text[end:start], f"[{kind}]"]
            end = stop
    return "".join([*parts, text[end:]])
