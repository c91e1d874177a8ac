"""Let in only requests with an API key that may make them, within the key's limits."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection, Mapping
from pathlib import Path

import starlette.types as asgi

from taleward.core.errors import ConfigurationError
from taleward.serving.operations.api_keys import ApiKey, ApiKeys
from taleward.serving.operations.error_responses import Rejection, with_headers
from taleward.serving.operations.key_limits import KeyMeter
from taleward.serving.operations.request_record import RequestRecord, record_of
from taleward.serving.operations.scopes import PUBLIC_PATHS, is_page, scope_of

_CHALLENGE = {"www-authenticate": "Bearer"}
_NO_KEY = Rejection(
    status=401,
    message="You didn't provide an API key. Send it in the header: Authorization: Bearer KEY.",
    code="invalid_api_key",
    headers=_CHALLENGE,
)
_WRONG_KEY = Rejection(
    status=401,
    message="The API key is not valid here: it is wrong, expired or revoked.",
    code="invalid_api_key",
    headers=_CHALLENGE,
)
_WRONG_HOST = Rejection(
    status=403,
    message="This server has no API keys, and answers only under the names of this machine. "
    "Call it as localhost, or add the name to allowed_hosts.",
    code="host_not_allowed",
)
_WEBSOCKET_POLICY_VIOLATION = 1008


def keys_for(path: Path, host: str) -> ApiKeys | None:
    """Return the keys that guard a server, `None` for a server that everybody on this machine may use.

    A file that holds keys, even expired or revoked ones, guards the server.

    Args:
        path: The keys file.
        host: The address on which the server listens.

    Raises:
        ConfigurationError: If there are no keys, and other machines could reach the server.
    """
    if path.exists() and len(keys := ApiKeys(path)):
        return keys
    if is_loopback(host):
        return None
    raise ConfigurationError(
        f"a server on {host} can be reached from other machines, and there are no API keys in {path}.",
        hint=f"Run: taleward keys create NAME --file {path}, or serve this machine only: --host 127.0.0.1.",
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class AuthenticationMiddleware:
    """Checks the API key of a request, its scope and its limits, before the body is read.

    Args:
        app: The application.
        keys: The keys; `None` lets everybody in.
        allowed_hosts: Names that the header `Host` may hold if there are no keys.
    """

    def __init__(self, app: asgi.ASGIApp, keys: ApiKeys | None, allowed_hosts: Collection[str] = ()) -> None:
        self.app, self._keys, self._allowed_hosts = app, keys, allowed_hosts
        self._meter = None if keys is None else KeyMeter(keys)

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _WEBSOCKET_POLICY_VIOLATION})
        elif scope["type"] != "http" or scope["path"] in PUBLIC_PATHS:
            await self.app(scope, receive, send)
        elif self._keys is None or self._meter is None:
            # A web page elsewhere can point a name of its own at this machine, and have a browser here call it.
            if self._allowed_hosts and _host(scope) not in self._allowed_hosts:
                await _reject(_WRONG_HOST, record_of(scope), send)
            else:
                await self.app(scope, receive, send)
        elif is_page(scope["path"]):
            await self.app(scope, receive, send)
        else:
            await self._check_key(self._keys, self._meter, scope, receive, send)

    async def _check_key(
        self, keys: ApiKeys, meter: KeyMeter, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send
    ) -> None:
        record = record_of(scope)
        presented = _bearer(scope)
        key = None if presented is None else await asyncio.to_thread(keys.find, presented)
        if key is None:
            await _reject(_NO_KEY if presented is None else _WRONG_KEY, record, send)
            return
        record.key_id = key.id
        needed = scope_of(scope["path"])
        if not key.may(needed):
            await _reject(_forbidden(key, str(needed)), record, send)
            return
        if not key.limits.any:
            await self.app(scope, receive, send)
            return
        admission = await asyncio.to_thread(meter.admit, key)
        limited_send = _sender(send, admission.headers)
        if admission.rejection is not None:
            await _reject(admission.rejection, record, limited_send)
            return
        try:
            await self.app(scope, receive, limited_send)
        finally:
            # A request that is canceled is charged, too: the charge runs to its end in its thread.
            charge = asyncio.to_thread(meter.charge, key, record.charged_tokens, record.cost_usd)
            await asyncio.shield(charge)


async def _reject(rejection: Rejection, record: RequestRecord, send: asgi.Send) -> None:
    record.rejection = rejection.code
    await rejection.send(send)


def _sender(send: asgi.Send, headers: Mapping[str, str]) -> asgi.Send:
    async def send_with_headers(message: asgi.Message) -> None:
        await send(with_headers(message, headers) if message["type"] == "http.response.start" else message)

    return send_with_headers


def _forbidden(key: ApiKey, scope: str) -> Rejection:
    return Rejection(
        status=403,
        message=f"This API key may not call this: it needs the scope {scope!r} and has {', '.join(key.scopes)}.",
        code="insufficient_permissions",
    )


def _bearer(scope: asgi.Scope) -> str | None:
    """Return the key in the header `Authorization`, `None` if there is none."""
    for name, value in scope["headers"]:
        if name.lower() == b"authorization":
            kind, _, key = value.decode("latin-1").partition(" ")
            if kind.lower() == "bearer" and key.strip():
                return str(key.strip())
    return None


def _host(scope: asgi.Scope) -> str:
    """Return the name in the header `Host`, without the port."""
    for name, value in scope["headers"]:
        if name.lower() == b"host":
            host = value.decode("latin-1").lower()
            return str(host if host.endswith("]") else host.rpartition(":")[0] or host)
    return ""
