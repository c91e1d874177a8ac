"""Errors of Postgres in Taleward's words: with the server's address, without passwords and stored texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taleward.core.errors import BackendError, ConfigurationError, DeadlineExceeded, TalewardError
from taleward.core.redaction import redact

if TYPE_CHECKING:
    import psycopg

_AUTHENTICATION = ("28000", "28P01")
_UNKNOWN_DATABASE, _NOT_ALLOWED, _READ_ONLY, _CANCELED = "3D000", "42501", "25006", "57014"
_RETRYABLE_CLASSES = ("08", "40", "53", "57")
"""Connections, conflicts between transactions, resources, and a server that shuts down or starts."""


def translate_error(error: psycopg.Error, address: str, timeout_s: float) -> TalewardError:
    """Return the error to raise for an error of psycopg.

    Raise it `from None`: the details of a database error can quote rows, and so the words of a child.

    Args:
        error: The error.
        address: Host, port and database.
        timeout_s: The limit on one statement, in seconds.
    """
    import psycopg

    where, state = f"Postgres at {address}", error.sqlstate or ""
    # libpq repeats itself for each address that a host name has, and says each time what it tried.
    first_line = redact(error.diag.message_primary or str(error)).strip().split("\n")[0]
    message = first_line.rpartition(" failed: ")[2].removeprefix("FATAL:").strip().rstrip(".")
    if "password authentication failed" in message or "no password supplied" in message or state in _AUTHENTICATION:
        return ConfigurationError(
            f"{where} rejected the user or the password: {message}.",
            hint="Check the user and the password in the URL, or PGUSER and PGPASSWORD.",
        )
    if state == _UNKNOWN_DATABASE or (not state and "does not exist" in message):
        return ConfigurationError(
            f"{where} has no such database or user: {message}.", hint="Create the database with: createdb NAME"
        )
    if 'extension "vector"' in message:
        return ConfigurationError(
            f"{where} has no pgvector: {message}.",
            hint="Install it on the server: the image pgvector/pgvector, or Debian's package postgresql-NN-pgvector.",
        )
    if state == _NOT_ALLOWED:
        return ConfigurationError(
            f"{where} does not permit this: {message}.",
            hint="Grant the user CREATE on the database, or create the tables once as its owner.",
        )
    if state == _READ_ONLY:
        return ConfigurationError(f"{where} is read-only: {message}.", hint="Give the URL of the primary server.")
    if state == _CANCELED:
        return DeadlineExceeded(
            f"{where} did not finish a statement within {timeout_s:g} s.", hint="Raise statement_timeout_s=."
        )
    if isinstance(error, psycopg.DataError):
        # The server's message quotes the value.
        reason = f"error {state}" if state else message
        return ConfigurationError(f"{where} cannot store a value: {reason}.")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        retryable = not state or state.startswith(_RETRYABLE_CLASSES)
        return BackendError(
            f"{where} cannot be reached, or broke off: {message}.",
            hint="Is the server running, and are host and port right?",
            retryable=retryable,
        )
    return BackendError(f"{where} failed with {type(error).__name__} {state}: {message}.")
