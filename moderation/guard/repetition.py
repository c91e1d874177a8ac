"""A writer that goes round in circles."""

from __future__ import annotations

from collections import deque

_PERIOD = 4
_TIMES = 4


class Loops:
    """Notices when the last sentences are the same few, over and over; a refrain that comes back is no loop."""

    def __init__(self) -> None:
        self._last: deque[str] = deque(maxlen=_PERIOD * _TIMES)

    def again(self, sentence: str) -> bool:
        """Take the next sentence; whether one to four sentences now stand there four times in a row."""
        self._last.append(" ".join(sentence.lower().split()))
        seen = list(self._last)
        return any(
            len(seen) >= period * _TIMES and seen[-period * _TIMES :] == seen[-period:] * _TIMES
            for period in range(1, _PERIOD + 1)
        )
