"""What a judge is, in one string: the same for judges that answer alike by their settings, another for all others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd
from pydantic import BaseModel, SecretStr

from taleward.moderation.judges.base import Judge


def identity(judge: Judge, more: str = "") -> str:
    """SHA-256 in hexadecimal of a judge's kind and settings, its policy's content, its calibration and this version.

    Settings are its public attributes, those of the judges that it asks, and those of its chat model; keys are not
    among them. Of an object that is neither plain data nor ours only the kind is known.

    Args:
        judge: The judge.
        more: What else tells it from others with the same settings.
    """
    said = {"taleward": version("taleward"), "judge": _settings(judge, frozenset()), "more": more}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _settings(value: Any, above: frozenset[int]) -> Any:
    """Plain data that tells a value; what holds itself is told by its kind."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if id(value) in above or isinstance(value, SecretStr):
        return _kind(value)
    if isinstance(value, BaseChatModel) and value.is_lc_serializable():
        return dumpd(value)
    above = above | {id(value)}
    if isinstance(value, Mapping):
        return sorted([str(k), _settings(v, above)] for k, v in value.items())
    if isinstance(value, (set, frozenset)):
        return sorted(json.dumps(_settings(v, above), sort_keys=True) for v in value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_settings(v, above) for v in value]
    inside: Mapping[str, Any] = {}
    if isinstance(value, BaseModel):
        inside = {name: getattr(value, name) for name in type(value).model_fields}
    elif is_dataclass(value) and not isinstance(value, type):
        inside = {field.name: getattr(value, field.name) for field in fields(value)}
    elif type(value).__module__.startswith("taleward.") or isinstance(value, Judge):
        inside = {name: v for name, v in vars(value).items() if not name.startswith("_")}
    return {"is": _kind(value), "has": {name: _settings(v, above) for name, v in inside.items()}}


def _kind(value: Any) -> str:
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"
