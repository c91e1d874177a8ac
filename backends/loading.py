"""Models that are loaded in this process: each once, whoever asks for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.backends.embedded import is_embedded
from taleward.backends.hub import model_config, model_folder
from taleward.backends.llama_graph import why_not

if TYPE_CHECKING:
    from taleward.backends.local import LanguageModel

_KEPT = 4
_loaded: OrderedDict[str, LanguageModel] = OrderedDict()
_lock = threading.Lock()


def load(path: str, engine: str, precision: str, device: str | None, options: Mapping[str, Any]) -> LanguageModel:
    """A model, loaded on first use; the last four stay. See `LocalChat` for the arguments."""
    key = repr((path, engine, precision, device, sorted(options.items())))
    with _lock:
        if key not in _loaded:
            _loaded[key] = _load(path, engine, precision, device, options)
            while len(_loaded) > _KEPT:
                _loaded.popitem(last=False)
        _loaded.move_to_end(key)
        return _loaded[key]


def _load(path: str, engine: str, precision: str, device: str | None, options: Mapping[str, Any]) -> LanguageModel:
    if engine == "auto":
        engine = "transformers" if device or options or not runs_on_onnx(path) else "onnx"
    if engine == "onnx":
        from taleward.backends.llama import HubLlama, Llama

        folder = model_folder(path)
        return (Llama if is_embedded(folder) else HubLlama)(folder, precision=precision)
    from taleward.backends.huggingface import HuggingFace

    return HuggingFace(path, device, options)


def runs_on_onnx(path: str) -> bool:
    """Whether the engine `onnx` knows the model and there is no GPU that would be faster."""
    packages = ("onnx", "onnxruntime", "transformers")
    if not all(find_spec(package) for package in packages) or has_gpu():
        return False
    return not why_not(model_config(path)) and any(Path(model_folder(path)).glob("*.safetensors"))


def has_gpu() -> bool:
    """Whether torch is here and sees a GPU; a build of torch for CPUs is not even imported."""
    try:
        if version("torch").endswith("+cpu"):
            return False
    except PackageNotFoundError:
        return False
    import torch

    return bool(torch.cuda.is_available())
