"""What the grammars of judges share: an answer is accepted whole, or it is none."""

from __future__ import annotations

import json
import re
from typing import Any


class Unparsable(ValueError):
    """An answer that the grammar does not accept."""


def whole(pattern: re.Pattern[str], answer: str) -> re.Match[str]:
    """The match of a pattern with all of an answer, but for spaces and line ends around it.

    Raises:
        Unparsable: It does not match.
    """
    match = pattern.fullmatch(answer.strip(" \n"))
    if match is None:
        raise Unparsable(f"{len(answer)} characters that are no answer in this format, beginning {answer[:40]!r}")
    return match


def strict_json(answer: str) -> dict[str, Any]:
    """The one JSON object (RFC 8259) that an answer is; no key stands twice, and no number is `NaN` or infinite.

    Raises:
        Unparsable: It is anything else.
    """
    try:
        data = json.loads(answer.strip(" \n"), object_pairs_hook=_no_doubles, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Unparsable(f"not one JSON object: {error}") from error
    if not isinstance(data, dict):
        raise Unparsable(f"not one JSON object, but a {type(data).__name__}")
    return data


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        msg = "a key stands twice"
        raise ValueError(msg)
    return dict(pairs)


def _no_constant(name: str) -> Any:
    msg = f"{name} is no JSON number"
    raise ValueError(msg)
