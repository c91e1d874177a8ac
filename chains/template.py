"""Prompt templates: YAML files with a name, a version, a text, declared variables, and variants for age bands.

A template's texts are literal except for `{variable}`; see `taleward.chains.template_text`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from taleward.chains.template_html import template_html
from taleward.chains.template_text import VARIABLE_NAME, fill, placeholder_problems, placeholders
from taleward.core.errors import InvalidInputs, UnknownName
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.tale import PromptVersion
from taleward.core.yaml_files import Location, YamlFile

TEMPLATE_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_SHIPPED_FOLDER = Path(__file__).parent / "templates"


class Variable(FrozenModel):
    """A value that a template needs.

    Attributes:
        description: What the value is, shown to people.
        example: A value that works, and that goes with the examples of the template's other variables.
        max_length: Maximum length in characters.
    """

    description: str = Field(min_length=1)
    example: str = Field(min_length=1)
    max_length: int = Field(default=100, ge=1)


class BandVariant(FrozenModel):
    """How a template is worded for one age band.

    Attributes:
        text: The opening of the story for this band; `None` for the template's own.
        guidance: What a story for this band should do, in addition to the policy's rules for the band. It becomes part
            of a chat model's instructions, so it contains no variables. Other models do not get it.
    """

    text: str | None = Field(default=None, min_length=1)
    guidance: str = Field(min_length=1)


class TemplateFields(FrozenModel):
    """The fields of a `Template`, whose texts may still have problems; see `template_problems`."""

    name: str = Field(pattern=f"^{TEMPLATE_NAME.pattern}$")
    version: str = Field(min_length=1)
    description: str = Field(min_length=1)
    text: str = Field(min_length=1)
    variables: FrozenMapping[str, Variable]
    request: str | None = Field(default=None, min_length=1)
    examples: tuple[FrozenMapping[str, str], ...] = ()
    bands: FrozenMapping[str, BandVariant] = FrozenDict()


class Template(TemplateFields):
    """A prompt template: the beginning of a story with placeholders.

    Every text uses every variable, so that no value which a reader enters is lost.

    Attributes:
        name: The template's name, the same as its file's.
        version: Changes whenever a text does.
        description: One sentence for people.
        text: The opening of the story; `{name}` is replaced by the value of that variable. Bands without an opening of
            their own use it.
        variables: Every variable in the texts, by name.
        request: What to ask a model for that takes requests but follows no instructions, such as the embedded
            storyteller; `None` for `text`. It is the same for every band.
        examples: Further sets of values that go together, beside the examples of the variables.
        bands: The variants, by age band. A band that is not listed uses `text` without guidance.
    """

    @model_validator(mode="after")
    def _check_texts(self) -> Template:
        if problems := template_problems(self.model_dump()):
            raise ValueError("; ".join(f"{'.'.join(map(str, place))}: {problem}" for place, problem in problems))
        return self

    def _repr_html_(self) -> str:
        return template_html(self)

    @property
    def prompt(self) -> PromptVersion:
        """Name and version, for a tale's lineage."""
        return PromptVersion(name=self.name, version=self.version)

    @property
    def example_values(self) -> tuple[dict[str, str], ...]:
        """Sets of values that go together; the first one consists of the variables' own examples."""
        first = {name: variable.example for name, variable in self.variables.items()}
        return first, *map(dict, self.examples)

    def text_for(self, band: str | None = None) -> str:
        """Return the opening for an age band, with placeholders; for `None` or a band without its own, `text`."""
        variant = self.bands.get(band) if band is not None else None
        return self.text if variant is None or variant.text is None else variant.text

    def guidance_for(self, band: str) -> str:
        """Return what a story for this age band should do; empty if the template does not say."""
        return self.bands[band].guidance if band in self.bands else ""

    def render(self, values: Mapping[str, Any], band: str | None = None) -> str:
        """Fill in the opening.

        Args:
            values: One text for each variable, by name.
            band: The age band whose opening to fill in; by default `text`.

        Raises:
            InvalidInputs: If values are missing, unknown, not text, empty or too long; the error lists all of them.
        """
        return fill(self.text_for(band), self.checked_values(values))

    def render_request(self, values: Mapping[str, Any]) -> str:
        """Fill in the request for a model that follows no instructions.

        Args:
            values: One text for each variable, by name.

        Raises:
            InvalidInputs: As for `render`.
        """
        return fill(self.request or self.text, self.checked_values(values))

    def checked_values(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the values without space around them, in the order of the template's variables.

        Raises:
            InvalidInputs: As for `render`.
        """
        problems = [problem for name in self.variables for problem in self._problems(name, values)]
        problems += [f"unknown variable {name!r}" for name in sorted(set(values) - set(self.variables))]
        if problems:
            expected = ", ".join(f"{name} (for example {v.example!r})" for name, v in self.variables.items())
            raise InvalidInputs(self.name, problems, hint=f"The template takes: {expected}.")
        return {name: str(values[name]).strip() for name in self.variables}

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
    file = YamlFile(files[name], "template")
    file.validate(TemplateFields, problems=template_problems(file.data))
    return file.validate(Template)


def template_problems(data: Any) -> list[tuple[Location, str]]:
    """Find what is wrong with the texts and examples of a template, each with its place.

    Args:
        data: A template's fields as plain data. Whatever has the wrong type is skipped: validation reports it.
    """
    fields = _mapping(data)
    variables = _mapping(fields.get("variables"))
    bands = {band: _mapping(variant) for band, variant in _mapping(fields.get("bands")).items()}
    problems: list[tuple[Location, str]] = [
        (("variables", name), "is not a variable's name: use lowercase letters, digits and _, beginning with a letter")
        for name in variables
        if not VARIABLE_NAME.fullmatch(str(name))
    ]
    if isinstance(text := fields.get("text"), str):
        problems += [(("text",), problem) for problem in placeholder_problems(text, variables)]
        problems += [
            (("variables", name), "is not used in `text`; write {" + str(name) + "} there, or remove the variable")
            for name in variables
            if name not in placeholders(text)
        ]
    others: dict[Location, Any] = {("request",): fields.get("request")}
    others |= {("bands", band, "text"): variant.get("text") for band, variant in bands.items()}
    for place, other in others.items():
        if isinstance(other, str):
            problems += [(place, problem) for problem in placeholder_problems(other, variables)]
            unused = [name for name in variables if name not in placeholders(other)]
            problems += [(place, f"does not use {{{name}}}; a reader's value for it would be lost") for name in unused]
    guidance_problem = (
        "contains braces, but takes no variables: it is an instruction to the model, and a reader's words must not "
        "become one; describe the character or thing in your own words"
    )
    problems += [
        (("bands", band, "guidance"), guidance_problem)
        for band, variant in bands.items()
        if set("{}") & set(str(variant.get("guidance", "")))
    ]
    return problems + list(_example_problems(fields, variables))


def _example_problems(fields: Mapping[Any, Any], variables: Mapping[Any, Any]) -> Iterator[tuple[Location, str]]:
    declared = {name: _mapping(variable) for name, variable in variables.items()}
    places: dict[Location, tuple[Any, Any]] = {
        ("variables", name, "example"): (name, variable.get("example")) for name, variable in declared.items()
    }
    sets = fields.get("examples")
    for number, values in enumerate(map(_mapping, sets if isinstance(sets, list | tuple) else ())):
        for name in variables:
            if name not in values:
                yield ("examples", number), f"has no value for {name!r}; every set of examples needs all variables"
        for name, value in values.items():
            if name in variables:
                places["examples", number, name] = (name, value)
            else:
                yield ("examples", number, name), "is not a variable of this template; declare it, or remove the value"
    for place, (name, value) in places.items():
        max_length = declared[name].get("max_length", 100)
        if isinstance(value, str) and value and not value.strip():
            yield place, "is blank; give a value that works"
        elif isinstance(value, str) and isinstance(max_length, int) and len(value) > max_length:
            yield place, f"has {len(value)} characters, but `max_length` is {max_length}; shorten it, or allow more"


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _template_files(folder: str | Path | None) -> dict[str, Path]:
    folders = [_SHIPPED_FOLDER, *([Path(folder)] if folder is not None else [])]
    if not folders[-1].is_dir():
        raise UnknownName("template folder", str(folder), [], hint="Give a folder that contains .yaml files.")
    return {file.stem: file for parent in folders for file in sorted(parent.glob("*.yaml"))}
