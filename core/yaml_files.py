"""Core types from YAML files, with errors that name the line."""

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
"""The way to a place in a file: keys and list positions from the top."""

_SHOWN = 60


class _Loader(yaml.SafeLoader):
    """Plain data only, and every key at most once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands here twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


class YamlFile:
    """A YAML file that was read, and knows the line of everything in it.

    Args:
        path: A UTF-8 YAML file.
        noun: What the file is called in messages.

    Attributes:
        data: What it holds, as plain data.

    Raises:
        InvalidFile: The file cannot be read or is no YAML.
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
            self._root = yaml.compose(text, _Loader)
            self.data: Any = yaml.load(text, _Loader)  # noqa: S506  a SafeLoader
        except yaml.YAMLError as error:
            raise InvalidFile(f"the {noun} file {path} is no YAML: {error}") from error

    def make(self, kind: type[T], data: Any = None, problems: Iterable[tuple[Location, str]] = ()) -> T:
        """The file, or `data` where that was made from it, as one frozen type.

        Args:
            kind: The type it must hold.
            data: What to read in the file's place.
            problems: What is known to be wrong already, to be told with the rest.

        Raises:
            InvalidFile: There are problems, or it does not hold the type; each problem with its line, counted from 1.
        """
        found = list(problems)
        try:
            made = kind.model_validate(self.data if data is None else data)
        except ValidationError as error:
            found += [(e["loc"], _said(e, kind)) for e in error.errors()]
        if found:
            raise self.refused(found)
        return made

    def refused(self, problems: Iterable[tuple[Location, str]]) -> InvalidFile:
        """The error that lists all problems, each a place and a sentence, in the order of their lines."""
        placed = sorted(((self.line(place), place, said) for place, said in problems), key=lambda p: p[0])
        lines = "".join(
            f"\n  - line {line}: {'.'.join(map(str, place)) or self.noun}: {said}" for line, place, said in placed
        )
        return InvalidFile(f"the {self.noun} file {self.path} has problems:{lines}")

    def line(self, place: Location) -> int:
        """The line, counted from 1, of the deepest thing in the file on the way to a place."""
        node, line = self._root, self._root.start_mark.line if self._root else 0
        for step in place:
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


def load_yaml(path: Path, kind: type[T]) -> T:
    """Read one file as one frozen type.

    Args:
        path: A UTF-8 YAML file.
        kind: The type it must hold.

    Raises:
        InvalidFile: The file cannot be read, is no YAML, or does not hold the type; each problem with its
            line, counted from 1.
    """
    return YamlFile(path, kind.__name__.lower()).make(kind)


def _said(error: ErrorDetails, kind: type[BaseModel]) -> str:
    """What came and what is taken."""
    match error["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            taken = _fields_at(kind, error["loc"][:-1])
            return f"is no field here;{did_you_mean(str(error['loc'][-1]), taken)} taken: {', '.join(taken)}"
        case "value_error":
            return error["msg"].removeprefix("Value error, ")
        case "unknown_category":
            return error["msg"]
    got = repr(error["input"])
    return f"{error['msg']}; got {got if len(got) <= _SHOWN else f'{got[:_SHOWN]}...'}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` did you mean 'x'?` where a known name is near, else nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" did you mean {near[0]!r}?" if near else ""


def _fields_at(kind: Any, place: Location) -> list[str]:
    """The fields of the model that a place within a model names."""
    for step in place:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(step)].annotation
        else:
            kind = _inner(kind)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _inner(kind: Any) -> Any:
    """What a mapping or a sequence type holds."""
    origin, parts = get_origin(kind), get_args(kind)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return parts[1]
    return parts[0] if parts else None
