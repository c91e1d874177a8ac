"""The URL of a Postgres database: recognized, checked, and shown without its password."""

from __future__ import annotations

import re

from pydantic import SecretStr

from taleward.core.errors import ConfigurationError, MissingExtra
from taleward.core.frozen_model import FrozenModel
from taleward.core.redaction import remember_secret

DEFAULT_TIMEOUT_S = 10.0
"""Seconds to wait for a connection."""

_SCHEME = re.compile(r"postgres(?:ql)?(?:\+\w+)?://")
_PORTS = re.compile(r"\d*(?:,\d*)*")
_HINT = (
    "Give postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters in the password percent-encoded "
    "(@ is %40, / is %2F); or leave the password out and set PGPASSWORD."
)


class PostgresUrl(FrozenModel):
    """A Postgres database to connect to.

    Attributes:
        conninfo: What libpq connects with, the password included.
        address: Host, port and database, for messages.
        timeout_s: Seconds to wait for a connection.
    """

    conninfo: SecretStr
    address: str
    timeout_s: float


def is_postgres_url(location: object) -> bool:
    """Whether a location is the URL of a Postgres database; `postgresql+DRIVER://`, as SQLAlchemy writes it, is too."""
    return isinstance(location, str) and _SCHEME.match(location) is not None


def parse_postgres_url(url: str) -> PostgresUrl:
    """Check a URL and take it apart. Its password is redacted in all messages from now on.

    Raises:
        ConfigurationError: If it is not the URL of a Postgres database.
        MissingExtra: If psycopg is not installed.
    """
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError as error:
        raise MissingExtra("Postgres", "postgres") from error
    # No message quotes the URL: where it is wrong, nobody knows which part of it is the password.
    if not is_postgres_url(url):
        raise ConfigurationError("this is not the URL of a Postgres database.", hint=_HINT)
    try:
        settings = {key: str(value) for key, value in conninfo_to_dict(_SCHEME.sub("postgresql://", url, 1)).items()}
    except psycopg.Error:
        raise ConfigurationError("the URL of the Postgres database cannot be read.", hint=_HINT) from None
    host, port, name = (settings.get(key, "") for key in ("host", "port", "dbname"))
    # A password with an unescaped @ or / spills over into the parts that messages show.
    if "@" in host + name or not _PORTS.fullmatch(port):
        raise ConfigurationError(
            "the URL of the Postgres database has a password with special characters that are not escaped, or a port "
            "that is not a number.",
            hint=_HINT,
        )
    timeout = settings.setdefault("connect_timeout", f"{DEFAULT_TIMEOUT_S:g}")
    if not timeout.isdigit() or not int(timeout):
        raise ConfigurationError(f"connect_timeout must be seconds, 1 or more; got {timeout!r}.")
    if password := settings.get("password"):
        remember_secret(password)
    settings.setdefault("application_name", "taleward")
    return PostgresUrl(
        conninfo=SecretStr(make_conninfo(**settings)),
        address=f"{host or 'localhost'}:{port or 5432}/{name or settings.get('user', '')}",
        timeout_s=float(timeout),
    )
