"""Texts that commands read."""

from __future__ import annotations

import sys
from pathlib import Path

from taleward.core.errors import UnknownName


def read_text(file: str) -> str:
    """The text in a file, or on standard input for `-`."""
    if file == "-":
        return sys.stdin.buffer.read().decode("utf-8", "replace")
    path = Path(file)
    if not path.is_file():
        raise UnknownName("text file", file, None, hint="Give the path of a text file, or - for standard input.")
    return path.read_text(encoding="utf-8", errors="replace")
