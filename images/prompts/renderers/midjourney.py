"""Prompts for Midjourney, to copy: parse one, check one, and render one from a spec. There is no API to send it to."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import Field, field_validator, model_validator

from taleward.core.errors import InvalidInputs
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.images.picture_phrases import join_phrases
from taleward.images.prompt_spec import OptionValue, PromptSpec
from taleward.images.prompts.midjourney_parameters import (
    combination_problems,
    midjourney_parameters,
    parameter_name,
    parse_value,
    unknown_parameter,
    value_problem,
)
from taleward.images.prompts.rendered import RenderedPrompt, phrases_of, sanitized_spec

_COMMAND = re.compile(r"^\s*/imagine\s*(?:prompt\s*:)?\s*", re.IGNORECASE)
_PARAMETER_START = re.compile(r"(?:^|(?<=\s))(?:--|[\u2013\u2014])(?=[A-Za-z])")
_DASHED_WORD = re.compile(r"(?:--|\u2014)([A-Za-z]+)")
_IMAGE_URL = re.compile(r"https?://\S+")
_PART = re.compile(r"(?P<text>[^:]*(?::(?!:)[^:]*)*)(?:::(?P<weight>-?[0-9]+(?:\.[0-9]+)?)?|$)")
_HINT = "Midjourney's form is: /imagine prompt: [image addresses] words --parameter value --parameter value"


class WeightedText(FrozenModel):
    """A part of a prompt with its weight, as in `fox::2`.

    Attributes:
        text: The words, without Midjourney's syntax; see `sanitize`.
        weight: The weight, rounded to four decimals.
    """

    text: str
    weight: float = Field(default=1.0, ge=-1000, le=1000)

    @field_validator("text")
    @classmethod
    def _check_text(cls, text: str) -> str:
        if "::" in text or _PARAMETER_START.search(text) or _IMAGE_URL.match(text) or text != _tidy(text):
            msg = f"got {text!r}; the words of a prompt hold no parameters, weights or addresses: sanitize them first"
            raise ValueError(msg)
        return text

    @field_validator("weight")
    @classmethod
    def _round(cls, weight: float) -> float:
        return round(weight, 4)


class MidjourneyPrompt(FrozenModel):
    """A prompt for Midjourney, parsed.

    Attributes:
        parts: The words; several parts have weights.
        images: Addresses of pictures to start from.
        parameters: Parameters by their full names, such as `{"ar": "16:9", "stylize": 750, "tile": True}`.
    """

    parts: tuple[WeightedText, ...]
    images: tuple[str, ...] = ()
    parameters: FrozenMapping[str, OptionValue] = FrozenDict()

    @model_validator(mode="after")
    def _check(self) -> MidjourneyPrompt:
        if problems := [*self._part_problems(), *_parameter_problems(self.parameters, weighted=self.is_weighted)]:
            raise ValueError("; ".join(problems))
        return self

    @property
    def is_weighted(self) -> bool:
        """Whether parts have weights."""
        return len(self.parts) > 1 or any(part.weight != 1 for part in self.parts)

    @property
    def text(self) -> str:
        """The words, with weights if there are any, without addresses and parameters."""
        if not self.is_weighted:
            return self.parts[0].text if self.parts else ""
        return " ".join(f"{part.text}::{_format_number(part.weight)}" for part in self.parts)

    @property
    def command(self) -> str:
        """The whole command, to copy."""
        parameters = [_render_parameter(name, value) for name, value in self.parameters.items()]
        return " ".join(["/imagine prompt:", *self.images, *([self.text] if self.text else []), *parameters])

    def _part_problems(self) -> list[str]:
        problems = []
        if not any(part.text for part in self.parts) and not self.images:
            problems.append("there are no words: say what is to be seen before the first --parameter")
        if self.is_weighted and sum(part.weight for part in self.parts) <= 0:
            weights = ", ".join(f"{part.weight:g}" for part in self.parts)
            problems.append(f"the sum of all weights must be above 0; got {weights}")
        return problems


def parse_midjourney(prompt: str) -> MidjourneyPrompt:
    """Parse and check a prompt as it is typed, with or without `/imagine prompt:`.

    Aliases become full names (`--s` is `stylize`), and a dash that a phone made of `--` is taken for it.

    Raises:
        InvalidInputs: If a parameter is unknown, or a value is missing or out of range; all problems are listed.
    """
    head, *tails = _PARAMETER_START.split(" ".join(_COMMAND.sub("", prompt).split()))
    problems: list[str] = []
    parameters: dict[str, OptionValue] = {}
    for tail in tails:
        word, _, value_text = tail.strip().partition(" ")
        name = parameter_name(word.lower())
        if name is None:
            problems.append(unknown_parameter(word))
            continue
        value, problem = parse_value(name, value_text.strip())
        if name in parameters and name != "no":
            problems.append(f"--{name} is given twice; leave one")
        elif problem:
            problems.append(problem)
        parameters[name] = f"{parameters[name]}, {value}" if name == "no" and name in parameters else value
    if glued := next((match[0] for match in _DASHED_WORD.finditer(head) if parameter_name(match[1].lower())), None):
        problems.append(f"put a space before {glued}, and parameters at the end")
    words = head.split()
    count = next((i for i, word in enumerate(words) if not _IMAGE_URL.fullmatch(word)), len(words))
    parts = _parse_parts(" ".join(words[count:]))
    if not problems:
        probe = MidjourneyPrompt.model_construct(parts=parts, images=tuple(words[:count]), parameters=parameters)
        problems += [*probe._part_problems(), *combination_problems(parameters, weighted=probe.is_weighted)]
    if problems:
        raise InvalidInputs(None, problems, hint=_HINT)
    return MidjourneyPrompt(parts=parts, images=tuple(words[:count]), parameters=parameters)


def render_midjourney(spec: PromptSpec) -> RenderedPrompt:
    """Render a spec as a command to copy; `arguments` are its parameters.

    Options of the platform `midjourney` are Midjourney's parameters by full name or alias: `{"stylize": 750}`.

    Raises:
        InvalidInputs: If an option is no parameter of Midjourney, or has a wrong value.
    """
    parameters, notes = _parameters(spec)
    clean = sanitized_spec(spec, "midjourney")
    if clean.negative and "no" not in parameters:
        parameters["no"] = ", ".join(text.replace(",", " ") for text in clean.negative)
    if problems := _parameter_problems(parameters, weighted=False):
        raise InvalidInputs(None, problems, hint="Change options={'midjourney': ...} of the spec.")
    prompt = MidjourneyPrompt(
        parts=(WeightedText(text=_tidy(join_phrases(*phrases_of(clean)))),), parameters=parameters
    )
    return RenderedPrompt(
        platform="midjourney", prompt=prompt.command, arguments=dict(prompt.parameters), notes=tuple(notes)
    )


def _parameters(spec: PromptSpec) -> tuple[dict[str, OptionValue], list[str]]:
    """Return the parameters for format, quality and options of a spec, and notes about what has none."""
    notes: list[str] = []
    options = spec.options.get("midjourney", {})
    if unknown := [unknown_parameter(name) for name in options if parameter_name(name) is None]:
        raise InvalidInputs(None, unknown, hint="Change options={'midjourney': ...} of the spec.")
    width, height = spec.ratio
    parameters: dict[str, OptionValue] = {} if width == height else {"ar": f"{width}:{height}"}
    if spec.quality == "draft":
        parameters["draft"] = True
    elif spec.quality == "high" and "quality" not in options and "q" not in options:
        notes.append("quality high has no parameter that every version takes; for version 7 set the option quality: 2")
    for name, value in options.items():
        full = parameter_name(name) or name
        # `tile: false` is the same as not to mention it.
        if value is not False:
            parameters[full] = str(value) if midjourney_parameters()[full].kind == "choice" else value
    return parameters, notes


def _parameter_problems(parameters: Mapping[str, OptionValue], *, weighted: bool) -> list[str]:
    unknown = [unknown_parameter(name) for name in parameters if name not in midjourney_parameters()]
    if unknown:
        return unknown
    values = [problem for name, value in parameters.items() if (problem := value_problem(name, value))]
    return values or combination_problems(parameters, weighted=weighted)


def _parse_parts(text: str) -> tuple[WeightedText, ...]:
    if "::" not in text:
        return (WeightedText(text=_tidy(text)),)
    matches = [(_tidy(match["text"]), match["weight"]) for match in _PART.finditer(text)]
    return tuple(WeightedText(text=words, weight=float(weight or 1)) for words, weight in matches if words or weight)


def _tidy(text: str) -> str:
    """Remove white space and colons at the ends, where a colon would join the weight's two."""
    return " ".join(text.split()).strip(": ")


def _render_parameter(name: str, value: OptionValue) -> str:
    if value is True or value == "":
        return f"--{name}"
    return f"--{name} {_format_number(value) if isinstance(value, float) else value}"


def _format_number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")
