"""Map vendors' exceptions to ours, with whether a retry may help and the next step.

LangChain's partner packages raise subclasses of `langchain_core.exceptions.ModelError`, OpenAI's client classes of its
own. Exceptions of other clients are mapped by the HTTP status they carry.
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


class ErrorMapping(NamedTuple):
    """How a vendor's exception is raised by Taleward.

    Attributes:
        error_class: Our exception class.
        problem: What happened; the message puts the model's spec in front.
        hint: The next step.
        retryable: Whether the same request may succeed later.
    """

    error_class: type[BackendError]
    problem: str
    hint: str | None = None
    retryable: bool = False


RETRY_HINT = "Try again later, or name another model in fallbacks=[...]."
_KEY = ErrorMapping(BackendError, "rejected the API key", "Check the key in the environment; it may have been revoked.")
_ACCESS = ErrorMapping(
    BackendError, "is not available to this API key", "Give the key access to the model, or use another model."
)
_MISSING = ErrorMapping(
    BackendError, "was not found", "Check the model's name, and that base_url is right and ends in /v1."
)
_REQUEST = ErrorMapping(RequestRejected, "rejected the request", "Check which options and messages this model accepts.")
_RATE = ErrorMapping(RateLimited, "is rate limited", "Lower requests_per_minute or concurrency.", True)
_QUOTA = ErrorMapping(BackendError, "has no quota left for this API key", "Check the account's plan and billing.")
_SERVER = ErrorMapping(BackendError, "failed with a server error", RETRY_HINT, True)
_CONNECTION = ErrorMapping(
    BackendError, "could not be reached", "Check the network, and that a server is running at base_url.", True
)
_TIMEOUT = ErrorMapping(DeadlineExceeded, "did not answer in time", "Increase timeout.", True)
_TOO_LONG = ErrorMapping(
    ContextTooLong, "got a prompt longer than its context", "Shorten the prompt, or use a model with a longer context."
)
_FILTER = ErrorMapping(ContentFiltered, "was stopped by the vendor's content filter", "Ask for something else.")
_REFUSED = ErrorMapping(ContentFiltered, "refused to answer", "Ask for something else.")
_UNREADABLE = ErrorMapping(BackendError, "returned an unreadable response", "Check that base_url ends in /v1.", True)
_CUT_OFF = ErrorMapping(BackendError, "reached its token limit before the answer was complete", "Increase max_tokens.")

BY_CLASS: Mapping[str, ErrorMapping] = {
    # langchain_core.exceptions
    "ModelAuthenticationError": _KEY,
    "ModelPermissionDeniedError": _ACCESS,
    "ModelInvalidRequestError": _REQUEST,
    "ModelNotFoundError": _MISSING,
    "ModelRateLimitError": _RATE,
    "ModelAPIError": _SERVER,
    "ModelConnectionError": _CONNECTION,
    "ModelTimeoutError": _TIMEOUT,
    "ContextOverflowError": _TOO_LONG,
    "ModelRefusalError": _REFUSED,
    "ModelError": _SERVER,
    # openai
    "LengthFinishReasonError": _CUT_OFF,
    "ContentFilterFinishReasonError": _FILTER,
    "APIResponseValidationError": _UNREADABLE,
    "APITimeoutError": _TIMEOUT,
    "APIConnectionError": _CONNECTION,
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
    "WebSocketConnectionClosedError": _CONNECTION,
    "WebSocketQueueFullError": _CONNECTION,
    "APIStatusError": _SERVER,
    "APIError": _SERVER,
    "OpenAIError": _REQUEST,
}
"""Mappings by the name of a vendor's exception class; an error's classes are looked up in method resolution order."""

_BY_STATUS = {
    400: _REQUEST,
    401: _KEY,
    402: _QUOTA,
    403: _ACCESS,
    404: _MISSING,
    408: _TIMEOUT,
    409: _SERVER,
    413: _TOO_LONG,
    422: _REQUEST,
    429: _RATE,
    504: _TIMEOUT,
}
_BY_CODE = {
    "insufficient_quota": _QUOTA,
    "context_length_exceeded": _TOO_LONG,
    "content_filter": _FILTER,
    "content_policy_violation": _FILTER,
    "rate_limit_exceeded": _RATE,
}
_BASE_CLASSES = ("APIStatusError", "APIError", "OpenAIError", "ModelError")
"""Vendors' general classes, which say less than an HTTP status."""
_CLIENT_PACKAGES = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "aiohttp"})
_ABOUT_RESPONSE = re.compile(r"\b(response|choices|completion|server had an error|JSON)\b", re.IGNORECASE)


def map_vendor_error(error: Exception, spec: object) -> BackendError | None:
    """Map a vendor's exception to ours.

    Args:
        error: The exception raised by a chat model or embeddings.
        spec: The model's spec, for the message.

    Returns:
        Our exception, or `None` if the error is not about the model, such as a wrong argument.
    """
    if isinstance(error, BackendError):
        return error
    mapping = _find_mapping(error)
    if mapping is None:
        return None
    message = f"{spec} {mapping.problem}: {redact(_describe(error, mapping))}"
    if mapping.error_class is RateLimited:
        return RateLimited(message, retry_after_s=retry_after(headers_of(error)), hint=mapping.hint)
    return mapping.error_class(message, hint=mapping.hint, retryable=mapping.retryable)


def headers_of(error: BaseException) -> Mapping[str, str]:
    """The headers of an error response, by lower-case name; empty if there was no response."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return {str(name).lower(): str(value) for name, value in headers.items()}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Parse `retry-after-ms`, or `Retry-After` in seconds or as a date.

    Args:
        headers: Response headers by lower-case name.

    Returns:
        Seconds to wait, or `None` if the server did not say.
    """
    if (milliseconds := headers.get("retry-after-ms", "")).replace(".", "", 1).isdigit():
        return float(milliseconds) / 1000
    value = headers.get("retry-after", "")
    if value.replace(".", "", 1).isdigit():
        return float(value)
    date = email.utils.parsedate_tz(value)
    return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None


def _find_mapping(error: Exception) -> ErrorMapping | None:
    if (by_code := _BY_CODE.get(_error_code(error))) is not None:
        return by_code
    by_status = _mapping_for_status(error)
    for error_class in type(error).__mro__:
        if error_class.__name__ in BY_CLASS:
            return by_status if by_status and error_class.__name__ in _BASE_CLASSES else BY_CLASS[error_class.__name__]
    if by_status is not None:
        return by_status
    if isinstance(error, TimeoutError):
        return _TIMEOUT
    if isinstance(error, ConnectionError) or _is_from_http_client(error):
        return _TIMEOUT if "Timeout" in type(error).__name__ else _CONNECTION
    if isinstance(error, json.JSONDecodeError) or _is_unreadable_response(error):
        return _UNREADABLE
    return None


def _is_unreadable_response(error: Exception) -> bool:
    """Whether a client failed while it converted the response to its own objects."""
    if isinstance(error, ValidationError):  # the client validated the answer against the caller's Pydantic model
        return False
    is_conversion_error = isinstance(error, KeyError | TypeError | ValueError | IndexError | AttributeError)
    return is_conversion_error and "argument" not in str(error) and bool(_ABOUT_RESPONSE.search(str(error)))


def _mapping_for_status(error: Exception) -> ErrorMapping | None:
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    if not isinstance(status, int):
        return None
    return _BY_STATUS.get(status) or (_SERVER if status >= 500 else _REQUEST if status >= 400 else None)


def _error_code(error: Exception) -> str:
    body: Any = getattr(error, "body", None)
    details = body.get("error", body) if isinstance(body, Mapping) else {}
    code = details.get("code") if isinstance(details, Mapping) else None
    return str(code or getattr(error, "code", None) or "")


def _is_from_http_client(error: Exception) -> bool:
    return any(error_class.__module__.partition(".")[0] in _CLIENT_PACKAGES for error_class in type(error).__mro__)


def _describe(error: Exception, mapping: ErrorMapping) -> str:
    """The error's text, with its cause if the client got no response: "Connection error." alone says too little."""
    text, cause = str(error).rstrip() or type(error).__name__, error.__cause__ or error.__context__
    while cause is not None and mapping in (_CONNECTION, _TIMEOUT):
        if str(cause) and str(cause) not in text:
            return f"{text.rstrip('.')} ({cause})"
        cause = cause.__cause__ or cause.__context__
    return text
