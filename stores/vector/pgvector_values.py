"""Values that Postgres would reject or change, in a form that it keeps."""

from __future__ import annotations

import json
from typing import Any

from taleward.stores.vector.filters import MAX_INTEGER

_ESCAPE = "\ufdd0"
"""A code point that is no character; texts hardly ever contain it."""


def escape_nul(text: str) -> str:
    """Return a text without the character NUL, which Postgres cannot store."""
    if "\0" not in text and _ESCAPE not in text:
        return text
    return text.replace(_ESCAPE, f"{_ESCAPE}e").replace("\0", f"{_ESCAPE}0")


def unescape_nul(text: str) -> str:
    """Return the text that was given to `escape_nul`."""
    return text.replace(f"{_ESCAPE}0", "\0").replace(f"{_ESCAPE}e", _ESCAPE) if _ESCAPE in text else text


def is_encodable(text: str) -> bool:
    """Return whether a text has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode_metadata(metadata_json: str) -> dict[str, Any]:
    """Return metadata as it was before Postgres stored it as `jsonb`."""
    metadata: dict[str, Any] = json.loads(metadata_json, parse_int=_decode_integer)
    return metadata


def _decode_integer(digits: str) -> int | float:
    # `jsonb` turns 1e+16 into an integer; metadata's integers end before that.
    return int(digits) if abs(int(digits)) <= MAX_INTEGER else float(digits)
