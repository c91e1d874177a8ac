"""Models in Hugging Face layout: where their files lie, and what is said when they cannot be had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from taleward.core.errors import BackendError, MissingExtra

_PATTERNS = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_TWICE = ["original/*", "consolidated*"]
"""The same weights in another layout, which some repositories hold beside."""
ERRORS = (OSError, ValueError)
"""What the libraries raise when a model cannot be had or read."""


def unavailable(path: str, error: Exception, *, what: str = "model") -> BackendError:
    """The error for a model that could not be loaded, with the way out."""
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()
    if Path(path).is_dir():
        return BackendError(
            f"the {what} {path!r} could not be loaded: {reason}",
            hint="Give a folder with config.json, weights and tokenizer. 'embedded:storyteller' needs none.",
        )
    return BackendError(
        f"the {what} {path!r} could not be loaded: it is no folder here, it is not in the cache {cache_folder()}, and "
        f"it could not be fetched: {reason}",
        hint=f"Where there is a network, type: hf download {path}. Or give a folder with config.json, weights and "
        "tokenizer. 'embedded:storyteller' and 'embedded:minilm' need neither.",
    )


def cache_folder() -> Path:
    """Where downloaded models are kept."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        return Path.home() / ".cache/huggingface/hub"
    return Path(HF_HUB_CACHE)


def model_config(path: str) -> dict[str, Any]:
    """A model's `config.json`, fetched where it is not here.

    Raises:
        BackendError: It cannot be had.
    """
    try:
        file = Path(path, "config.json") if Path(path).is_dir() else Path(_hub().hf_hub_download(path, "config.json"))
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ERRORS as error:
        raise unavailable(path, error) from error
    return config


def model_folder(path: str) -> Path:
    """The folder with a model's files, fetched where they are not here.

    Raises:
        BackendError: They cannot be had.
    """
    if Path(path).is_dir():
        return Path(path)
    try:
        return Path(_hub().snapshot_download(path, allow_patterns=_PATTERNS, ignore_patterns=_TWICE))
    except ERRORS as error:
        raise unavailable(path, error) from error


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtra("a model of the Hugging Face hub", "local") from error
    return huggingface_hub
