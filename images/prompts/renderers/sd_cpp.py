"""Prompts for stable-diffusion.cpp's `sd-server`: OpenAI's request, with the other settings in a tag of the prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping

from taleward.images.aspect_ratio import size_for
from taleward.images.prompt_spec import OptionValue, PictureQuality, PromptSpec
from taleward.images.prompts.clip_tokens import CLIP_TOKENS, estimate_clip_tokens, words_beyond
from taleward.images.prompts.rendered import (
    RenderedPrompt,
    check_options,
    choice_problem,
    number_problem,
    phrases_of,
    sanitized_spec,
)

_STEPS: Mapping[PictureQuality, int] = {"draft": 12, "standard": 20, "high": 35}
_SIDES = (256, 384, 512, 640, 768, 1024)
_SAMPLE_METHODS = (
    "euler", "euler_a", "heun", "dpm2", "dpm++2s_a", "dpm++2m", "dpm++2mv2", "ipndm", "ipndm_v", "lcm",
    "ddim_trailing", "tcd",
)  # fmt: skip
_SCHEDULERS = ("discrete", "karras", "exponential", "ays", "gits", "smoothstep", "sgm_uniform", "simple")
_OPTIONS = ("cfg_scale", "sample_method", "scheduler", "seed", "side", "steps")
_MAX_SEED = 2**31 - 1


def render_sd_cpp(spec: PromptSpec, model: str = "sd-cpp-local") -> RenderedPrompt:
    """Render a spec for `client.images.generate(prompt=..., model=..., **arguments)` with sd-server's `base_url`.

    The server takes steps, seed and negative prompt only from a tag in the prompt, which is added here; no such tag can
    come from the spec. Options of the platform `sd_cpp`: `steps`, `cfg_scale`, `seed`, `sample_method`, `scheduler`,
    and `side`, the side of a square picture in pixels, from which the size for other formats follows.

    Args:
        spec: The spec.
        model: The name of the model, which the server ignores.

    Raises:
        InvalidInputs: If an option is unknown or has a wrong value.
    """
    options = dict(spec.options.get("sd_cpp", {}))
    check_options("sd_cpp", options, _OPTIONS, _problems(options))
    clean = sanitized_spec(spec, "sd_cpp")
    words = ", ".join(phrases_of(clean))
    cfg_scale = float(options.get("cfg_scale", 7.0))
    sample: dict[str, object] = {
        "sample_steps": options.get("steps", _STEPS[spec.quality]),
        "guidance": {"txt_cfg": cfg_scale},
        **{name: options[name] for name in ("sample_method", "scheduler") if name in options},
    }
    extra: dict[str, object] = {"sample_params": sample}
    notes = []
    if "seed" in options:
        extra["seed"] = options["seed"]
    if clean.negative and cfg_scale > 1:
        extra["negative_prompt"] = ", ".join(clean.negative)
    elif clean.negative:
        notes.append(
            f"a negative prompt has no effect at cfg_scale {cfg_scale:g}, so `negative` is left out; raise it above 1"
        )
    if late := words_beyond(words, CLIP_TOKENS, estimate_clip_tokens):
        notes.append(f"Stable Diffusion 1, 2 and XL read the first {CLIP_TOKENS} tokens best; after them: {late!r}")
    width, height = size_for(spec.ratio, pixels=int(options.get("side", 512)) ** 2, multiple=64)
    return RenderedPrompt(
        platform="sd_cpp",
        model=model,
        prompt=f"{words} <sd_cpp_extra_args>{json.dumps(extra)}</sd_cpp_extra_args>",
        arguments={"size": f"{width}x{height}", "output_format": "png"},
        notes=tuple(notes),
    )


def _problems(options: Mapping[str, OptionValue]) -> list[str]:
    problems: list[str | None] = []
    for name, value in options.items():
        match name:
            case "steps":
                problems.append(number_problem(name, value, 1, 150, whole=True))
            case "cfg_scale":
                problems.append(number_problem(name, value, 0, 30, whole=False))
            case "seed":
                problems.append(number_problem(name, value, 0, _MAX_SEED, whole=True))
            case "sample_method":
                problems.append(choice_problem(name, value, _SAMPLE_METHODS))
            case "scheduler":
                problems.append(choice_problem(name, value, _SCHEDULERS))
            case "side":
                problems.append(choice_problem(name, value, _SIDES))
    return [problem for problem in problems if problem]
