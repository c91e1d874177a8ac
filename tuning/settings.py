"""The settings of tuning a writer or a judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import Field, ValidationError, model_validator

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.tuning.rows import TuningMethod

# Adapters take higher rates than whole models, and preferences far lower ones than answers: with 1e-3 the loss of DPO
# was 0.0 after ten steps.
_RATES: dict[tuple[TuningMethod, bool], float] = {
    ("sft", True): 5e-4, ("sft", False): 2e-5,
    ("dpo", True): 2e-5, ("dpo", False): 5e-7,
    ("kto", True): 2e-5, ("kto", False): 5e-7,
}  # fmt: skip

_MIN_KTO_ROWS = 2


class TuningSettings(FrozenModel):
    """What, with the rows and the base model, decides the tuned weights.

    Attributes:
        method: `sft` learns answers, `dpo` prefers one of two answers, `kto` learns from single votes.
        epochs: How often the rows are read.
        learning_rate: Peak of the learning rate; it rises over the first `warmup` and falls to zero. `None` takes a
            usual one for the method.
        batch_size: Rows per step.
        micro_batch_size: Rows in one pass of the model; the gradients of a step's passes are added up. Fewer take less
            memory.
        max_length: Tokens of a prompt with its answer; longer rows are refused.
        lora_rank: Rank of the LoRA adapters of all linear layers (Hu et al. 2021, arXiv 2106.09685); 0 tunes all
            weights.
        warmup: Share of the steps in which the rate rises, 0..1.
        beta: How close DPO and KTO stay to the base model; higher is closer.
        seed: Seed of the adapters and of the order of the rows.
        precision: Precision of the matrix products. `auto` takes bfloat16 where the processor has it.
    """

    method: TuningMethod = "sft"
    epochs: float = Field(default=2.0, gt=0)
    learning_rate: float | None = Field(default=None, gt=0)
    batch_size: int = Field(default=8, ge=1)
    micro_batch_size: int = Field(default=4, ge=1)
    max_length: int = Field(default=1024, ge=16)
    lora_rank: int = Field(default=32, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    beta: float = Field(default=0.1, gt=0)
    seed: int = 0
    precision: Literal["auto", "bfloat16", "float32"] = "auto"

    @model_validator(mode="after")
    def _passes_suit_the_method(self) -> TuningSettings:
        if self.batch_size % min(self.micro_batch_size, self.batch_size):
            msg = (
                f"batch_size must be a multiple of micro_batch_size; got {self.batch_size} and {self.micro_batch_size}"
            )
            raise ValueError(msg)
        if self.method == "kto" and min(self.micro_batch_size, self.batch_size) < _MIN_KTO_ROWS:
            msg = (
                f"kto compares the rows of a pass, so that batch_size and micro_batch_size must be at least "
                f"{_MIN_KTO_ROWS}; got {self.batch_size} and {self.micro_batch_size}"
            )
            raise ValueError(msg)
        return self

    @property
    def rate(self) -> float:
        """The peak learning rate."""
        return self.learning_rate or _RATES[self.method, self.lora_rank > 0]


TunedPart: TypeAlias = Literal["thresholds", "head"]
"""What of a judge is fitted: its thresholds only, or the linear layer of the embedded judge, too."""


class JudgeTuningSettings(FrozenModel):
    """What, with the labeled texts and the judge, decides a tuned judge and its report.

    Attributes:
        method: What is fitted; `auto` decides by the number of texts, and where there are many by cross-validation.
        miss_weight: How many false alarms a harmful text that passes costs.
        pull: How strongly the head is pulled back to where it starts: the precision of a normal prior.
        folds: Folds of the cross-validation.
        resamples: Bootstrap resamples of the intervals.
        seed: Seed of folds and resamples.
        concurrency: Texts that a judge other than the embedded one judges at once.
    """

    method: TunedPart | Literal["auto"] = "auto"
    miss_weight: float = Field(default=3.0, gt=0)
    pull: float = Field(default=5.0, gt=0)
    folds: int = Field(default=5, ge=2, le=10)
    resamples: int = Field(default=2000, ge=100)
    seed: int = 0
    concurrency: int = Field(default=1, ge=1)


SettingsT = TypeVar("SettingsT", bound=FrozenModel)


def check_settings(settings_class: type[SettingsT], given: Mapping[str, Any]) -> SettingsT:
    """Return the settings.

    Raises:
        ConfigurationError: If one is unknown or invalid; the message names it.
    """
    try:
        return settings_class(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(
            f"invalid setting {'.'.join(map(str, first['loc']))}: {first['msg']}; got {first['input']!r}.",
            hint=f"The settings are {', '.join(settings_class.model_fields)}.",
        ) from error
