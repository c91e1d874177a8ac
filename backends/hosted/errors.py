"""What vendors' errors mean: ours, with whether to try again and a next step.

LangChain's partner packages raise classes of `langchain_core.exceptions.ModelError`, OpenAI's client its own; other
clients are understood by the HTTP status that they carry.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from taleward.core.errors import (
    BackendError,
    ContentFiltered,
    ContextTooLong,
    DeadlineExceeded,
    RateLimited,
    RequestRejected,
)
from taleward.core.redaction import redact


class Meaning(NamedTuple):
    """What an error means.

    Attributes:
        kind: Our class.
        said: What happened, behind the model's spec.
        hint: The next step.
        retryable: Whether the same request may succeed later.
    """

    kind: type[BackendError]
    said: str
    hint: str | None = None
    retryable: bool = False


AGAIN = "Ask again later, or name another model in fallbacks=[...]."
_KEY = Meaning(BackendError, "did not accept the key", "Look at the key in the environment: it may be revoked.")
_ACCESS = Meaning(BackendError, "may not be used with this key", "Give the key access to the model, or take another.")
_MISSING = Meaning(BackendError, "is not there", "Look at the model's name, and at base_url, which ends in /v1.")
_REQUEST = Meaning(RequestRejected, "did not take the request", "The options or messages are wrong for this model.")
_RATE = Meaning(RateLimited, "is asked too often", "Set requests_per_minute or concurrency lower.", True)
_QUOTA = Meaning(BackendError, "has no quota left for this key", "Look at the plan and its payments.")
_SERVER = Meaning(BackendError, "failed on the server's side", AGAIN, True)
_REACH = Meaning(
    BackendError, "could not be reached", "Look at the network, and whether a server runs at base_url.", True
)
_TIME = Meaning(DeadlineExceeded, "did not answer in time", "Give a larger timeout.", True)
_LONG = Meaning(ContextTooLong, "cannot read so much at once", "Shorten the prompt, or take a model that reads more.")
_FILTER = Meaning(ContentFiltered, "was stopped by its vendor's filter", "Ask for something else.")
_REFUSED = Meaning(ContentFiltered, "declined to answer", "Ask for something else.")
_BROKEN = Meaning(BackendError, "gave an answer that cannot be read", "Look whether base_url ends in /v1.", True)
_CUT = Meaning(BackendError, "came to its limit of tokens before its answer was whole", "Give a larger max_tokens.")

BY_CLASS: Mapping[str, Meaning] = {
    # langchain_core.exceptions
    "ModelAuthenticationError": _KEY,
    "ModelPermissionDeniedError": _ACCESS,
    "ModelInvalidRequestError": _REQUEST,
    "ModelNotFoundError": _MISSING,
    "ModelRateLimitError": _RATE,
    "ModelAPIError": _SERVER,
    "ModelConnectionError": _REACH,
    "ModelTimeoutError": _TIME,
    "ContextOverflowError": _LONG,
    "ModelRefusalError": _REFUSED,
    "ModelError": _SERVER,
    # openai
    "LengthFinishReasonError": _CUT,
    "ContentFilterFinishReasonError": _FILTER,
    "APIResponseValidationError": _BROKEN,
    "APITimeoutError": _TIME,
    "APIConnectionError": _REACH,
    "AuthenticationError": _KEY,
    "OAuthError": _KEY,
    "SubjectTokenProviderError": _KEY,
    "PermissionDeniedError": _ACCESS,
    "NotFoundError": _MISSING,
    "ConflictError": _SERVER,
    "UnprocessableEntityError": _REQUEST,
    "BadRequestError": _REQUEST,
    "RateLimitError": _RATE,
    "InternalServerError": _SERVER,
    "WebSocketConnectionClosedError": _REACH,
    "WebSocketQueueFullError": _REACH,
    "APIStatusError": _SERVER,
    "APIError": _SERVER,
    "OpenAIError": _REQUEST,
}
"""Names of vendors' classes, looked up along an error's own classes, the nearest first."""

_BY_STATUS = {
    400: _REQUEST,
    401: _KEY,
    402: _QUOTA,
    403: _ACCESS,
    404: _MISSING,
    408: _TIME,
    409: _SERVER,
    413: _LONG,
    422: _REQUEST,
    429: _RATE,
    504: _TIME,
}
_BY_CODE = {
    "insufficient_quota": _QUOTA,
    "context_length_exceeded": _LONG,
    "content_filter": _FILTER,
    "content_policy_violation": _FILTER,
    "rate_limit_exceeded": _RATE,
}
_GENERAL = ("APIStatusError", "APIError", "OpenAIError", "ModelError")
_ANSWER = re.compile(r"\b(response|choices|completion|server had an error|JSON)\b", re.IGNORECASE)


def map_vendor_error(error: Exception, spec: object) -> BackendError | None:
    """A vendor's error as ours; `None` for one that is not about the model, such as a wrong argument.

    Args:
        error: What a chat model raised.
        spec: The model's spec, for the message.
    """
    if isinstance(error, BackendError):
        return error
    meaning = _meaning(error)
    if meaning is None:
        return None
    message = f"{spec} {meaning.said}: {redact(_words(error, meaning))}"
    if meaning.kind is RateLimited:
        return RateLimited(message, retry_after_s=retry_after(headers_of(error)), hint=meaning.hint)
    return meaning.kind(message, hint=meaning.hint, retryable=meaning.retryable)


def headers_of(error: BaseException) -> Mapping[str, str]:
    """The headers of the answer that was an error, by their names in lower case."""
    found = getattr(getattr(error, "response", None), "headers", None) or {}
    return {str(name).lower(): str(value) for name, value in found.items()}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server wants to be left alone: `retry-after-ms`, or `Retry-After` in seconds or as a date."""
    if (given := headers.get("retry-after-ms", "")).replace(".", "", 1).isdigit():
        return float(given) / 1000
    given = headers.get("retry-after", "")
    if given.replace(".", "", 1).isdigit():
        return float(given)
    date = email.utils.parsedate_tz(given)
    return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None


def _meaning(error: Exception) -> Meaning | None:
    if (by_code := _BY_CODE.get(_code(error))) is not None:
        return by_code
    by_status = _by_status(error)
    for kind in type(error).__mro__:
        if kind.__name__ in BY_CLASS:
            return by_status if by_status and kind.__name__ in _GENERAL else BY_CLASS[kind.__name__]
    if by_status is not None:
        return by_status
    if isinstance(error, TimeoutError):
        return _TIME
    if isinstance(error, ConnectionError) or _from(error, "httpx", "httpx2", "httpcore", "httpcore2", "aiohttp"):
        return _TIME if "Timeout" in type(error).__name__ else _REACH
    if isinstance(error, json.JSONDecodeError) or _is_unread(error):
        return _BROKEN
    return None


def _is_unread(error: Exception) -> bool:
    """Whether a client that makes an answer into its own objects stumbled over it."""
    if isinstance(error, ValidationError):  # an answer that was held against a Pydantic model
        return False
    about = isinstance(error, KeyError | TypeError | ValueError | IndexError | AttributeError)
    return about and "argument" not in str(error) and bool(_ANSWER.search(str(error)))


def _by_status(error: Exception) -> Meaning | None:
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    if not isinstance(status, int):
        return None
    return _BY_STATUS.get(status) or (_SERVER if status >= 500 else _REQUEST if status >= 400 else None)


def _code(error: Exception) -> str:
    body: Any = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, Mapping) else {}
    code = inner.get("code") if isinstance(inner, Mapping) else None
    return str(code or getattr(error, "code", None) or "")


def _from(error: Exception, *packages: str) -> bool:
    return any(kind.__module__.partition(".")[0] in packages for kind in type(error).__mro__)


def _words(error: Exception, meaning: Meaning) -> str:
    """What an error says; where a client got no answer, its cause says more."""
    told, cause = str(error).rstrip() or type(error).__name__, error.__cause__ or error.__context__
    while cause is not None and meaning in (_REACH, _TIME):
        if str(cause) and str(cause) not in told:
            return f"{told.rstrip('.')} ({cause})"
        cause = cause.__cause__ or cause.__context__
    return told
