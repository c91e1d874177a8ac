"""Words and phrases of the lexicon beside the head: where they stand, and when the head overrules them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taleward.moderation.text.lexicon import LexiconHit

_NEVER_HARMLESS = frozenset({"profanity", "sexual", "hate", "personal_data"})
"""Categories whose listed words have no harmless use in a text for children."""
_OVERRULED, _OVERRULED_SEVERE = -0.5, -3.0
"""Log-odds below the threshold at which the head overrules a listed word, and one of the worst."""
_BLOCK_CHARACTERS = 500


def is_overruled(hit: LexiconHit, excess: float) -> bool:
    """Return whether a listed word is harmless where it stands, since the head is sure of the sentences around it.

    Args:
        hit: The hit.
        excess: How far these sentences exceed the thresholds, in log-odds.
    """
    if hit.disguised or hit.category in _NEVER_HARMLESS:
        return False
    return excess < (_OVERRULED_SEVERE if hit.severity == "severe" else _OVERRULED)


def sentences_around(spans_of_sentences: Sequence[Sequence[tuple[int, int]]]) -> Callable[[LexiconHit], list[int]]:
    """Return a function from a hit to the indexes of the sentences that it touches, without a look at all of them.

    Args:
        spans_of_sentences: The spans of each sentence: wherever it stands in the text.
    """
    blocks: dict[int, list[tuple[int, int, int]]] = {}
    for number, spans in enumerate(spans_of_sentences):
        for start, end in spans:
            for block in range(start // _BLOCK_CHARACTERS, end // _BLOCK_CHARACTERS + 1):
                blocks.setdefault(block, []).append((start, end, number))

    def around(hit: LexiconHit) -> list[int]:
        near = range(hit.start // _BLOCK_CHARACTERS, hit.end // _BLOCK_CHARACTERS + 1)
        touched = dict.fromkeys(span for block in near for span in blocks.get(block, ()))
        return [number for start, end, number in touched if start < hit.end and hit.start < end]

    return around
