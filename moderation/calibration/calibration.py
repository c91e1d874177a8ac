"""Calibrated scores and thresholds of one judge for one policy and age band, as data.

`fit_calibration` creates a calibration, `Calibration.save` writes it as YAML, and `judge(..., calibration=PATH)` uses
it: each score is mapped by its category's curve, and the fitted threshold replaces the policy's.
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
from taleward.moderation.calibration.detection_metrics import Bin

# Keeps the log-odds of the scores 0 and 1 finite.
_MARGIN = 1e-6
_SCORE_WEIGHT = 1e-3


class Platt(FrozenModel):
    """A sigmoid curve of a score's log-odds (Platt 1999).

    Attributes:
        slope: The slope, above 0, so that the order of scores stays.
        intercept: The intercept, in log-odds.
    """

    kind: Literal["platt"] = "platt"
    slope: float = Field(gt=0.0)
    intercept: float

    def __call__(self, score: float) -> float:
        """Return the probability, 0..1, that a text with this score is harmful."""
        clipped = min(max(score, _MARGIN), 1.0 - _MARGIN)
        log_odds = self.slope * math.log(clipped / (1.0 - clipped)) + self.intercept
        if log_odds >= 0:
            return 1.0 / (1.0 + math.exp(-log_odds))
        return math.exp(log_odds) / (1.0 + math.exp(log_odds))


class Isotonic(FrozenModel):
    """A piecewise linear, non-decreasing curve (Zadrozny and Elkan 2002).

    The score itself is mixed in with a weight of a thousandth, so that scores keep their order where the curve is flat.

    Attributes:
        at: Scores of the knots, strictly increasing, 0..1.
        gives: Probabilities at the knots, non-decreasing, 0..1; as many as `at`.
    """

    kind: Literal["isotonic"] = "isotonic"
    at: tuple[Probability, ...] = Field(min_length=1)
    gives: tuple[Probability, ...]

    @model_validator(mode="after")
    def _check_knots(self) -> Isotonic:
        if (
            len(self.at) != len(self.gives)
            or list(self.at) != sorted(set(self.at))
            or list(self.gives) != sorted(self.gives)
        ):
            msg = (
                "at must be strictly increasing and gives non-decreasing, both of the same length; "
                f"got {len(self.at)} and {len(self.gives)} values"
            )
            raise ValueError(msg)
        return self

    def __call__(self, score: float) -> float:
        """Return the probability, 0..1, that a text with this score is harmful."""
        right = bisect.bisect_left(self.at, score)
        if right == 0:
            probability = self.gives[0]
        elif right == len(self.at):
            probability = self.gives[-1]
        else:
            low, high = self.at[right - 1], self.at[right]
            fraction = (score - low) / (high - low)
            probability = self.gives[right - 1] + fraction * (self.gives[right] - self.gives[right - 1])
        return min(1.0, (1.0 - _SCORE_WEIGHT) * probability + _SCORE_WEIGHT * score)


Curve = Annotated[Platt | Isotonic, Field(discriminator="kind")]


class Target(FrozenModel):
    """What a threshold must reach on the labeled texts.

    Attributes:
        kind: `recall` for a recall of at least `value` with as few false alarms as possible; `false_alarms` for at
            most that share of false alarms with as much recall as possible; or `cost` for the lowest cost, if a missed
            harmful text costs as much as `value` false alarms.
        value: The share, between 0 and 1, or the cost.
    """

    kind: Literal["recall", "false_alarms", "cost"]
    value: float = Field(gt=0.0)

    @model_validator(mode="after")
    def _check_share(self) -> Target:
        if self.kind != "cost" and self.value >= 1.0:
            msg = f"a share must be below 1; got {self.value:g}"
            raise ValueError(msg)
        return self

    def __str__(self) -> str:
        if self.kind == "cost":
            return f"lowest cost, a miss costing {self.value:g} false alarms"
        return f"recall>={self.value:g}" if self.kind == "recall" else f"false_alarms<={self.value:g}"


class FittedCategory(FrozenModel):
    """The curve and threshold of one category, with their quality.

    Recall and false alarms are measured out of bag: each bootstrap resample is fitted and measured on the texts it
    left out. The value is the mean over the resamples.

    Attributes:
        curve: Maps the judge's score to the probability that the text is harmful.
        threshold: The probability from which a text fails, 0..1, with its interval over the resamples.
        recall: Share of the harmful texts that fail.
        false_alarms: Share of the harmless texts that fail.
        texts: Number of texts that the category was fitted on.
        harmful: How many of them are harmful.
        auc: Area under the ROC curve.
        average_precision: Area under the precision-recall curve.
        ece_before: Expected calibration error of the judge's own scores.
        ece_after: Expected calibration error of cross-validated scores: each text's curve was fitted without it.
        reliability_before: Reliability diagram of the judge's own scores.
        reliability_after: Reliability diagram of the cross-validated scores.
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


class FittingData(FrozenModel):
    """The labeled texts of a calibration.

    Attributes:
        name: The file name.
        sha256: SHA-256 of the content.
        texts: Number of texts.
        harmful: How many of them are harmful.
        unjudged: How many were left out because the judge neither passed nor failed them.
    """

    name: str
    sha256: str
    texts: int
    harmful: int
    unjudged: int


class Calibration(FrozenModel):
    """Calibrated scores and thresholds of a judge.

    Attributes:
        judge: The judge's spec.
        policy: The policy's id.
        policy_sha256: The policy's digest, see `Policy.sha256`.
        band: The age band.
        target: What each threshold had to reach.
        method: The kind of curve.
        data: The labeled texts.
        seed: Seed of the resamples and folds.
        resamples: Number of bootstrap resamples.
        fitted_at: When it was fitted.
        signature: All settings and versions that are needed to fit it again, in one line.
        categories: The fitted categories.
        left_alone: The categories that could not be fitted, each with the reason. They keep the judge's scores and
            the policy's thresholds.
    """

    judge: str
    policy: str
    policy_sha256: str
    band: str
    target: Target
    method: Literal["platt", "isotonic"]
    data: FittingData
    seed: int
    resamples: int
    fitted_at: AwareDatetime
    signature: str
    categories: FrozenMapping[str, FittedCategory]
    left_alone: FrozenMapping[str, str]

    @property
    def sha256(self) -> str:
        """SHA-256 of the whole calibration, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def check(self, judge: str, policy: Policy, band: str) -> None:
        """Check that the calibration was fitted for this judge, policy and band.

        Raises:
            ConfigurationError: If it was not; the message lists the differences.
        """
        fitted_and_actual = {
            "judge": (self.judge, judge),
            "policy": (self.policy, policy.id),
            "policy content": (self.policy_sha256, policy.sha256),
            "band": (self.band, band),
        }
        differences = [
            f"{what} {fitted!r}, not {actual!r}"
            for what, (fitted, actual) in fitted_and_actual.items()
            if fitted != actual
        ]
        if differences:
            raise ConfigurationError(
                f"the calibration was fitted for {', and for '.join(differences)}.",
                hint="Fit one for this judge, policy and band with `taleward calibrate`.",
            )

    def calibrate_scores(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Map the scores of the fitted categories by their curves, and return all scores."""
        return {c: self.categories[c].curve(s) if c in self.categories else s for c, s in scores.items()}

    def apply_thresholds(self, policy: Policy) -> Policy:
        """Return the policy with the fitted thresholds in the calibration's band."""
        band = policy.band(self.band)
        thresholds = {c: f.threshold.value for c, f in self.categories.items()}
        calibrated_band = band.model_copy(update={"thresholds": FrozenDict({**band.thresholds, **thresholds})})
        return policy.model_copy(update={"bands": FrozenDict({**policy.bands, self.band: calibrated_band})})

    def save(self, path: str | Path) -> None:
        """Write the calibration as YAML, atomically."""
        path = Path(path)
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


def load_calibration(path: str | Path) -> Calibration:
    """Load a calibration from a YAML file.

    Raises:
        InvalidFile: If the file is not a valid calibration; each problem is listed with its line.
    """
    return load_yaml(Path(path), Calibration)
