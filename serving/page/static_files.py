"""The files of the page, and the headers under which a browser loads nothing else."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fastapi import Request, Response

from taleward.serving.errors import ApiError

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "font-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    # Text that becomes markup is how scripts get in: where it is known, no script can make any.
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
SECURITY_HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def static_response(request: Request, name: str) -> Response:
    """Return a file of the page, or that the browser's copy is still good.

    Raises:
        ApiError: If there is no such file.
    """
    files = _files()
    if name not in files:
        raise ApiError(404, "The page has no such file.", code="unknown_url")
    content, media_type, tag = files[name]
    headers = {**SECURITY_HEADERS, "cache-control": "no-cache", "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


@cache
def _files() -> dict[str, tuple[bytes, str, str]]:
    """Read all files once; a name that is not among them cannot lead out of the folder."""
    files = {}
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            files[path.name] = (content, _TYPES[path.suffix], tag)
    return files
