"""Image models by spec. To add a backend, write one function and add one line to `IMAGE_PROVIDERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.images.models.base import ImageModel


def _collage(model: str, **options: Any) -> ImageModel:
    from taleward.images.collage.model import CollageModel

    given: dict[str, Any] = {"format": model} if model else {}
    return CollageModel(**given, **options)


def _diffusers(model: str, **options: Any) -> ImageModel:
    from taleward.images.models.diffusers_models import DiffusersModel

    return DiffusersModel(model, **options)


def _openai_image(model: str, **options: Any) -> ImageModel:
    from taleward.images.models.openai_images import OpenAIImages

    return OpenAIImages(model, **options)


def _midjourney(model: str, **options: Any) -> ImageModel:
    from taleward.images.models.midjourney import MidjourneyModel

    return MidjourneyModel(model, **options)


IMAGE_PROVIDERS: Mapping[str, Callable[..., ImageModel]] = {
    "collage": _collage,
    "diffusers": _diffusers,
    "midjourney": _midjourney,
    "openai-image": _openai_image,
}
_NEED_NO_MODEL = ("collage", "midjourney")


def image_model(spec: str | ImageModel, **options: Any) -> ImageModel:
    """Create the image model for a spec.

    Args:
        spec: `collage`, which needs no download and no key; `diffusers:REPO_OR_FOLDER`; `openai-image:MODEL`, with
            `base_url` for any server with OpenAI's images API; `midjourney`, which only renders prompts; or an image
            model, which is returned unchanged.
        options: The model's options; all take `n`, `timeout_s`, `pixels` and `cache`.

    Raises:
        ConfigurationError: If the spec is malformed, the provider or an option is unknown, a value is invalid, a
            library or an API key is missing, or you pass options together with an existing model.
    """
    if isinstance(spec, ImageModel):
        if options:
            raise ConfigurationError(
                f"cannot apply options to an existing {type(spec).__name__}; got {sorted(options)}.",
                hint="Set them when you create the model, or pass a spec such as 'collage'.",
            )
        return spec
    provider, _, model = (part.strip() for part in spec.partition(":"))
    if provider not in IMAGE_PROVIDERS:
        raise UnknownName("provider of image models", provider or spec, IMAGE_PROVIDERS, hint=_EXAMPLES)
    if not model and provider not in _NEED_NO_MODEL:
        raise ConfigurationError(f"{spec!r} names no model; expected '{provider}:MODEL'.", hint=_EXAMPLES)
    try:
        return IMAGE_PROVIDERS[provider](model, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        name = str(error).rpartition("unexpected keyword argument ")[2].split("'")[1]
        raise ConfigurationError(
            f"unknown option {name!r} of {spec}.", hint=f"See the options of `{provider}` in the reference of images."
        ) from None


_EXAMPLES = "For example 'collage', 'diffusers:stabilityai/sdxl-turbo' or 'openai-image:gpt-image-2'."
