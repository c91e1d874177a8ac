"""Print prompts for pictures: a spec, what a critique found, and a rendered prompt."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from taleward.cli.output.console import print_warning, printable
from taleward.images.prompt_spec import PromptSpec
from taleward.images.prompts.critique import PromptCritique
from taleward.images.prompts.rendered import RenderedPrompt

_stdout = Console(highlight=False)

_KIND_STYLES = {"missing": "yellow", "optional": "dim"}


def show_spec(spec: PromptSpec) -> None:
    """Print the fields of a spec that are not empty, and its description."""
    _stdout.print(_fields(spec))
    _stdout.print()
    _stdout.print(Text(printable(spec.prompt)))


def show_critique(critique: PromptCritique) -> None:
    """Print how a prompt was understood, and what to change."""
    _stdout.print(_fields(critique.spec))
    _stdout.print()
    if not critique.findings:
        _stdout.print(Text("nothing is missing", style="green"))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in critique.findings:
        kind = Text(finding.kind.replace("_", " "), style=_KIND_STYLES.get(finding.kind, "red"))
        table.add_row(kind, Text(printable(f"{finding.message}; {finding.suggestion}")))
    _stdout.print(table)


def show_rendered(rendered: RenderedPrompt, *, as_json: bool) -> None:
    """Print a rendered prompt to standard output, ready to be copied, and notes to standard error."""
    if as_json:
        sys.stdout.write(rendered.model_dump_json(indent=2) + "\n")
        return
    # `print` of Rich would break the line that is to be copied.
    sys.stdout.write(printable(rendered.text) + "\n")
    if rendered.platform != "midjourney":
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, value in rendered.arguments.items():
            table.add_row(Text(name, style="dim"), Text(printable(str(value))))
        _stdout.print(table)
    for note in rendered.notes:
        print_warning(note)


def _fields(spec: PromptSpec) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in spec:
        if value in ("", (), None) or (name in ("aspect_ratio", "quality", "options") and value == _DEFAULTS[name]):
            continue
        table.add_row(Text(name.replace("_", " "), style="dim"), Text(printable(_format(name, value, spec))))
    return table


def _format(name: str, value: object, spec: PromptSpec) -> str:
    if name == "cast":
        return "; ".join(member.sentence for member in spec.cast)
    if name == "text_shown" and spec.text_shown:
        return spec.text_shown.sentence()
    if name == "options":
        pairs = [f"{platform}: {key}={v}" for platform, items in spec.options.items() for key, v in items.items()]
        return ", ".join(pairs)
    return "; ".join(map(str, value)) if isinstance(value, tuple) else str(value)


_DEFAULTS = {name: field.get_default() for name, field in PromptSpec.model_fields.items()}
