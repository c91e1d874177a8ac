"""Print templates: the list, one of them, and what `check` found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from taleward.chains.template import Template
from taleward.chains.template_check import TemplateAdvice
from taleward.cli.output.console import printable
from taleward.core.errors import InvalidFile

_stdout = Console(highlight=False)


def list_templates(templates: Mapping[str, Template | InvalidFile]) -> None:
    """Print a line for each template, by name; a file that is not valid gets the command that says why."""
    table = Table("name", "version", "age bands", "description", box=None, pad_edge=False)
    for name, template in templates.items():
        if isinstance(template, Template):
            cells = (template.version, ", ".join(template.bands) or "all alike", template.description)
        else:
            cells = ("-", "-", "not valid; see `taleward templates check` with its file")
        table.add_row(*(Text(printable(cell)) for cell in (name, *cells)))
    _stdout.print(table)
    _stdout.print(Text("Details: taleward templates show NAME", style="dim"))


def show_template(template: Template, band: str | None = None) -> None:
    """Print a template's variables, example values and texts.

    Args:
        template: The template.
        band: Print only the variant for this age band, and its opening filled in; by default all bands.
    """
    _print(Text(f"{template.name}@{template.version}", style="bold"), template.description, "")
    table = Table("variable", "description", "max length", "examples that go together", show_lines=True)
    for name, variable in template.variables.items():
        examples = "\n".join(f"{n}. {values[name]}" for n, values in enumerate(template.example_values, 1))
        table.add_row(*map(_cell, (name, variable.description, f"{variable.max_length}", examples)))
    _stdout.print(table)
    if not template.bands:
        _print("", _heading("opening, for every age band"), _opening(template.text))
    for name in [band] if band is not None else template.bands:
        _print("", _heading(f"ages {name}"), _opening(template.text_for(name)))
        if guidance := template.guidance_for(name):
            _print(Text.assemble(("guidance: ", "bold"), printable(guidance)))
    if band is not None:
        _print("", _heading("filled in"), template.render(template.example_values[0], band))
    elif template.request:
        _print("", _heading("request, for models that follow no instructions"), _opening(template.request))


def show_check(file: Path, template: Template, advice: Sequence[TemplateAdvice]) -> None:
    """Print what should be changed in a template that can be used, or that all is well."""
    if not advice:
        parts = f"{len(template.variables)} variables, {len(template.example_values)} sets of examples"
        bands = ", ".join(template.bands)
        _print(f"{file} is a valid template: {template.name}@{template.version}, {parts}, bands {bands}.")
        return
    _print(f"{file} can be used as a template, but:")
    for item in advice:
        _print(f"  - line {item.line}: {item.place}: {item.message}")


def _heading(text: str) -> Text:
    return Text(text, style="bold underline")


def _opening(text: str) -> Text:
    return Text(printable(text), style="italic")


def _cell(text: str) -> Text:
    return Text(printable(text))


def _print(*parts: str | Text) -> None:
    _stdout.print(*(Text(printable(part)) if isinstance(part, str) else part for part in parts), sep="\n")
