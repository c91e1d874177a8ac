"""Read the text that a command works on."""

from __future__ import annotations

import sys
from pathlib import Path

from taleward.core.errors import UnknownName


def read_text(file: str) -> str:
    """Read a text from a file, or from standard input.

    Args:
        file: The path of a text file, or `-` for standard input. Bytes that are not UTF-8 are replaced.

    Raises:
        UnknownName: If there is no such file.
    """
    if file == "-":
        return sys.stdin.buffer.read().decode("utf-8", "replace")
    path = Path(file)
    if not path.is_file():
        raise UnknownName("text file", file, None, hint="Pass the path of a text file, or - for standard input.")
    return path.read_text(encoding="utf-8", errors="replace")
