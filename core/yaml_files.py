"""Read YAML files as core types, with errors that name the line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from taleward.core.errors import InvalidFile
from taleward.core.frozen_model import FrozenModel

T = TypeVar("T", bound=FrozenModel)

Location = Sequence[int | str]
"""A place in a file: mapping keys and list indexes from the top."""

_MAX_VALUE_CHARACTERS = 60
_MAX_FILE_BYTES = 1_000_000
_MAX_DEPTH = 50
_MAX_VALUES = 200_000
_MAX_PROBLEMS = 20


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that rejects duplicate keys, where PyYAML silently keeps the last value, and deep nesting."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # PyYAML calls itself for each level, and would end in a RecursionError.
        if self._depth > _MAX_DEPTH:
            problem = f"values are nested more than {_MAX_DEPTH} deep"
            raise yaml.composer.ComposerError(None, None, problem, self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is no text", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


class YamlFile:
    """A parsed YAML file that knows the line of every value.

    Args:
        path: A UTF-8 YAML file of up to 1 MB, with values up to 50 deep, and up to 200,000 of them once every alias is
            written out.
        noun: What to call the file in messages, for example `"policy"`.

    Attributes:
        data: The content as plain Python data.

    Raises:
        InvalidFile: If the file cannot be read, is not valid YAML or is beyond these limits.
    """

    def __init__(self, path: Path, noun: str) -> None:
        self.path, self.noun = path, noun
        try:
            with path.open("rb") as file:
                content = file.read(_MAX_FILE_BYTES + 1)
            text = "" if len(content) > _MAX_FILE_BYTES else content.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidFile(
                f"the {noun} file {path} cannot be read: {error}",
                hint="Give the path of a readable UTF-8 YAML file.",
            ) from error
        if len(content) > _MAX_FILE_BYTES:
            raise InvalidFile(
                f"the {noun} file {path} has more than {_MAX_FILE_BYTES:,} bytes.",
                hint=f"Check the path: a {noun} file has a few thousand bytes.",
            )
        try:
            loader = _UniqueKeyLoader(text)
            self._root = loader.get_single_node()
            self._check_size()
            self.data: Any = None if self._root is None else loader.construct_document(self._root)
        # PyYAML lets errors of Python through, for example for the date 2026-13-01 or a number of 5,000 digits.
        except (yaml.YAMLError, ValueError) as error:
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
            errors = error.errors()
            described = [(e["loc"], _format_problem(e, model_type)) for e in errors[:_MAX_PROBLEMS]]
            all_problems += [*described, *((e["loc"], e["msg"]) for e in errors[_MAX_PROBLEMS:])]
        if all_problems:
            raise self.problems_error(all_problems)
        return model

    def problems_error(self, problems: Iterable[tuple[Location, str]]) -> InvalidFile:
        """Create the error that lists the first 20 problems, each a location and a sentence, by line."""
        all_problems = list(problems)
        listed = all_problems[:_MAX_PROBLEMS]
        numbered = sorted(((self.line_of(place), place, message) for place, message in listed), key=lambda p: p[0])
        lines = "".join(
            f"\n  - line {line}: {'.'.join(map(str, place)) or self.noun}: {message}"
            for line, place, message in numbered
        )
        if len(all_problems) > len(listed):
            lines += f"\n  - and {len(all_problems) - len(listed):,} more"
        return InvalidFile(f"the {self.noun} file {self.path} has problems:{lines}")

    def _check_size(self) -> None:
        """Count the values as if every alias were written out: nine lines of aliases can stand for a billion values."""
        sizes: dict[int, int] = {}
        parents: set[int] = set()

        def size(node: yaml.Node) -> int:
            if isinstance(node, yaml.ScalarNode):
                return 1
            if id(node) in parents:
                raise yaml.composer.ComposerError(None, None, "an alias stands within its own value", node.start_mark)
            if id(node) not in sizes:
                parents.add(id(node))
                is_mapping = isinstance(node, yaml.MappingNode)
                sizes[id(node)] = 1 + sum(map(size, chain.from_iterable(node.value) if is_mapping else node.value))
                parents.remove(id(node))
            return sizes[id(node)]

        if self._root is not None and (count := size(self._root)) > _MAX_VALUES:
            problem = f"it has {count:,} values once its aliases are written out; at most {_MAX_VALUES:,} are read"
            raise yaml.composer.ComposerError(None, None, problem, self._root.start_mark)

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
            annotation = _without_none(annotation.model_fields[str(step)].annotation)
        else:
            annotation = _without_none(_item_type(annotation))
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return list(annotation.model_fields) if is_model else []


def _without_none(annotation: Any) -> Any:
    """Return the type `X` of an optional one, `X | None`; any other type unchanged."""
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    parts = [part for part in get_args(annotation) if part is not NoneType]
    return parts[0] if len(parts) == 1 else annotation


def _item_type(annotation: Any) -> Any:
    """Return the value type of a mapping, or the element type of a sequence."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return parts[1]
    return parts[0] if parts else None
