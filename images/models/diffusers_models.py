"""Image models that run in this process, by diffusers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from io import BytesIO
from typing import TYPE_CHECKING, Any

from taleward.core.errors import BackendError, ConfigurationError, InvalidInputs
from taleward.core.frozen_model import FrozenDict
from taleward.images.models.base import DrawingCanceled, DrawingTask, ImageModel
from taleward.images.models.capabilities import ImageCapabilities
from taleward.images.models.diffusers_loading import (
    LoadedPipeline,
    Offload,
    PipelineOptions,
    Task,
    accepted_arguments,
)
from taleward.images.models.events import DrawingProgress, FinishedPicture, ImageEvent
from taleward.images.models.masks import change_mask
from taleward.images.models.request import ImageRequest
from taleward.images.picture import Picture, PictureLineage
from taleward.images.prompt_spec import OptionValue, PromptSpec
from taleward.images.prompts.rendered import RenderedPrompt
from taleward.images.prompts.renderers.diffusers import diffusers_families, family_of, render_diffusers

if TYPE_CHECKING:
    from PIL import Image

_DEFAULT_STRENGTH = 0.6
_POLL_S = 0.05
_SETTINGS = ("scheduler", "seed", "strength", "width", "height")
"""Arguments of a rendered prompt that are not passed on as they are."""


class DiffusersModel(ImageModel):
    """A diffusers pipeline: text-to-image, image-to-image and inpainting with the same weights.

    Steps, guidance and scheduler follow from the model's family and the prompt's `quality`; options given here come
    before those, and the prompt's own `options={"diffusers": ...}` before these. Weights are loaded with the first
    picture, and only from safetensors. Each picture has a generator of its own on the CPU, so that a seed means the
    same on every device.

    Args:
        model: A repository on the Hugging Face Hub, or a folder.
        steps: Denoising steps.
        guidance_scale: How closely to follow the prompt; a negative prompt works above 1 only.
        scheduler: A name of `diffusers_schedulers`, such as `lcm` or `euler-trailing`.
        batch_size: How many variations are drawn at once. More than 1 is faster on a GPU, and may change a picture in
            its last bits.
        threads: Threads of torch, for the whole process; on a busy machine 1 is often fastest.
        device: A torch device; a GPU by default if there is one.
        dtype: A torch dtype such as `bfloat16`.
        offload: `model` or `sequential`, for a GPU with little memory.
        low_memory: Decodes pictures in slices and tiles.
        local_files_only: Whether nothing is downloaded.
        revision: The repository's revision.
        variant: The weights' variant, such as `fp16`.
        options: Options of `ImageModel`.

    Raises:
        ConfigurationError: If an option is out of range.
    """

    def __init__(
        self,
        model: str,
        *,
        steps: int | None = None,
        guidance_scale: float | None = None,
        scheduler: str | None = None,
        batch_size: int = 1,
        threads: int | None = None,
        device: str | None = None,
        dtype: str | None = None,
        offload: Offload | None = None,
        low_memory: bool = False,
        local_files_only: bool = False,
        revision: str | None = None,
        variant: str | None = None,
        **options: Any,
    ) -> None:
        if batch_size < 1:
            raise ConfigurationError(f"batch_size must be 1 or more; got {batch_size}.")
        if threads is not None and threads < 1:
            raise ConfigurationError(f"threads must be 1 or more; got {threads}.")
        if offload not in (None, "model", "sequential"):
            raise ConfigurationError(f"offload must be 'model', 'sequential' or None; got {offload!r}.")
        family = diffusers_families()[family_of(model) or "sd1"]
        self._has_size = options.get("pixels") is not None
        options["pixels"] = options.get("pixels") or family.side**2
        super().__init__(
            f"diffusers:{model}",
            ImageCapabilities(
                image_to_image=True,
                inpainting=True,
                strength=True,
                negative_prompt=family.negative,
                size_multiple=family.multiple,
            ),
            **options,
        )
        self.model, self.batch_size, self.threads = model, batch_size, threads
        given = {"num_inference_steps": steps, "guidance_scale": guidance_scale, "scheduler": scheduler}
        self.settings: Mapping[str, OptionValue] = {k: v for k, v in given.items() if v is not None}
        self._loading = PipelineOptions(device, dtype, offload, low_memory, local_files_only, revision, variant)
        self._loaded: LoadedPipeline | None = None
        # A pipeline keeps the state of one run.
        self._lock = threading.Lock()
        self.rendered(ImageRequest(prompt=PromptSpec(subject="a picture")))  # rejects wrong settings now

    def rendered(self, request: ImageRequest) -> RenderedPrompt:
        """Return the prompt and the settings with which a request is drawn.

        Raises:
            InvalidInputs: If an option of the prompt is unknown or has a wrong value, or nothing would change.
        """
        spec = request.prompt
        options = {**self.settings, **_canonical(spec.options.get("diffusers", {}))}
        if request.init_image is not None:
            options["strength"] = request.strength or float(options.get("strength", _DEFAULT_STRENGTH))
        spec = spec.model_copy(update={"options": FrozenDict({**spec.options, "diffusers": FrozenDict(options)})})
        tokenizer = self._loaded.tokenizer if self._loaded else None
        count = (lambda text: len(tokenizer(text, add_special_tokens=False).input_ids)) if tokenizer else None
        return render_diffusers(spec, self.model, count_tokens=count)

    def size_of(self, request: ImageRequest) -> tuple[int, int]:
        """Return the size in which a request is drawn: by default the one that suits the model's family."""
        if request.size is None and request.init_image is None and not self._has_size:
            arguments = self.rendered(request).arguments
            return int(arguments["width"]), int(arguments["height"])
        return super().size_of(request)

    def check_request(self, request: ImageRequest) -> None:
        """Check a request before anything runs.

        Raises:
            InvalidInputs: If an option is wrong, or a strength so small that nothing would change.
        """
        super().check_request(request)
        self.rendered(request)
        if request.mask is not None:
            change_mask(request.mask)

    def _parameters(self) -> dict[str, Any]:
        dtype, revision = self._loading.dtype, self._loading.revision
        return {"settings": dict(self.settings), "dtype": dtype, "revision": revision}

    def _draw(self, drawing: DrawingTask) -> Iterator[ImageEvent]:
        while not self._lock.acquire(timeout=_POLL_S):
            drawing.check()
        try:
            loaded = self._load()
            drawing.check()
            indices = list(drawing.seeds)
            for start in range(0, len(indices), self.batch_size):
                yield from self._draw_batch(loaded, drawing, indices[start : start + self.batch_size])
        finally:
            self._lock.release()

    def _load(self) -> LoadedPipeline:
        if self._loaded is None:
            self._loaded = LoadedPipeline(self.model, self._loading, self.spec)
            if self.threads is not None:
                import torch

                torch.set_num_threads(self.threads)
        return self._loaded

    def _draw_batch(self, loaded: LoadedPipeline, drawing: DrawingTask, indices: list[int]) -> Iterator[ImageEvent]:
        import torch

        request, rendered = drawing.request, self.rendered(drawing.request)
        task: Task = "inpainting" if request.mask else "image_to_image" if request.init_image else "text_to_image"
        pipeline = loaded.pipeline(task, str(rendered.arguments["scheduler"]))
        arguments = _arguments(pipeline, rendered, drawing)
        steps = int(rendered.arguments["num_inference_steps"])
        if task != "text_to_image":
            steps = max(1, int(steps * float(rendered.arguments["strength"])))
        generators = [torch.Generator("cpu").manual_seed(drawing.seeds[index]) for index in indices]
        callback = _StepCallback(drawing, tuple(indices), steps)
        if "callback_on_step_end" in accepted_arguments(pipeline):
            arguments["callback_on_step_end"] = callback
        started_s = time.monotonic()
        try:
            output = pipeline(**arguments, generator=generators, num_images_per_prompt=len(indices))
        except DrawingCanceled:
            raise
        except torch.OutOfMemoryError as error:
            raise BackendError(
                f"{self.spec} ran out of memory at {drawing.size[0]}x{drawing.size[1]}.",
                hint="Draw fewer pixels, or set low_memory=True or offload='model'.",
            ) from error
        drawing.check()
        duration_s = (time.monotonic() - started_s) / len(indices)
        withheld = getattr(output, "nsfw_content_detected", None) or [False] * len(indices)
        for index, image, is_withheld in zip(indices, output.images, withheld, strict=True):
            lineage = self._lineage(loaded, pipeline, rendered, drawing, duration_s)
            picture = _picture(drawing, index, image, lineage, is_withheld=bool(is_withheld))
            yield FinishedPicture(index=index, picture=picture)

    def _lineage(
        self, loaded: LoadedPipeline, pipeline: Any, rendered: RenderedPrompt, drawing: DrawingTask, duration_s: float
    ) -> PictureLineage:
        where = {"device": str(loaded.device), "dtype": str(loaded.dtype).removeprefix("torch.")}
        size = {"width": drawing.size[0], "height": drawing.size[1]}
        settings = {k: v for k, v in rendered.arguments.items() if k not in ("negative_prompt", "seed")}
        return PictureLineage(
            model=self.spec,
            parameters={**settings, **size, **where, "pipeline": type(pipeline).__name__},
            versions=_versions(),
            scheduler=type(pipeline.scheduler).__name__,
            prompt=rendered.prompt,
            negative_prompt=str(rendered.arguments.get("negative_prompt", "")),
            notes=rendered.notes,
            request_sha256=drawing.request.sha256(model=self.spec, parameters=self._parameters()),
            parents=drawing.request.parents,
            duration_s=duration_s,
        )


@cache
def _versions() -> FrozenDict[str, str]:
    """Return the versions of the libraries; reading them takes longer than a step of a small pipeline."""
    return FrozenDict({name: version(name) for name in ("diffusers", "torch", "transformers")})


class _StepCallback:
    """Reports each step, and stops the pipeline when nobody waits any more."""

    def __init__(self, drawing: DrawingTask, indices: tuple[int, ...], steps: int) -> None:
        self._drawing, self._indices, self._steps = drawing, indices, steps

    def __call__(self, pipeline: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        if self._drawing.canceled.is_set():
            if getattr(pipeline, "_interrupt", True):
                # Set a step ago, and the pipeline goes on: it is one of those that do not look.
                raise DrawingCanceled
            pipeline._interrupt = True
            return values
        done = min(step + 1, self._steps)
        self._drawing.emit(DrawingProgress(step=done, steps=self._steps, indices=self._indices))
        return values


def _canonical(options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    aliases = {"steps": "num_inference_steps", "cfg_scale": "guidance_scale", "guidance": "guidance_scale"}
    return {aliases.get(name, name): value for name, value in options.items()}


def _arguments(pipeline: Any, rendered: RenderedPrompt, drawing: DrawingTask) -> dict[str, Any]:
    request, (width, height) = drawing.request, drawing.size
    known = accepted_arguments(pipeline)
    arguments: dict[str, Any] = {"prompt": rendered.prompt, "width": width, "height": height}
    arguments |= {name: value for name, value in rendered.arguments.items() if name not in _SETTINGS}
    if request.init_image is not None:
        arguments["image"] = _resized(request.init_image, drawing.size)
        arguments["strength"] = rendered.arguments["strength"]
    if request.mask is not None:
        arguments["mask_image"] = change_mask(request.mask).resize(drawing.size)
    if needed := [name for name in ("image", "mask_image") if name in arguments and name not in known]:
        raise InvalidInputs(None, [f"{type(pipeline).__name__} takes no {', '.join(needed)}"])
    return {name: value for name, value in arguments.items() if name in known}


def _picture(
    drawing: DrawingTask, index: int, image: Image.Image, lineage: PictureLineage, *, is_withheld: bool
) -> Picture:
    request = drawing.request
    # A safety checker replaces what it finds by black; so does a decoder that overflowed.
    is_black = image.convert("L").getextrema() == (0, 0)
    if request.init_image is not None and request.mask is not None and not (is_withheld or is_black):
        # The decoder changes every pixel a little; what the mask keeps is kept exactly.
        mask = change_mask(request.mask).resize(drawing.size)
        image.paste(_resized(request.init_image, drawing.size), mask=mask.point(lambda value: 255 - value))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    reasons = (*(("nsfw",) if is_withheld else ()), *(("black",) if is_black else ()))
    return Picture.from_bytes(
        buffer.getvalue(),
        prompt=request.prompt,
        seed=drawing.seeds[index],
        lineage=lineage,
        flags=("blocked", *reasons) if reasons else (),
    )


def _resized(picture: Picture, size: tuple[int, int]) -> Image.Image:
    image: Image.Image = picture.to_pil().convert("RGB")
    return image if image.size == size else image.resize(size)
