"""Functions that tests run in batches, also in worker processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taleward.core.verdict import Verdict


def shout(values: Mapping[str, Any]) -> str:
    return str(values["text"]).upper()


def fail_once(values: Mapping[str, Any]) -> str:
    """Fail as long as the file that the text names is there."""
    if Path(values["text"]).exists():
        msg = "the server has the key sk-abcdefghijklmnop"
        raise RuntimeError(msg)
    return "well"


def cost_a_cent(values: Mapping[str, Any]) -> Verdict:
    return Verdict(outcome="pass", judge="fake", policy="kids@1", band="6-8", cost_usd=0.01)


def die_or_hang(values: Mapping[str, Any]) -> str:
    if values["text"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if values["text"] == "hang":
        threading.Event().wait()
    return shout(values)


def die_once(values: Mapping[str, Any]) -> str:
    """Kill this process if the file that the text names is there, which is deleted first."""
    file = Path(values["text"])
    if file.exists():
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def print_and_sleep(values: Mapping[str, Any]) -> str:
    print("what a library prints must not come between messages", flush=True)  # noqa: T201
    time.sleep(0.01)
    return os.environ["TALEWARD_CORES"]


def tell_process(values: Mapping[str, Any]) -> str:
    """Return the process that runs this, after the seconds that the text says."""
    time.sleep(float(values["text"]))
    return str(os.getpid())
