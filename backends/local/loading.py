"""Load models once per process and choose their engine."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from taleward.backends.base.shipped_models import is_embedded
from taleward.backends.engine.model_cache import ModelCache
from taleward.backends.local.language_model import LanguageModel
from taleward.backends.onnx.llama_graph import unsupported_reason
from taleward.backends.transformers.devices import has_gpu
from taleward.backends.transformers.gguf_header import find_gguf
from taleward.backends.transformers.hub_files import expand_home, model_config, model_folder

_models: ModelCache[LanguageModel] = ModelCache()


def load_model(path: str, engine: str, precision: str, device: str | None, options: Mapping[str, Any]) -> LanguageModel:
    """Load a model on first use; the last four stay in memory. See `LocalChat` for the arguments.

    Raises:
        BackendError: If the model could not be loaded.
        ConfigurationError: If it is not a causal language model, a GGUF file's architecture is not supported, or the
            device does not exist.
    """
    return _models.get(_load, path, engine, precision, device, dict(sorted(options.items())))


def is_loaded(path: str, engine: str, precision: str, device: str | None, options: Mapping[str, Any]) -> bool:
    """Whether `load_model` would return at once."""
    return _models.has(_load, path, engine, precision, device, dict(sorted(options.items())))


def _load(path: str, engine: str, precision: str, device: str | None, options: Mapping[str, Any]) -> LanguageModel:
    path = expand_home(path)
    embedded = is_embedded(Path(path))
    if embedded:
        from taleward.backends.onnx.adapted_model import complete_folder

        path = str(complete_folder(Path(path)))
    if (gguf := find_gguf(path)) is not None:
        from taleward.backends.transformers.gguf_conversion import converted_folder

        path = str(converted_folder(gguf))
    if engine == "auto":
        use_onnx = precision == "int8" or (not device and not options and runs_on_onnx(path))
        engine = "onnx" if use_onnx else "transformers"
    if engine == "onnx":
        from taleward.backends.onnx.llama import EmbeddedLlama, HubLlama

        folder = model_folder(path)
        return (EmbeddedLlama if embedded else HubLlama)(folder, precision=precision)
    from taleward.backends.transformers.causal_lm import HubCausalLM

    return HubCausalLM(path, device, options)


def runs_on_onnx(path: str) -> bool:
    """Whether the engine `onnx` is installed and supports the model, and there is no GPU, which would be faster."""
    packages = ("onnx", "onnxruntime", "transformers")  # transformers reads the tokenizer and the chat template
    if not all(find_spec(package) for package in packages) or has_gpu():
        return False
    return not unsupported_reason(model_config(path)) and any(Path(model_folder(path)).glob("*.safetensors"))
