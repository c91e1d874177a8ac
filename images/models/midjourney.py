"""Midjourney, for which prompts can only be rendered: it has no API."""

from __future__ import annotations

from collections.abc import Iterator

from taleward.core.errors import ConfigurationError
from taleward.images.models.base import DrawingTask, ImageModel
from taleward.images.models.capabilities import ImageCapabilities
from taleward.images.models.events import ImageEvent
from taleward.images.models.request import ImageRequest
from taleward.images.prompt_spec import PromptSpec
from taleward.images.prompts.render import render_prompt
from taleward.images.prompts.rendered import RenderedPrompt


class MidjourneyModel(ImageModel):
    """Renders prompts to paste into Midjourney; drawing is an error that says so.

    Args:
        version: The version the prompt is for, such as `8.1`; what the spec says by default.
    """

    def __init__(self, version: str = "") -> None:
        super().__init__(f"midjourney:{version}" if version else "midjourney", ImageCapabilities(text_to_image=False))
        self.version = version

    def render(self, prompt: PromptSpec | str) -> RenderedPrompt:
        """Return the command to paste, with notes about what Midjourney draws otherwise.

        Raises:
            InvalidInputs: If an option is unknown or has a wrong value.
        """
        return render_prompt(PromptSpec.of(prompt) if isinstance(prompt, str) else prompt, self.spec)

    def check_request(self, request: ImageRequest) -> None:
        """Raise an error: Midjourney cannot be called."""
        raise ConfigurationError(
            "Midjourney cannot draw for a program: it has no public API, and those who resell one break its terms.",
            hint=f"Paste this into Midjourney: {self.render(request.prompt).text}",
        )

    def _draw(self, drawing: DrawingTask) -> Iterator[ImageEvent]:
        raise NotImplementedError
