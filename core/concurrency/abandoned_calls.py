"""Threads that calls which hang have left behind: a thread cannot be killed, so their number is bounded."""

from __future__ import annotations

import threading
import time

from taleward.core.errors import DeadlineExceeded

MAX_HANGING = 32
"""Calls that may hang at the same time; a call hangs if nobody has waited for it for `HANGING_AFTER_S` seconds."""
MAX_LEFT_BEHIND = 256
"""Calls that nobody waits for any more, hanging or about to end."""
HANGING_AFTER_S = 5.0


class LeftBehind:
    """The calls of one judge or writer that nobody waits for any more.

    Args:
        what: What is called, as a noun phrase for the error, such as `"the judge lexicon"`.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._lock = threading.Lock()
        self._since_s: dict[LeftBehindCall, float] = {}

    def __reduce__(self) -> tuple[type[LeftBehind], tuple[str]]:
        # A copy in another process has no threads of this one.
        return type(self), (self.what,)

    def start(self) -> LeftBehindCall:
        """Return the record of a new call.

        Raises:
            DeadlineExceeded: If too many earlier calls hang.
        """
        with self._lock:
            overdue_s = time.monotonic() - HANGING_AFTER_S
            hanging = sum(since_s <= overdue_s for since_s in self._since_s.values())
            if hanging >= MAX_HANGING or len(self._since_s) >= MAX_LEFT_BEHIND:
                raise DeadlineExceeded(
                    f"{self.what} is not called: {len(self._since_s)} earlier calls were given up and still run.",
                    hint="Find out why it does not return, and give its own client a time limit.",
                )
        return LeftBehindCall(self)

    def _add(self, call: LeftBehindCall) -> None:
        with self._lock:
            if not call.ended:
                self._since_s[call] = time.monotonic()

    def _remove(self, call: LeftBehindCall) -> None:
        with self._lock:
            call.ended = True
            self._since_s.pop(call, None)


class LeftBehindCall:
    """One call in a thread of its own.

    Attributes:
        ended: Whether it has returned.
    """

    def __init__(self, calls: LeftBehind) -> None:
        self._calls, self.ended = calls, False

    def give_up(self) -> None:
        """Note that nobody waits for the call any more."""
        self._calls._add(self)

    def end(self) -> None:
        """Note that the call has returned."""
        self._calls._remove(self)
