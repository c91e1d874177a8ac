"""Fingerprint of a judge for cache keys: equal for judges with equal settings, different otherwise."""

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


def judge_fingerprint(judge: Judge, extra_key: str = "") -> str:
    """Return a SHA-256 digest of a judge's class and settings, its policy's content, its calibration and our version.

    The settings are the public attributes of the judge, of the judges that it combines, and of its chat model; API
    keys are left out. Objects that are neither plain data nor Taleward's own count by their class only.

    Args:
        judge: The judge.
        extra_key: Anything else that distinguishes it from judges with the same settings.

    Returns:
        64 hexadecimal digits.
    """
    # A new version may judge differently with the same settings, so it starts with an empty cache.
    parts = {"taleward": version("taleward"), "judge": _settings(judge, frozenset()), "extra_key": extra_key}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _settings(value: Any, ancestors: frozenset[int]) -> Any:
    """Return JSON data that identifies a value; an object that contains itself counts by its class.

    Args:
        value: Any value.
        ancestors: `id()` of the objects that contain it.
    """
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if id(value) in ancestors or isinstance(value, SecretStr):
        return _class_path(value)
    # LangChain's own serialization replaces keys by the names of their environment variables.
    if isinstance(value, BaseChatModel) and value.is_lc_serializable():
        return dumpd(value)
    ancestors = ancestors | {id(value)}
    if isinstance(value, Mapping):
        return sorted([str(k), _settings(v, ancestors)] for k, v in value.items())
    if isinstance(value, (set, frozenset)):
        return sorted(json.dumps(_settings(v, ancestors), sort_keys=True) for v in value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_settings(v, ancestors) for v in value]
    attributes: Mapping[str, Any] = {}
    if isinstance(value, BaseModel):
        attributes = {name: getattr(value, name) for name in type(value).model_fields}
    elif is_dataclass(value) and not isinstance(value, type):
        attributes = {field.name: getattr(value, field.name) for field in fields(value)}
    elif type(value).__module__.startswith("taleward.") or isinstance(value, Judge):
        attributes = {name: v for name, v in vars(value).items() if not name.startswith("_")}
    return {
        "class": _class_path(value),
        "attributes": {name: _settings(v, ancestors) for name, v in attributes.items()},
    }


def _class_path(value: Any) -> str:
    cls_or_function = value if hasattr(value, "__qualname__") else type(value)
    return f"{cls_or_function.__module__}.{cls_or_function.__qualname__}"
