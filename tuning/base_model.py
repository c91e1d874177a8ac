"""Load the model that is to be tuned, in the precision for training."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from taleward.backends.base.shipped_models import embedded_path
from taleward.backends.base.spec import parse_spec
from taleward.backends.onnx.adapted_model import complete_folder
from taleward.backends.transformers.devices import torch_device
from taleward.backends.transformers.gguf_header import find_gguf
from taleward.backends.transformers.hub_files import expand_home, model_folder, translate_load_errors
from taleward.core.errors import ConfigurationError, MissingExtra
from taleward.tuning.settings import TuningSettings

_PACKAGES = ("accelerate", "datasets", "peft", "torch", "transformers", "trl")


def check_installed() -> None:
    """Check that the libraries for tuning are installed.

    Raises:
        MissingExtra: If one is missing.
    """
    if not all(find_spec(package) for package in _PACKAGES):
        raise MissingExtra("tuning a writer", "tuning")


def base_folder(model: str) -> Path:
    """Return the folder in Hugging Face layout of the model to tune.

    Args:
        model: A spec `hf:REPOSITORY`, `hf:FOLDER`, `hf:FILE.gguf`, or `embedded:NAME` of a writer.

    Raises:
        ConfigurationError: If it is another provider's, or there is no such embedded model.
        BackendError: If there is no such model, or a GGUF file cannot be converted.
    """
    spec = parse_spec(model)
    if spec.provider == "embedded":
        return complete_folder(embedded_path(spec.model))
    if spec.provider != "hf":
        raise ConfigurationError(
            f"only models in Hugging Face layout can be tuned; got {model!r}.",
            hint="Pass 'embedded:storyteller', 'hf:REPOSITORY', 'hf:FOLDER' or 'hf:FILE.gguf'.",
        )
    path = expand_home(spec.model)
    if (gguf := find_gguf(path)) is not None:
        from taleward.backends.transformers.gguf_conversion import converted_folder

        return converted_folder(gguf)
    return Path(model_folder(path))


def weights_sha256(folder: Path) -> str:
    """Return one hash of all weights in a folder, which says whether two runs start from the same model."""
    total = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as opened:
            total.update(hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()


def load_base(
    folder: Path, device: str | None, settings: TuningSettings, *, chat_template: str | None
) -> tuple[Any, Any, str, bool]:
    """Load model and tokenizer.

    Args:
        folder: The folder in Hugging Face layout.
        device: `cpu`, `cuda` or `cuda:N`; `None` takes a GPU where there is one.
        settings: The settings.
        chat_template: A chat template to tune with; `None` keeps the model's own.

    Returns:
        The model, its tokenizer, `cpu` or `cuda`, and whether to multiply in bfloat16.

    Raises:
        ConfigurationError: If the device does not exist, or there is no chat template.
        BackendError: If a file is missing or unreadable.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    on = torch_device(device)
    kind = "cpu" if on.type == "cpu" else "cuda"
    bfloat16 = settings.precision == "bfloat16" or (settings.precision == "auto" and _multiplies_bfloat16(kind))
    # Weights that are not trained need no more precision than the products have, and are then not converted each time;
    # those that are trained would lose small changes.
    dtype = torch.bfloat16 if bfloat16 and settings.lora_rank else torch.float32
    with translate_load_errors(str(folder), {}):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            # On a CPU the plain products are a tenth faster than the fused ones, measured on 135 M parameters.
            attn_implementation="eager" if kind == "cpu" else "sdpa",
        ).to(on)
    tokenizer.chat_template = chat_template or tokenizer.chat_template
    if not tokenizer.chat_template:
        raise ConfigurationError(
            f"the model in {folder} has no chat template, so it is not clear how a prompt is given to it.",
            hint="Pass chat_template=..., in the format of transformers.",
        )
    return model, tokenizer, kind, bfloat16


def _multiplies_bfloat16(device: str) -> bool:
    """Return whether matrix products in bfloat16 are faster than in float32."""
    if device != "cpu":
        return True
    import torch

    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(flags.get("avx512_bf16") or flags.get("amx_bf16") or flags.get("amx_tile"))
