"""Core types from YAML files, with errors that name the line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from taleward.core.errors import InvalidFile
from taleward.core.frozen import Frozen

T = TypeVar("T", bound=Frozen)


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


def load_yaml(path: Path, kind: type[T]) -> T:
    """Read one file as one frozen type.

    Args:
        path: A UTF-8 YAML file.
        kind: The type it must hold.

    Raises:
        InvalidFile: The file cannot be read, is no YAML, or does not hold the type; each problem with its
            line, counted from 1.
    """
    noun = kind.__name__.lower()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFile(
            f"the {noun} file {path} cannot be read: {error}",
            hint="Give the path of a readable UTF-8 YAML file.",
        ) from error
    try:
        root = yaml.compose(text, _Loader)
        data = yaml.load(text, _Loader)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        raise InvalidFile(f"the {noun} file {path} is no YAML: {error}") from error
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems = "".join(
            f"\n  - line {_line(root, e['loc'])}: {'.'.join(map(str, e['loc'])) or noun}: {e['msg']}"
            for e in error.errors()
        )
        raise InvalidFile(f"the {noun} file {path} has problems:{problems}") from None


def _line(node: yaml.Node | None, location: Sequence[int | str]) -> int:
    """Line of the deepest node on the way to a location."""
    line = node.start_mark.line if node else 0
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
