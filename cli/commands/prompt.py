"""`taleward prompt`: write prompts for pictures, check them, and render them for an image model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from taleward.cli.options import AsJson, BaseUrl, Encoding

if TYPE_CHECKING:
    from taleward.images.prompt_spec import PromptSpec

TO_CHANGE = 1
"""Exit code of `check` if something should be changed."""

prompt_app = typer.Typer(name="prompt", help="Write prompts for pictures, check them, and render them for a model.")

PromptText = Annotated[
    str,
    typer.Argument(
        help="The prompt in English, - for standard input, or the .json file of a spec that `craft --json` printed."
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--for",
        help="Render it for midjourney, midjourney:VERSION, openai-image:MODEL, diffusers:REPO_OR_FOLDER or sd-cpp.",
    ),
]
AspectRatioOption = Annotated[
    str | None, typer.Option("--ar", help="square, landscape, portrait, or width:height such as 16:9.")
]
QualityOption = Annotated[str | None, typer.Option("--quality", help="draft, standard or high.")]
NoOption = Annotated[list[str] | None, typer.Option("--no", help="What must not be in the picture; repeatable.")]
OptionPairs = Annotated[
    list[str] | None,
    typer.Option("--option", help="An option of the platform as NAME=VALUE, such as stylize=750; repeatable."),
]


@prompt_app.command()
def craft(
    idea: PromptText,
    model: Annotated[
        str | None, typer.Option(help="Spec of a chat model that completes the idea; rules do without one.")
    ] = None,
    base_url: BaseUrl = None,
    seed: Annotated[int, typer.Option(help="Chooses among the possibilities of the rules.")] = 0,
    style: Annotated[str | None, typer.Option(help="Art style, such as watercolor.")] = None,
    aspect_ratio: AspectRatioOption = None,
    quality: QualityOption = None,
    negative: NoOption = None,
    target: Target = None,
    option: OptionPairs = None,
    encoding: Encoding = "utf-8",
    as_json: AsJson = False,
) -> None:
    """Complete an idea such as "a house" to a prompt with setting, style, light, viewpoint, colors and mood."""
    from taleward.cli.output.console import print_warning, spinner
    from taleward.cli.output.prompts import show_rendered, show_spec
    from taleward.images.prompts.craft import craft as craft_prompt
    from taleward.images.prompts.render import render_prompt

    spec = with_options(read_spec(idea, encoding), aspect_ratio, quality, negative, target, option)
    with spinner("writing the prompt"):
        crafted = craft_prompt(spec, model, seed=seed, style=style, **({"base_url": base_url} if base_url else {}))
    for note in crafted.notes:
        print_warning(note)
    if target is not None:
        show_rendered(render_prompt(crafted.spec, target), as_json=as_json)
    elif as_json:
        sys.stdout.write(crafted.spec.model_dump_json(indent=2, exclude_defaults=True) + "\n")
    else:
        show_spec(crafted.spec)


@prompt_app.command()
def check(prompt: PromptText, encoding: Encoding = "utf-8", as_json: AsJson = False) -> None:
    """Say what a prompt leaves open and where it contradicts itself, with suggestions.

    Prompts with Midjourney's parameters are checked, too.

    Exit codes: 0 nothing important is missing, 1 something should be changed, 2 the prompt cannot be used.
    """
    from taleward.cli.output.prompts import show_critique
    from taleward.images.prompts.critique import critique

    found = critique(_read_text(prompt, encoding))
    if as_json:
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
    else:
        show_critique(found)
    raise typer.Exit(0 if found.is_complete else TO_CHANGE)


@prompt_app.command()
def render(
    prompt: PromptText,
    target: Annotated[
        str,
        typer.Option(
            "--for", help="midjourney, midjourney:VERSION, openai-image:MODEL, diffusers:REPO_OR_FOLDER or sd-cpp."
        ),
    ],
    aspect_ratio: AspectRatioOption = None,
    quality: QualityOption = None,
    negative: NoOption = None,
    option: OptionPairs = None,
    encoding: Encoding = "utf-8",
    as_json: AsJson = False,
) -> None:
    """Render a prompt, as it is, for an image model: the words to send, and size, steps and other settings."""
    from taleward.cli.output.prompts import show_rendered
    from taleward.images.prompts.render import render_prompt

    spec = with_options(read_spec(prompt, encoding), aspect_ratio, quality, negative, target, option)
    show_rendered(render_prompt(spec, target), as_json=as_json)


def _read_text(prompt: str, encoding: str) -> str | PromptSpec:
    """Return the text of an argument, or the spec if it is the file of one."""
    from pydantic import ValidationError

    from taleward.cli.input import read_text
    from taleward.core.errors import InvalidFile
    from taleward.images.prompt_spec import PromptSpec
    from taleward.moderation.judges.strict_parsing import first_problem

    if prompt != "-" and not prompt.endswith(".json"):
        return prompt
    text = read_text(prompt, encoding)
    if not text.lstrip().startswith("{"):
        return text
    try:
        return PromptSpec.model_validate_json(text)
    except ValidationError as error:
        raise InvalidFile(
            f"{prompt} is not the JSON of a prompt spec: {first_problem(error)}",
            hint="Make one with: taleward prompt craft IDEA --json",
        ) from error


def read_spec(prompt: str, encoding: str) -> PromptSpec:
    """Return the spec of an argument: a text, - for standard input, or the file of a spec."""
    from taleward.images.prompts.read_prompt import read_prompt

    text = _read_text(prompt, encoding)
    return read_prompt(text) if isinstance(text, str) else text


def with_options(
    spec: PromptSpec,
    aspect_ratio: str | None,
    quality: str | None,
    negative: list[str] | None,
    target: str | None,
    pairs: list[str] | None,
) -> PromptSpec:
    """Return a spec with the values of a command's options.

    Raises:
        InvalidInputs: If a value is wrong.
    """
    from pydantic import ValidationError

    from taleward.core.errors import InvalidInputs
    from taleward.images.prompt_spec import PictureQuality, PromptSpec
    from taleward.images.prompts.render import platform_of
    from taleward.images.prompts.rendered import choice_problem
    from taleward.moderation.judges.strict_parsing import first_problem

    update: dict[str, object] = {"negative": (*spec.negative, *(negative or ()))}
    if aspect_ratio is not None:
        update["aspect_ratio"] = aspect_ratio
    if quality is not None:
        update["quality"] = quality
    if problem := choice_problem("--quality", spec.quality if quality is None else quality, get_args(PictureQuality)):
        raise InvalidInputs(None, [problem])
    if pairs:
        if target is None:
            raise InvalidInputs(None, ["--option belongs to a platform"], hint="Add --for, such as --for midjourney.")
        platform = platform_of(target)
        options = {**spec.options.get(platform, {}), **dict(map(_parse_option, pairs))}
        update["options"] = {**{name: dict(values) for name, values in spec.options.items()}, platform: options}
    try:
        return PromptSpec.model_validate({**spec.model_dump(), **update})
    except ValidationError as error:
        raise InvalidInputs(None, [first_problem(error)]) from error


def _parse_option(pair: str) -> tuple[str, str | bool | int | float]:
    from taleward.core.errors import InvalidInputs

    name, separator, value = pair.partition("=")
    if not (name and separator):
        raise InvalidInputs(None, [f"--option takes NAME=VALUE, such as stylize=750; got {pair!r}"])
    if value in ("true", "false"):
        return name, value == "true"
    for number in (int, float):
        try:
            return name, number(value)
        except ValueError:
            continue
    return name, value
