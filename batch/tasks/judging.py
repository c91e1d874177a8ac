"""The judge of a task, as data."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from taleward.batch.tasks.base import BatchTask
from taleward.core.policy import Policy
from taleward.moderation.calibration.calibration import Calibration, load_calibration
from taleward.moderation.judges import Judge, judge as make_judge
from taleward.moderation.policies.load import load_policy

LOCAL_CONCURRENCY, HOSTED_CONCURRENCY = 1, 8
"""Rows that a worker has under way: more make a model that runs here no faster, and a hosted one idle."""


class JudgingTask(BatchTask):
    """A task with a judge.

    Attributes:
        judge: Specs of judges; a text must pass all of them.
        policy: A policy, or the name or path of one.
        band: An age band of the policy.
        calibration: A calibration of a single judge, or the path of one.
        base_url: The server of `openai:` models.
        concurrency: Rows that a worker has under way; `None` for 1 if everything runs here, and 8 otherwise.
    """

    judge: tuple[str, ...] = Field(default=("embedded:judge",), min_length=1)
    policy: Policy | str = "kids"
    band: str = "6-8"
    calibration: Calibration | str | None = None
    base_url: str | None = None
    concurrency: int | None = Field(default=None, ge=1)

    def resolved(self) -> Self:
        """Return the task with its policy and calibration in place of their names."""
        policy = load_policy(self.policy) if isinstance(self.policy, str) else self.policy
        policy.band(self.band)
        calibration = load_calibration(self.calibration) if isinstance(self.calibration, str) else self.calibration
        return self.model_copy(update={"policy": policy, "calibration": calibration})

    def make_judge(self) -> Judge:
        """Load the judge."""
        options = [{"base_url": self.base_url} if self.base_url and _is_served(spec) else {} for spec in self.judge]
        rules: dict[str, Any] = {"policy": self.policy, "band": self.band}
        judges = [make_judge(spec, **rules, **option) for spec, option in zip(self.judge, options, strict=True)]
        combined = judges[0] if len(judges) == 1 else make_judge(judges, **rules)
        return combined if self.calibration is None else combined.calibrated(self.calibration)

    def rows_at_once(self, *specs: str) -> int:
        """Return how many rows a worker has under way.

        Args:
            specs: Specs of further models.
        """
        local = all(_is_local(spec) for spec in (*self.judge, *specs))
        return self.concurrency or (LOCAL_CONCURRENCY if local else HOSTED_CONCURRENCY)


def _is_served(spec: str) -> bool:
    parts = spec.split(":")
    return parts[0] == "openai-moderation" or "openai" in parts[:2]


def _is_local(spec: str) -> bool:
    return spec.startswith(("embedded:", "hf:")) or ":hf:" in spec or ":" not in spec
