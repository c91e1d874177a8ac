"""Parameters of OpenAI's that cannot be honoured: an error that names them, instead of silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from taleward.core.yaml_files import did_you_mean
from taleward.serving.errors import ApiError

_HINTS = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "user",
    }
)
"""Parameters that do not change the answer: accepted, and not passed on."""


def unsupported(param: str, reason: str, *, kind: str = "unsupported_parameter") -> ApiError:
    """Return the error for a parameter that cannot be honoured.

    Args:
        param: Its name.
        reason: Why not.
        kind: The error's code.
    """
    return ApiError(400, f"{param!r} cannot be honoured: {reason}.", code=kind, param=param)


def check_extra_parameters(body: BaseModel, defaults: Mapping[str, tuple[Any, ...]], why: Mapping[str, str]) -> None:
    """Check the parameters of a request that its type has no field for.

    Args:
        body: The request.
        defaults: OpenAI's parameters that are not supported, with the values that ask for nothing.
        why: The reasons, for some of them.

    Raises:
        ApiError: For the first one that is unknown, or asks for something.
    """
    for name, value in (body.model_extra or {}).items():
        if value is None or name in _HINTS:
            continue
        if name not in defaults:
            known = [*type(body).model_fields, *_HINTS, *defaults]
            text = f"Unknown parameter: {name!r}.{did_you_mean(name, known)}"
            raise ApiError(400, text, code="unknown_parameter", param=name)
        if value not in defaults[name]:
            raise unsupported(name, why.get(name, "this server does not support it"))
