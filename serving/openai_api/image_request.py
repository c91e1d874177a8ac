"""Requests for pictures: OpenAI's parameters, and what a served image model can honour of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field

from taleward.core.errors import ConfigurationError, InvalidInputs, UnknownName
from taleward.core.frozen_model import FrozenDict
from taleward.core.surrogates import join_surrogates
from taleward.images.models.openai_images import OpenAIImages
from taleward.images.models.request import MAX_SEED, MAX_SIDE, ImageRequest, as_request
from taleward.images.picture import Picture
from taleward.images.prompt_spec import PictureQuality, PromptSpec
from taleward.images.prompts.read_prompt import read_prompt
from taleward.moderation.guard.input_checks import mask
from taleward.serving.errors import ApiError
from taleward.serving.openai_api.unsupported import check_extra_parameters, unsupported
from taleward.serving.served_images import ServedImages

MAX_PROMPT_CHARS = 4_000
MAX_PICTURES = 10
MIN_SIDE = 16
OutputFormat = Literal["png", "jpeg", "webp", "svg"]
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_QUALITIES: Mapping[str | None, PictureQuality] = {"low": "draft", "high": "high"}
_PARAMETER = re.compile(r"\b(size|background|quality|mask|seed|image)\b")
_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "complexity": (),
    "frame_count": (),
    "frame_duration_ms": (),
    "input_fidelity": (),
    "markup": (),
    "prompt_rewriter": (),
    "style": (),
    "svg": (),
}
_WHY = {
    "frame_count": "animations are not drawn",
    "frame_duration_ms": "animations are not drawn",
    "style": "say the style in the prompt",
}


class ImageFields(BaseModel):
    """What generations and edits have in common, as OpenAI documents it, and two fields of Taleward's own.

    Attributes:
        prompt: What is to be seen.
        model: The served image model; OpenAI's names stand for it.
        n: How many pictures to draw. Those that do not pass are left out of the answer.
        size: `auto`, or WIDTHxHEIGHT.
        quality: How much work to spend on it.
        background: Transparent with OpenAI's own models only.
        output_format: The format of the files; `svg` with `collage:svg` only.
        output_compression: How well a JPEG or WebP file keeps the picture.
        response_format: Pictures are sent as base64, never as links.
        moderation: The guard is never lowered.
        stream: Whether each picture is sent as an event. All come at the end, after their verdicts.
        partial_images: Accepted, since OpenAI may send fewer as well: nobody has judged an unfinished picture.
        seed: Taleward's: draws the same pictures again, with a model that can.
        band: Taleward's: an age band for which pictures are drawn.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS)]
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=MAX_PICTURES)] | None = None
    size: str | None = None
    quality: Literal["auto", "low", "medium", "high"] | None = None
    background: Literal["auto", "opaque", "transparent"] | None = None
    output_format: OutputFormat | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    response_format: Literal["b64_json", "url"] | None = None
    moderation: Literal["auto", "low"] | None = None
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    band: str | None = None

    @property
    def file_format(self) -> OutputFormat:
        """The format of the files."""
        return self.output_format or "png"

    @property
    def answered_quality(self) -> str:
        """The quality as an answer names it."""
        return "medium" if self.quality in (None, "auto") else str(self.quality)


def check_supported(body: ImageFields, images: ServedImages) -> None:
    """Check that everything a request asks for can be honoured.

    Raises:
        ApiError: For the first parameter that cannot; the error names it.
        UnknownName: If no such model is served.
    """
    if not images.answers_to(body.model):
        raise UnknownName("served model", str(body.model), [images.name])
    check_extra_parameters(body, _DEFAULTS, _WHY)
    name, file_format = images.model.spec, body.file_format
    if body.response_format == "url":
        raise unsupported("response_format", "pictures are sent as b64_json", kind="unsupported_value")
    if body.moderation == "low":
        raise unsupported("moderation", "the guard is never lowered", kind="unsupported_value")
    if file_format == "svg" and name != "collage:svg":
        raise unsupported("output_format", f"{name} draws pixels; svg needs collage:svg", kind="unsupported_value")
    if body.output_compression is not None and file_format not in ("jpeg", "webp"):
        raise unsupported("output_compression", "it is for jpeg and webp", kind="invalid_value")
    if body.partial_images and not body.stream:
        raise unsupported("partial_images", "it is only allowed when stream is true", kind="invalid_value")
    if body.seed is not None and not images.model.capabilities.seed:
        raise unsupported("seed", f"{name} takes none")
    if body.background == "transparent":
        if not _takes_background(images):
            raise unsupported("background", f"{name} draws opaque pictures", kind="unsupported_value")
        if file_format == "jpeg":
            raise unsupported("background", "jpeg has no transparency", kind="invalid_value")


def drawing_request(
    body: ImageFields, images: ServedImages, pictures: tuple[Picture, ...] = (), mask_picture: Picture | None = None
) -> ImageRequest:
    """Return the request for the guard. This reads the prompt and pictures, so call it in a thread.

    Args:
        body: A request that was checked.
        images: What is served.
        pictures: The picture to change, and those to follow.
        mask_picture: Where to change it.

    Raises:
        ApiError: If the model cannot do it; the error names the parameter.
    """
    config = images.config
    text = join_surrogates(body.prompt)
    fields: dict[str, Any] = {"n": body.n, "seed": body.seed, "size": _size(body.size)}
    fields |= {"init_image": pictures[0] if pictures else None, "references": pictures[1:], "mask": mask_picture}
    try:
        spec = read_prompt(mask(text) if config.mask_personal_data else text)
        fields["prompt"] = _with_settings(spec, body, images, fields["size"])
        request = as_request(fields, {})
        images.model.check_request(request)
        width, height = images.model.size_of(request)
    except (InvalidInputs, ConfigurationError) as error:
        _raise_for_parameter(error)
    if width * height > config.max_pixels:
        message = f"{width}x{height} has {width * height:,} pixels; this server draws up to {config.max_pixels:,}."
        raise ApiError(400, message, code="invalid_value", param="size")
    return request


def read_picture(data: bytes, param: str) -> Picture:
    """Return an uploaded file as a picture.

    Raises:
        ApiError: If it is none.
    """
    try:
        picture = Picture.from_bytes(data, prompt="a picture")
    except ConfigurationError as error:
        # The message would quote the first bytes.
        message = f"{param} is not a PNG, JPEG or WebP picture, or it is too large."
        raise ApiError(400, message, code="invalid_value", param=param) from error
    if picture.media_type == "image/svg+xml":
        raise ApiError(400, f"{param} must be PNG, JPEG or WebP; got SVG.", code="invalid_value", param=param)
    return picture


def _with_settings(
    spec: PromptSpec, body: ImageFields, images: ServedImages, size: tuple[int, int] | None
) -> PromptSpec:
    update: dict[str, Any] = {"quality": _QUALITIES.get(body.quality, "standard")}
    if images.config.style and not spec.art_style:
        update["art_style"] = images.config.style
    if size is not None:
        # For the fallback, which draws in a size of its own.
        update["aspect_ratio"] = f"{size[0]}:{size[1]}"
    if body.background not in (None, "auto") and _takes_background(images):
        update["options"] = FrozenDict({**spec.options, "openai": FrozenDict({"background": str(body.background)})})
    return spec.model_copy(update=update)


def _takes_background(images: ServedImages) -> bool:
    return isinstance(images.model, OpenAIImages) and not images.model.is_third_party


def _size(size: str | None) -> tuple[int, int] | None:
    if size is None or size == "auto":
        return None
    match = _SIZE.fullmatch(size)
    sides = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in sides):
        message = f"The size must be auto or WIDTHxHEIGHT, such as 1024x1024, each side from {MIN_SIDE} to {MAX_SIDE}."
        raise ApiError(400, message, code="invalid_value", param="size")
    return sides


def _raise_for_parameter(error: InvalidInputs | ConfigurationError) -> NoReturn:
    """Raise the error that names the parameter a problem is about; the prompt, if none is in its words."""
    problems = "; ".join(error.problems) if isinstance(error, InvalidInputs) else str(error)
    found = _PARAMETER.search(problems)
    # A hint about the guard's own fields would mislead a client of OpenAI's API.
    hint = "" if error.hint is None or error.hint.startswith("A request has") else f" {error.hint}"
    message = f"{problems.removesuffix('.')}.{hint}"
    raise ApiError(400, message, code="invalid_value", param=found[1] if found else "prompt") from error
