"""Read YAML files as core types, with errors that name the line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from taleward.core.errors import InvalidFile
from taleward.core.frozen_model import FrozenModel

T = TypeVar("T", bound=FrozenModel)

Location = Sequence[int | str]
"""A place in a file: mapping keys and list indexes from the top."""

_MAX_VALUE_CHARACTERS = 60


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that rejects duplicate keys, where PyYAML silently keeps the last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


class YamlFile:
    """A parsed YAML file that knows the line of every value.

    Args:
        path: A UTF-8 YAML file.
        noun: What to call the file in messages, for example `"policy"`.

    Attributes:
        data: The content as plain Python data.

    Raises:
        InvalidFile: If the file cannot be read or is not valid YAML.
    """

    def __init__(self, path: Path, noun: str) -> None:
        self.path, self.noun = path, noun
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidFile(
                f"the {noun} file {path} cannot be read: {error}",
                hint="Give the path of a readable UTF-8 YAML file.",
            ) from error
        try:
            self._root = yaml.compose(text, _UniqueKeyLoader)
            self.data: Any = yaml.load(text, _UniqueKeyLoader)  # noqa: S506  a SafeLoader
        except yaml.YAMLError as error:
            raise InvalidFile(f"the {noun} file {path} is not valid YAML: {error}") from error

    def validate(self, model_type: type[T], data: Any = None, problems: Iterable[tuple[Location, str]] = ()) -> T:
        """Validate the file's content as a core type.

        Args:
            model_type: The type to create.
            data: Data derived from the file, to validate instead of its content.
            problems: Problems already known, to report together with those of the validation.

        Raises:
            InvalidFile: If there is any problem; each is listed with its line, counted from 1.
        """
        all_problems = list(problems)
        try:
            model = model_type.model_validate(self.data if data is None else data)
        except ValidationError as error:
            all_problems += [(e["loc"], _format_problem(e, model_type)) for e in error.errors()]
        if all_problems:
            raise self.problems_error(all_problems)
        return model

    def problems_error(self, problems: Iterable[tuple[Location, str]]) -> InvalidFile:
        """Create the error that lists problems, each a location and a sentence, in the order of their lines."""
        numbered = sorted(((self.line_of(place), place, message) for place, message in problems), key=lambda p: p[0])
        lines = "".join(
            f"\n  - line {line}: {'.'.join(map(str, place)) or self.noun}: {message}"
            for line, place, message in numbered
        )
        return InvalidFile(f"the {self.noun} file {self.path} has problems:{lines}")

    def line_of(self, location: Location) -> int:
        """Return the line, counted from 1, of a location, or of its deepest parent that is in the file."""
        node, line = self._root, self._root.start_mark.line if self._root else 0
        for step in location:
            if isinstance(node, yaml.MappingNode):
                pair = next(((k, v) for k, v in node.value if k.value == str(step)), None)
                if pair is None:
                    break
                line, node = pair[0].start_mark.line, pair[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line
            else:
                break
        return line + 1


def load_yaml(path: Path, model_type: type[T]) -> T:
    """Read a YAML file as a core type.

    Args:
        path: A UTF-8 YAML file.
        model_type: The type to create; messages call the file by its name in lower case.

    Raises:
        InvalidFile: If the file cannot be read, is not valid YAML, or does not match the type; each problem is listed
            with its line, counted from 1.
    """
    return YamlFile(path, model_type.__name__.lower()).validate(model_type)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` did you mean 'x'?` if a known name is close, else the empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" did you mean {close[0]!r}?" if close else ""


def _format_problem(error: ErrorDetails, model_type: type[BaseModel]) -> str:
    """Describe a validation error by the value received and the values accepted."""
    match error["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            fields = _fields_at(model_type, error["loc"][:-1])
            suggestion = did_you_mean(str(error["loc"][-1]), fields)
            return f"is not a known field;{suggestion} known: {', '.join(fields)}"
        case "value_error":
            return error["msg"].removeprefix("Value error, ")
        case "unknown_category":
            return error["msg"]
    value = repr(error["input"])
    if len(value) > _MAX_VALUE_CHARACTERS:
        value = f"{value[:_MAX_VALUE_CHARACTERS]}..."
    return f"{error['msg']}; got {value}"


def _fields_at(annotation: Any, location: Location) -> list[str]:
    """Return the field names of the model at a location within a model."""
    for step in location:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(step)].annotation
        else:
            annotation = _item_type(annotation)
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return list(annotation.model_fields) if is_model else []


def _item_type(annotation: Any) -> Any:
    """Return the value type of a mapping, or the element type of a sequence."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return parts[1]
    return parts[0] if parts else None
