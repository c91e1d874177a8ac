"""The options of all commands: the same name is the same thing everywhere."""

from __future__ import annotations

import types
import typing
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, get_origin

import pytest
from typer import Typer
from typer.models import OptionInfo

from taleward.cli.app import app


class Option(NamedTuple):
    value: Any
    help: str | None


def commands(typer_app: Typer, prefix: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    for command in typer_app.registered_commands:
        assert command.callback is not None
        yield f"{prefix}{command.name or command.callback.__name__.strip('_')}", command.callback
    for group in typer_app.registered_groups:
        assert group.typer_instance is not None
        name = str(group.typer_instance.info.name)
        if group.typer_instance.registered_callback and group.typer_instance.registered_callback.callback:
            yield name, group.typer_instance.registered_callback.callback
        yield from commands(group.typer_instance, f"{name} ")


def options(function: Callable[..., Any]) -> Iterator[tuple[str, Option]]:
    for parameter, hint in typing.get_type_hints(function, include_extras=True).items():
        for info in getattr(hint, "__metadata__", ()):
            if isinstance(info, OptionInfo):
                # The first argument of `typer.Option` is the default outside of `Annotated`, and a name in it.
                name = info.default if isinstance(info.default, str) else f"--{parameter.replace('_', '-')}"
                yield name, Option(value(hint.__origin__), info.help)


def value(hint: Any) -> Any:
    """The type of one value, also if the option can be repeated or left out."""
    if isinstance(hint, types.UnionType):
        [hint] = [part for part in typing.get_args(hint) if part is not type(None)]
    return typing.get_args(hint)[0] if typing.get_origin(hint) is list else hint


OPTIONS: dict[str, dict[str, Option]] = defaultdict(dict)
for command_name, callback in commands(app):
    for option_name, option in options(callback):
        OPTIONS[option_name][command_name] = option


OTHER_VALUES = {("--out", "batch"): "also a URI, which a path would change"}
"""Options that take another kind of value in a command, each with the reason."""


@pytest.mark.parametrize("name", sorted(name for name in OPTIONS if len(OPTIONS[name]) > 1))
def test_an_option_takes_the_same_kind_of_value_everywhere(name: str) -> None:
    # Which words are taken may differ between commands.
    values = {
        command: str if get_origin(option.value) is Literal else option.value
        for command, option in OPTIONS[name].items()
        if (name, command) not in OTHER_VALUES
    }
    assert len(set(values.values())) == 1, values


@pytest.mark.parametrize(
    "name", ["--json", "--policy", "--base-url", "--column", "--encoding", "--report", "--experiment"]
)
def test_an_option_is_described_in_the_same_words_everywhere(name: str) -> None:
    helps = {command: option.help for command, option in OPTIONS[name].items()}
    assert len(helps) > 1
    assert len(set(helps.values())) == 1, helps


def test_json_is_a_flag_of_each_command_that_prints_a_result() -> None:
    printing = {"tell", "judge", "summarize", "classify", "judge-bench", "policy show", "policy diff"}
    assert set(OPTIONS["--json"]) >= printing
    assert {option.value for option in OPTIONS["--json"].values()} == {bool}
