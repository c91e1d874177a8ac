"""Option validation for models that run in this process.

Options are checked when the model is created, before its weights are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from taleward.core.errors import ConfigurationError, UnknownName

M = TypeVar("M", bound=BaseModel)
_NOT_OPTIONS = ("spec", "path")


def build_model(
    model_class: type[M], spec: str, path: str, options: Mapping[str, Any], *, hint: str | None = None
) -> M:
    """Create a model from a spec and validated options.

    Args:
        model_class: A Pydantic class with the fields `spec` and `path`.
        spec: The model spec, used in error messages.
        path: Folder or repository of the weights.
        options: Values for the class's other fields.
        hint: The next step to suggest if an option is unknown.

    Raises:
        UnknownName: If an option is unknown.
        ConfigurationError: If an option's value is invalid.
    """
    # Fields of LangChain's base classes are accepted but not suggested: they would hide the model's own.
    inherited = {name for base in model_class.__mro__[1:] for name in getattr(base, "model_fields", ())}
    for name in options:
        if name not in model_class.model_fields:
            known = [field for field in model_class.model_fields if field not in (*_NOT_OPTIONS, *inherited)]
            raise UnknownName(f"option of {spec}", name, known, hint=hint)
    try:
        return model_class(spec=spec, path=path, **options)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, e['loc']))}: {_lower_first(e['msg'])}; got {e['input']!r}" for e in error.errors()
        ]
        raise ConfigurationError(f"Invalid options for {spec}: {'. '.join(problems)}.") from None


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
