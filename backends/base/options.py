"""Options of models that run here: names and values are looked at where the model is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from taleward.core.errors import ConfigurationError, UnknownName

M = TypeVar("M", bound=BaseModel)
_OWN = ("spec", "path")


def made(kind: type[M], spec: str, path: str, options: Mapping[str, Any], *, hint: str | None = None) -> M:
    """A model of a kind.

    Args:
        kind: Its class, with the fields `spec` and `path`.
        spec: What it is called.
        path: Where it lies.
        options: Its other fields.
        hint: The next step where an option is unknown.

    Raises:
        ConfigurationError: An option is unknown, or its value is none that is taken.
    """
    inherited = {name for base in kind.__mro__[1:] for name in getattr(base, "model_fields", ())}
    for name in options:
        if name not in kind.model_fields:
            known = [field for field in kind.model_fields if field not in (*_OWN, *inherited)]
            raise UnknownName(f"option of {spec}", name, known, hint=hint)
    try:
        return kind(spec=spec, path=path, **options)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc']))}: {_lower(e['msg'])}; got {e['input']!r}" for e in error.errors()]
        raise ConfigurationError(f"{spec} cannot be made so: {'. '.join(wrong)}.") from None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
