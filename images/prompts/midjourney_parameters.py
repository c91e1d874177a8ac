"""Midjourney's parameters: names, aliases and ranges, and the checks of single values and of their combination."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.yaml_files import YamlFile, did_you_mean
from taleward.images.aspect_ratio import parse_ratio
from taleward.images.prompt_spec import OptionValue

_DATA = Path(__file__).parent / "data" / "midjourney_parameters.yaml"
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
_DECIMAL = re.compile(r"[+-]?[0-9]{0,12}\.?[0-9]{1,6}")
_DASHES = re.compile(r"--|[\u2010-\u2015]|[\r\n]")
_PUNCTUATION = ",.;!?"


class MidjourneyParameter(FrozenModel):
    """What a parameter takes.

    Attributes:
        kind: The form of its value; `optional` is a word or nothing.
        aliases: Other names.
        low: The lowest number.
        high: The highest number.
        choices: The values, if only these are taken.
        since: The first version of the model that takes it.
        until: The last version of the model that takes it.
    """

    kind: Literal["ratio", "int", "float", "flag", "list", "text", "choice", "optional"]
    aliases: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    choices: tuple[str | float, ...] = ()
    since: float | None = None
    until: float | None = None

    @property
    def allowed(self) -> str:
        """The values it takes, in words."""
        match self.kind:
            case "ratio":
                return "takes width:height in whole numbers, such as 16:9"
            case "int" | "float" if not self.choices:
                return f"takes {'a whole' if self.kind == 'int' else 'a'} number from {self.low:g} to {self.high:g}"
            case "flag":
                return "takes no value"
            case "list":
                return "takes words separated by commas"
            case "text":
                return "takes an address or a code"
            case "optional":
                return "takes a code, or nothing"
        return f"takes one of {', '.join(c if isinstance(c, str) else f'{c:g}' for c in self.choices)}"


class _Parameters(FrozenModel):
    parameters: FrozenMapping[str, MidjourneyParameter] = FrozenDict()


@lru_cache(maxsize=1)
def midjourney_parameters() -> Mapping[str, MidjourneyParameter]:
    """Return all parameters by name."""
    return YamlFile(_DATA, "parameters").validate(_Parameters).parameters


def parameter_name(name: str) -> str | None:
    """Return the full name for a name or alias; `None` if there is no such parameter."""
    known = midjourney_parameters()
    if name in known:
        return name
    return next((full for full, parameter in known.items() if name in parameter.aliases), None)


def unknown_parameter(name: str) -> str:
    """Return the message for a name that no parameter has."""
    known = midjourney_parameters()
    close = did_you_mean(name, [*known, *(alias for p in known.values() for alias in p.aliases)])
    return f"there is no parameter --{name};{close} known: {', '.join(f'--{k}' for k in sorted(known))}"


def parse_value(name: str, text: str) -> tuple[OptionValue, str | None]:
    """Return the value that a text stands for, and what is wrong with it.

    Args:
        name: The full name of a parameter.
        text: What came after it.
    """
    parameter = midjourney_parameters()[name]
    value: OptionValue = text
    match parameter.kind:
        case "flag" if not text:
            value = True
        case "int" if _INTEGER.fullmatch(text):
            value = int(text)
        case "float" if _DECIMAL.fullmatch(text):
            value = round(float(text), 4)
        case "list":
            value = ", ".join(item for part in text.split(",") if (item := " ".join(part.split())))
    return value, value_problem(name, value)


def value_problem(name: str, value: OptionValue) -> str | None:
    """Return what is wrong with the value of a parameter; `None` if nothing."""
    parameter = midjourney_parameters()[name]
    if _fits(parameter, value):
        return None
    got = f"--{name} {parameter.allowed}; got {value!r}" if value not in ("", True) else f"--{name} {parameter.allowed}"
    if isinstance(value, str):
        if value.rstrip(_PUNCTUATION) != value and parse_value(name, value.rstrip(_PUNCTUATION))[1] is None:
            return f"{got}; leave out the punctuation after it"
        if parameter.kind == "ratio" and ":" in value and (fixed := _whole_ratio(value)):
            return f"{got}; write {fixed}"
    return got


def combination_problems(parameters: Mapping[str, OptionValue], *, weighted: bool) -> list[str]:
    """Return what parameters contradict each other, or the version of the model they name.

    Args:
        parameters: The parameters by full name.
        weighted: Whether the prompt has weighted parts, as in `fox::2 snow::1`.
    """
    problems = []
    if "v" in parameters and "niji" in parameters:
        problems.append("--v and --niji name two models; leave out one of them")
    known, version = midjourney_parameters(), _version(parameters)
    if version is not None:
        for name in parameters:
            since, until = known[name].since, known[name].until
            if since is not None and version < since:
                problems.append(f"--{name} needs version {since:g} or later; the prompt names version {version:g}")
            if until is not None and version > until:
                successor = "; use --oref" if name == "cref" else ""
                problems.append(f"--{name} is for versions up to {until:g}; the prompt names {version:g}{successor}")
        if weighted and version >= 7:
            problems.append(f"weights such as 'fox::2' are for versions up to 6.1; the prompt names {version:g}")
    for weight, reference in (("sw", "sref"), ("sv", "sref"), ("cw", "cref"), ("ow", "oref")):
        if weight in parameters and reference not in parameters:
            problems.append(f"--{weight} needs --{reference}, whose strength it is")
    if "oref" in parameters and parameters.get("quality") == 4:
        problems.append("--oref does not go with --quality 4; take 1 or 2")
    if len(speeds := [f"--{name}" for name in ("fast", "relax", "turbo") if name in parameters]) > 1:
        problems.append(f"{', '.join(speeds)} exclude each other; leave one")
    return problems


def _version(parameters: Mapping[str, OptionValue]) -> float | None:
    value = parameters.get("v", parameters.get("niji"))
    return None if value is None else float(str(value))


def _fits(parameter: MidjourneyParameter, value: OptionValue) -> bool:
    match parameter.kind:
        case "flag":
            return value is True
        case "ratio":
            return isinstance(value, str) and ":" in value and _is_ratio(value)
        case "int" | "float":
            is_number = isinstance(value, int if parameter.kind == "int" else int | float)
            if not is_number or isinstance(value, bool):
                return False
            low, high = parameter.low, parameter.high
            in_range = (low is None or value >= low) and (high is None or value <= high)  # type: ignore[operator]
            return in_range and (not parameter.choices or value in parameter.choices)
        case "choice":
            return value in parameter.choices
        case "list" | "text" | "optional":
            # A value must not begin another parameter.
            is_value = isinstance(value, str) and not _DASHES.search(value)
            return is_value and bool(value or parameter.kind == "optional")


def _is_ratio(text: str) -> bool:
    try:
        parse_ratio(text)
    except ValueError:
        return False
    return True


def _whole_ratio(text: str) -> str | None:
    try:
        parse_ratio(text)
    except ValueError as error:
        return str(error).partition("write '")[2].removesuffix("'") or None
    return None
