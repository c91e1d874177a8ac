"""Torch devices: choose one, and explain why there is no GPU."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from taleward.core.errors import ConfigurationError

_DEVICE_MAP_STRATEGIES = frozenset({"auto", "balanced", "balanced_low_0", "sequential"})


def has_gpu() -> bool:
    """Return whether torch is installed and sees a GPU."""
    return not why_no_gpu()


def why_no_gpu() -> str:
    """Return why models run on the CPU; empty if there is a GPU."""
    try:
        release = version("torch")
    except PackageNotFoundError:
        return "torch is not installed"
    # A CPU build is recognized by its version alone, because importing torch takes seconds.
    if release.endswith("+cpu"):
        return f"torch {release} is a CPU build"
    import torch

    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is a CPU build"
    return f"torch {torch.__version__} sees no GPU: check its driver with nvidia-smi, and CUDA_VISIBLE_DEVICES"


def torch_device(name: str | None) -> Any:
    """Return the torch device of a name; for `None`, a GPU if there is one, else the CPU.

    Raises:
        ConfigurationError: If the device does not exist; the message lists those that do.
    """
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except Exception as error:  # torch raises AssertionError, RuntimeError and NotImplementedError
        available = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
        reason = why_no_gpu() if name.startswith("cuda") else ""
        raise ConfigurationError(
            f"there is no device {name!r}{f': {reason}' if reason else ''}. Devices are {', '.join(available)}.",
            hint="Omit device to use a GPU if there is one, else the CPU. A GPU needs a build of torch for it: "
            "https://pytorch.org/get-started/locally.",
        ) from error
    return device


def check_device_map(options: Mapping[str, Any]) -> None:
    """Check that the devices in the option `device_map` exist.

    Raises:
        ConfigurationError: If one does not.
    """
    device_map = options.get("device_map")
    for name in device_map.values() if isinstance(device_map, Mapping) else [device_map]:
        if isinstance(name, str) and name not in _DEVICE_MAP_STRATEGIES | {"disk"}:
            torch_device(name)
