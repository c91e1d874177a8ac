"""Extract the text of a writer's inputs, and mask personal data in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taleward.moderation.text.personal_data import find_personal_data


def input_texts(inputs: Mapping[str, Any]) -> str:
    """Return the string values of the inputs as one text to judge, one value per line."""
    return "\n".join(value.strip() for value in inputs.values() if isinstance(value, str) and value.strip())


def masked(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs with personal data replaced by its kind in brackets, for example `[e-mail address]`."""
    return {name: mask(value) if isinstance(value, str) else value for name, value in inputs.items()}


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
