"""The gate of the grown-ups' side: a PIN, and few attempts to guess it."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable

from pydantic import SecretStr

from taleward.serving.errors import ApiError

_ATTEMPTS = 5
_FIRST_LOCK_S = 30.0
_LONGEST_LOCK_S = 900.0


class GrownUpGate:
    """Checks the PIN; after five wrong ones nobody gets in for a while, longer each time.

    Attempts are counted for the whole server: a browser that throws away its cookie gains nothing.

    Args:
        pin: The PIN.
        clock: Seconds on a clock that only goes forward.
    """

    def __init__(self, pin: SecretStr, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pin, self._clock = pin, clock
        self._attempts_left, self._locks, self._locked_until_s = _ATTEMPTS, 0, 0.0

    def check(self, pin: str) -> None:
        """Check a PIN.

        Raises:
            ApiError: If it is wrong, with how many attempts are left, or if nobody may try now, with `retry-after`.
        """
        wait_s = self._locked_until_s - self._clock()
        if wait_s > 0:
            raise self._locked(wait_s)
        if hmac.compare_digest(pin.encode("utf-8", "replace"), self._pin.get_secret_value().encode()):
            self._attempts_left, self._locks = _ATTEMPTS, 0
            return
        self._attempts_left -= 1
        if self._attempts_left:
            raise ApiError(
                403, "This is not the PIN.", code="wrong_pin", details={"attempts_left": self._attempts_left}
            )
        lock_s = min(_FIRST_LOCK_S * 2**self._locks, _LONGEST_LOCK_S)
        self._attempts_left, self._locks = _ATTEMPTS, self._locks + 1
        self._locked_until_s = self._clock() + lock_s
        raise self._locked(lock_s)

    @staticmethod
    def _locked(wait_s: float) -> ApiError:
        seconds = max(1, round(wait_s))
        return ApiError(
            429,
            f"There were too many wrong PINs. Try again in {seconds} seconds.",
            code="gate_locked",
            headers={"retry-after": str(seconds)},
        )
