"""Fitted scores and thresholds of one judge under one policy and band, as data.

A calibration is made by `fit_calibration`, kept as YAML, and used by `judge(..., calibration=PATH)`: each score goes
through its category's curve, and the fitted threshold takes the policy's place.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AwareDatetime, Field, model_validator

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.policy import Policy, Probability
from taleward.core.yaml_files import load_yaml
from taleward.moderation.calibration.bootstrap import Interval
from taleward.moderation.calibration.metrics import Bin

_NEAREST = 1e-6
_OWN_SHARE = 1e-3


class Platt(FrozenModel):
    """A sigmoid of the score's log-odds (Platt 1999).

    Attributes:
        slope: Above 0, so that the order of scores stays.
        intercept: In log-odds.
    """

    kind: Literal["platt"] = "platt"
    slope: float = Field(gt=0.0)
    intercept: float

    def __call__(self, score: float) -> float:
        """The chance, 0..1, that a text of this score is harmful."""
        near = min(max(score, _NEAREST), 1.0 - _NEAREST)
        at = self.slope * math.log(near / (1.0 - near)) + self.intercept
        return 1.0 / (1.0 + math.exp(-at)) if at >= 0 else math.exp(at) / (1.0 + math.exp(at))


class Isotonic(FrozenModel):
    """A rising line through knots (Zadrozny and Elkan 2002).

    Where the line is level, a thousandth of the score itself keeps the order of the scores.

    Attributes:
        at: Scores of the knots, rising, 0..1.
        gives: What the line gives there, never falling, 0..1.
    """

    kind: Literal["isotonic"] = "isotonic"
    at: tuple[Probability, ...] = Field(min_length=1)
    gives: tuple[Probability, ...]

    @model_validator(mode="after")
    def _rises(self) -> Isotonic:
        if (
            len(self.at) != len(self.gives)
            or list(self.at) != sorted(set(self.at))
            or list(self.gives) != sorted(self.gives)
        ):
            msg = (
                f"at must rise, gives must not fall, both of one length; got {len(self.at)} and {len(self.gives)} knots"
            )
            raise ValueError(msg)
        return self

    def __call__(self, score: float) -> float:
        """The chance, 0..1, that a text of this score is harmful."""
        right = bisect.bisect_left(self.at, score)
        if right == 0:
            line = self.gives[0]
        elif right == len(self.at):
            line = self.gives[-1]
        else:
            low, high = self.at[right - 1], self.at[right]
            part = (score - low) / (high - low)
            line = self.gives[right - 1] + part * (self.gives[right] - self.gives[right - 1])
        return min(1.0, (1.0 - _OWN_SHARE) * line + _OWN_SHARE * score)


Curve = Annotated[Platt | Isotonic, Field(discriminator="kind")]


class Target(FrozenModel):
    """What a threshold is to reach on the labelled texts.

    Attributes:
        kind: `recall` of at least `value`, with as few false alarms as that allows; or `false_alarms` of at most
            `value`, with as much recall as that allows.
        value: A share, 0..1.
    """

    kind: Literal["recall", "false_alarms"]
    value: float = Field(gt=0.0, lt=1.0)

    def __str__(self) -> str:
        return f"recall>={self.value:g}" if self.kind == "recall" else f"false_alarms<={self.value:g}"


class FittedCategory(FrozenModel):
    """One category's curve and threshold, and how good they are.

    The figures with a range are measured on texts that the fit did not see: resamples are fitted anew and measured on
    what they left out; the value is their mean.

    Attributes:
        curve: From the judge's score to the chance that the text is harmful.
        threshold: The chance from which the category fails, 0..1, with the range over the resamples.
        recall: Share of the harmful texts that fail.
        false_alarms: Share of the harmless texts that fail.
        texts: How many texts it was fitted on.
        harmful: How many of them are harmful.
        auc: Area under the ROC curve.
        average_precision: Area under the precision-recall curve.
        ece_before: Expected calibration error of the judge's own scores.
        ece_after: The same of the curve's, each text through a curve that was fitted without it.
        reliability_before: The diagram of the judge's own scores.
        reliability_after: The diagram of the curve's, as for `ece_after`.
    """

    curve: Curve
    threshold: Interval
    recall: Interval
    false_alarms: Interval
    texts: int = Field(ge=1)
    harmful: int = Field(ge=1)
    auc: Probability
    average_precision: Probability
    ece_before: Probability
    ece_after: Probability
    reliability_before: tuple[Bin, ...]
    reliability_after: tuple[Bin, ...]


class FittedOn(FrozenModel):
    """The labelled texts.

    Attributes:
        name: The file's name.
        sha256: SHA-256 of its content.
        texts: How many it holds.
        harmful: How many of them are harmful.
        unjudged: How many the judge had no plain answer on; they are left out.
    """

    name: str
    sha256: str
    texts: int
    harmful: int
    unjudged: int


class Calibration(FrozenModel):
    """Fitted scores and thresholds.

    Attributes:
        judge: The judge's spec.
        policy: The policy's id.
        policy_sha256: Of the policy's content, see `Policy.sha256`.
        band: The age band.
        target: What each threshold was to reach.
        method: The kind of the curves.
        data: What it was fitted on.
        seed: Of resampling and folds.
        resamples: How many there were.
        fitted_at: When.
        signature: All that another person needs to fit it again, in one line.
        categories: The categories that were fitted.
        left_alone: The others, each with the reason; in them the policy's own threshold holds.
    """

    judge: str
    policy: str
    policy_sha256: str
    band: str
    target: Target
    method: Literal["platt", "isotonic"]
    data: FittedOn
    seed: int
    resamples: int
    fitted_at: AwareDatetime
    signature: str
    categories: FrozenMapping[str, FittedCategory]
    left_alone: FrozenMapping[str, str]

    @property
    def sha256(self) -> str:
        """SHA-256 in hexadecimal of everything in it."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def check(self, judge: str, policy: Policy, band: str) -> None:
        """Refuse a judge, policy or band that it was not fitted for.

        Raises:
            ConfigurationError: They differ; the message names both sides.
        """
        pairs = {
            "judge": (self.judge, judge),
            "policy": (self.policy, policy.id),
            "policy content": (self.policy_sha256, policy.sha256),
            "band": (self.band, band),
        }
        wrong = [f"{what} {mine!r}, not {came!r}" for what, (mine, came) in pairs.items() if mine != came]
        if wrong:
            raise ConfigurationError(
                f"the calibration was fitted for {', and for '.join(wrong)}.",
                hint="Fit one for this judge, policy and band: taleward calibrate.",
            )

    def mapped(self, scores: Mapping[str, float]) -> dict[str, float]:
        """The scores, those of fitted categories through their curves."""
        return {c: self.categories[c].curve(s) if c in self.categories else s for c, s in scores.items()}

    def rules(self, policy: Policy) -> Policy:
        """The policy with the fitted thresholds in its band."""
        band = policy.band(self.band)
        fitted = {c: f.threshold.value for c, f in self.categories.items()}
        changed = band.model_copy(update={"thresholds": FrozenDict({**band.thresholds, **fitted})})
        return policy.model_copy(update={"bands": FrozenDict({**policy.bands, self.band: changed})})

    def save(self, path: str | Path) -> None:
        """Write it as YAML, all of it or nothing."""
        path = Path(path)
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
        half = path.with_name(f".{path.name}.{os.getpid()}")
        half.write_text(text, encoding="utf-8")
        half.replace(path)


def load_calibration(path: str | Path) -> Calibration:
    """Read a calibration.

    Raises:
        InvalidFile: The file is none; each problem with its line.
    """
    return load_yaml(Path(path), Calibration)
