"""Render a spec for any platform, by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.images.prompt_spec import Platform, PromptSpec
from taleward.images.prompts.rendered import RenderedPrompt
from taleward.images.prompts.renderers.diffusers import render_diffusers
from taleward.images.prompts.renderers.midjourney import render_midjourney
from taleward.images.prompts.renderers.openai import render_openai
from taleward.images.prompts.renderers.sd_cpp import render_sd_cpp


def _midjourney(spec: PromptSpec, model: str) -> RenderedPrompt:
    if model and not {"v", "version", "niji"} & set(spec.options.get("midjourney", {})):
        options = {**spec.options, "midjourney": {**spec.options.get("midjourney", {}), "v": model}}
        spec = PromptSpec.model_validate({**spec.model_dump(), "options": options})
    return render_midjourney(spec)


def _openai(spec: PromptSpec, model: str) -> RenderedPrompt:
    if not model:
        raise ConfigurationError(
            "openai-image needs the name of a model.",
            hint="Write openai-image:MODEL, such as openai-image:gpt-image-2.",
        )
    return render_openai(spec, model)


_RENDERERS: Mapping[Platform, Callable[[PromptSpec, str], RenderedPrompt]] = {
    "openai": _openai,
    "midjourney": _midjourney,
    "diffusers": render_diffusers,
    "sd_cpp": lambda spec, model: render_sd_cpp(spec, model or "sd-cpp-local"),
}


_PLATFORMS: Mapping[str, Platform] = {
    "openai-image": "openai",
    "midjourney": "midjourney",
    "diffusers": "diffusers",
    "sd-cpp": "sd_cpp",
}


def platform_of(target: str) -> Platform:
    """Return the platform whose options a target takes; see `render_prompt`.

    Raises:
        UnknownName: If there is no such platform.
    """
    name = target.partition(":")[0]
    if name not in _PLATFORMS:
        raise UnknownName("platform", name, _PLATFORMS)
    return _PLATFORMS[name]


def render_prompt(spec: PromptSpec, target: str) -> RenderedPrompt:
    """Render a spec for a platform.

    Args:
        spec: The spec.
        target: `openai-image:MODEL`, `midjourney`, `midjourney:VERSION`, `diffusers`, `diffusers:REPO_OR_FOLDER`, or
            `sd-cpp`.

    Raises:
        UnknownName: If there is no such platform, or OpenAI has no such model.
        ConfigurationError: If the model is retired.
        InvalidInputs: If the spec has options that the platform does not take; all are listed.
    """
    return _RENDERERS[platform_of(target)](spec, target.partition(":")[2])
