"""Prompt templates: YAML files with a name, a version, a text and declared variables.

A template's text is literal except for `{variable}`. Values are inserted as typed: braces, format specs, attribute
paths and template syntax in a value stay text. An "a" that the template puts before a value becomes "an" if the value
begins with a vowel sound.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from taleward.core.errors import InvalidInputs, UnknownName
from taleward.core.frozen_model import FrozenMapping, FrozenModel
from taleward.core.tale import PromptVersion
from taleward.core.yaml_files import load_yaml

_SHIPPED_FOLDER = Path(__file__).parent / "templates"
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_ARTICLE = re.compile(r"\b([Aa]) \{([a-z][a-z0-9_]*)\}")
# Spelling stands in for sound: "European", "one" and "unicorn" begin with a vowel but take "a".
_VOWEL_SOUND = re.compile(r"(?!eu|one\b|once\b|u[bcfkmnrst][aeiou])[aeiou]", re.IGNORECASE)


class Variable(FrozenModel):
    """A value that a template needs.

    Attributes:
        description: What the value is, shown to people.
        example: A value that works.
        max_length: Maximum length in characters.
    """

    description: str = Field(min_length=1)
    example: str = Field(min_length=1)
    max_length: int = Field(default=100, ge=1)


class Template(FrozenModel):
    """A prompt template: the beginning of a story with placeholders.

    Attributes:
        name: The template's name, the same as its file's.
        version: Changes whenever the text does.
        description: One sentence for people.
        text: The opening of the story; `{name}` is replaced by the value of that variable.
        variables: Every variable in the text, by name.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    version: str = Field(min_length=1)
    description: str = Field(min_length=1)
    text: str = Field(min_length=1)
    variables: FrozenMapping[str, Variable]

    @model_validator(mode="after")
    def _check_placeholders(self) -> Template:
        used, declared = set(_PLACEHOLDER.findall(self.text)), set(self.variables)
        if used != declared:
            msg = (
                f"the text uses {sorted(used - declared)} without declaring them, "
                f"and declares {sorted(declared - used)} without using them"
            )
            raise ValueError(msg)
        if "{" in (literal := _PLACEHOLDER.sub("", self.text)) or "}" in literal:
            msg = "braces may only enclose a variable's name (lowercase letters, digits, _), as in {setting}"
            raise ValueError(msg)
        return self

    @property
    def prompt(self) -> PromptVersion:
        """Name and version, for a tale's lineage."""
        return PromptVersion(name=self.name, version=self.version)

    def render(self, values: Mapping[str, Any]) -> str:
        """Fill in the template.

        Args:
            values: One text for each variable, by name.

        Raises:
            InvalidInputs: If values are missing, unknown, not text, empty or too long; the error lists all of them.
        """
        problems = [problem for name in self.variables for problem in self._problems(name, values)]
        problems += [f"unknown variable {name!r}" for name in sorted(set(values) - set(self.variables))]
        if problems:
            expected = ", ".join(f"{name} (for example {v.example!r})" for name, v in self.variables.items())
            raise InvalidInputs(self.name, problems, hint=f"The template takes: {expected}.")
        stripped = {name: str(value).strip() for name, value in values.items()}

        def with_article(match: re.Match[str]) -> str:
            return match[0].replace(" ", "n ", 1) if _VOWEL_SOUND.match(stripped[match[2]]) else match[0]

        # Articles first: a value may itself contain "a {setting}", which must stay as typed.
        return _PLACEHOLDER.sub(lambda match: stripped[match[1]], _ARTICLE.sub(with_article, self.text))

    def _problems(self, name: str, values: Mapping[str, Any]) -> list[str]:
        if name not in values:
            return [f"{name!r} is missing: {self.variables[name].description}"]
        value, max_length = values[name], self.variables[name].max_length
        if not isinstance(value, str):
            return [f"{name!r} must be text, not {type(value).__name__}"]
        if not value.strip():
            return [f"{name!r} is empty: {self.variables[name].description}"]
        if len(value) > max_length:
            return [f"{name!r} has {len(value)} characters; the maximum is {max_length}"]
        return []


def template_names(folder: str | Path | None = None) -> tuple[str, ...]:
    """List the available templates, sorted: the shipped ones and those in `folder`."""
    return tuple(sorted(_template_files(folder)))


def load_template(name: str | Template, folder: str | Path | None = None) -> Template:
    """Load a template by name.

    Args:
        name: A template's name. A `Template` is returned unchanged.
        folder: A folder with your own templates, which take precedence over shipped ones of the same name.

    Raises:
        UnknownName: If there is no such template or folder; the message lists the available templates.
        InvalidFile: If the file is not a valid template; the message gives the lines.
    """
    if isinstance(name, Template):
        return name
    files = _template_files(folder)
    if name not in files:
        raise UnknownName("template", name, files)
    return load_yaml(files[name], Template)


def _template_files(folder: str | Path | None) -> dict[str, Path]:
    folders = [_SHIPPED_FOLDER, *([Path(folder)] if folder is not None else [])]
    if not folders[-1].is_dir():
        raise UnknownName("template folder", str(folder), [], hint="Give a folder that contains .yaml files.")
    return {file.stem: file for parent in folders for file in sorted(parent.glob("*.yaml"))}
