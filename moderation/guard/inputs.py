"""What goes into a story: judged before any model is called, and without personal data where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taleward.moderation.text.personal_data import find_personal_data


def input_texts(inputs: Mapping[str, Any]) -> str:
    """The inputs' texts, one a line, as one text to judge."""
    return "\n".join(value.strip() for value in inputs.values() if isinstance(value, str) and value.strip())


def masked(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with personal data replaced by its kind in brackets, for example `[e-mail address]`."""
    return {name: mask(value) if isinstance(value, str) else value for name, value in inputs.items()}


def mask(text: str) -> str:
    """A text with e-mail and street addresses, telephone, card and social security numbers replaced by their kind.

    What is found is what has such a form; names of people are not.
    """
    end, kept = 0, []
    for kind, start, stop in sorted(find_personal_data(text), key=lambda found: (found[1], -found[2])):
        if start >= end:
            kept += [text[end:start], f"[{kind}]"]
            end = stop
    return "".join([*kept, text[end:]])
