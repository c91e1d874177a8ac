"""Run a blocking call with a timeout."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

from taleward.core.concurrency.abandoned_calls import LeftBehind

T = TypeVar("T")


def call_with_timeout(timeout_s: float | None, work: Callable[[], T], left_behind: LeftBehind | None = None) -> T:
    """Run `work` and stop waiting for it after `timeout_s` seconds.

    A thread cannot be killed. Work that hangs keeps its daemon thread, which does not keep the process alive, and
    whatever it returns later is dropped.

    Args:
        timeout_s: Seconds to wait; `None` runs `work` in the calling thread without a limit.
        work: The call to run. It sees the caller's context variables.
        left_behind: Bounds the calls that hang; `None` for no bound.

    Raises:
        TimeoutError: If `work` did not return in time.
        DeadlineExceeded: If too many earlier calls hang.
    """
    if timeout_s is None:
        return work()
    call = left_behind.start() if left_behind else None
    results: list[T] = []
    errors: list[BaseException] = []
    # LangChain keeps the callbacks and traces of a run in context variables, which new threads do not inherit.
    context = contextvars.copy_context()

    def run() -> None:
        try:
            results.append(context.run(work))
        except BaseException as error:  # noqa: BLE001  re-raised in the calling thread below
            errors.append(error)
        finally:
            if call:
                call.end()

    thread = threading.Thread(target=run, daemon=True, name="taleward-call")
    thread.start()
    thread.join(max(0.0, timeout_s))
    if errors:
        raise errors[0]
    if not results:
        if call:
            call.give_up()
        msg = f"no answer within {timeout_s:.1f} s"
        raise TimeoutError(msg)
    return results[0]
