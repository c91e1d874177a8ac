"""Where a model of torch is put: a GPU where there is one, and what is said where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from taleward.core.errors import ConfigurationError

_OWN_CHOICE = frozenset({"auto", "balanced", "balanced_low_0", "sequential"})


def has_gpu() -> bool:
    """Whether torch is here and sees a GPU; a build of torch for CPUs is not even imported."""
    return not why_no_gpu()


def why_no_gpu() -> str:
    """Why models run on the CPU alone; empty where there is a GPU."""
    try:
        release = version("torch")
    except PackageNotFoundError:
        return "torch is not installed"
    if release.endswith("+cpu"):
        return f"torch {release} is a build for CPUs"
    import torch

    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is a build for CPUs"
    return f"torch {torch.__version__} sees no GPU: look at its driver with nvidia-smi, and at CUDA_VISIBLE_DEVICES"


def device_of(name: str | None) -> Any:
    """The torch device of that name; of no name, a GPU where there is one.

    Raises:
        ConfigurationError: There is no such device here; the message lists those there are.
    """
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except Exception as error:  # torch raises AssertionError, RuntimeError and NotImplementedError
        here = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
        why = why_no_gpu() if name.startswith("cuda") else ""
        raise ConfigurationError(
            f"there is no device {name!r} here{f': {why}' if why else ''}. Devices are {', '.join(here)}.",
            hint="Leave device away for a GPU where there is one, else the CPU. For a GPU, torch has to be a build for "
            "it: https://pytorch.org/get-started/locally.",
        ) from error
    return device


def check_map(options: Mapping[str, Any]) -> None:
    """See that the devices of a `device_map` are here.

    Raises:
        ConfigurationError: One is not.
    """
    told = options.get("device_map")
    for name in told.values() if isinstance(told, Mapping) else [told]:
        if isinstance(name, str) and name not in _OWN_CHOICE | {"disk"}:
            device_of(name)
