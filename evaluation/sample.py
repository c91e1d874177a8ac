"""One row of an evaluation."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from taleward.core.frozen import Frozen
from taleward.core.tale import Tale


class Sample(Frozen):
    """What went in, what came out, and what it is measured against.

    Attributes:
        id: Names the sample in its data set.
        inputs: What the system gets.
        output: The text that came out; `None` where there is none.
        references: Texts that it may be compared with.
        tale: The tale, where the system is a guard.
        latency_s: Seconds from inputs to output.
    """

    id: str = Field(min_length=1)
    inputs: Any = None
    output: str | None = None
    references: tuple[str, ...] = ()
    tale: Tale | None = None
    latency_s: float | None = None
