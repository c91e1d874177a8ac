"""Models in Hugging Face layout: where their files lie, and what is said when they cannot be had."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from taleward.core.errors import BackendError, ConfigurationError, MissingExtra

_PATTERNS = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_TWICE = ["original/*", "consolidated*"]
"""The same weights in another layout, which some repositories hold beside."""
ERRORS = (OSError, ValueError)
"""What the libraries raise when a model cannot be had or read."""
_ASKED_S = 30.0
"""For so long it is taken for granted that the hub's name means something, or nothing."""


def unavailable(path: str, error: Exception, *, what: str = "model") -> BackendError:
    """The error for a model that could not be loaded, with the way out."""
    folder = "a folder with config.json, weights and tokenizer"
    if Path(path).is_dir():
        return BackendError(
            f"the {what} {path!r} could not be loaded: {_reason(error)}",
            hint=f"Give {folder}. 'embedded:storyteller' needs none.",
        )
    if path.startswith(("/", ".", "~")) or "\\" in path or path.count("/") > 1:
        return BackendError(
            f"the {what} {path!r} could not be loaded: there is no such folder here.",
            hint=f"Give {folder}, or the name of a repository of the Hugging Face hub, such as 'Qwen/Qwen3-0.6B'. "
            "'embedded:storyteller' and 'embedded:minilm' need neither.",
        )
    why = _reason(error) if reachable() else f"there is no network here, or no way to {_hub_host()}."
    return BackendError(
        f"the {what} {path!r} could not be loaded: it is no folder here, it is not in the cache {cache_folder()}, and "
        f"it could not be fetched: {why}",
        hint=f"Where there is a network, type: hf download {path}. Or give {folder}. "
        "'embedded:storyteller' and 'embedded:minilm' need neither.",
    )


@contextmanager
def loading(path: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Around the loading of a model's weights, when its configuration is here: what went wrong, and the next step.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face hub.
        options: Options of `from_pretrained` that the caller gave.

    Raises:
        BackendError: A file cannot be had or read, or there is not enough memory.
        ConfigurationError: The options do not fit the model, or need a library that is not installed.
    """
    try:
        yield
    except OSError as error:
        raise unavailable(path, error) from error
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
            raise BackendError(
                f"the model {path!r} does not fit into memory: {_reason(error)}",
                hint="Spread it with load={'device_map': 'auto'}, round it with load={'quantization_config': ...}, or "
                "take a smaller one.",
            ) from error
        if isinstance(error, ImportError) or (options and isinstance(error, TypeError | ValueError | AttributeError)):
            missing = "Install what is missing, or leave" if isinstance(error, ImportError) else "Change or leave"
            raise ConfigurationError(
                f"the model {path!r} cannot be loaded with load={{{', '.join(map(repr, options))}}}: {_reason(error)}",
                hint=f"{missing} that option out; load= takes what transformers' from_pretrained takes.",
            ) from error
        raise BackendError(
            f"the model {path!r} could not be loaded: {_reason(error)}",
            hint="Its files do not fit each other, or this release of transformers.",
        ) from error


def fetching(path: str) -> dict[str, Any]:
    """What `from_pretrained` is told beside the path: without a network it would try for half a minute a file."""
    return {} if Path(path).is_dir() or reachable() else {"local_files_only": True}


def reachable() -> bool:
    """Whether the hub may be asked: its name means something here, or a proxy looks it up."""
    return bool(getproxies()) or _resolves(_hub_host(), int(time.monotonic() // _ASKED_S))


@lru_cache(maxsize=2)
def _resolves(host: str, _: int) -> bool:
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def _hub_host() -> str:
    from huggingface_hub.constants import ENDPOINT

    return urlsplit(ENDPOINT).hostname or ENDPOINT


def _reason(error: Exception) -> str:
    """The first line that says something."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()


def expanded(path: str) -> str:
    """The path, `~` being the home folder."""
    return str(Path(path).expanduser()) if path.startswith("~") else path


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
    path = expanded(path)
    try:
        file = Path(path, "config.json")
        if not Path(path).is_dir():
            file = Path(_hub().hf_hub_download(path, "config.json", **fetching(path)))
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ERRORS as error:
        raise unavailable(path, error) from error
    return config


def model_folder(path: str) -> Path:
    """The folder with a model's files, fetched where they are not here.

    Raises:
        BackendError: They cannot be had.
    """
    path = expanded(path)
    if Path(path).is_dir():
        return Path(path)
    try:
        return Path(_hub().snapshot_download(path, allow_patterns=_PATTERNS, ignore_patterns=_TWICE, **fetching(path)))
    except ERRORS as error:
        raise unavailable(path, error) from error


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtra("a model of the Hugging Face hub", "local") from error
    return huggingface_hub
