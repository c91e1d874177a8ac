"""Prompts for OpenAI's images API, and for servers that speak it: sizes and options per model, styles as words."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Self

from pydantic import model_validator

from taleward.core.errors import ConfigurationError, InvalidInputs, UnknownName
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.yaml_files import YamlFile
from taleward.images.picture_phrases import join_words, sentences
from taleward.images.prompt_spec import OptionValue, PictureQuality, PromptSpec
from taleward.images.prompts.rendered import (
    RenderedPrompt,
    check_options,
    choice_problem,
    number_problem,
    phrases_of,
    sanitized_spec,
)

MAX_PROMPT_CHARS = 32_000
_DATA = Path(__file__).parent.parent / "data" / "openai_models.yaml"
_MULTIPLE, _LONG_SIDE, _SQUARE_SIDE, _MAX_RATIO = 16, 1536, 1024, 3
_MAX_SIDES = (3840, 2160)
_QUALITIES: Mapping[PictureQuality, str] = {"draft": "low", "standard": "medium", "high": "high"}
_FORMATS = ("png", "webp", "jpeg")
_OPTIONS = ("background", "complexity", "moderation", "output_compression", "output_format", "quality", "size")
_RETIRED_OPTIONS = {
    "style": "style (vivid, natural) went with dall-e-3; say it in words, such as art_style='vivid digital painting'",
    "response_format": "response_format went with dall-e-3; pictures always come as base64",
}


class ImageModelFamily(FrozenModel):
    """What the models of a family take.

    Attributes:
        sizes: The sizes it draws; if there are none, any with sides divisible by 16, from 1:3 to 3:1.
        qualities: The values of `quality`.
        backgrounds: The values of `background`.
    """

    sizes: tuple[str, ...] = ()
    qualities: tuple[str, ...]
    backgrounds: tuple[str, ...] = ("auto",)


class ImageModelLife(FrozenModel):
    """A model and its days of life.

    Attributes:
        family: The family it belongs to.
        first_day: The day it appeared; `None` if that is not known.
        last_day: The first day on which it no longer answers; `None` if none is announced.
        replacement: The model to use instead.
    """

    family: str
    first_day: datetime.date | None = None
    last_day: datetime.date | None = None
    replacement: str | None = None


class OpenAIImageModels(FrozenModel):
    """All models and families that are known."""

    families: FrozenMapping[str, ImageModelFamily] = FrozenDict()
    models: FrozenMapping[str, ImageModelLife] = FrozenDict()

    @model_validator(mode="after")
    def _check_families(self) -> Self:
        unknown = sorted({m.family for m in self.models.values()} - set(self.families))
        if unknown:
            msg = f"these families are not defined: {', '.join(unknown)}"
            raise ValueError(msg)
        return self

    def live(self, today: datetime.date) -> list[str]:
        """Return the names of the models that answer on a day and have no announced end, then those that have."""
        alive = [name for name, model in self.models.items() if model.last_day is None or today < model.last_day]
        return sorted(alive, key=lambda name: self.models[name].last_day is not None)


@lru_cache(maxsize=1)
def openai_image_models() -> OpenAIImageModels:
    """Return what is known about the image models of OpenAI's API."""
    return YamlFile(_DATA, "image models").validate(OpenAIImageModels)


def check_openai_model(model: str, *, today: datetime.date | None = None) -> tuple[ImageModelFamily, tuple[str, ...]]:
    """Return what a model takes, and a note if its end is announced.

    Args:
        model: The model's name.
        today: The day to check for; `None` is today.

    Raises:
        ConfigurationError: If the model is retired; the hint names its replacement.
        UnknownName: If there is no such model.
    """
    known, today = openai_image_models(), today or datetime.datetime.now(tz=datetime.UTC).date()
    if model not in known.models:
        raise UnknownName(
            "image model of OpenAI",
            model,
            known.live(today),
            hint="For another server's model, pass family=, an ImageModelFamily with its sizes and qualities.",
        )
    life = known.models[model]
    family = known.families[life.family]
    if life.last_day is None:
        return family, ()
    if today >= life.last_day:
        raise ConfigurationError(
            f"{model} was retired on {life.last_day}; live models: {', '.join(known.live(today))}.",
            hint=f"Use {life.replacement!r}.",
        )
    return family, (f"{model} is retired on {life.last_day}; change to {life.replacement}",)


def render_openai(
    spec: PromptSpec, model: str, *, family: ImageModelFamily | None = None, today: datetime.date | None = None
) -> RenderedPrompt:
    """Render a spec for `client.images.generate(prompt=..., model=..., **arguments)`.

    Options of the platform `openai`: `size`, `quality`, `background`, `output_format` (png, webp, jpeg),
    `output_compression` (0 to 100), `complexity`, and `moderation`, which can only be `auto`.

    Args:
        spec: The spec.
        model: The model's name.
        family: What the model takes, for a model of another server.
        today: The day on which the request is sent; `None` is today.

    Raises:
        ConfigurationError: If the model is retired.
        UnknownName: If there is no such model, and no `family`.
        InvalidInputs: If an option is unknown or has a wrong value, or the prompt is too long.
    """
    notes: tuple[str, ...] = ()
    if family is None:
        family, notes = check_openai_model(model, today=today)
    options = dict(spec.options.get("openai", {}))
    if problems := [text for name, text in _RETIRED_OPTIONS.items() if name in options]:
        raise InvalidInputs(None, problems)
    check_options("openai", options, _OPTIONS, _problems(options, family))
    clean = sanitized_spec(spec, "openai")
    absent = f"Do not show {join_words(clean.negative, conjunction='or')}" if clean.negative else ""
    prompt = sentences([*phrases_of(clean), absent])
    if len(prompt) > MAX_PROMPT_CHARS:
        raise InvalidInputs(
            None, [f"the prompt has {len(prompt):,} characters; at most {MAX_PROMPT_CHARS:,} are taken"]
        )
    size, size_notes = _size(spec.ratio, family, str(options.get("size", "")))
    quality = _QUALITIES[spec.quality] if _QUALITIES[spec.quality] in family.qualities else "auto"
    arguments: dict[str, OptionValue] = {"size": size, "quality": quality, **options, "moderation": "auto"}
    return RenderedPrompt(
        platform="openai", model=model, prompt=prompt, arguments=arguments, notes=(*notes, *size_notes)
    )


def _problems(options: Mapping[str, OptionValue], family: ImageModelFamily) -> list[str]:
    problems: list[str | None] = []
    for name, value in options.items():
        match name:
            case "quality":
                problems.append(choice_problem(name, value, family.qualities))
            case "background":
                problems.append(choice_problem(name, value, family.backgrounds))
            case "output_format":
                problems.append(choice_problem(name, value, _FORMATS))
            case "complexity":
                problems.append(choice_problem(name, value, ("low", "medium", "high")))
            case "output_compression":
                problems.append(number_problem(name, value, 0, 100, whole=True))
            case "moderation" if value != "auto":
                problems.append("moderation must be auto: the provider's own filter stays on for pictures for children")
            case "size":
                problems.append(_size_problem(str(value), family))
    if "output_compression" in options and options.get("output_format", "png") == "png":
        problems.append("output_compression is for output_format webp or jpeg; png has none")
    if options.get("background") == "transparent" and options.get("output_format", "png") == "jpeg":
        problems.append("background transparent needs output_format png or webp; jpeg has no transparency")
    return [problem for problem in problems if problem]


def _size_problem(size: str, family: ImageModelFamily) -> str | None:
    if size == "auto":
        return None
    if family.sizes:
        return choice_problem("size", size, ("auto", *family.sizes))
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        return f"size must be auto or WIDTHxHEIGHT, such as 1536x864; got {size!r}"
    sides = (int(width), int(height))
    if any(side % _MULTIPLE for side in sides):
        nearest = "x".join(str(max(_MULTIPLE, round(side / _MULTIPLE) * _MULTIPLE)) for side in sides)
        return f"both sides of size must be divisible by {_MULTIPLE}; got {size!r}, the nearest is {nearest}"
    if max(sides) > _MAX_RATIO * min(sides):
        return f"size must have a ratio from 1:3 to 3:1; got {size!r}"
    if max(sides) > _MAX_SIDES[0] or min(sides) > _MAX_SIDES[1]:
        return f"size must be at most {_MAX_SIDES[0]}x{_MAX_SIDES[1]}; got {size!r}"
    return None


def _size(ratio: tuple[int, int], family: ImageModelFamily, wanted: str) -> tuple[str, tuple[str, ...]]:
    """Return the size that comes closest to a ratio, and a note if it is another ratio."""
    if wanted:
        return wanted, ()
    width, height = ratio
    if family.sizes:
        size = min(family.sizes, key=lambda s: abs(_log_ratio(s) - math.log(width / height)))
    else:
        longest = _LONG_SIDE if width != height else _SQUARE_SIDE
        shortest = round(longest * min(ratio) / max(ratio) / _MULTIPLE) * _MULTIPLE
        sides = (longest, max(shortest, longest // _MAX_RATIO))
        size = "x".join(map(str, sides if width >= height else sides[::-1]))
    if abs(_log_ratio(size) - math.log(width / height)) < 0.05:
        return size, ()
    return size, (f"the model draws {size}, which is the nearest to {width}:{height}; crop the picture",)


def _log_ratio(size: str) -> float:
    width, height = map(int, size.split("x"))
    return math.log(width / height)
