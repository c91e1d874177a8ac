"""Texts with `{variable}` placeholders: find what is wrong in one, and fill it in.

Only `{name}` has a meaning. Values are inserted as typed: braces, format specs, attribute paths and template syntax in
a value stay text. An "a" that the text puts before a value becomes "an" if the value begins with a vowel sound; "a" and
"the" are left out if the value brings an article of its own, as in "the old mill".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from taleward.core.yaml_files import did_you_mean

VARIABLE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PLACEHOLDER = re.compile(r"(?<!\{)\{([a-z][a-z0-9_]*)\}(?!\})")
_BRACES = re.compile(r"\{+[^{}\n]{0,40}\}*|\}+")
_ARTICLE = re.compile(r"\b(a|the) \{([a-z][a-z0-9_]*)\}", re.IGNORECASE)
_DETERMINER = re.compile(r"(?:an?|the|this|that|some|my|your|his|her|its|our|their)\s", re.IGNORECASE)
# Spelling stands in for sound: "European", "one" and "unicorn" begin with a vowel but take "a".
_VOWEL_SOUND = re.compile(r"(?!eu|one\b|once\b|u[bcfkmnrst][aeiou])[aeiou]", re.IGNORECASE)


def placeholders(text: str) -> tuple[str, ...]:
    """Return the names of the variables in a text, each once, in order."""
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(text)))


def split_placeholders(text: str) -> Iterator[tuple[str, str]]:
    """Split a text at its placeholders.

    Yields:
        Literal text, and the name of the variable after it; the last name is empty.
    """
    # `split` with a group alternates between literals and names.
    pieces = [*_PLACEHOLDER.split(text), ""]
    yield from zip(pieces[::2], pieces[1::2], strict=True)


def placeholder_problems(text: str, variables: Collection[str]) -> Iterator[str]:
    """Find braces that are no placeholder, and placeholders that are not declared.

    Args:
        text: A text with placeholders.
        variables: The names that are declared.

    Yields:
        One sentence for each problem, which says how to correct it.
    """
    for braces in dict.fromkeys(_BRACES.findall(text)):
        if _PLACEHOLDER.fullmatch(braces):
            continue
        yield (
            f"{braces!r} is not a placeholder: braces may only enclose a variable's name (lowercase letters, digits, "
            "_), as in {setting}; write the name alone, or leave the braces out"
        )
    for name in placeholders(text):
        if name not in variables:
            suggestion = did_you_mean(name, variables)
            yield f"uses {{{name}}} without declaring it;{suggestion} add it to `variables`, or leave it out"


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace every placeholder by the value of its variable, as it was typed."""

    def with_article(match: re.Match[str]) -> str:
        value = values[match[2]]
        if _DETERMINER.match(value):
            return match[0].split(" ", 1)[1]
        is_vowel_after_a = len(match[1]) == 1 and _VOWEL_SOUND.match(value)
        return match[0].replace(" ", "n ", 1) if is_vowel_after_a else match[0]

    # Articles first: a value may itself contain "a {setting}", which must stay as typed.
    return _PLACEHOLDER.sub(lambda match: values[match[1]], _ARTICLE.sub(with_article, text))
