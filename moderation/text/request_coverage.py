"""Find what a request wishes for, and measure how much of it a text mentions, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_SMALL_WORD = re.compile(
    r"a|an|and|at|by|everyone|for|from|had|has|have|her|his|in|into|it|its|my|of|on|or|our|that|the|their|them|then|they"
    r"|this|to|up|was|we|were|who|with|you|your"
)
# Words that share their first letters count as one, such as "friend" and "friendship".
_STEM_CHARS = 5
# "Tell me a funny story about": it says that a story is wanted, and of which kind.
_REQUEST_FRAME = re.compile(
    r"(?:(?:please|can|could|would|you|i|we|want|like|need|to|tell|write|read|give|make|up|me|us|my|for|kids|children"
    r"|an?|one|some|another)\s+){0,9}(?:[\w'-]+\s+){0,4}?(?:stor(?:y|ies)|tales?|fables?|something)\b",
    re.IGNORECASE,
)
# Besides the small words, those that join a request's wishes without being one.
_LINKING_WORD = re.compile(
    r"about|after|again|also|be|been|before|begins?|but|called|can|comes?|could|decides?|did|do|does|during|each|end"
    r"|ending|ends|every|find|finds|finding|found|get|gets|give|gives|go|goes|got|happens?|he|him|how|i|if|is|just|learns?"
    r"|like|lived?|lives|make|makes?|me|named|no|not|now|once|one|only|outcome|over|per|please|she|should|so|some|story"
    r"|tale|than|there|these|tries|try|under|until|upon|us|very|wants?|what|when|where|which|while|whose|will|would"
    r"|discovers?|discovered|starring|set|is|are|out|something|someone"
)
_WORD_OR_BREAK = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|[.,;:!?\n]")


def words_of(text: str) -> list[str]:
    """Return a text's words in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def content_words(value: str) -> list[str]:
    """Return a value's words without small words such as "the"; all its words if it has no others."""
    words = words_of(value)
    return [word for word in words if not _SMALL_WORD.fullmatch(word)] or words


def mentions_value(value: str, text: str) -> bool:
    """Return whether a text has more than half of a value's content words, or half of them with the last one.

    Words are compared by their first five letters. The last word is mostly the thing itself: a little girl is no
    little duck.
    """
    value_words = content_words(value)
    stems = {word[:_STEM_CHARS] for word in words_of(text)}
    mentioned = [word[:_STEM_CHARS] in stems for word in value_words]
    return not mentioned or 2 * sum(mentioned) + mentioned[-1] > len(mentioned)


def wishes(inputs: Mapping[str, Any] | str) -> tuple[str, ...]:
    """Return what a writer's input asks for.

    The wishes of a mapping are its texts. Those of a request in free words are its phrases between small words, without
    "tell me a story about" and the like: "a story about a shy fox who finds a key" wishes for "shy fox" and "key".
    """
    if not isinstance(inputs, str):
        return tuple(value for value in inputs.values() if isinstance(value, str) and words_of(value))
    phrases: dict[str, None] = {}
    phrase: list[str] = []
    for word in [*_WORD_OR_BREAK.findall(_without_frame(inputs)), "."]:
        if word[0].isalnum() and not _SMALL_WORD.fullmatch(word.lower()) and not _LINKING_WORD.fullmatch(word.lower()):
            phrase.append(word)
        elif phrase:
            phrases.setdefault(" ".join(phrase))
            phrase = []
    return tuple(phrases)


def missing_wishes(wanted: Iterable[str], text: str) -> tuple[str, ...]:
    """Return the wishes that a text does not mention, see `mentions_value`."""
    return tuple(wish for wish in wanted if not mentions_value(wish, text))


def value_coverage(inputs: Mapping[str, Any] | str, text: str) -> float | None:
    """Return the share of the input's wishes that a text mentions, 0..1; `None` if it has none."""
    wanted = wishes(inputs)
    return (len(wanted) - len(missing_wishes(wanted, text))) / len(wanted) if wanted else None


def _without_frame(request: str) -> str:
    frame = _REQUEST_FRAME.match(request.strip())
    return request.strip()[frame.end() :] if frame else request
