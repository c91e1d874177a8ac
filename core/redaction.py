"""Remove API keys and private data from messages and exceptions."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from pydantic import SecretStr

from taleward.core.errors import TalewardError

REDACTED = "[redacted]"

_SECRET_SUFFIXES = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
_SECRET_NAMES = frozenset({"authorization", "cookie", "password", "proxy_authorization", "token"})
# Shorter values, such as "test", would also be cut out of ordinary words.
_MIN_SECRET_LENGTH = 8
# SQLAlchemy appends the statement and its parameters, which may be a child's words.
_SQL_DETAILS = "[SQL: "
# The prefixes of OpenAI, Anthropic, Stripe, Hugging Face, Groq and xAI. Vendors quote keys with asterisks in errors.
_KEY_PATTERN = re.compile(r"\b(?:sk|pk|rk|hf|gsk|xai)[-_][A-Za-z0-9_*-]{8,}")
# The bound keeps the search linear.
_URL_CREDENTIALS = re.compile(r"(?<=://)[^\s/?#'\"]{1,512}@")
_MAX_DEPTH = 20
# Keys that were passed as arguments, so that errors elsewhere in the process can be cleared of them.
_known_secrets: set[SecretStr] = set()


def is_secret_name(name: str) -> bool:
    """Whether an option, an environment variable or an HTTP header with this name holds a secret."""
    normalized = name.replace("-", "_")
    return normalized.upper().endswith(_SECRET_SUFFIXES) or normalized.lower() in _SECRET_NAMES


def remember_secret(secret: str | SecretStr) -> None:
    """Have `redact` replace a secret from now on, wherever in the process it turns up.

    Args:
        secret: A key, a password, or the value of a header such as `Bearer KEY`. Values below eight characters are
            ignored, since they would also be cut out of ordinary words.
    """
    value = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    for part in {value, value.rpartition(" ")[2]}:
        if len(part) >= _MIN_SECRET_LENGTH:
            _known_secrets.add(SecretStr(part))


def redact(text: str) -> str:
    """Replace secrets in a text by `[redacted]`.

    Secrets are the values of environment variables named `..._KEY`, `..._TOKEN`, `..._SECRET` or `..._PASSWORD`, the
    keys that were passed to models as arguments, user names and passwords in URLs, and whatever looks like a vendor's
    key. The SQL statement and parameters in a database error are dropped.

    Args:
        text: A message that may quote a key, such as a vendor's error.
    """
    text, found, _ = text.partition(_SQL_DETAILS)
    text = text.rstrip() if found else text
    values = {value for name, value in os.environ.items() if name.upper().endswith(_SECRET_SUFFIXES)}
    values |= {secret.get_secret_value() for secret in tuple(_known_secrets)}
    # The longest first: a key that begins with another one would otherwise leave its end.
    for value in sorted((v for v in values if len(v) >= _MIN_SECRET_LENGTH and v in text), key=len, reverse=True):
        text = text.replace(value, REDACTED)
    return _KEY_PATTERN.sub(REDACTED, _URL_CREDENTIALS.sub(f"{REDACTED}@", text))


def redact_data(value: Any, depth: int = 0) -> Any:
    """Replace secrets in all texts of plain data, and the values of mappings whose names say that they are secret.

    Args:
        value: Any value; what is neither text nor a mapping, list, tuple or set is returned unchanged.
        depth: How deep `value` is nested; what is nested deeper than 20 levels is dropped.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes):
        text = value.decode("utf-8", "surrogateescape")
        return redact(text).encode("utf-8", "surrogateescape")
    if isinstance(value, Mapping | list | tuple | set | frozenset) and depth >= _MAX_DEPTH:
        return REDACTED
    if isinstance(value, Mapping):
        return {
            key: REDACTED
            if isinstance(key, str) and isinstance(item, str) and is_secret_name(key)
            else redact_data(item, depth + 1)
            for key, item in value.items()
        }
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(redact_data(item, depth + 1) for item in value)
    return value


def format_error(error: BaseException) -> str:
    """Format an exception as one line: its class, its message and its hint, with secrets redacted."""
    hint = f" {error.hint}" if isinstance(error, TalewardError) and error.hint else ""
    return redact(f"{type(error).__name__}: {error}{hint}")


def without_secrets(error: BaseException) -> BaseException:
    """Remove secrets from an exception and from all exceptions behind it, which a traceback also prints.

    Messages, notes and attributes are redacted in place. A response keeps its status and headers; the request, whose
    headers contain the key, is dropped.

    Args:
        error: A vendor's exception.

    Returns:
        The same exception; a `RuntimeError` with its redacted message if the exception's text cannot be changed.
    """
    return _scrub(error, {})


def _scrub(error: BaseException, seen: dict[int, BaseException]) -> BaseException:
    if id(error) in seen:
        return seen[id(error)]
    seen[id(error)] = error
    error.args = tuple(redact_data(argument) for argument in error.args)
    for name, value in list(getattr(error, "__dict__", {}).items()):
        if name in ("request", "_request"):
            error.__dict__[name] = None
        elif hasattr(value, "headers") and hasattr(value, "status_code"):
            headers = redact_data({str(key).lower(): str(item) for key, item in dict(value.headers).items()})
            error.__dict__[name] = SimpleNamespace(status_code=value.status_code, headers=headers)
        else:
            error.__dict__[name] = redact_data(value)
    if isinstance(error, OSError) and isinstance(error.strerror, str):
        error.strerror = redact(error.strerror)
    scrubbed = error
    if redact(str(error)) != str(error):
        scrubbed = seen[id(error)] = RuntimeError(format_error(error))
        scrubbed.__traceback__, scrubbed.__suppress_context__ = error.__traceback__, error.__suppress_context__
    for link in ("__cause__", "__context__"):
        if (behind := getattr(error, link)) is not None:
            # Setting a cause also hides the context.
            suppress = error.__suppress_context__
            setattr(scrubbed, link, _scrub(behind, seen))
            scrubbed.__suppress_context__ = suppress
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            _scrub(member, seen)
    return scrubbed
