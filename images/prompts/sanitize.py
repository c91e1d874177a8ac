"""Keep words from acting as syntax: what a platform would read as a parameter, weight or tag stays text.

A story may say "she typed --chaos 100" or hold `<sd_cpp_extra_args>`, by accident or to take over the request. Letters
and digits stay as they are; only the signs that give them a meaning are replaced.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from taleward.images.prompt_spec import Platform
from taleward.moderation.judges.neutralize_markup import neutralize_markup

_SYNTAX_SIGNS = frozenset("-:{}[]()<>|/+@\\")
_DASHES = "\u2010-\u2015\u2212\u2e3a\u2e3b"
# Midjourney takes an em dash for the "--" of a parameter, since phones type one for the other.
_DASH_RUN = re.compile(rf"[-{_DASHES}]*[{_DASHES}][-{_DASHES}]*|-{{2,}}")
_COLONS = re.compile(r":{2,}")
_URL_SCHEME = re.compile(r"(?<=\w)\s*:\s*/\s*/+")
_BRACES = str.maketrans({"{": "(", "}": ")"})
_BRACKETS = re.compile(r"[()\[\]{}<>|\\]+")
# Compel, a prompt library for diffusers, reads "word+" and "word--" as weights.
_TRAILING_WEIGHT = re.compile(r"(?<=[^\s+-])[+-]+(?=[\s.,;:!?\"']|$)")
_KEYWORDS = re.compile(r"\b(?:AND|BREAK|BLEND)\b")
_SPACE_BEFORE_MARK = re.compile(r"\s+([,.;!?])")


def sanitize(text: str, platform: Platform) -> str:
    """Return a text on one line, with nothing in it that the platform reads as anything but words.

    Applying the function twice changes nothing more.

    Args:
        text: Any text.
        platform: Where it is sent.
    """
    return _SANITIZERS[platform](_plain(text))


def _plain(text: str) -> str:
    """Put a text on one line, drop invisible characters, and spell look-alikes of signs as the signs."""
    kept = "".join(_spell(c) for c in text if unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn"))
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in kept).split())


def _spell(char: str) -> str:
    if char.isascii():
        return char
    # Full-width and small forms of the signs, which a platform may normalize; other characters stay.
    normal = unicodedata.normalize("NFKC", char)
    return normal if normal != char and not _SYNTAX_SIGNS.isdisjoint(normal) else char


def _for_midjourney(text: str) -> str:
    text = _DASH_RUN.sub(" - ", text)
    text = _COLONS.sub(":", _URL_SCHEME.sub(" ", text))
    return _tidy(text.translate(_BRACES))


def _for_stable_diffusion(text: str) -> str:
    text = _KEYWORDS.sub(lambda m: m[0].lower(), _BRACKETS.sub(" ", text))
    # What one pass leaves at the end of a word may be a weight again: "a+ +" has two.
    return _tidy(_TRAILING_WEIGHT.sub("", _tidy(text)))


def _for_chat(text: str) -> str:
    # A compatible server may be stable-diffusion.cpp's, which takes arguments from a tag in the prompt.
    return neutralize_markup(text)


def _tidy(text: str) -> str:
    return _SPACE_BEFORE_MARK.sub(r"\1", " ".join(text.split()))


_SANITIZERS: dict[Platform, Callable[[str], str]] = {
    "openai": _for_chat,
    "midjourney": _for_midjourney,
    "diffusers": _for_stable_diffusion,
    "sd_cpp": _for_stable_diffusion,
    "collage": lambda text: text,
}
