"""Load a diffusers pipeline, and make from it those for image-to-image and inpainting, which share its weights."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from taleward.backends.transformers.devices import torch_device
from taleward.backends.transformers.hub_files import LOAD_ERRORS, expand_home, model_unavailable
from taleward.core.errors import BackendError, ConfigurationError, InvalidInputs, MissingExtra
from taleward.images.prompts.renderers.diffusers import diffusers_schedulers

Task = Literal["text_to_image", "image_to_image", "inpainting"]
Offload = Literal["model", "sequential"]

_AUTO_CLASSES: dict[Task, str] = {
    "text_to_image": "AutoPipelineForText2Image",
    "image_to_image": "AutoPipelineForImage2Image",
    "inpainting": "AutoPipelineForInpainting",
}
_WHAT: dict[Task, str] = {
    "text_to_image": "draw from a prompt alone",
    "image_to_image": "change a picture (init_image)",
    "inpainting": "change a part of a picture (mask)",
}


class PipelineOptions(NamedTuple):
    """How a pipeline is loaded.

    Attributes:
        device: A torch device; `None` uses a GPU if there is one.
        dtype: A torch dtype such as `bfloat16`; by default half precision on a GPU and `float32` on the CPU.
        offload: Keeps weights in the machine's memory and brings them to the GPU when they are needed: whole models, or
            layer by layer.
        low_memory: Decodes pictures in slices and tiles.
        local_files_only: Whether nothing is downloaded.
        revision: The repository's revision.
        variant: The weights' variant, such as `fp16`.
    """

    device: str | None = None
    dtype: str | None = None
    offload: Offload | None = None
    low_memory: bool = False
    local_files_only: bool = False
    revision: str | None = None
    variant: str | None = None


class LoadedPipeline:
    """A pipeline on its device, with the pipelines of the other tasks.

    Args:
        path: A repository or a folder.
        options: How it is loaded.
        spec: The model's spec, for messages.

    Raises:
        MissingExtra: If diffusers or torch is not installed.
        ConfigurationError: If the device does not exist, or has nothing to offload to.
        BackendError: If the weights cannot be loaded or downloaded.
    """

    def __init__(self, path: str, options: PipelineOptions, spec: str) -> None:
        try:
            import torch

            with _quiet():
                import diffusers
        except ImportError as error:
            raise MissingExtra("a local image model", "diffusers") from error
        self.spec, self.device = spec, torch_device(options.device)
        if options.offload is not None and self.device.type == "cpu":
            raise ConfigurationError(
                f"offload={options.offload!r} moves weights between memory and a GPU, and {spec} runs on the CPU.",
                hint="Leave offload out, or name a device such as 'cuda'.",
            )
        default = "float32" if self.device.type == "cpu" else "float16"
        self.dtype = getattr(torch, options.dtype or default)
        folder = expand_home(path)
        where = {} if Path(folder).is_dir() else {"revision": options.revision}
        auto_class = getattr(diffusers, _AUTO_CLASSES["text_to_image"])
        try:
            with _quiet():
                # Only safetensors: other weights are pickles, which run code when they are loaded.
                self._text_to_image: Any = auto_class.from_pretrained(
                    folder,
                    torch_dtype=self.dtype,
                    use_safetensors=True,
                    local_files_only=options.local_files_only,
                    variant=options.variant,
                    **where,
                )
        except (OSError, *LOAD_ERRORS, ValueError) as error:
            unavailable = model_unavailable(path, error, what="image model")
            raise BackendError(
                str(unavailable),
                hint=f"On a machine with network access, run: hf download {path}. Or pass the folder of a pipeline "
                "that diffusers saved. 'collage' needs neither.",
            ) from error
        self._place(options)
        self._text_to_image.set_progress_bar_config(disable=True)
        self._own_scheduler = self._text_to_image.scheduler

    def _place(self, options: PipelineOptions) -> None:
        pipeline = self._text_to_image
        match options.offload:
            case "model":
                pipeline.enable_model_cpu_offload(device=self.device)
            case "sequential":
                pipeline.enable_sequential_cpu_offload(device=self.device)
            case None:
                pipeline.to(self.device)
        if options.low_memory and hasattr(pipeline, "vae"):
            for method in ("enable_slicing", "enable_tiling"):
                if hasattr(pipeline.vae, method):
                    getattr(pipeline.vae, method)()

    def pipeline(self, task: Task, scheduler: str = "default") -> Any:
        """Return the pipeline for a task with a scheduler; all of them share their weights.

        Args:
            task: The task.
            scheduler: A name of `diffusers_schedulers`; `default` is the model's own.

        Raises:
            InvalidInputs: If the model cannot do the task.
        """
        pipeline = getattr(self, f"_{task}") if task == "text_to_image" else self._derived(task)
        pipeline.scheduler = self._scheduler(scheduler)
        return pipeline

    def _derived(self, task: Task) -> Any:
        if (known := self._others.get(task)) is None:
            import diffusers

            try:
                known = getattr(diffusers, _AUTO_CLASSES[task]).from_pipe(self._text_to_image)
            except (ValueError, AttributeError) as error:
                name = type(self._text_to_image).__name__
                raise InvalidInputs(
                    None,
                    [f"{self.spec} cannot {_WHAT[task]}: diffusers has no such pipeline for {name}"],
                    hint="Use a model of the families Stable Diffusion, SDXL, SD3, Flux, Qwen-Image or Z-Image.",
                ) from error
            known.set_progress_bar_config(disable=True)
            self._others[task] = known
        return known

    @cached_property
    def _others(self) -> dict[Task, Any]:
        return {}

    def _scheduler(self, name: str) -> Any:
        wanted = diffusers_schedulers()[name]
        # A scheduler keeps the state of a run, so each gets its own.
        if not wanted.class_name:
            return type(self._own_scheduler).from_config(self._own_scheduler.config)
        scheduler_class = getattr(importlib.import_module("diffusers"), wanted.class_name)
        if "flow" in type(self._own_scheduler).__name__.lower():
            # A flow model's noise is not what these schedulers take away.
            return type(self._own_scheduler).from_config(self._own_scheduler.config)
        return scheduler_class.from_config(self._own_scheduler.config, **wanted.options)

    @property
    def tokenizer(self) -> Any:
        """The CLIP tokenizer, `None` if the model has none."""
        return getattr(self._text_to_image, "tokenizer", None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the libraries say about torchvision, which is not needed, and about options of their own calls."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    from diffusers.utils import logging as diffusers_logging

    bars = [module for module in (transformers_logging, diffusers_logging) if module.is_progress_bar_enabled()]
    try:
        for module in bars:
            module.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*local_dir_use_symlinks")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        for module in bars:
            module.enable_progress_bar()


def accepted_arguments(pipeline: Any) -> frozenset[str]:
    """Return the names of the arguments that a pipeline's call takes."""
    return frozenset(inspect.signature(type(pipeline).__call__).parameters)
