"""Identify the weights behind a model spec, so that a batch does not go on with another model under the same name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from taleward.backends.base.shipped_models import embedded_path

_WEIGHT_SUFFIXES = (".safetensors", ".gguf", ".bin", ".json", ".jinja", ".model", ".txt")
_DIGEST_LENGTH = 16
_BLOCK = 1 << 20


def weights_digest(spec: str) -> str | None:
    """Return what identifies the weights of a model that runs here.

    Args:
        spec: A model spec, perhaps behind the family of a guard model, such as `llama-guard:hf:REPOSITORY`.

    Returns:
        A digest of the files, or the commit of a repository in the Hugging Face cache; `None` for a hosted model, a
        judge without weights, and a repository that is not in the cache.

    Raises:
        UnknownName: If there is no such embedded model.
        MissingExtra: If an embedded model's package is not installed.
    """
    _, is_hub, repository = spec.rpartition("hf:")
    if is_hub and (spec.startswith("hf:") or ":hf:" in spec):
        folder = Path(repository).expanduser()
        return _digest(folder) if folder.exists() else _cached_commit(repository)
    if spec == "embedded:minilm":
        from taleward.backends.onnx.minilm import SHA256

        return SHA256[:_DIGEST_LENGTH]
    if spec.startswith("embedded:"):
        name = spec.removeprefix("embedded:")
        return _digest(Path(name).expanduser() if name.startswith((".", "/", "~")) else embedded_path(name))
    return None


def _digest(path: Path) -> str:
    import xxhash

    total = xxhash.xxh3_128()
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file() and file.suffix in _WEIGHT_SUFFIXES:
            total.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode("utf-8", "surrogateescape"))
            for block in _blocks(file):
                total.update(block)
    return total.hexdigest()[:_DIGEST_LENGTH]


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            yield block


def _cached_commit(repository: str) -> str | None:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    path = try_to_load_from_cache(repository, "config.json")
    # .../snapshots/COMMIT/config.json
    return Path(path).parent.name[:_DIGEST_LENGTH] if isinstance(path, str) else None
