"""Calls that end in time, or are left behind."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def call_with_timeout(timeout_s: float | None, work: Callable[[], T]) -> T:
    """Run `work`, and stop waiting for it after so many seconds.

    A thread cannot be killed: work that hangs stays behind in a daemon thread, which does not keep the process alive,
    and whatever it returns later is dropped.

    Args:
        timeout_s: The most to wait; `None` runs the work here, without a limit.
        work: What to run.

    Raises:
        TimeoutError: The time was over first.
    """
    if timeout_s is None:
        return work()
    done: list[T] = []
    failed: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            done.append(context.run(work))
        except BaseException as error:  # noqa: BLE001  handed over to the caller below
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True, name="taleward-call")
    thread.start()
    thread.join(max(0.0, timeout_s))
    if failed:
        raise failed[0]
    if not done:
        msg = f"no answer within {timeout_s:.1f} s"
        raise TimeoutError(msg)
    return done[0]
