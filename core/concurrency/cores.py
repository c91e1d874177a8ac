"""How many cores this process may use."""

from __future__ import annotations

import os

CORES_VARIABLE = "TALEWARD_CORES"
"""Environment variable with the cores that a process may use, for processes that share a machine."""


def assigned_cores() -> int | None:
    """Return the number of cores in `TALEWARD_CORES`; `None` if it is not set."""
    value = os.environ.get(CORES_VARIABLE, "")
    return int(value) if value.isdigit() and int(value) > 0 else None


def usable_cores() -> int:
    """Return the number of cores that models may use: those in `TALEWARD_CORES`, or all of them."""
    return assigned_cores() or os.cpu_count() or 1
