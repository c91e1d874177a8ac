"""What an API key may do: the scopes, and the one that each path needs."""

from __future__ import annotations

from typing import Literal, get_args

Scope = Literal["chat", "tales", "moderation", "embeddings", "images", "metrics", "admin"]
"""What a key may call; `admin` includes everything."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
DEFAULT_SCOPES: tuple[Scope, ...] = ("chat", "tales", "moderation", "embeddings", "images")

PUBLIC_PATHS = frozenset({"/health"})
"""What needs no key."""
PAGE_PATHS = ("/", "/page")
"""The page for children, whose browsers have sessions instead of keys."""

_SCOPE_OF_PATH: dict[str, Scope | None] = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/tales": "tales",
    "/v1/moderations": "moderation",
    "/v1/embeddings": "embeddings",
    "/v1/images": "images",
    "/metrics": "metrics",
    # Any key.
    "/v1/models": None,
    "/v1/templates": None,
    "/ready": None,
    "/openapi.json": None,
}


def scope_of(path: str) -> Scope | None:
    """Return the scope that a path needs; `None` if any key will do, `admin` for a path that is not listed."""
    for prefix, scope in _SCOPE_OF_PATH.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return scope
    return "admin"


def is_page(path: str) -> bool:
    """Whether a path belongs to the page for children."""
    return path in PAGE_PATHS or path.startswith("/page/")


def route_label(path: str) -> str:
    """Return the listed path that a path belongs to; never the path itself, which may hold anything."""
    for prefix in (*_SCOPE_OF_PATH, *PUBLIC_PATHS, *PAGE_PATHS):
        if path == prefix or path.startswith(f"{prefix}/"):
            return prefix
    return "other"
