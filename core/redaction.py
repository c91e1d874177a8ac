"""Keys stay out of messages."""

from __future__ import annotations

import os
import re

from taleward.core.errors import TalewardError

_NAMES = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
_SHORTEST = 8
_ROW = re.compile(r"\s*\[SQL: .*", re.DOTALL)
_SHAPES = re.compile(r"\b(?:sk|pk|rk|hf|gsk|xai)[-_][A-Za-z0-9_*-]{8,}")


def redact(text: str) -> str:
    """The text without the values of the environment's keys, and without what has the shape of a key.

    A database's message also loses the statement and the row that could not be written, which may be a child's words.

    Args:
        text: A message that may quote a key, such as a vendor's error.
    """
    text = _ROW.sub("", text)
    for name, value in os.environ.items():
        if name.upper().endswith(_NAMES) and len(value) >= _SHORTEST:
            text = text.replace(value, "[redacted]")
    return _SHAPES.sub("[redacted]", text)


def format_error(error: BaseException) -> str:
    """An exception as one line of a report: its kind, what it says, and the next step where it names one; no keys."""
    hint = f" {error.hint}" if isinstance(error, TalewardError) and error.hint else ""
    return redact(f"{type(error).__name__}: {error}{hint}")
