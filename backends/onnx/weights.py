"""A checkpoint's tensors, read from its safetensors files where they lie; and those rounded to 8 bits, kept in a cache.

The format: https://huggingface.co/docs/safetensors (a length, a JSON header, the numbers).
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
from typing import TYPE_CHECKING, Any, Literal

from taleward.core.errors import BackendError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Precision = Literal["float32", "int8"]
"""Of the linear layers of a model that runs on ONNX Runtime, see `Graph.linear_int8`."""

_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "|i1"}
_VERSION = "int8-1"


class Weights(Mapping[str, Any]):
    """Tensors by name, in float32 (or int8); each is read when it is asked for.

    Args:
        files: safetensors files.

    Raises:
        BackendError: A file cannot be read, or holds numbers of another kind.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._places: dict[str, tuple[Path, str, list[int], int]] = {}
        for file in files:
            try:
                with file.open("rb") as opened:
                    (length,) = struct.unpack("<Q", opened.read(8))
                    header = json.loads(opened.read(length))
            except (OSError, ValueError, struct.error) as error:
                raise BackendError(f"{file} could not be read: {error}") from error
            for name, told in header.items():
                if name != "__metadata__":
                    self._places[name] = file, told["dtype"], told["shape"], 8 + length + told["data_offsets"][0]

    def __getitem__(self, name: str) -> npt.NDArray[np.generic]:
        import numpy

        file, kind, shape, offset = self._places[name]
        if kind not in _TYPES:
            raise BackendError(f"{file} holds {name} as {kind}; read are {', '.join(_TYPES)}.")
        lying = numpy.memmap(file, dtype=_TYPES[kind], mode="r", offset=offset, shape=tuple(shape))
        if kind == "BF16":
            return (lying.astype(numpy.uint32) << 16).view(numpy.float32)
        return lying.astype(numpy.int8 if kind == "I8" else numpy.float32)

    @property
    def parameters(self) -> int:
        """How many numbers there are in all."""
        return sum(math.prod(shape) for _, _, shape, _ in self._places.values())

    def __iter__(self) -> Any:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint.

    Raises:
        BackendError: There are none, or some are missing.
    """
    index = folder / "model.safetensors.index.json"
    try:
        names = {"model.safetensors"}
        if index.is_file():
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError) as error:
        raise BackendError(f"{index} could not be read: {error}") from error
    lacking = sorted(name for name in names if not (folder / name).is_file())
    if lacking:
        raise BackendError(f"the model in {folder} could not be loaded: it has no {', '.join(lacking)}.")
    return [folder / name for name in sorted(names)]


def int8_weights(files: list[Path], linear: Iterable[str]) -> Mapping[str, Any]:
    """The tensors with those of linear layers in int8, as `NAME.int8` (inputs, outputs) and `NAME.scales` (outputs,).

    They are made once, and kept in `TALEWARD_CACHE`, by default `~/.cache/taleward`, until the files change.

    Args:
        files: The checkpoint's files.
        linear: Names of the linear layers' weights.
    """
    seen = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    linear = list(linear)
    digest = hashlib.sha256(json.dumps([_VERSION, seen, linear]).encode()).hexdigest()[:24]
    kept = cache_folder() / f"{digest}.safetensors"
    if not kept.is_file():
        _make(Weights(files), linear, kept)
    return Weights([kept])


def rounded(weight: Any) -> tuple[Any, Any]:
    """A linear layer's weight (outputs, inputs) as `Graph.linear_int8` takes it: int8 (inputs, outputs), and scales."""
    import numpy

    scales = numpy.maximum(numpy.abs(weight).max(axis=1), 1e-20) / 127
    whole = numpy.rint(weight / scales[:, None]).astype(numpy.int8)
    return numpy.ascontiguousarray(whole.T), scales.astype(numpy.float32)


def cache_folder() -> Path:
    """Where converted models are kept."""
    given = os.environ.get("TALEWARD_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "taleward")


def _make(weights: Weights, linear: list[str], kept: Path) -> None:
    import numpy
    from safetensors.numpy import save_file

    made: dict[str, npt.NDArray[Any]] = {}
    for name in weights:
        if name not in linear or "embed" in name:  # a head may share the embeddings' weights
            made[name] = numpy.ascontiguousarray(weights[name])
    for name in linear:
        made[f"{name}.int8"], made[f"{name}.scales"] = rounded(weights[name])
    kept.parent.mkdir(parents=True, exist_ok=True)
    # Under another name first: whoever reads finds all of it, or nothing.
    unfinished = kept.with_suffix(f".{secrets.token_hex(4)}")
    try:
        save_file(made, unfinished)
        unfinished.replace(kept)
    finally:
        unfinished.unlink(missing_ok=True)
