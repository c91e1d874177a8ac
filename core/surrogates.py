"""Lone surrogates: half characters that JSON can hold and UTF-8 cannot."""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def replace_surrogates(text: str) -> str:
    """Replace each surrogate by U+FFFD, so that the text can be encoded; its length and offsets stay the same."""
    return text if text.isascii() else _SURROGATE.sub(_REPLACEMENT, text)


def join_surrogates(text: str) -> str:
    """Join pairs of surrogates to the characters they stand for, and replace those without a partner by U+FFFD.

    A reader's program may join them, too: what is judged must be what is read.
    """
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
