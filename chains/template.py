"""Prompt templates: files with a name, a version and declared variables whose values stay inert.

A template's text holds `{variable}` and nothing else that means something. A value is put in as it was typed: braces,
format specs, attribute paths and template syntax in it are text. The template's own "a" before a value that begins with
a vowel sound becomes "an".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from taleward.core.errors import InvalidInputs, UnknownName
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.core.tale import PromptVersion
from taleward.core.yaml_files import load_yaml

_SHIPPED = Path(__file__).parent / "templates"
_SLOT = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_ARTICLE = re.compile(r"\b([Aa]) \{([a-z][a-z0-9_]*)\}")
_VOWEL = re.compile(r"(?!eu|one\b|once\b|u[bcfkmnrst][aeiou])[aeiou]", re.IGNORECASE)


class Variable(FrozenModel):
    """A value that a template asks for.

    Attributes:
        description: What it is, for people.
        example: A value that works.
        max_length: Characters at most.
    """

    description: str = Field(min_length=1)
    example: str = Field(min_length=1)
    max_length: int = Field(default=100, ge=1)


class Template(FrozenModel):
    """The beginning of a story with places for values.

    Attributes:
        name: The template's name, as in its file's name.
        version: Changes whenever the text does.
        description: One sentence for people.
        text: The opening; `{name}` stands for a variable's value.
        variables: Every variable in the text, by name.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    version: str = Field(min_length=1)
    description: str = Field(min_length=1)
    text: str = Field(min_length=1)
    variables: FrozenDict[str, Variable]

    @model_validator(mode="after")
    def _variables_match(self) -> Template:
        used, declared = set(_SLOT.findall(self.text)), set(self.variables)
        if used != declared:
            msg = (
                f"the text uses {sorted(used - declared)} without declaring them, "
                f"and declares {sorted(declared - used)} without using them"
            )
            raise ValueError(msg)
        if "{" in (bare := _SLOT.sub("", self.text)) or "}" in bare:
            msg = "braces stand only around a variable's name (small letters, digits, _), as in {setting}"
            raise ValueError(msg)
        return self

    @property
    def prompt(self) -> PromptVersion:
        """Name and version, for a tale's lineage."""
        return PromptVersion(name=self.name, version=self.version)

    def render(self, values: Mapping[str, Any]) -> str:
        """The text with the values in it.

        Raises:
            InvalidInputs: Values are missing, unknown, not text, empty or too long; the error names all of them.
        """
        problems = [p for name in self.variables for p in self._problems(name, values)]
        problems += [f"{name!r} is no variable of this template" for name in sorted(set(values) - set(self.variables))]
        if problems:
            taken = ", ".join(f"{n} (for example {v.example!r})" for n, v in self.variables.items())
            raise InvalidInputs(self.name, problems, hint=f"It takes: {taken}.")
        clean = {name: str(value).strip() for name, value in values.items()}
        text = _ARTICLE.sub(lambda a: a[0].replace(" ", "n ", 1) if _VOWEL.match(clean[a[2]]) else a[0], self.text)
        return _SLOT.sub(lambda slot: clean[slot[1]], text)

    def _problems(self, name: str, values: Mapping[str, Any]) -> list[str]:
        if name not in values:
            return [f"{name!r} is missing: {self.variables[name].description}"]
        value, most = values[name], self.variables[name].max_length
        if not isinstance(value, str):
            return [f"{name!r} must be text, not {type(value).__name__}"]
        if not value.strip():
            return [f"{name!r} is empty: {self.variables[name].description}"]
        if len(value) > most:
            return [f"{name!r} has {len(value)} characters; {most} are the most"]
        return []


def template_names(folder: str | Path | None = None) -> tuple[str, ...]:
    """The templates that can be named, sorted: the shipped ones and those in `folder`."""
    return tuple(sorted(_files(folder)))


def load_template(name: str | Template, folder: str | Path | None = None) -> Template:
    """The template of that name.

    Args:
        name: A template's name; or a template, which is given back as it is.
        folder: A folder with templates of your own; its files win over shipped ones of the same name.

    Raises:
        UnknownName: There is no such template; the message lists those there are.
        InvalidFile: The file is no template; the message names the lines.
    """
    if isinstance(name, Template):
        return name
    files = _files(folder)
    if name not in files:
        raise UnknownName("template", name, files)
    return load_yaml(files[name], Template)


def _files(folder: str | Path | None) -> dict[str, Path]:
    folders = [_SHIPPED, *([Path(folder)] if folder is not None else [])]
    if not folders[-1].is_dir():
        raise UnknownName("template folder", str(folder), [], hint="Give a folder that holds .yaml files.")
    return {file.stem: file for place in folders for file in sorted(place.glob("*.yaml"))}
