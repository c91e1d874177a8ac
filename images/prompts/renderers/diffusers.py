"""Prompts for diffusers: words, negative prompt, size, steps, guidance and scheduler, by the model's family."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from taleward.core.errors import InvalidFile
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.yaml_files import YamlFile
from taleward.images.aspect_ratio import size_for
from taleward.images.picture_phrases import sentences
from taleward.images.prompt_spec import OptionValue, PictureQuality, PromptSpec
from taleward.images.prompts.clip_tokens import (
    CLIP_TOKENS,
    TextTokenCounter,
    estimate_clip_tokens,
    words_beyond,
)
from taleward.images.prompts.rendered import (
    RenderedPrompt,
    check_options,
    choice_problem,
    number_problem,
    phrases_of,
    sanitized_spec,
)

_DATA = Path(__file__).parent.parent / "data" / "diffusers_families.yaml"
_QUALITIES: tuple[PictureQuality, ...] = ("draft", "standard", "high")
_MAX_STEPS, _MAX_GUIDANCE, _MAX_SEED, _MAX_SIDE = 500, 50.0, 2**63 - 1, 4096
_DEFAULT_FAMILY = "sd1"
_OPTIONS = ("guidance_scale", "height", "num_inference_steps", "scheduler", "seed", "strength", "width")
_ALIASES = {"steps": "num_inference_steps", "cfg_scale": "guidance_scale", "guidance": "guidance_scale"}


class DiffusersFamily(FrozenModel):
    """What suits a family of models.

    Attributes:
        names: Words in the names of its models, in lower case.
        pipelines: Classes of its pipelines.
        side: Side of a square picture in pixels.
        multiple: Both sides are multiples of it.
        steps: Steps for the qualities draft, standard and high.
        guidance: The guidance scale; 0 for models that were trained to need none.
        guidance_argument: The pipeline's name for it.
        scheduler: A name in `schedulers`.
        encoder: What reads the prompt: `clip` reads 77 tokens, the others read whole sentences.
        negative: Whether the pipeline takes a negative prompt.
    """

    names: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()
    side: int = Field(gt=0)
    multiple: int = Field(gt=0)
    steps: tuple[int, int, int]
    guidance: float = Field(ge=0)
    guidance_argument: str = "guidance_scale"
    scheduler: str = "default"
    encoder: Literal["clip", "t5", "llm"]
    negative: bool = True


class DiffusersScheduler(FrozenModel):
    """A scheduler: the class in diffusers, and how to configure it; without a class, the model's own.

    Attributes:
        class_name: The class, made by its `from_config(pipeline.scheduler.config, **options)`.
        karras: Whether it uses Karras's noise levels.
        spacing: Its `timestep_spacing`; empty for its own.
    """

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True)

    class_name: str = Field(default="", alias="class")
    karras: bool = False
    spacing: str = ""

    @property
    def options(self) -> dict[str, OptionValue]:
        """Arguments of `from_config`."""
        karras: dict[str, OptionValue] = {"use_karras_sigmas": True} if self.karras else {}
        return {**karras, **({"timestep_spacing": self.spacing} if self.spacing else {})}


class _Families(FrozenModel):
    families: FrozenMapping[str, DiffusersFamily] = FrozenDict()
    schedulers: FrozenMapping[str, DiffusersScheduler] = FrozenDict()


@lru_cache(maxsize=1)
def _data() -> _Families:
    return YamlFile(_DATA, "families").validate(_Families)


def diffusers_families() -> Mapping[str, DiffusersFamily]:
    """Return the families that are known, by name."""
    return _data().families


def diffusers_schedulers() -> Mapping[str, DiffusersScheduler]:
    """Return the schedulers by the names that the option `scheduler` takes."""
    return _data().schedulers


def family_of(model: str) -> str | None:
    """Return the name of the family that a model belongs to; `None` if it is not known.

    Args:
        model: A repository, or a folder with a `model_index.json`, which names the pipeline's class.

    Raises:
        InvalidFile: If the folder's `model_index.json` cannot be read.
    """
    name, pipeline = model.lower().replace("_", "-"), _pipeline_class(Path(model))
    families = diffusers_families()
    by_name = (family for family, data in families.items() if any(word in name for word in data.names))
    by_class = (family for family, data in families.items() if pipeline in data.pipelines)
    return next(by_name, None) or next(by_class, None)


def render_diffusers(
    spec: PromptSpec, model: str = "", *, count_tokens: TextTokenCounter | None = None
) -> RenderedPrompt:
    """Render a spec for a diffusers pipeline: `pipeline(prompt=..., **arguments)`, apart from `seed` and `scheduler`.

    Options of the platform `diffusers`: `num_inference_steps` (or `steps`), `guidance_scale` (or `cfg_scale`),
    `scheduler` (see `diffusers_schedulers`), `seed`, `width`, `height`, and `strength` for image-to-image.

    Args:
        spec: The spec.
        model: A repository or folder, which tells the family; without one, settings of Stable Diffusion 1.5 are taken.
        count_tokens: Counts the tokens of a text, without marks of beginning and end; `None` estimates them.

    Raises:
        InvalidInputs: If an option is unknown or has a wrong value.
    """
    notes: list[str] = []
    family_name = family_of(model) if model else _DEFAULT_FAMILY
    if family_name is None:
        family_name = _DEFAULT_FAMILY
        notes.append(
            f"{model} is of no known family; settings of Stable Diffusion 1.5 are used: set width, height, "
            "num_inference_steps and guidance_scale in options={'diffusers': ...}"
        )
    family = diffusers_families()[family_name]
    options = {_ALIASES.get(name, name): value for name, value in spec.options.get("diffusers", {}).items()}
    check_options("diffusers", options, (*_OPTIONS, *_ALIASES), _problems(options, family))
    clean = sanitized_spec(spec, "diffusers")
    width, height = size_for(spec.ratio, pixels=family.side**2, multiple=family.multiple)
    guidance = options.pop("guidance_scale", family.guidance)
    arguments: dict[str, OptionValue] = {
        "width": width,
        "height": height,
        "num_inference_steps": family.steps[_QUALITIES.index(spec.quality)],
        family.guidance_argument: guidance,
        "scheduler": family.scheduler,
        **options,
    }
    if problem := _strength_problem(arguments):
        check_options("diffusers", {}, (), [problem])
    phrases = phrases_of(clean)
    prompt = ", ".join(phrases) if family.encoder == "clip" else sentences(phrases)
    negative = ", ".join(clean.negative)
    if negative and (note := _negative_note(family_name, family, float(guidance))):
        notes.append(note)
    elif negative:
        arguments["negative_prompt"] = negative
    if family.encoder == "clip":
        notes += _length_notes(prompt, str(arguments.get("negative_prompt", "")), count_tokens)
    return RenderedPrompt(
        platform="diffusers", model=model or family_name, prompt=prompt, arguments=arguments, notes=tuple(notes)
    )


def _negative_note(name: str, family: DiffusersFamily, guidance: float) -> str | None:
    if not family.negative:
        return (
            f"models of the family {name} take no negative prompt, so `negative` is left out; say what is there instead"
        )
    if guidance > 1:
        return None
    advice = "raise it above 1, such as to 5" if family.guidance > 1 else f"models of the family {name} need it so"
    return f"a negative prompt has no effect at guidance_scale {guidance:g}, so `negative` is left out; {advice}"


def _length_notes(prompt: str, negative: str, count_tokens: TextTokenCounter | None) -> list[str]:
    count, about = count_tokens or estimate_clip_tokens, "" if count_tokens else "about "
    return [
        f"the {what} has {about}{count(text)} tokens and CLIP reads {CLIP_TOKENS}; probably not read: {late!r}; "
        "shorten it, or use a model that reads sentences"
        for what, text in (("prompt", prompt), ("negative prompt", negative))
        if (late := words_beyond(text, CLIP_TOKENS, count))
    ]


def _problems(options: Mapping[str, OptionValue], family: DiffusersFamily) -> list[str]:
    problems: list[str | None] = []
    for name, value in options.items():
        match name:
            case "num_inference_steps":
                problems.append(number_problem(name, value, 1, _MAX_STEPS, whole=True))
            case "guidance_scale":
                problems.append(number_problem(name, value, 0, _MAX_GUIDANCE, whole=False))
            case "seed":
                problems.append(number_problem(name, value, 0, _MAX_SEED, whole=True))
            case "strength":
                problems.append(number_problem(name, value, 0.01, 1, whole=False))
            case "scheduler":
                problems.append(choice_problem(name, value, diffusers_schedulers()))
            case "width" | "height":
                problem = number_problem(name, value, family.multiple, _MAX_SIDE, whole=True)
                if problem is None and int(value) % family.multiple:
                    problem = f"{name} must be a multiple of {family.multiple}; got {value}"
                problems.append(problem)
    if ("width" in options) != ("height" in options):
        problems.append("width and height go together; give both, or only aspect_ratio")
    return [problem for problem in problems if problem]


def _strength_problem(arguments: Mapping[str, OptionValue]) -> str | None:
    strength, steps = float(arguments.get("strength", 1.0)), int(arguments["num_inference_steps"])
    if int(steps * strength) >= 1:
        return None
    return (
        f"strength {strength:g} of {steps} steps is less than one step, so nothing would change; "
        f"take a strength of {1 / steps:.2g} or more, or more steps"
    )


def _pipeline_class(folder: Path) -> str:
    index = folder / "model_index.json"
    if not index.is_file():
        return ""
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidFile(f"{index} cannot be read: {error}", hint="Give the folder of a saved pipeline.") from error
    return str(content.get("_class_name", "")) if isinstance(content, dict) else ""
