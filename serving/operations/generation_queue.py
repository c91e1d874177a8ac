"""A bounded queue: so many requests run, so many wait, and the others are turned down at once."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import starlette.types as asgi

from taleward.serving.operations.error_responses import Rejection
from taleward.serving.operations.request_record import record_of

_MAX_RETRY_AFTER_S = 60.0
_SMOOTHING = 0.2
_MODEL_PATHS = ("/v1/", "/page/tales")
SHUTTING_DOWN = Rejection(
    status=503,
    message="The server is shutting down. Try again in a moment.",
    code="server_shutdown",
    retry_after_s=5,
    headers={"connection": "close"},
)


class NoPlace(Exception):
    """Raised within the queue for a request that gets no place; holds the answer."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.code)
        self.rejection = rejection


class GenerationQueue:
    """Places for requests, given in the order of arrival.

    Args:
        max_concurrent: Places.
        max_waiting: Requests that may wait for one.
        timeout_s: Seconds that a request waits.

    Attributes:
        running: Requests that have a place.
        draining: Whether new requests are turned down, because the server is shutting down.
    """

    def __init__(self, max_concurrent: int, max_waiting: int, timeout_s: float) -> None:
        self._max_concurrent, self._max_waiting, self._timeout_s = max_concurrent, max_waiting, timeout_s
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._mean_s = 1.0
        self.running = 0
        self.draining = False

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._waiters)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and give it back at the end of the block.

        Raises:
            NoPlace: If the queue is full, no place came free in time, or the server is shutting down.
        """
        await self._take()
        started_s = time.monotonic()
        try:
            yield
        finally:
            self._mean_s += _SMOOTHING * (time.monotonic() - started_s - self._mean_s)
            self._give_back()

    async def _take(self) -> None:
        if self.draining:
            raise NoPlace(SHUTTING_DOWN)
        if self.running < self._max_concurrent and not self._waiters:
            self.running += 1
            return
        if len(self._waiters) >= self._max_waiting:
            raise NoPlace(self._busy("Too many requests are waiting."))
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._timeout_s):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back()  # the place came at the same moment
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                raise NoPlace(self._busy(f"No place came free within {self._timeout_s:g} s.")) from None
            raise

    def _give_back(self) -> None:
        """Hand the place to whoever waits longest."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.running -= 1

    def drain(self) -> None:
        """Turn down new requests and those that wait; what runs goes on. Call it on the event loop."""
        self.draining = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(NoPlace(SHUTTING_DOWN))

    def _busy(self, reason: str) -> Rejection:
        turns = (len(self._waiters) + 1) / self._max_concurrent
        return Rejection(
            status=429,
            message=f"The server is busy. {reason}",
            code="server_busy",
            retry_after_s=min(_MAX_RETRY_AFTER_S, max(1.0, turns * self._mean_s)),
        )


class QueueMiddleware:
    """Lets requests to models wait for a place, and stops taking new ones once the server is told to end.

    Args:
        app: The application.
        queue: The queue.
    """

    def __init__(self, app: asgi.ASGIApp, queue: GenerationQueue) -> None:
        self.app, self._queue = app, queue

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            with _on_termination(self._queue.drain):
                await self.app(scope, receive, send)
            return
        asks_model = scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith(_MODEL_PATHS)
        if not asks_model:
            await self.app(scope, receive, send)
            return
        record = record_of(scope)
        came_s = time.perf_counter()
        try:
            async with self._queue.place():
                record.queued_s = time.perf_counter() - came_s
                await self.app(scope, receive, send)
        except NoPlace as no_place:
            record.queued_s = time.perf_counter() - came_s
            record.rejection = no_place.rejection.code
            await no_place.rejection.send(send)


@contextmanager
def _on_termination(call: Callable[[], None]) -> Iterator[None]:
    """Call a function on the running event loop when the process is told to end, before the server's own handler."""
    previous: dict[int, Callable[..., object]] = {}
    if threading.current_thread() is threading.main_thread():
        loop = asyncio.get_running_loop()

        def handle(number: int, frame: object) -> None:
            loop.call_soon_threadsafe(call)
            previous[number](number, frame)

        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            if callable(handler):
                previous[number] = handler
                signal.signal(number, handle)
    try:
        yield
    finally:
        for handled, handler in previous.items():
            signal.signal(handled, handler)
