"""Hosted image models with OpenAI's API: OpenAI's own, and every compatible server."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, Literal, get_args

from pydantic import SecretStr

from taleward.backends.base.spec import ModelSpec
from taleward.backends.hosted.build_chat import is_third_party, openai_access
from taleward.backends.hosted.errors import map_vendor_error
from taleward.backends.hosted.pricing import find_price
from taleward.backends.hosted.subclass import remember_secrets
from taleward.core.errors import BackendError, ConfigurationError, MissingKey, PictureBlocked
from taleward.core.frozen_model import FrozenDict
from taleward.core.redaction import redact, without_secrets
from taleward.images.models.base import DrawingTask, ImageModel
from taleward.images.models.capabilities import ImageCapabilities
from taleward.images.models.events import FinishedPicture, ImageEvent, PartialPicture
from taleward.images.models.masks import change_mask
from taleward.images.models.request import ImageRequest
from taleward.images.picture import Picture, PictureLineage
from taleward.images.prompt_spec import OptionValue, Platform, PromptSpec
from taleward.images.prompts.rendered import RenderedPrompt
from taleward.images.prompts.renderers.openai import ImageModelFamily, check_openai_model, render_openai
from taleward.images.prompts.renderers.sd_cpp import render_sd_cpp

_log = logging.getLogger(__name__)
_MAX_PER_REQUEST = 10
_BLOCKED_CODES = frozenset({"moderation_blocked", "content_policy_violation", "content_filter"})
_MAX_REFERENCES = 15
_OPENAI_MULTIPLE, _OPENAI_MAX_PIXELS = 16, 3840 * 2160
_SD_CPP_MAX_SEED = 2**31 - 1
_ANY_SERVER = ImageModelFamily(qualities=("auto", "low", "medium", "high"))
_NOT_FOR_EDITS = ("moderation",)
Dialect = Literal["openai", "sd_cpp"]
_NEVER_SENT = ("moderation", "api_key", "authorization")


class OpenAIImages(ImageModel):
    """Pictures from OpenAI, or from a server with its images API.

    OpenAI's models take no seed: the same request gives another picture each time. With a `cache`, it gives the one
    that was drawn first, until you name a `seed`, which then stands for a fresh set of variations. The vendor's filter
    is never lowered, and what it blocks is an error, never an empty result.

    Args:
        model: The model's name.
        base_url: Another server's URL up to and including `/v1`. Defaults to `OPENAI_BASE_URL`, then to OpenAI.
        partial_images: How many unfinished states a stream shows, 0 to 3.
        budget_usd: What all calls of this object may cost in US dollars; a call that starts above it is refused.
        price_usd: US dollars per picture, if the price list does not know the model.
        safety_identifier: Whom OpenAI may hold responsible, such as your user's id; only its SHA-256 is sent.
        output_format: `png`, `jpeg` or `webp`.
        sends_seed: Whether the server takes `seed`, as vLLM's and SGLang's do; it is then asked for one picture at a
            time.
        dialect: `sd_cpp` for stable-diffusion.cpp's server, which takes seed, steps and negative prompt in a tag of the
            prompt.
        extra_body: Further fields of every request, such as `{"num_inference_steps": 4}`.
        api_key: The key; `OPENAI_API_KEY` by default.
        max_retries: How often a request is sent again after an error that may pass.
        request_timeout_s: Seconds for one request.
        options: Options of `ImageModel`.

    Raises:
        ConfigurationError: If OpenAI has shut the model down, or an option is out of range.
        MissingKey: If the server is OpenAI's and there is no key.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        partial_images: int = 0,
        budget_usd: float | None = None,
        price_usd: float | None = None,
        safety_identifier: str | None = None,
        output_format: str = "png",
        sends_seed: bool = False,
        dialect: Dialect = "openai",
        extra_body: Mapping[str, Any] | None = None,
        api_key: str | SecretStr | None = None,
        max_retries: int = 2,
        request_timeout_s: float = 180.0,
        **options: Any,
    ) -> None:
        spec = ModelSpec("openai-image", model)
        if base_url is None and not os.environ.get("OPENAI_BASE_URL"):
            check_openai_model(model)  # a key would not help with a model that is gone
        access: dict[str, Any] = {} if api_key is None else {"api_key": _secret(api_key)}
        try:
            url = openai_access(spec, base_url, access)
        except MissingKey as error:
            raise MissingKey(
                str(error),
                hint="Set OPENAI_API_KEY, or give base_url= for a server that needs no key, or use 'collage'.",
            ) from None
        self.is_third_party = is_third_party(url)
        sends_seed = sends_seed or dialect == "sd_cpp"
        _check_options(partial_images, output_format, extra_body or {}, dialect)
        if sends_seed and not self.is_third_party:
            raise ConfigurationError(
                "OpenAI's image models take no seed.", hint="Leave sends_seed and dialect out, or give base_url."
            )
        self._family = _ANY_SERVER if self.is_third_party else check_openai_model(model)[0]
        capabilities = ImageCapabilities(
            image_to_image=True,
            inpainting=True,
            references=_MAX_REFERENCES,
            seed=sends_seed,
            partial_pictures=partial_images > 0,
            negative_prompt=dialect == "sd_cpp",
            size_multiple=8 if self.is_third_party else _OPENAI_MULTIPLE,
            max_pixels=None if self.is_third_party else _OPENAI_MAX_PIXELS,
        )
        super().__init__(str(spec), capabilities, **options)
        self.model, self.partial_images, self.output_format = model, partial_images, output_format
        self.dialect = dialect
        self.sends_seed, self.extra_body, self.base_url = sends_seed, dict(extra_body or {}), url
        self._price = None if self.is_third_party else find_price(ModelSpec("openai", model))
        self.price_usd, self.budget_usd, self._spent_usd = price_usd, budget_usd, 0.0
        if budget_usd is not None and price_usd is None and self._price is None:
            raise ConfigurationError(
                f"the price of {spec} is unknown, so budget_usd cannot be kept.",
                hint="Give price_usd, the US dollars per picture.",
            )
        self._user = None if safety_identifier is None else hashlib.sha256(safety_identifier.encode()).hexdigest()
        remember_secrets(access, None)
        self._access, self._lock = access, threading.Lock()
        self._lazy_client: Any = None
        self._max_retries, self._request_timeout_s = max_retries, request_timeout_s

    @property
    def spent_usd(self) -> float:
        """What the calls of this object have cost so far, in US dollars, as far as their prices are known."""
        return self._spent_usd

    def size_of(self, request: ImageRequest) -> tuple[int, int]:
        """Return the size in which a request is drawn: the nearest that the model has, unless the request names one."""
        if request.size is None and (self.is_third_party or "size" not in request.prompt.options.get("openai", {})):
            shape = super().size_of(request)
            if self.is_third_party or (not self._family.sizes and self.pixels != self.default_pixels):
                return shape
        size = self._rendered(request).arguments["size"]
        width, _, height = str(size).partition("x")
        return (int(width), int(height)) if height else super().size_of(request)

    def _parameters(self) -> dict[str, Any]:
        return {
            "server": (self.dialect, self.base_url),
            "output_format": self.output_format,
            "extra_body": self.extra_body,
        }

    def _draw(self, drawing: DrawingTask) -> Iterator[ImageEvent]:
        per_request = 1 if self.sends_seed or self.partial_images else _MAX_PER_REQUEST
        indices = list(drawing.seeds)
        drawn = 0
        for start in range(0, len(indices), per_request):
            drawing.check()
            self._check_budget()
            part = indices[start : start + per_request]
            for event in self._request(drawing, part):
                drawn += isinstance(event, FinishedPicture)
                yield event
        if drawn < len(indices):
            _log.warning("%s returned %d pictures of %d", self.spec, drawn, len(indices))

    def _request(self, drawing: DrawingTask, indices: list[int]) -> Iterator[ImageEvent]:
        """Send one request and yield its pictures."""
        fields, started_s = self._fields(drawing, indices), time.monotonic()
        images = self._client().images
        try:
            response = (images.edit if "image" in fields else images.generate)(**fields)
            if self.partial_images:
                with response:
                    yield from self._read_stream(drawing, indices[0], response, started_s)
                return
        except BackendError:
            raise
        except Exception as error:
            if (mapped := self._mapped(error)) is None:
                raise
            raise mapped from without_secrets(error)
        if not hasattr(response, "data"):
            raise BackendError(
                f"{self.spec} returned an unreadable response.", hint="Check that base_url ends in /v1.", retryable=True
            )
        items = list(response.data or ())
        if not items:
            # Some vendors say "blocked" with an empty list and status 200.
            raise PictureBlocked(f"{self.spec} returned no picture: its filter may have blocked the request.")
        cost_usd = self._book(response.usage, len(items))
        for number, (index, item) in enumerate(zip(indices, items, strict=False)):
            tokens = _tokens(response.usage, number, len(items))
            lineage = self._lineage(drawing, (time.monotonic() - started_s) / len(items), cost_usd, tokens)
            yield FinishedPicture(index=index, picture=self._picture(drawing, index, item.b64_json, lineage))

    def _read_stream(self, drawing: DrawingTask, index: int, response: Any, started_s: float) -> Iterator[ImageEvent]:
        number = 0
        for event in response:
            drawing.check()
            if event.type.endswith(".completed"):
                cost_usd = self._book(event.usage, 1)
                lineage = self._lineage(drawing, time.monotonic() - started_s, cost_usd, _tokens(event.usage, 0, 1))
                yield FinishedPicture(index=index, picture=self._picture(drawing, index, event.b64_json, lineage))
                return
            number += 1
            lineage = self._lineage(drawing, time.monotonic() - started_s, None)
            picture = self._picture(drawing, index, event.b64_json, lineage)
            yield PartialPicture(index=index, number=number, picture=picture)
        raise BackendError(
            f"{self.spec} broke off after {number} unfinished pictures.", hint="Try again.", retryable=True
        )

    def _fields(self, drawing: DrawingTask, indices: list[int]) -> dict[str, Any]:
        request = drawing.request
        extra = dict(self.extra_body)
        rendered = self._rendered(request, drawing.seeds[indices[0]])
        fields: dict[str, Any] = {
            "model": self.model,
            "prompt": rendered.prompt,
            "n": len(indices),
            "size": f"{drawing.size[0]}x{drawing.size[1]}",
        }
        if self.is_third_party:
            fields["response_format"] = "b64_json"
            if self.sends_seed and self.dialect == "openai":
                extra["seed"] = drawing.seeds[indices[0]]
        else:
            left_out = ("size", *(_NOT_FOR_EDITS if request.init_image is not None or request.references else ()))
            options = {name: value for name, value in rendered.arguments.items() if name not in left_out}
            fields |= {"output_format": self.output_format, **options}
            if self._user is not None:
                fields["safety_identifier"] = self._user
        if self.partial_images:
            fields |= {"stream": True, "partial_images": self.partial_images}
        if pictures := [p for p in (request.init_image, *request.references) if p is not None]:
            files = [_upload(picture, f"picture-{number}") for number, picture in enumerate(pictures)]
            fields["image"] = files if len(files) > 1 else files[0]
        if request.mask is not None:
            fields["mask"] = ("mask.png", _alpha_mask(request.mask), "image/png")
        if extra:
            fields["extra_body"] = extra
        return fields

    def _rendered(self, request: ImageRequest, seed: int | None = None) -> RenderedPrompt:
        """The prompt and its settings, as the server takes them."""
        spec = request.prompt
        if self.dialect == "sd_cpp":
            options = dict(spec.options.get("sd_cpp", {}))
            if seed is not None:
                options["seed"] = seed & _SD_CPP_MAX_SEED
            return render_sd_cpp(_with_options(spec, "sd_cpp", options), self.model)
        options = dict(spec.options.get("openai", {}))
        if request.size is not None:
            options["size"] = f"{request.size[0]}x{request.size[1]}"
        spec = _with_options(spec, "openai", options)
        if request.init_image is not None:
            shape = f"{request.init_image.width}:{request.init_image.height}"
            spec = spec.model_copy(update={"aspect_ratio": shape})
        return render_openai(spec, self.model, family=self._family)

    def _picture(self, drawing: DrawingTask, index: int, b64_json: str | None, lineage: PictureLineage) -> Picture:
        if not b64_json:
            raise BackendError(
                f"{self.spec} returned a picture without its data.",
                hint="The server may send links instead; they are not followed. Have it send b64_json.",
            )
        try:
            data = base64.b64decode(b64_json, validate=True)
            seed = drawing.seeds[index] if self.sends_seed else None
            return Picture.from_bytes(data, prompt=drawing.request.prompt, seed=seed, lineage=lineage)
        except (binascii.Error, ConfigurationError) as error:
            raise BackendError(f"{self.spec} returned something that is no picture: {error}", retryable=True) from error

    def _lineage(
        self, drawing: DrawingTask, duration_s: float, cost_usd: float | None, tokens: Mapping[str, int] | None = None
    ) -> PictureLineage:
        import openai

        rendered = self._rendered(drawing.request)
        return PictureLineage(
            model=self.spec,
            parameters={**rendered.arguments, "size": f"{drawing.size[0]}x{drawing.size[1]}"},
            versions={"openai": openai.__version__},
            prompt=rendered.prompt,
            notes=rendered.notes,
            request_sha256=drawing.request.sha256(model=self.spec, parameters=self._parameters()),
            parents=drawing.request.parents,
            duration_s=duration_s,
            cost_usd=cost_usd,
            tokens=FrozenDict(tokens or {}),
        )

    def _check_budget(self) -> None:
        if self.budget_usd is not None and self._spent_usd >= self.budget_usd:
            raise ConfigurationError(
                f"the budget of {self.spec} is spent: {self._spent_usd:.2f} of {self.budget_usd:.2f} US dollars.",
                hint="Create the model with a larger budget_usd.",
            )

    def _book(self, usage: Any, pictures: int) -> float | None:
        """Add what a request cost to what was spent; return each picture's share."""
        cost_usd = None
        if self.price_usd is not None:
            cost_usd = self.price_usd * pictures
        elif self._price is not None and usage is not None:
            tokens = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
            cost_usd = self._price.cost_usd(tokens)
        if cost_usd is None:
            return None
        with self._lock:
            self._spent_usd += cost_usd
        return cost_usd / pictures

    def _mapped(self, error: Exception) -> BackendError | None:
        """Our error for a vendor's; a filter's refusal becomes `PictureBlocked`; `None` for any other exception."""
        body = getattr(error, "body", None)
        details = body.get("error", body) if isinstance(body, Mapping) else {}
        details = details if isinstance(details, Mapping) else {}
        if details.get("code") in _BLOCKED_CODES:
            moderation = details.get("moderation_details") or {}
            categories = [str(category) for category in moderation.get("categories") or ()]
            found = f" ({', '.join(categories)})" if categories else ""
            stage = moderation.get("moderation_stage")
            what = {"input": "the prompt", "output": "the picture"}.get(str(stage), "the request")
            return PictureBlocked(
                f"the filter of {self.spec} blocked {what}{found}.", stage=stage, categories=categories
            )
        mapped = map_vendor_error(error, self.spec)
        if mapped is not None and not isinstance(body, Mapping) and (text := _response_text(error)):
            # stable-diffusion.cpp's error is a bare string, which the client drops.
            mapped.add_note(f"The server said: {redact(text)}")
        return mapped

    def _client(self) -> Any:
        import openai

        with self._lock:
            if self._lazy_client is None:
                key = self._access["api_key"]
                clients = {"http_client": self._access["http_client"]} if "http_client" in self._access else {}
                self._lazy_client = openai.OpenAI(
                    api_key=key.get_secret_value() if isinstance(key, SecretStr) else key,
                    base_url=self.base_url,
                    max_retries=self._max_retries,
                    timeout=self._request_timeout_s,
                    **clients,
                )
        return self._lazy_client

    def __repr__(self) -> str:
        return f"OpenAIImages({self.model!r}, base_url={redact(str(self.base_url))!r})"


def _secret(key: str | SecretStr) -> SecretStr:
    return key if isinstance(key, SecretStr) else SecretStr(key)


def _response_text(error: Exception) -> str:
    """The first words of an error response; empty if there was none, or it was a stream."""
    response = getattr(error, "response", None)
    try:
        return str(response.text)[:200].strip() if response is not None else ""
    except RuntimeError:  # the client's own errors for a body that was never read
        return ""


def _check_options(partial_images: int, output_format: str, extra_body: Mapping[str, Any], dialect: str) -> None:
    if not 0 <= partial_images <= 3:
        raise ConfigurationError(f"partial_images must be from 0 to 3; got {partial_images}.")
    if output_format not in ("png", "jpeg", "webp"):
        raise ConfigurationError(f"output_format must be 'png', 'jpeg' or 'webp'; got {output_format!r}.")
    if dialect not in get_args(Dialect):
        raise ConfigurationError(f"dialect must be 'openai' or 'sd_cpp'; got {dialect!r}.")
    if forbidden := [name for name in extra_body if name.lower() in _NEVER_SENT]:
        raise ConfigurationError(
            f"extra_body may not set {', '.join(forbidden)}.",
            hint="The vendor's filter cannot be lowered; a key goes into api_key or the environment.",
        )


def _tokens(usage: Any, number: int, pictures: int) -> dict[str, int]:
    """A picture's share of a request's tokens: whole numbers that add up, the rest with the first picture."""
    details = getattr(usage, "input_tokens_details", None)
    if usage is None or details is None:
        return {}
    counts = {
        "input_text": details.text_tokens,
        "input_image": details.image_tokens,
        "output_image": usage.output_tokens,
    }
    if not all(isinstance(count, int) for count in counts.values()):
        return {}
    return {kind: count // pictures + (count % pictures if number == 0 else 0) for kind, count in counts.items()}


def _with_options(spec: PromptSpec, platform: Platform, options: Mapping[str, OptionValue]) -> PromptSpec:
    return spec.model_copy(update={"options": FrozenDict({**spec.options, platform: FrozenDict(options)})})


def _upload(picture: Picture, name: str) -> tuple[str, bytes, str]:
    """A picture as a file of a form; SVG, which no server takes, is drawn as PNG."""
    if picture.media_type != "image/svg+xml":
        return f"{name}{picture.suffix}", picture.data, picture.media_type
    buffer = BytesIO()
    picture.to_pil().save(buffer, "PNG")
    return f"{name}.png", buffer.getvalue(), "image/png"


def _alpha_mask(mask: Picture) -> bytes:
    """A mask in OpenAI's form: transparent where the picture is to be changed."""
    from PIL import Image

    changed = change_mask(mask)
    result = Image.new("RGBA", changed.size, (0, 0, 0, 255))
    result.putalpha(changed.point(lambda value: 255 - value))
    buffer = BytesIO()
    result.save(buffer, "PNG")
    return buffer.getvalue()
