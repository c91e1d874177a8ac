"""What a classifier answers."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.core.policy import Probability
from taleward.core.tale import PromptVersion

ClassificationOutcome = Literal["label", "abstain", "unparsable"]
"""`label`: there is an answer. `abstain`: none is sure enough. `unparsable`: the model's words were no label."""


class Classification(FrozenModel):
    """A text's label, or its labels.

    Attributes:
        outcome: Whether there is an answer.
        labels: The labels, likeliest first: one, or in a multi-label task those at or above the threshold, which may be
            none. Empty unless the outcome is `label`.
        scores: A number from 0 to 1 for each label. Together 1, or each for itself in a multi-label task. Empty where
            the model gives none.
        model: The model's spec.
        prompt: The task.
        detail: Why there is no label; or what was left out of a text that was too long.
    """

    outcome: ClassificationOutcome
    labels: tuple[str, ...] = ()
    scores: FrozenDict[str, Probability] = FrozenDict()
    model: str
    prompt: PromptVersion
    detail: str = ""

    @model_validator(mode="after")
    def _labels_are_an_answer(self) -> Classification:
        if self.labels and self.outcome != "label":
            raise ValueError(f"outcome {self.outcome!r} has no labels; got {list(self.labels)}")
        return self

    @property
    def label(self) -> str | None:
        """The likeliest label; `None` where there is none."""
        return self.labels[0] if self.labels else None
