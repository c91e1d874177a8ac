"""`taleward draw`: draw pictures, and release only those that pass the judges."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taleward.cli.commands.prompt import AspectRatioOption, NoOption, OptionPairs, PromptText, QualityOption
from taleward.cli.options import (
    DEFAULT_FOLDER,
    REFUSED,
    AsJson,
    BandName,
    BaseUrl,
    Folder,
    JudgeSpecs,
    PolicyName,
)
from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    from taleward.images.guard.guarded_picture import GuardedPicture
    from taleward.images.guard.image_guard import ImageGuard
    from taleward.images.models.request import ImageRequest
    from taleward.images.picture import Picture

_NAME_LENGTH, _DIGEST_LENGTH = 40, 8
_PROVIDERS_WITH_SERVER = ("openai-image",)
_WEAK_JUDGES = (
    "the picture judges saw blank, broken and flagged pictures and pornography, nothing else; for children add one "
    "that knows the policy: --picture-judge openai:gpt-5-mini"
)


def draw(
    prompt: PromptText,
    model: Annotated[
        str,
        typer.Option(
            help="collage (offline, the default), diffusers:REPO_OR_FOLDER, openai-image:MODEL, or midjourney, for "
            "which the prompt is only rendered."
        ),
    ] = "collage",
    base_url: BaseUrl = None,
    style: Annotated[str | None, typer.Option(help="Art style, such as watercolor.")] = None,
    aspect_ratio: AspectRatioOption = None,
    n: Annotated[int, typer.Option("--n", min=1, max=64, help="Number of variations.")] = 4,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the first; the others follow from it.")] = None,
    quality: QualityOption = None,
    negative: NoOption = None,
    option: OptionPairs = None,
    start_from: Annotated[Path | None, typer.Option("--from", help="Picture to change.")] = None,
    strength: Annotated[
        float | None, typer.Option(min=0.01, max=1.0, help="How far to change the picture of --from, up to 1.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Where to change the picture of --from: white is redrawn.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = Path("pictures"),
    sheet: Annotated[bool, typer.Option(help="Write a contact sheet, if there are several pictures.")] = True,
    manifest: Annotated[bool, typer.Option("--manifest", help="Write a manifest for C2PA's tools, too.")] = False,
    judge: JudgeSpecs = None,
    picture_judge: Annotated[
        list[str] | None,
        typer.Option(
            help="Judge of the pictures: picture-checks, open-nsfw, a chat model that takes pictures, ... If it is "
            "repeated, a picture must pass all. By default picture-checks, and open-nsfw unless the model is collage."
        ),
    ] = None,
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    attempts: Annotated[int, typer.Option(min=1, help="How often the model draws at most.")] = 3,
    fallback: Annotated[bool, typer.Option(help="Let the collage draw if no picture of the model passes.")] = True,
    timeout: Annotated[float, typer.Option(min=1.0, help="Time limit in seconds for everything.")] = 900.0,
    cache: Annotated[Path | None, typer.Option(help="File in which pictures are kept, to draw none twice.")] = None,
    as_json: AsJson = False,
    record: Annotated[bool, typer.Option(help="Record the pictures in MLflow.")] = True,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Draw pictures, and release only those that pass the judges.

    taleward draw "a fox asleep in a snowy forest" --style watercolor --ar 16:9 --n 4 --seed 3

    Exit codes: 0 released, 1 a model could not be reached, 2 wrong use, 3 refused.
    """
    from taleward.cli.commands.prompt import read_spec, with_options
    from taleward.cli.output.console import print_note, print_warning
    from taleward.images.models.request import as_request

    spec = read_spec(prompt, "utf-8")
    if style is not None:
        spec = spec.model_copy(update={"art_style": " ".join(style.split())})
    spec = with_options(spec, aspect_ratio, quality, negative, model if option else None, option)
    if model.partition(":")[0] == "midjourney":
        _show_for_midjourney(spec, model, as_json=as_json)
        return
    if start_from is None and (strength is not None or mask is not None):
        raise ConfigurationError(
            f"{'--strength' if strength is not None else '--mask'} is for changing a picture.",
            hint="Name the picture with --from FILE.",
        )
    fields = {"prompt": spec, "n": n, "seed": seed, "strength": strength}
    fields |= {"init_image": _read_picture(start_from), "mask": _read_picture(mask)}
    request = as_request(fields, {})
    specs = picture_judge or ["picture-checks", *([] if model.startswith("collage") else ["open-nsfw"])]
    guard = _make_guard(model, base_url, cache, judge, specs, policy, band, attempts, timeout, fallback=fallback)
    result = _run(guard, request)
    files = _write(result, out, spec.subject, sheet=sheet, manifest=manifest) if result.released else {}
    if as_json:
        sys.stdout.write(json.dumps(_plain(result, files), indent=2) + "\n")
    else:
        _show(result, files)
    if result.released and result.drawer == "fallback":
        print_warning(f"no picture of {model} passed; the collage drew this one")
    if result.released and picture_judge is None and not model.startswith("collage"):
        print_note(_WEAK_JUDGES)
    if record:
        _record(result, request, folder)
    raise typer.Exit(0 if result.released else REFUSED)


def _show_for_midjourney(spec: Any, model: str, *, as_json: bool) -> None:
    from taleward.cli.output.console import print_note
    from taleward.cli.output.prompts import show_rendered
    from taleward.images.prompts.render import render_prompt

    print_note("Midjourney has no API; paste this into it:")
    show_rendered(render_prompt(spec, model), as_json=as_json)


def _read_picture(path: Path | None) -> Picture | None:
    from taleward.core.errors import InvalidFile
    from taleward.images.picture import Picture

    if path is None:
        return None
    try:
        return Picture.open(path)
    except OSError as error:
        raise InvalidFile(f"{path} cannot be read: {error.strerror or error}") from error
    except ConfigurationError as error:
        raise InvalidFile(f"{path}: {error}", hint=error.hint) from error


def _make_guard(
    model: str,
    base_url: str | None,
    cache: Path | None,
    judge: list[str] | None,
    picture_judges: list[str],
    policy: str,
    band: str,
    attempts: int,
    timeout: float,
    *,
    fallback: bool,
) -> ImageGuard:
    from taleward.cli.judge_specs import make_judge
    from taleward.cli.output.console import spinner
    from taleward.images.guard.image_guard import ImageGuard
    from taleward.images.models.factory import image_model
    from taleward.images.picture_cache import PictureCache

    options: dict[str, Any] = {"timeout_s": timeout}
    if base_url is not None:
        if model.partition(":")[0] not in _PROVIDERS_WITH_SERVER:
            raise ConfigurationError(
                f"--base-url is the server of an openai-image: model; the model is {model}.",
                hint="Write --model openai-image:NAME, or leave --base-url out.",
            )
        options["base_url"] = base_url
    if cache is not None:
        options["cache"] = PictureCache(cache)
    with spinner("loading the models"):
        return ImageGuard(
            image_model(model, **options),
            make_judge(judge, policy=policy, band=band),
            picture_judges=picture_judges,
            attempts=attempts,
            fallback="collage" if fallback and not model.startswith("collage") else None,
            timeout_s=timeout,
            keep_drafts=True,
        )


def _run(guard: ImageGuard, request: ImageRequest) -> GuardedPicture:
    from taleward.cli.output.drawing import show_drawing

    return show_drawing(guard.stream(request))


def _write(result: GuardedPicture, out: Path, subject: str, *, sheet: bool, manifest: bool) -> dict[str, Path]:
    """Write the released pictures; return their files by digest, and the contact sheet's as `sheet`."""
    from taleward.images.contact_sheet import contact_sheet
    from taleward.images.picture_metadata import manifest as c2pa_manifest

    name = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:_NAME_LENGTH].strip("-") or "picture"
    files: dict[str, Path] = {}
    for picture in result.pictures:
        path = picture.save(out / f"{name}-{picture.sha256[:_DIGEST_LENGTH]}{picture.suffix}")
        files[picture.sha256] = path
        if manifest:
            content = json.dumps(c2pa_manifest(picture, title=path.name), indent=2)
            path.with_suffix(".c2pa.json").write_text(content + "\n", encoding="utf-8")
    if sheet and len(result.pictures) > 1:
        made = contact_sheet(result.pictures)
        files["sheet"] = made.save(out / f"{name}-{made.sha256[:_DIGEST_LENGTH]}-sheet.png")
    return files


def _plain(result: GuardedPicture, files: dict[str, Path]) -> dict[str, Any]:
    """The result as JSON: files in place of the pictures' bytes."""
    judged = {"__all__": {"pictures": {"__all__": {"picture"}}}}
    plain = result.model_dump(
        mode="json", exclude={"released_pictures": {"__all__": {"data"}}, "attempts": judged}, exclude_none=True
    )
    for picture in plain["released_pictures"]:
        picture["file"] = str(files[picture["sha256"]])
    return {**plain, **({"sheet": str(files["sheet"])} if "sheet" in files else {})}


def _show(result: GuardedPicture, files: dict[str, Path]) -> None:
    from taleward.cli.output.drawing import show_pictures

    show_pictures(result, files)


def _record(result: GuardedPicture, request: ImageRequest, folder: Path) -> None:
    from taleward.cli.output.console import print_note, spinner, warn_not_recorded
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri
    from taleward.images.guard.picture_recorder import MlflowPictureRecorder

    try:
        with spinner("recording"):
            MlflowPictureRecorder(default_tracking_uri(folder)).record(result, request)
    except Exception as error:  # noqa: BLE001  the pictures have been written; only their record is lost
        warn_not_recorded("the picture", error)
    else:
        print_note(f"recorded in {folder / 'mlflow.db'} as {result.id}; see it with: taleward ui")
