"""OpenAI's image models as data, with the day each was or will be shut down. State of November 2026."""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple

from taleward.core.errors import ConfigurationError

REPLACEMENT = "gpt-image-2"
_RELEASE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


class OpenAIImageModel(NamedTuple):
    """What one of OpenAI's image models takes.

    Attributes:
        ends: The day it was or will be shut down.
        any_size: Whether it draws any size whose sides are multiples of 16; otherwise only `SIZES`.
    """

    ends: datetime.date | None = None
    any_size: bool = True


SIZES = ((1024, 1024), (1536, 1024), (1024, 1536))
MAX_PIXELS = 3840 * 2160
MAX_RATIO = 3.0
_MAY_2026 = datetime.date(2026, 5, 12)
_OCTOBER_2026 = datetime.date(2026, 10, 23)
_DECEMBER_2026 = datetime.date(2026, 12, 1)

OPENAI_IMAGE_MODELS = {
    "dall-e-2": OpenAIImageModel(_MAY_2026, any_size=False),
    "dall-e-3": OpenAIImageModel(_MAY_2026, any_size=False),
    "gpt-image-1": OpenAIImageModel(_OCTOBER_2026, any_size=False),
    "gpt-image-1-mini": OpenAIImageModel(_DECEMBER_2026, any_size=False),
    "gpt-image-1.5": OpenAIImageModel(_DECEMBER_2026, any_size=False),
    "chatgpt-image-latest": OpenAIImageModel(_DECEMBER_2026, any_size=False),
    "gpt-image-2": OpenAIImageModel(),
    "gpt-image-2.5-flare": OpenAIImageModel(),
    "gpt-image-2.5-sunburst": OpenAIImageModel(),
    "gpt-image-2.6-flare": OpenAIImageModel(),
    "gpt-image-2.6-sunburst": OpenAIImageModel(),
}


def find_openai_model(name: str, today: datetime.date | None = None) -> OpenAIImageModel:
    """Return what a model takes; a model that is not listed is taken for a new one.

    Args:
        name: The model's name; a dated release counts as its model.
        today: The day to judge by; today by default.

    Raises:
        ConfigurationError: If the model has been shut down.
    """
    model = OPENAI_IMAGE_MODELS.get(_RELEASE.sub("", name), OpenAIImageModel())
    if model.ends is not None and model.ends <= (today or datetime.datetime.now(datetime.UTC).date()):
        raise ConfigurationError(
            f"OpenAI shut {name} down on {model.ends:%Y-%m-%d}.",
            hint=f"Use its replacement, 'openai-image:{REPLACEMENT}'; for another server's model of that name give "
            "base_url.",
        )
    return model


def size_for_openai(model: OpenAIImageModel, width: int, height: int) -> tuple[int, int]:
    """Return the size that a model draws in place of another one: itself, or the standard size of the nearest shape."""
    if model.any_size:
        return width, height
    return min(SIZES, key=lambda size: abs(size[0] / size[1] - width / height))
