"""Read the tensors of a safetensors checkpoint, and cache their int8-quantized copies.

File format: https://huggingface.co/docs/safetensors (header length, JSON header, data).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from taleward.core.errors import BackendError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WeightPrecision = Literal["float32", "int8"]
"""Precision of the linear layers of a model on ONNX Runtime, see `Graph.linear_int8`."""

_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "|i1"}
_QUANTIZATION_VERSION = "int8-1"
"""Part of the cache key; to change with the quantization."""


class _TensorLocation(NamedTuple):
    file: Path
    dtype: str
    shape: list[int]
    offset: int


class Weights(Mapping[str, Any]):
    """Tensors by name as numpy arrays in float32 (or int8), each read from disk when you access it.

    Args:
        files: safetensors files.

    Raises:
        BackendError: If a file cannot be read; on access, if a tensor's dtype is not supported.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._locations: dict[str, _TensorLocation] = {}
        for path in files:
            try:
                with path.open("rb") as file:
                    (header_length,) = struct.unpack("<Q", file.read(8))
                    header = json.loads(file.read(header_length))
            except (OSError, ValueError, struct.error) as error:
                raise BackendError(f"{path} could not be read: {error}") from error
            for name, tensor in header.items():
                if name != "__metadata__":
                    offset = 8 + header_length + tensor["data_offsets"][0]
                    self._locations[name] = _TensorLocation(path, tensor["dtype"], tensor["shape"], offset)

    def __getitem__(self, name: str) -> npt.NDArray[np.generic]:
        import numpy

        file, dtype, shape, offset = self._locations[name]
        if dtype not in _DTYPES:
            raise BackendError(f"{file}: tensor {name!r} has dtype {dtype}; supported are {', '.join(_DTYPES)}.")
        stored = numpy.memmap(file, dtype=_DTYPES[dtype], mode="r", offset=offset, shape=tuple(shape))
        if dtype == "BF16":
            # numpy has no bfloat16; its bits are the upper half of a float32.
            return (stored.astype(numpy.uint32) << 16).view(numpy.float32)
        return stored.astype(numpy.int8 if dtype == "I8" else numpy.float32)

    @property
    def parameters(self) -> int:
        """Total number of elements."""
        return sum(math.prod(location.shape) for location in self._locations.values())

    def __iter__(self) -> Any:
        return iter(self._locations)

    def __len__(self) -> int:
        return len(self._locations)


def weight_files(folder: Path) -> list[Path]:
    """List the safetensors files of a checkpoint.

    Raises:
        BackendError: If there are none, or one that the index lists is missing.
    """
    index = folder / "model.safetensors.index.json"
    try:
        names = {"model.safetensors"}
        if index.is_file():
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError) as error:
        raise BackendError(f"{index} could not be read: {error}") from error
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing:
        raise BackendError(f"the model in {folder} could not be loaded: it has no {', '.join(missing)}.")
    return [folder / name for name in sorted(names)]


def int8_weights(files: list[Path], linear: Iterable[str]) -> Mapping[str, Any]:
    """Return a checkpoint's tensors, those of linear layers in int8.

    A quantized tensor is replaced by `NAME.int8`, shape (inputs, outputs), and `NAME.scales`, shape (outputs,).
    Quantization runs once; the result is cached in `TALEWARD_CACHE`, by default `~/.cache/taleward`, until the files
    change.

    Args:
        files: The checkpoint's files.
        linear: Names of the linear layers' weights.
    """
    file_versions = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    linear = list(linear)
    digest = hashlib.sha256(json.dumps([_QUANTIZATION_VERSION, file_versions, linear]).encode()).hexdigest()[:24]
    cached = conversion_cache_folder() / f"{digest}.safetensors"
    if not cached.is_file():
        _write_int8_file(Weights(files), linear, cached)
    return Weights([cached])


def quantize_int8(weight: Any) -> tuple[Any, Any]:
    """Quantize a linear layer's weight for `Graph.linear_int8`.

    Args:
        weight: Shape (outputs, inputs).

    Returns:
        The int8 weight, shape (inputs, outputs), and its scales, float32, shape (outputs,).
    """
    import numpy

    scales = numpy.maximum(numpy.abs(weight).max(axis=1), 1e-20) / 127
    quantized = numpy.rint(weight / scales[:, None]).astype(numpy.int8)
    return numpy.ascontiguousarray(quantized.T), scales.astype(numpy.float32)


def conversion_cache_folder() -> Path:
    """Return the folder for models that were quantized or converted."""
    override = os.environ.get("TALEWARD_CACHE")
    return Path(override) if override else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "taleward")


def _write_int8_file(weights: Weights, linear: list[str], path: Path) -> None:
    import numpy
    from safetensors.numpy import save_file

    tensors: dict[str, npt.NDArray[Any]] = {}
    for name in weights:
        # Output layers may share the embeddings' weights, which token lookups need in full precision.
        if name not in linear or "embed" in name:
            tensors[name] = numpy.ascontiguousarray(weights[name])
    for name in linear:
        tensors[f"{name}.int8"], tensors[f"{name}.scales"] = quantize_int8(weights[name])
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written under another name and renamed: other processes see the complete file or none.
    unfinished = path.with_suffix(f".{secrets.token_hex(4)}")
    try:
        save_file(tensors, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
