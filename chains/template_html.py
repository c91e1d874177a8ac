"""The HTML that notebooks show for a template: its texts with the variables marked, and examples."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from taleward.chains.template_text import split_placeholders
from taleward.core.html_tables import Html, notebook_box, notebook_table

if TYPE_CHECKING:
    from taleward.chains.template import Template, Variable


def template_html(template: Template) -> Html:
    """Format a template: the text and guidance per band, the request, the variables, and the sets of examples."""
    texts = [["text", _marked(template.text, template.variables), ""]]
    if template.request is not None:
        texts.append(["request", _marked(template.request, template.variables), ""])
    for band, variant in template.bands.items():
        text = (
            Html("<em>as in the first row</em>") if variant.text is None else _marked(variant.text, template.variables)
        )
        texts.append([f"ages {band}", text, variant.guidance])
    variables = [[name, v.description, f"{v.max_length}"] for name, v in template.variables.items()]
    examples = ([values[name] for name in template.variables] for values in template.example_values)
    numbered = [[str(number), *values] for number, values in enumerate(examples, 1)]
    return notebook_box(
        f"{template.name}@{template.version}",
        template.description,
        notebook_table(["", "text", "guidance for chat models"], texts),
        notebook_table(["variable", "meaning", "characters at most"], variables),
        notebook_table(["example", *template.variables], numbered),
    )


def _marked(text: str, variables: Mapping[str, Variable]) -> Html:
    """Return a text with each variable in a `code` element that says what it stands for."""
    parts = []
    for literal, name in split_placeholders(text):
        parts.append(escape(literal))
        if name:
            meaning = escape(variables[name].description, quote=True)
            parts.append(f'<code style="border:1px solid #8888;border-radius:3px" title="{meaning}">{{{name}}}</code>')
    return Html("".join(parts))
