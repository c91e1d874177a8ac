"""Measure the form of a story by its surface: does it end, and does it go in circles?"""

from __future__ import annotations

from taleward.moderation.text.request_coverage import words_of

_ENDINGS = frozenset(".!?…\"”'’)*")
_NGRAM = 5
# Refrains are part of stories for the very young: up to this share of repeated runs counts as none.
_REFRAIN_SHARE, _LOOP_SHARE = 0.06, 0.25


def story_form(text: str) -> float:
    """Return how sound the form of a story is, 0..1.

    A text that breaks off in the middle of a sentence scores 0. Otherwise the score falls with the share of runs of
    five words that have occurred before: 1 up to the share of a refrain, 0 for a text that loops.
    """
    stripped = text.rstrip()
    if not stripped or stripped[-1] not in _ENDINGS:
        return 0.0
    words = words_of(stripped)
    runs = [tuple(words[i : i + _NGRAM]) for i in range(len(words) - _NGRAM + 1)]
    repeated = 1 - len(set(runs)) / len(runs) if runs else 0.0
    return min(1.0, max(0.0, (_LOOP_SHARE - repeated) / (_LOOP_SHARE - _REFRAIN_SHARE)))
