"""Check a template file more strictly than loading does: what would go wrong with readers, models or age bands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from taleward.chains.template import TEMPLATE_NAME, Template, TemplateFields, template_problems
from taleward.chains.template_text import placeholders
from taleward.core.errors import InvalidFile
from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Policy
from taleward.core.yaml_files import Location, YamlFile, did_you_mean

SAFE_MAX_LENGTH = 200
"""Characters of a value above which there is room for a paragraph of instructions."""
_MIN_EXAMPLE_SETS = 2
# A placeholder with nothing but the end of a sentence on either side, quotation marks apart.
_SENTENCE_OF_ITS_OWN = re.compile(r"(?:^|[.!?:\n])[\s\"'“”]*\{([a-z][a-z0-9_]*)\}[\"'“”]?(?=[.!?\n]|\s*$)")
_INSTRUCTION = re.compile(r"\s*(?:please\s+)?(?:write|tell|generate|create|compose|you are|imagine)\b", re.IGNORECASE)


class TemplateAdvice(FrozenModel):
    """Something that does not keep a template from being used, but should be changed.

    Attributes:
        line: Line in the file, from 1.
        place: The field, such as `bands.3-5.text`.
        message: What is wrong, and how to correct it.
    """

    line: int
    place: str
    message: str


def check_template(path: Path, policy: Policy) -> tuple[Template, tuple[TemplateAdvice, ...]]:
    """Check a template file.

    Args:
        path: The `.yaml` file.
        policy: The policy whose age bands the template should have variants for.

    Returns:
        The template, and advice by line; none if all is well.

    Raises:
        InvalidFile: If the file cannot be used as a template; all problems are listed with their lines.
    """
    try:
        file = YamlFile(path, "template")
    except InvalidFile as error:
        error.hint = error.hint or (
            "Write `text: >-` and the text on the next lines, indented: there, braces, colons and quotes mean nothing."
        )
        raise
    problems = template_problems(file.data)
    name = file.data.get("name") if isinstance(file.data, dict) else None
    if isinstance(name, str) and name != path.stem and TEMPLATE_NAME.fullmatch(name):
        fix = f"a template is loaded by its file's name; write name: {path.stem}, or rename the file to {name}.yaml"
        problems.append((("name",), f"is {name!r}, but {fix}"))
    try:
        file.validate(TemplateFields, problems=problems)
    except InvalidFile as error:
        error.hint = error.hint or "Correct these lines; `taleward templates show adventure` is an example."
        raise
    template = file.validate(Template)
    advice = [
        TemplateAdvice(line=file.line_of(place), place=".".join(map(str, place)), message=message)
        for place, message in template_advice(template, policy)
    ]
    return template, tuple(sorted(advice, key=lambda item: item.line))


def template_advice(template: Template, policy: Policy) -> Iterator[tuple[Location, str]]:
    """Find what should be changed in a valid template, each with its place.

    Args:
        template: The template.
        policy: The policy whose age bands it should have variants for.
    """
    for band in policy.bands:
        if band not in template.bands:
            yield ("bands",), f"has no variant for {band}, which gets `text` without guidance; add {band!r} to `bands`"
    for band in template.bands:
        if band not in policy.bands:
            known, suggestion = ", ".join(policy.bands), did_you_mean(band, policy.bands)
            yield ("bands", band), f"is not a band of policy {policy.name!r};{suggestion} known: {known}"
    if len(template.example_values) < _MIN_EXAMPLE_SETS:
        yield ("examples",), "is missing; add one or two more sets of values that read well together"
    for name, variable in template.variables.items():
        if variable.max_length > SAFE_MAX_LENGTH:
            message = (
                f"leaves room for {variable.max_length} characters, enough to smuggle in instructions to the model; "
                f"allow {SAFE_MAX_LENGTH} or fewer"
            )
            yield ("variables", name, "max_length"), message
    texts: dict[Location, str] = {("text",): template.text}
    texts |= {("bands", band, "text"): variant.text for band, variant in template.bands.items() if variant.text}
    for place, text in texts.items():
        for message in _text_advice(text):
            yield place, message


def _text_advice(text: str) -> Iterator[str]:
    for name in dict.fromkeys(_SENTENCE_OF_ITS_OWN.findall(text)):
        yield (
            f"{{{name}}} is a sentence of its own, where a reader's value can pose as an instruction to the model; put "
            "words of the story around it"
        )
    if _INSTRUCTION.match(text):
        name = next(iter(placeholders(text)), "character")
        yield (
            "begins like an instruction, but a text is the beginning of the story; begin with a sentence such as "
            f"'Once there was a {{{name}}}.', and put instructions into `guidance`"
        )


STARTER = """\
# A template is the beginning of a story with {{placeholders}}. Check this file with
#   taleward templates check {path}
name: {name}
version: "1"  # change it whenever you change a text
description: Someone finds something that nobody else wants.  # one sentence, for lists

# The opening, for every age band without an opening of its own. Only {{name}} has a meaning. A value is put in as it
# was typed, but "a {{thing}}" becomes "an ..." before a vowel, and "a" and "the" give way to a value's own article.
text: >-
  At the end of a {{setting}} lived a {{character}}, who had once found a {{thing}} there. Nobody else wanted it.
  But one morning somebody knocked and asked for it.

# Three to six variables. The examples here should read well together. max_length is 100 unless you say otherwise; keep
# it short, so that a value has no room for instructions to the model.
variables:
  setting: {{description: where the story takes place, example: long and windy pier}}
  character: {{description: who the story is about, example: retired juggler, max_length: 60}}
  thing: {{description: what was found, example: bent key}}

# Further sets of values that go together; each has all of the variables.
examples:
  - {{setting: street without cars, character: girl with two braids, thing: humming stone}}

# For models that take requests but follow no instructions, such as embedded:storyteller-mini. Stay close to this form,
# on which that model was trained. Without a request, it gets `text`.
request: >-
  Once upon a time, in a {{setting}}, there lived a {{character}}. One day, the {{character}} discovered a {{thing}}.

# What a story for each age band should be like. `guidance` is an instruction to the model and takes no variables;
# `text` is an opening for the band, with all of the variables. The bands are those of the policy `kids`.
bands:
  "3-5":
    text: >-
      Here is a {{setting}}. Who lives here? A {{character}}! Look, a {{thing}}. Knock, knock! Who is there?
    guidance: >-
      Tell it in 100 to 150 words, in short sentences. Let "Knock, knock!" come back three times. End with everyone
      safe and comforted.
  "6-8":
    guidance: >-
      Tell it in 250 to 350 words. There is one small peril, and it ends well.
  "9-12":
    guidance: >-
      Tell it in 500 to 700 words, with real suspense, and give the hero something to hold on to.
"""
"""The file that `taleward templates new` writes, with the fields `name` and `path`."""
