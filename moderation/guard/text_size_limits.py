"""The sizes that a guard accepts: of its input, and of what a writer or chat model writes."""

from __future__ import annotations

from collections.abc import Mapping

from taleward.core.errors import ConfigurationError

MAX_INPUT_CHARS = 100_000
"""Default for the characters in a guard's input, all its texts together."""
MAX_DRAFT_CHARS = 1_000_000
"""Default for the characters of one run of a writer: about 170,000 words, more than a long novel for children has."""


class DraftTooLong(Exception):
    """Raised when a writer that streams has written more than it may; it has been stopped.

    Args:
        text: The chunk with which the draft became too long.

    Attributes:
        text: The chunk with which the draft became too long.
    """

    def __init__(self, text: str) -> None:
        super().__init__("the draft is too long")
        self.text = text


def check_max_chars(name: str, value: int) -> None:
    """Check an option that limits characters.

    Raises:
        ConfigurationError: If it is below 1.
    """
    if value < 1:
        raise ConfigurationError(f"{name} must be 1 or more characters; got {value}.")


def draft_too_long(max_chars: int, option: str) -> str:
    """Return the detail of the verdict on a draft that is too long."""
    return f"the draft has more than {max_chars:,} characters, so the writer was stopped; {option} raises the limit"


def count_chars(value: object) -> int:
    """Return the characters in all strings of a value, in mappings and lists however deep; keys do not count."""
    chars, left, seen = 0, [value], set[int]()
    while left:
        item = left.pop()
        if isinstance(item, str):
            chars += len(item)
        elif isinstance(item, Mapping | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            left += item.values() if isinstance(item, Mapping) else item
    return chars
