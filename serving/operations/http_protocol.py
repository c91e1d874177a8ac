"""uvicorn's HTTP protocol with a limit on the time and the size of a request's head."""

from __future__ import annotations

import asyncio
from typing import Any

MAX_HEAD_BYTES = 65_536

_Base: Any
try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    _Base = HttpToolsProtocol
except ImportError:
    from uvicorn.protocols.http.h11_impl import H11Protocol

    _Base = H11Protocol


class HttpProtocol(_Base):  # type: ignore[misc]
    """Closes connections on which no complete head of a request arrives in time.

    uvicorn limits how long a connection idles between requests, but not how slowly a head may come.

    Attributes:
        header_timeout_s: Seconds for a head; set once for the process.
    """

    header_timeout_s: float = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Start the clock for the first head."""
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        """Stop the clock once the head is complete."""
        cycle = self.cycle
        is_head = cycle is None or cycle.response_complete
        if is_head and self._deadline is None:
            self._start()
        super().data_received(data)
        if not is_head:
            return
        if self.cycle is not cycle:
            self._stop()
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop()
        super().connection_lost(exc)

    def _start(self) -> None:
        self._head_bytes = 0
        self._deadline = asyncio.get_running_loop().call_later(self.header_timeout_s, self._close)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        self._stop()
        self.transport.close()
