"""Remove API keys and private data from messages."""

from __future__ import annotations

import os
import re

from taleward.core.errors import TalewardError

_SECRET_SUFFIXES = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
# Shorter values, such as "test", would also be cut out of ordinary words.
_MIN_SECRET_LENGTH = 8
# SQLAlchemy appends the statement and its parameters, which may be a child's words.
_SQL_DETAILS = "[SQL: "
# The prefixes of OpenAI, Anthropic, Stripe, Hugging Face, Groq and xAI. Vendors quote keys with asterisks in errors.
_KEY_PATTERN = re.compile(r"\b(?:sk|pk|rk|hf|gsk|xai)[-_][A-Za-z0-9_*-]{8,}")


def redact(text: str) -> str:
    """Replace secrets in a text by `[redacted]`.

    Secrets are the values of environment variables named `..._KEY`, `..._TOKEN`, `..._SECRET` or `..._PASSWORD`, and
    whatever looks like a vendor's key. The SQL statement and parameters in a database error are dropped.

    Args:
        text: A message that may quote a key, such as a vendor's error.
    """
    text, found, _ = text.partition(_SQL_DETAILS)
    text = text.rstrip() if found else text
    for name, value in os.environ.items():
        if name.upper().endswith(_SECRET_SUFFIXES) and len(value) >= _MIN_SECRET_LENGTH:
            text = text.replace(value, "[redacted]")
    return _KEY_PATTERN.sub("[redacted]", text)


def format_error(error: BaseException) -> str:
    """Format an exception as one line: its class, its message and its hint, with secrets redacted."""
    hint = f" {error.hint}" if isinstance(error, TalewardError) and error.hint else ""
    return redact(f"{type(error).__name__}: {error}{hint}")
