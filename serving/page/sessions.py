"""Sessions of the page: a random cookie, and in memory what was told to that browser."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request, Response

from taleward.core.tale import Tale
from taleward.moderation.guard.guard import Recorder
from taleward.serving.errors import ApiError
from taleward.serving.page.settings import PageSettings

COOKIE = "taleward_page"
HEADER = "x-taleward-page"
"""A header that the page sends with what changes something; another site's form or image cannot."""
_MAX_SESSIONS = 10_000
_MAX_TALES = 50
_MINUTE_S = 60.0


@dataclass
class ToldTale:
    """A tale of a session.

    Attributes:
        tale: The tale, without drafts.
        title: A title made from what was asked for.
        asked: What was asked for, by the template's variables, or as `request`.
        recorders: Where the tale was recorded.
        feedback: What the grown-ups said about it on the page.
    """

    tale: Tale
    title: str
    asked: dict[str, str]
    recorders: Sequence[Recorder]
    feedback: dict[str, Any] | None = None


@dataclass
class PageSession:
    """What the server remembers of one browser.

    Attributes:
        token: The value of its cookie.
        tales: Its tales by id, oldest first.
        band: The age band that the grown-ups chose; `None` for the model's own.
        turn: The number of the tale that is being told: of two, the newer one goes on.
    """

    token: str = field(repr=False)
    tales: OrderedDict[str, ToldTale] = field(default_factory=OrderedDict)
    band: str | None = None
    turn: int = 0
    used_s: float = 0.0
    open_until_s: float = float("-inf")
    starts_s: deque[float] = field(default_factory=deque)

    def add(self, told: ToldTale) -> None:
        """Remember a tale; the oldest of too many is forgotten."""
        self.tales[told.tale.id] = told
        while len(self.tales) > _MAX_TALES:
            self.tales.popitem(last=False)


class PageSessions:
    """All sessions, in memory; the least recently used ones go first.

    Args:
        settings: How long sessions last, and how many tales they may ask for.
        clock: Seconds on a clock that only goes forward.
    """

    def __init__(self, settings: PageSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._sessions: OrderedDict[str, PageSession] = OrderedDict()

    def ensure(self, request: Request, response: Response) -> None:
        """Give a browser without a session a new one."""
        if self._find(request) is None:
            session = PageSession(secrets.token_urlsafe(32))
            self._keep(session)
            self._set_cookie(request, response, session)

    def get(self, request: Request) -> PageSession:
        """Return the session of a request.

        Raises:
            ApiError: If it has none, or another site may have sent it.
        """
        # Browsers say themselves where a request comes from; what is no browser holds no cookie of somebody else.
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin" or (
            request.method != "GET" and HEADER not in request.headers
        ):
            raise ApiError(403, "The page alone may ask for this.", code="not_from_the_page")
        session = self._find(request)
        if session is None:
            raise ApiError(401, "The session has ended. Load the page again.", code="no_session")
        return session

    def begin_tale(self, session: PageSession) -> int:
        """Count a tale that is asked for; returns its turn.

        Raises:
            ApiError: If the session has asked for too many in the last minute, with `retry-after`.
        """
        now_s, starts_s = self._clock(), session.starts_s
        while starts_s and starts_s[0] <= now_s - _MINUTE_S:
            starts_s.popleft()
        if len(starts_s) >= self._settings.tales_per_minute:
            seconds = max(1, round(starts_s[0] + _MINUTE_S - now_s))
            raise ApiError(
                429,
                f"This browser has asked for {len(starts_s)} stories in a minute. Try again in {seconds} seconds.",
                code="too_many_tales",
                headers={"retry-after": str(seconds)},
            )
        starts_s.append(now_s)
        session.turn += 1
        return session.turn

    def open(self, request: Request, response: Response, session: PageSession) -> None:
        """Open the grown-ups' side; the session gets a new cookie, since somebody may know the old one."""
        self._sessions.pop(session.token, None)
        session.token = secrets.token_urlsafe(32)
        session.open_until_s = self._clock() + self._settings.open_minutes * 60
        self._keep(session)
        self._set_cookie(request, response, session)

    def close(self, session: PageSession) -> None:
        """Close the grown-ups' side."""
        session.open_until_s = float("-inf")

    def is_open(self, session: PageSession) -> bool:
        """Whether the grown-ups' side is open."""
        return self._clock() < session.open_until_s

    def get_open(self, request: Request) -> PageSession:
        """Return the session of a request to the grown-ups' side.

        Raises:
            ApiError: As `get`, and if the grown-ups' side is closed.
        """
        session = self.get(request)
        if not self.is_open(session):
            raise ApiError(403, "The grown-ups' side is closed. Open it with the PIN.", code="gate_closed")
        session.open_until_s = self._clock() + self._settings.open_minutes * 60
        return session

    def _find(self, request: Request) -> PageSession | None:
        self._forget_old()
        session = self._sessions.get(request.cookies.get(COOKIE, ""))
        if session is not None:
            self._keep(session)
        return session

    def _keep(self, session: PageSession) -> None:
        session.used_s = self._clock()
        self._sessions[session.token] = session
        self._sessions.move_to_end(session.token)

    def _forget_old(self) -> None:
        oldest_s = self._clock() - self._settings.session_hours * 3600
        while self._sessions:
            session = next(iter(self._sessions.values()))
            if session.used_s > oldest_s and len(self._sessions) <= _MAX_SESSIONS:
                return
            del self._sessions[session.token]

    def _set_cookie(self, request: Request, response: Response, session: PageSession) -> None:
        response.set_cookie(
            COOKIE, session.token, httponly=True, samesite="strict", secure=request.url.scheme == "https"
        )
