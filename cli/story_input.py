"""What `taleward tell` is asked for: a request in free words, or values of a template."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

from taleward.chains.story_request_parsing import values_from_request
from taleward.chains.template import Template
from taleward.cli.input import read_text
from taleward.core.errors import ConfigurationError, InvalidFile

_EXAMPLE = 'taleward tell "a story about a fox who finds a key"'


def split_arguments(args: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Split the arguments that are no options of the command into a request and values of a template.

    Args:
        args: Words of a request, `--name VALUE` and `--name=VALUE`; hyphens in a name stand for underscores.

    Returns:
        The request, empty if there is none, and the values by name.
    """
    words: list[str] = []
    values: dict[str, str] = {}
    remaining = list(args)
    while remaining:
        argument = remaining.pop(0)
        if not argument.startswith("-"):
            words.append(argument)
            continue
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not name or (not equals and not remaining):
            raise typer.BadParameter(
                f"unexpected argument {argument!r}; pass values of the template's variables as --NAME VALUE, "
                f"for example --setting forest, or a request: {_EXAMPLE}"
            )
        values[name.replace("-", "_")] = value if equals else remaining.pop(0)
    return " ".join(words), values


def check_value_names(values: Iterable[str], template: Template, options: Iterable[str]) -> None:
    """Reject the name of a value that is a misspelled option; the template itself rejects all other unknown names.

    Args:
        values: The names of the values.
        template: Whose variables they should be.
        options: The options of the command, such as `--band`.

    Raises:
        ConfigurationError: If a name that is not a variable resembles an option or a variable.
    """
    known = {option.removeprefix("--") for option in options} | {name.replace("_", "-") for name in template.variables}
    for name in sorted(set(values) - set(template.variables)):
        spelled = name.replace("_", "-")
        if close := difflib.get_close_matches(spelled, known, n=1):
            raise ConfigurationError(
                f"unknown option --{spelled}. Did you mean --{close[0]}?",
                hint="`taleward tell -h` lists the options, and `taleward templates` the variables of the templates.",
            )


def read_request(words: str, file: str | None) -> str | None:
    """Return the request from the command line or from a file; `None` if there is neither.

    Args:
        words: The request on the command line.
        file: A text file, or `-` for standard input.

    Raises:
        ConfigurationError: If there are two requests, or the file is blank.
        UnknownName: If there is no such file.
    """
    if file is None:
        return words or None
    if words:
        raise ConfigurationError(
            f"there are two requests: {words!r} and the one in --prompt-file {file}.", hint="Leave one of them out."
        )
    request = read_text(file).strip()
    if not request:
        raise ConfigurationError(f"the request in --prompt-file {file} is blank.", hint=f"For example: {_EXAMPLE}")
    return request


def read_values(path: Path | None) -> dict[str, Any]:
    """Return the values in a JSON file; none without a file.

    Raises:
        InvalidFile: If it cannot be read, or contains no JSON object.
    """
    if path is None:
        return {}
    hint = 'Pass a UTF-8 file with a JSON object, for example {"setting": "enchanted forest"}.'
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # the last one for deep nesting
        raise InvalidFile(f"the values file {path} cannot be read: {error}", hint=hint) from error
    if not isinstance(values, dict):
        raise InvalidFile(f"the values file {path} contains a {type(values).__name__}, not a JSON object.", hint=hint)
    return values


def fill_values(template: Template, given: Mapping[str, Any], request: str | None) -> tuple[dict[str, Any], str]:
    """Return values for all variables of a template, and a note that says which ones its examples fill in.

    Args:
        template: The template.
        given: The values that were given; they take precedence over those in the request.
        request: A request in free words, if there is one.

    Returns:
        The values by name, and the note; it is empty if every value was given.

    Raises:
        InvalidInputs: If a value does not fit the template.
    """
    found = values_from_request(request, template) if request else {}
    requested = {name: value for name, value in found.items() if name not in given}
    named = {**requested, **given}
    examples = {name: value for name, value in template.example_values[0].items() if name not in named}
    values = {**examples, **named}
    template.render(values)
    parts = []
    if requested:
        parts.append(f"from the request: {_listing(requested)}")
    if examples:
        parts.append(f"from the template's examples: {_listing(examples)}")
    note = f"template {template.name}, {'; '.join(parts)}" if parts else ""
    if examples and not request:
        option = next(iter(examples)).replace("_", "-")
        note += f". Set your own with --{option} and so on, or ask for a story: {_EXAMPLE}"
    return values, note


def _listing(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in values.items())
