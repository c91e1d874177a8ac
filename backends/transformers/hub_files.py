"""Files of models in Hugging Face layout, and the errors for models that cannot be loaded."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from taleward.backends.transformers.gguf_header import find_gguf, gguf_config
from taleward.core.errors import BackendError, ConfigurationError, MissingExtra

MODEL_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
# Some repositories hold the same weights a second time, in another layout.
_DUPLICATE_FILES = ["original/*", "consolidated*"]
LOAD_ERRORS = (OSError, ValueError)
"""What huggingface_hub and transformers raise if files are missing, cannot be downloaded, or cannot be parsed."""
_DNS_CACHE_S = 30.0
"""How long the result of looking up the hub's host name is reused."""
_FOLDER = "a folder with config.json, weights and tokenizer"


def model_unavailable(path: str, error: Exception, *, what: str = "model") -> BackendError:
    """Build the error for a model that could not be loaded; it names the cause and the next step.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face Hub.
        error: The library's exception.
        what: The kind of model, for the message.
    """
    if "trust_remote_code" in str(error):
        return BackendError(
            f"the {what} {path!r} needs Python code from its own repository, which is not run by default.",
            hint="If you have read that code and trust it, pass load={'trust_remote_code': True} to chat_model.",
        )
    if Path(path).is_dir():
        return BackendError(
            f"the {what} {path!r} could not be loaded: {_first_line(error)}",
            hint=f"Pass {_FOLDER}. 'embedded:storyteller' needs no files of yours.",
        )
    if path.startswith(("/", ".", "~")) or path.endswith(".gguf") or "\\" in path or path.count("/") > 1:
        noun = "file" if path.endswith(".gguf") else "folder"
        return BackendError(
            f"the {what} {path!r} could not be loaded: there is no such {noun}.",
            hint=f"Pass {_FOLDER}, a GGUF file, or the name of a repository on the Hugging Face Hub, such as "
            "'Qwen/Qwen3-0.6B'. 'embedded:storyteller' and 'embedded:minilm' need neither.",
        )
    reason = _first_line(error) if is_hub_reachable() else f"there is no network, or {_hub_host()} cannot be reached."
    return BackendError(
        f"the {what} {path!r} could not be loaded: it is not a local folder, it is not in the cache {cache_folder()}, "
        f"and it could not be downloaded: {reason}",
        hint=f"On a machine with network access, run: hf download {path}. Or pass {_FOLDER}. "
        "'embedded:storyteller' and 'embedded:minilm' need neither.",
    )


@contextmanager
def translate_load_errors(path: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Translate the exceptions of `from_pretrained` to Taleward's, each with the next step.

    Use it for the weights, once the model's configuration has been read.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face Hub.
        options: The caller's options of `from_pretrained`.

    Raises:
        BackendError: If a file is missing or unreadable, or memory does not suffice.
        ConfigurationError: If the options do not fit the model, or need a library that is not installed.
    """
    _renew_thread_pool()
    try:
        yield
    except BackendError:
        raise
    except OSError as error:
        raise model_unavailable(path, error) from error
    except Exception as error:
        # torch's class is not imported for this check: the embedded models run without torch.
        if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
            raise BackendError(
                f"the model {path!r} does not fit into memory: {_first_line(error)}",
                hint="Distribute it with load={'device_map': 'auto'}, quantize it with "
                "load={'quantization_config': ...}, or use a smaller model.",
            ) from error
        if isinstance(error, ImportError) or (options and isinstance(error, TypeError | ValueError | AttributeError)):
            fix = "Install the missing package, or omit" if isinstance(error, ImportError) else "Change or omit"
            names = ", ".join(map(repr, options))
            raise ConfigurationError(
                f"the model {path!r} cannot be loaded with load={{{names}}}: {_first_line(error)}",
                hint=f"{fix} that option; load= accepts the options of transformers' from_pretrained.",
            ) from error
        raise BackendError(
            f"the model {path!r} could not be loaded: {_first_line(error)}",
            hint="Its files do not match each other, or need another version of transformers.",
        ) from error


def _renew_thread_pool() -> None:
    """Let torch replace the thread pool that a forked process inherits, before several threads find it invalid.

    transformers copies weights in threads; in a forked process, the first of them replaces the pool without a lock, and
    another one meanwhile stops with "Invalid thread pool".
    """
    import torch

    torch.set_num_threads(torch.get_num_threads())


def download_options(path: str) -> dict[str, Any]:
    """Return options of `from_pretrained` that prevent pointless downloads.

    Without a network, the libraries would otherwise retry each file for half a minute.
    """
    return {} if Path(path).is_dir() or is_hub_reachable() else {"local_files_only": True}


def loading_options(path: str, load: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return options of `from_pretrained` for configurations, tokenizers and weights.

    Code from a repository is only run if `load` says so: without an answer, transformers would ask for it on standard
    input.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face Hub.
        load: The caller's options of `from_pretrained`.
    """
    return {**download_options(path), "trust_remote_code": bool((load or {}).get("trust_remote_code", False))}


def load_weights(auto_class: str, path: str, options: Mapping[str, Any], *, optional: tuple[str, ...] = ()) -> Any:
    """Load a model with `from_pretrained`, in evaluation mode, if the folder has the weights of this very model.

    transformers fills missing weights with random numbers and only logs it: a classifier without its head, loaded so,
    would judge at random.

    Args:
        auto_class: The class of transformers that loads it, for example `AutoModelForSequenceClassification`.
        path: A local folder, or the name of a repository on the Hugging Face Hub.
        options: Options of `from_pretrained`.
        optional: Beginnings of the names of weights that may be missing, because nothing uses them.

    Raises:
        BackendError: If weights are missing, or a classifier's folder has weights of another model.
    """
    import transformers

    model, loaded = getattr(transformers, auto_class).from_pretrained(path, **options, output_loading_info=True)
    missing = sorted(key for key in loaded["missing_keys"] if not key.startswith(optional))
    # Bodies are often loaded without the heads they were trained with; a head without use means the wrong classifier.
    unexpected = sorted(loaded["unexpected_keys"]) if auto_class.endswith("Classification") else []
    if missing or unexpected:
        parts = (f"{kind} {_some(keys)}" for kind, keys in (("missing", missing), ("unexpected", unexpected)) if keys)
        raise BackendError(
            f"the weights in {path!r} are not those of a {type(model).__name__}: {'; '.join(parts)}.",
            hint="Pass the folder of the whole fine-tuned model; without these weights, its answers would be random.",
        )
    return model.eval()


def _some(names: Sequence[str], count: int = 4) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def is_hub_reachable() -> bool:
    """Return whether the hub's host name can be resolved, or a proxy is set that would resolve it."""
    return bool(getproxies()) or _resolves(_hub_host(), int(time.monotonic() // _DNS_CACHE_S))


@lru_cache(maxsize=2)
def _resolves(host: str, _period: int) -> bool:
    """Look up a host name; `_period` is the number of the current cache period, so that results expire."""
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def _hub_host() -> str:
    from huggingface_hub.constants import ENDPOINT

    return urlsplit(ENDPOINT).hostname or ENDPOINT


def _first_line(error: Exception) -> str:
    """Return the first non-empty line of an error's message, or the name of its class."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()


def expand_home(path: str) -> str:
    """Replace a leading `~` by the home folder; names of repositories stay as they are."""
    return str(Path(path).expanduser()) if path.startswith("~") else path


def cache_folder() -> Path:
    """Return the folder that downloaded models are cached in."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        return Path.home() / ".cache/huggingface/hub"
    return Path(HF_HUB_CACHE)


def model_config(path: str) -> dict[str, Any]:
    """Read a model's `config.json`, downloading it if necessary; for a GGUF file see `gguf_config`.

    Raises:
        BackendError: If the file is missing, cannot be downloaded, or is not valid.
        ConfigurationError: If a GGUF file's architecture is not supported, or a folder has several GGUF files.
    """
    path = expand_home(path)
    if (gguf := find_gguf(path)) is not None:
        return gguf_config(gguf)
    try:
        file = Path(path, "config.json")
        if not Path(path).is_dir():
            file = Path(_hub().hf_hub_download(path, "config.json", **download_options(path)))
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except LOAD_ERRORS as error:
        raise model_unavailable(path, error) from error
    return config


def model_folder(path: str) -> Path:
    """Return the folder with a model's files, downloading them if necessary.

    Raises:
        BackendError: If they cannot be downloaded.
    """
    path = expand_home(path)
    if Path(path).is_dir():
        return Path(path)
    options = download_options(path)
    try:
        return Path(
            _hub().snapshot_download(path, allow_patterns=MODEL_FILES, ignore_patterns=_DUPLICATE_FILES, **options)
        )
    except LOAD_ERRORS as error:
        raise model_unavailable(path, error) from error


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtra("a model from the Hugging Face Hub", "local") from error
    return huggingface_hub
