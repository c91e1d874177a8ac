"""Find personal data by its form: telephone numbers, e-mail, web and street addresses, card numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PATTERNS = {
    "e-mail address": re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}"),
    "web address": re.compile(
        # A name is read from its first character only: "a-a-a-" has a word boundary before every letter.
        r"\b(?:https?://|www\.)[^\s\"'<>)]+|(?<![a-z0-9-])[a-z0-9-]++\.(?:com|org|net|io|co\.uk|tv|me|app)\b/?",
        re.IGNORECASE,
    ),
    "telephone number": re.compile(
        r"(?<![\d.,-])(?:\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,4}"
        r"|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}|0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,4}|\d{3}-\d{4})(?![\d-])"
    ),
    "card number": re.compile(r"(?<!\d)\d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}(?!\d)"),
    "social security number": re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"),
    "street address": re.compile(
        r"\b\d{1,5}[A-Za-z]?,? (?:[A-Z][a-z]+\.? ){1,3}"
        r"(?:Street|Road|Avenue|Lane|Drive|Boulevard|Court|Close|Crescent|Terrace|Place|Way|St|Rd|Ave|Blvd)\b"
    ),
}
# Nearly every sentence has neither a digit nor an address sign and skips all the patterns.
_DIGIT = re.compile(r"\d")
_ADDRESS_SIGN = re.compile(r"@|www|http|\.[a-z]{2}", re.IGNORECASE)


def find_personal_data(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield kind, start and end of each match that looks like personal data; offsets are in code points."""
    has_digits = _DIGIT.search(text) is not None
    has_address_signs = _ADDRESS_SIGN.search(text) is not None
    for kind, pattern in _PATTERNS.items():
        if not (has_address_signs if kind in {"e-mail address", "web address"} else has_digits):
            continue
        for match in pattern.finditer(text):
            if kind != "card number" or _has_valid_check_digit(match[0]):
                yield kind, match.start(), match.end()


def _has_valid_check_digit(number: str) -> bool:
    """Check a card number's length and its check digit (Luhn algorithm, ISO/IEC 7812-1)."""
    digits = [int(c) for c in number if c.isascii() and c.isdigit()]
    doubled = [d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0
