"""API keys in an SQLite file: only a keyed hash of each is stored, with what the key may do and how much of it."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.frozen_model import FrozenModel
from taleward.core.redaction import remember_secret
from taleward.serving.operations.scopes import DEFAULT_SCOPES, SCOPES, Scope
from taleward.stores.sqlite import SqliteDatabase

_VERSION = 1
_SCHEMA = """
CREATE TABLE salt (value BLOB NOT NULL);
CREATE TABLE keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash BLOB NOT NULL, scopes TEXT NOT NULL, limits TEXT NOT NULL,
    created REAL NOT NULL, expires REAL, revoked REAL
) WITHOUT ROWID;
CREATE TABLE usage (
    id TEXT PRIMARY KEY REFERENCES keys (id), updated REAL NOT NULL, requests REAL NOT NULL, tokens REAL NOT NULL,
    period TEXT NOT NULL, spent_usd REAL NOT NULL
) WITHOUT ROWID
"""
# Vendors' tools, and our own redaction, know keys by this beginning.
_KEY = re.compile(r"sk-tw-([0-9a-f]{12})-([A-Za-z0-9_-]{43})")
_SECRET_BYTES = 32
_NAME = re.compile(r"[\w .@:/+-]{1,100}")

BudgetPeriod = Literal["day", "month", "total"]
"""When a budget starts anew: each day or month in UTC, or never."""


class KeyLimits(FrozenModel):
    """How much an API key may use; `None` for no limit.

    Attributes:
        requests_per_minute: Requests in a minute.
        tokens_per_minute: Tokens in a minute, read and written.
        budget_usd: US dollars in a `budget_period`.
        budget_period: When the budget starts anew.
    """

    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    budget_usd: float | None = Field(default=None, ge=0)
    budget_period: BudgetPeriod = "month"

    @property
    def any(self) -> bool:
        """Whether there is any limit."""
        return not self.requests_per_minute is self.tokens_per_minute is self.budget_usd is None


class ApiKey(FrozenModel):
    """An API key as far as the server knows it; the key itself is stored nowhere.

    Attributes:
        id: The public part of the key, which stands for it in logs.
        name: Whose it is, or what for.
        scopes: What it may call.
        limits: How much it may use.
        created: When it was made.
        expires: When it stops working; `None` for never.
        revoked: When it was revoked; `None` if it was not.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    limits: KeyLimits = KeyLimits()
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    def may(self, scope: Scope | None) -> bool:
        """Whether the key may call what needs a scope; `None` stands for what any key may call."""
        return scope is None or scope in self.scopes or "admin" in self.scopes

    def is_active(self, now: float) -> bool:
        """Whether the key is neither revoked nor expired.

        Args:
            now: Seconds since the epoch.
        """
        return self.revoked is None and (self.expires is None or now < self.expires.timestamp())


class ApiKeys:
    """The API keys of a server.

    Args:
        path: The file; created if missing, readable by its owner only.
        clock: Returns seconds since the epoch, for tests.

    Raises:
        IntegrityError: If the file is not a file of API keys.
    """

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        path = Path(path)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        self.path, self.clock = path, clock
        self.database = SqliteDatabase(path, schema=_SCHEMA, version=_VERSION, kind="file of API keys")

    def create(
        self,
        name: str,
        *,
        scopes: Iterable[str] = DEFAULT_SCOPES,
        limits: KeyLimits | None = None,
        ttl_s: float | None = None,
    ) -> tuple[ApiKey, SecretStr]:
        """Make a key.

        Args:
            name: Whose it is, or what for; it is listed, and is in no log.
            scopes: What it may call.
            limits: How much it may use.
            ttl_s: Seconds until it expires; `None` for never.

        Returns:
            What is stored, and the key itself, which cannot be read again.

        Raises:
            ConfigurationError: If the name is empty or has odd characters, or `ttl_s` is not above 0.
            UnknownName: If there is no such scope.
        """
        scopes = tuple(dict.fromkeys(scopes))
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"a key's name has 1 to 100 letters, digits, spaces or ._@:/+-; got {name!r}.",
                hint="Name the app or the person that uses it.",
            )
        for scope in scopes:
            if scope not in SCOPES:
                raise UnknownName("scope", scope, SCOPES)
        if not scopes:
            raise ConfigurationError(f"a key needs at least one scope; known: {', '.join(SCOPES)}.")
        if ttl_s is not None and not ttl_s > 0:
            raise ConfigurationError(f"ttl_s must be above 0, or None for a key that never expires; got {ttl_s}.")
        now = self.clock()
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(_SECRET_BYTES)
        text = f"sk-tw-{key_id}-{secret}"
        remember_secret(text)
        limits = limits or KeyLimits()
        expires = None if ttl_s is None else now + ttl_s
        with self.database.writing() as connection:
            if connection.execute("SELECT value FROM salt").fetchone() is None:
                connection.execute("INSERT INTO salt VALUES (?)", (secrets.token_bytes(32),))
            [salt] = connection.execute("SELECT value FROM salt").fetchone()
            connection.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (key_id, name, _hash(salt, text), json.dumps(scopes), limits.model_dump_json(), now, expires),
            )
            row = connection.execute("SELECT * FROM keys WHERE id = ?", (key_id,)).fetchone()
        return _api_key(row), SecretStr(text)

    def find(self, presented: str) -> ApiKey | None:
        """Return the active key that somebody presents, `None` if it is not one."""
        match = _KEY.fullmatch(presented)
        if match is None:
            return None
        with self.database.reading() as connection:
            row = connection.execute("SELECT * FROM keys WHERE id = ?", (match[1],)).fetchone()
            salt = connection.execute("SELECT value FROM salt").fetchone()
        if row is None or salt is None or not hmac.compare_digest(row[2], _hash(salt[0], presented)):
            return None
        key = _api_key(row)
        return key if key.is_active(self.clock()) else None

    def list(self) -> list[ApiKey]:
        """Return all keys, revoked and expired ones included, oldest first."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT * FROM keys ORDER BY created, id").fetchall()
        return [_api_key(row) for row in rows]

    def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key; every worker turns it down from its next request on.

        Raises:
            UnknownName: If there is no key with this id.
        """
        with self.database.writing() as connection:
            connection.execute("UPDATE keys SET revoked = coalesce(revoked, ?) WHERE id = ?", (self.clock(), key_id))
            row = connection.execute("SELECT * FROM keys WHERE id = ?", (key_id,)).fetchone()
        if row is None:
            # Somebody may paste the key instead of its id: the name in the message is what was typed.
            if match := _KEY.fullmatch(key_id):
                return self.revoke(match[1])
            raise UnknownName("API key id", key_id, [key.id for key in self.list()], hint="See `taleward keys list`.")
        return _api_key(row)

    def __len__(self) -> int:
        with self.database.reading() as connection:
            [count] = connection.execute("SELECT count(*) FROM keys").fetchone()
        return int(count)


def _hash(salt: bytes, key: str) -> bytes:
    # Keys have 256 random bits, which no dictionary holds: a slow hash would only slow down every request.
    return hmac.digest(salt, key.encode(), hashlib.sha256)


def _api_key(row: Any) -> ApiKey:
    key_id, name, _, scopes, limits, created, expires, revoked = row
    return ApiKey(
        id=key_id,
        name=name,
        scopes=tuple(json.loads(scopes)),
        limits=KeyLimits.model_validate_json(limits),
        created=_moment(created),
        expires=None if expires is None else _moment(expires),
        revoked=None if revoked is None else _moment(revoked),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
