"""What `guard.json` in a deployed model holds: all that a server needs to make the guard again, and no secrets."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from taleward.chains.template import Template
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.policy import Policy
from taleward.moderation.calibration.calibration import Calibration


class WriterConfig(FrozenModel):
    """A `StoryChain`.

    Attributes:
        model: The model's spec.
        options: The options of `chat_model`.
        template: The template.
        seed: The seed.
    """

    model: str
    options: FrozenMapping[str, Any] = FrozenDict()
    template: Template
    seed: int | None = None


class JudgeConfig(FrozenModel):
    """A judge, or several that are combined.

    Attributes:
        name: The judge's name in verdicts.
        place: Where it stands: `judge`, or `judge.0`, `judge.1` and so on for those that are combined.
        spec: What `judge` takes; empty for judges that are combined.
        options: The options of `judge`.
        judges: The judges that are combined.
        combine: How they are combined.
        calibration: The fitted scores and thresholds.
        max_chars: Characters that the judge reads.
    """

    name: str
    place: str
    spec: str = ""
    options: FrozenMapping[str, Any] = FrozenDict()
    judges: tuple[JudgeConfig, ...] = ()
    combine: str = "any"
    calibration: Calibration | None = None
    max_chars: int

    @property
    def calibrated(self) -> bool:
        """Whether the judge, or one that it combines, was calibrated."""
        return self.calibration is not None or any(judge.calibrated for judge in self.judges)


class GuardSettings(FrozenModel):
    """The settings of a `Guard` by the names of its parameters; a server keeps no drafts, whatever `keep_drafts` is."""

    attempts: int
    timeout_s: int | float | None
    judge_inputs: bool
    mask_personal_data: bool
    max_input_chars: int
    max_draft_chars: int


class BestOfSettings(FrozenModel):
    """What a `BestOf` has in addition; its `candidates` are the guard's `attempts`."""

    accept_score: int | float | None
    weights: tuple[int | float, int | float, int | float, int | float]


class GuardConfig(FrozenModel):
    """A guard.

    Attributes:
        taleward: The version of Taleward that described the guard.
        writer: The writer.
        judge: The judge.
        policy: The policy of writer and judge.
        band: The age band of requests that name none.
        bands: The age bands that a request may name; `band` is one of them.
        settings: The guard's settings.
        best_of: The additional settings of a `BestOf`; `None` for a `Guard`.
        files: The names of the model files that are deployed with the guard: `writer`, and for judges their `place`.
        experiment: The MLflow experiment in which the server records its tales; `None` to record nothing.
    """

    taleward: str
    writer: WriterConfig
    judge: JudgeConfig
    policy: Policy
    band: str
    bands: tuple[str, ...] = Field(min_length=1)
    settings: GuardSettings
    best_of: BestOfSettings | None = None
    files: tuple[str, ...] = ()
    experiment: str | None = None
