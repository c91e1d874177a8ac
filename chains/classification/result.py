"""Classification: the result of a classifier."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.policy import Probability
from taleward.core.tale import PromptVersion

ClassificationOutcome = Literal["label", "abstain", "unparsable"]
"""`label`: the text was classified. `abstain`: no label is certain enough. `unparsable`: the model's answer was not one
of the labels."""


class Classification(FrozenModel):
    """The label or labels of a text.

    Attributes:
        outcome: Whether the text was classified.
        labels: The labels, most likely first: one, or in a multi-label task all at or above the threshold, which may be
            none. Empty unless the outcome is `label`.
        scores: A score from 0 to 1 for each label. They sum to 1, except in a multi-label task, where each stands
            alone. Empty if the model gives no scores.
        model: The model's spec.
        prompt: Name and version of the task.
        detail: Why there is no label, or what was left out of a text that was too long.
    """

    outcome: ClassificationOutcome
    labels: tuple[str, ...] = ()
    scores: FrozenMapping[str, Probability] = FrozenDict()
    model: str
    prompt: PromptVersion
    detail: str = ""

    @model_validator(mode="after")
    def _labels_require_outcome_label(self) -> Classification:
        if self.labels and self.outcome != "label":
            raise ValueError(f"outcome {self.outcome!r} cannot have labels; got {list(self.labels)}")
        return self

    @property
    def label(self) -> str | None:
        """The most likely label, or `None` if there is none."""
        return self.labels[0] if self.labels else None
