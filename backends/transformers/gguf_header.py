"""GGUF files, llama.cpp's format: find them, and read their headers.

File format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (magic, metadata, table of tensors, data).
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

from taleward.core.errors import BackendError, ConfigurationError

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma3")
"""Supported values of `general.architecture`; `llama` includes Mistral and SmolLM."""
_DEFAULT_ALIGNMENT = 32
_OTHER_WEIGHTS = ("*.safetensors", "*.bin")
_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_STRING, _ARRAY = 8, 9
_NUMBER_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class GgufTensor(NamedTuple):
    """Where a tensor is in its file.

    Attributes:
        shape: Its shape, as in torch: the last dimension varies fastest.
        type: Its number in ggml's list of quantizations.
        offset: Position of its first byte in the file.
    """

    shape: tuple[int, ...]
    type: int
    offset: int


class GgufHeader(NamedTuple):
    """What a GGUF file says about its model.

    Attributes:
        metadata: Keys and values, for example `general.architecture`; an array of strings is given by its length.
        tensors: The tensors by name.
    """

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]

    @property
    def architecture(self) -> str:
        """The architecture, in llama.cpp's terms."""
        return str(self.metadata.get("general.architecture", "?"))

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    def setting(self, name: str) -> Any:
        """Return the architecture's setting of that name, such as `context_length`; `None` if it is not set."""
        return self.metadata.get(f"{self.architecture}.{name}")


def find_gguf(path: str) -> Path | None:
    """Return the GGUF file that a path stands for, or `None` if the path is a model in another format.

    Args:
        path: A GGUF file, or a folder with exactly one and no weights in another format.

    Raises:
        ConfigurationError: If the folder has several GGUF files and no other weights.
    """
    location = Path(path).expanduser()
    if location.suffix == ".gguf" and location.is_file():
        return location
    if not location.is_dir() or any(any(location.glob(pattern)) for pattern in _OTHER_WEIGHTS):
        return None
    files = sorted(location.glob("*.gguf"))
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise ConfigurationError(
            f"the folder {path!r} has {len(files)} GGUF files: {names}.",
            hint=f"Name one of them, for example 'hf:{files[0]}'.",
        )
    return files[0] if files else None


def read_gguf_header(file: Path) -> GgufHeader:
    """Read a GGUF file's metadata and the shapes of its tensors, without the weights.

    Raises:
        BackendError: If the file cannot be read, or is not a GGUF file.
    """
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = _HeaderReader(data)
            return reader.read()
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise BackendError(f"{file} could not be read as a GGUF file: {error}") from error


def check_gguf_architecture(header: GgufHeader, file: Path) -> None:
    """Check that a file's architecture is supported.

    Raises:
        ConfigurationError: If it is not.
    """
    if header.architecture not in ARCHITECTURES:
        raise ConfigurationError(
            f"{file} has the architecture {header.architecture!r}; supported are {', '.join(ARCHITECTURES)}.",
            hint="Run it with a server such as llama.cpp's, and use 'openai:NAME' with base_url=..., or pass the "
            "original model in Hugging Face layout.",
        )


def gguf_config(file: Path) -> dict[str, Any]:
    """Return the entries of `config.json` that tell what kind of model a GGUF file is.

    Raises:
        BackendError: If the file cannot be read.
        ConfigurationError: If the architecture is not supported.
    """
    header = read_gguf_header(file)
    check_gguf_architecture(header, file)
    return {
        "model_type": header.architecture,
        "architectures": [f"{header.architecture.capitalize()}ForCausalLM"],
        "num_hidden_layers": header.setting("block_count"),
        "max_position_embeddings": header.setting("context_length"),
    }


class _HeaderReader:
    """Reads values one after another from a file's bytes."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._position = data, 0

    def read(self) -> GgufHeader:
        if self._bytes(4) != _MAGIC:
            raise ValueError("it does not begin with the bytes GGUF")
        if (version := self._number("I")) not in _VERSIONS:
            raise ValueError(f"its version is {version}; supported are {', '.join(map(str, _VERSIONS))}")
        tensors, keys = self._number("Q"), self._number("Q")
        metadata = {self._string(): self._value(self._number("I")) for _ in range(keys)}
        located = dict(self._tensor() for _ in range(tensors))
        alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        start = math.ceil(self._position / alignment) * alignment
        return GgufHeader(
            metadata, {name: tensor._replace(offset=start + tensor.offset) for name, tensor in located.items()}
        )

    def _tensor(self) -> tuple[str, GgufTensor]:
        """Read a tensor's entry, whose offset counts from the beginning of the data."""
        name = self._string()
        shape = tuple(self._number("Q") for _ in range(self._number("I")))
        return name, GgufTensor(shape[::-1], self._number("I"), self._number("Q"))

    def _value(self, value_type: int) -> Any:
        if value_type == _STRING:
            return self._string()
        if value_type != _ARRAY:
            return self._number(_NUMBER_FORMATS[value_type])
        item_type, length = self._number("I"), self._number("Q")
        if item_type == _STRING:
            # Vocabularies: a hundred thousand strings, which nobody here needs.
            for _ in range(length):
                self._bytes(self._number("Q"))
            return length
        return [self._value(item_type) for _ in range(length)]

    def _string(self) -> str:
        return self._bytes(self._number("Q")).decode("utf-8", errors="replace")

    def _number(self, format_character: str) -> Any:
        layout = f"<{format_character}"
        (number,) = struct.unpack_from(layout, self._data, self._position)
        self._position += struct.calcsize(layout)
        return number

    def _bytes(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._data):
            raise ValueError("it is cut off")
        content = self._data[self._position : end]
        self._position = end
        return content
