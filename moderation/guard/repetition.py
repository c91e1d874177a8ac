"""Detect a writer that repeats itself."""

from __future__ import annotations

from collections import deque

_MAX_PERIOD = 4
_REPEATS = 4


class RepetitionDetector:
    """Detect when the last sentences are the same few, over and over; a refrain that comes back is no repetition."""

    def __init__(self) -> None:
        self._recent: deque[str] = deque(maxlen=_MAX_PERIOD * _REPEATS)

    def repeats(self, sentence: str) -> bool:
        """Add a sentence, and return whether the last one to four sentences now stand there four times in a row."""
        self._recent.append(" ".join(sentence.lower().split()))
        recent = list(self._recent)
        return any(
            len(recent) >= period * _REPEATS and recent[-period * _REPEATS :] == recent[-period:] * _REPEATS
            for period in range(1, _MAX_PERIOD + 1)
        )
