"""Errors of a judge before and after tuning on labeled texts, and whether the difference is more than noise."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pydantic import AwareDatetime, Field

from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.moderation.calibration.bootstrap import Interval, bootstrap_indices, percentile_interval
from taleward.moderation.calibration.labeled_texts import LabeledText
from taleward.tuning.settings import JudgeTuningSettings, TunedPart

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


class ErrorChange(FrozenModel):
    """Errors before and after tuning, with 95 % bootstrap intervals; each resample draws as many texts of each label.

    Attributes:
        texts: Number of texts.
        harmful: How many of them are harmful.
        turned_down_before: Share of the good texts that the judge does not pass; `None` if there are none.
        turned_down_after: The same after tuning.
        missed_before: Share of the harmful texts that the judge passes; `None` if there are none.
        missed_after: The same after tuning.
        cost_before: Mean cost of a text: 1 for a good one turned down, `miss_weight` for a harmful one passed.
        cost_after: The same after tuning.
        cost_difference: After minus before, on the same resamples; below 0 if tuning helped.
    """

    texts: int
    harmful: int
    turned_down_before: Interval | None
    turned_down_after: Interval | None
    missed_before: Interval | None
    missed_after: Interval | None
    cost_before: Interval
    cost_after: Interval
    cost_difference: Interval


class JudgeTuningReport(FrozenModel):
    """How a judge was tuned, and what it is worth; `report.json` in the folder of a tuned judge.

    Attributes:
        judge: The spec of the judge that was tuned.
        policy: The policy's id.
        policy_sha256: The policy's digest, see `Policy.sha256`.
        part: What was fitted: `thresholds` or `head`.
        part_reason: Why that part.
        data: Name of the labeled texts.
        data_sha256: Digest of them.
        texts: Number of texts that it was tuned on.
        harmful: How many of them are harmful.
        held_out: Name of the held-out texts; empty if it was cross-validated.
        settings: The settings.
        bands: The errors by band, on texts that the measured judge was not tuned on.
        total: The errors on the texts of all bands.
        promoted: Whether the tuned judge was written.
        reason: Why it was, or was not.
        notes: What else a person should know.
        tuned_at: When.
        taleward: The version of Taleward.
    """

    judge: str
    policy: str
    policy_sha256: str
    part: TunedPart
    part_reason: str
    data: str
    data_sha256: str
    texts: int = Field(ge=1)
    harmful: int
    held_out: str = ""
    settings: JudgeTuningSettings
    bands: FrozenMapping[str, ErrorChange]
    total: ErrorChange
    promoted: bool
    reason: str
    notes: tuple[str, ...] = ()
    tuned_at: AwareDatetime
    taleward: str


class _Errors(NamedTuple):
    """Errors of the texts of one band and label: values, and means of resamples, of the same ones before and after."""

    before: Floats
    after: Floats
    draws_before: Floats
    draws_after: Floats


def measure_change(
    texts: Sequence[LabeledText],
    before: Sequence[bool],
    after: Sequence[bool],
    settings: JudgeTuningSettings,
) -> tuple[FrozenMapping[str, ErrorChange], ErrorChange]:
    """Measure the errors before and after tuning, by band and on all texts.

    Args:
        texts: The texts, each with its band.
        before: Which texts the judge turned down before.
        after: Which it turns down after.
        settings: The settings.
    """
    import numpy as np

    seeds = itertools.count(settings.seed)
    strata: dict[tuple[str, bool], _Errors] = {}
    for key in sorted({(text.band, text.harmful) for text in texts}):
        members = [n for n, text in enumerate(texts) if (text.band, text.harmful) == key]
        harmful = key[1]
        wrong = [np.array([(side[n] != harmful) for n in members], float) for side in (before, after)]
        blocks = list(bootstrap_indices([np.arange(len(members))], settings.resamples, next(seeds)))
        draws = [np.concatenate([values[block].mean(axis=1) for block in blocks]) for values in wrong]
        strata[key] = _Errors(wrong[0], wrong[1], draws[0], draws[1])
    bands = sorted({band for band, _ in strata}, key=lambda name: (len(name), name))
    of_band = {band: {key: errors for key, errors in strata.items() if key[0] == band} for band in bands}
    by_band = {band: _change(errors, settings.miss_weight) for band, errors in of_band.items()}
    return FrozenDict(by_band), _change(strata, settings.miss_weight)


def decide_promotion(bands: FrozenMapping[str, ErrorChange], total: ErrorChange) -> tuple[bool, str]:
    """Decide whether a tuned judge is better beyond noise, and in no band worse; return the reason, too."""
    difference = total.cost_difference
    interval = f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
    if difference.high >= 0:
        return False, f"the cost of a text does not fall beyond noise: {interval}"
    worse = [band for band, change in bands.items() if change.cost_difference.low > 0]
    if worse:
        return False, f"the cost of a text falls by {interval}, but rises for {', '.join(worse)}"
    return True, f"the cost of a text falls beyond noise: {interval}"


def _change(strata: dict[tuple[str, bool], _Errors], miss_weight: float) -> ErrorChange:
    good = [errors for (_, harmful), errors in strata.items() if not harmful]
    harmful = [errors for (_, harmful), errors in strata.items() if harmful]
    texts = sum(len(errors.before) for errors in strata.values())
    weighted = [(errors, 1.0) for errors in good] + [(errors, miss_weight) for errors in harmful]
    before = [(len(e.before) * w / texts, e.before, e.draws_before) for e, w in weighted]
    after = [(len(e.after) * w / texts, e.after, e.draws_after) for e, w in weighted]
    difference = [(w, a - b, da - db) for (w, a, da), (_, b, db) in zip(after, before, strict=True)]
    return ErrorChange(
        texts=texts,
        harmful=sum(len(errors.before) for errors in harmful),
        turned_down_before=_share([(e.before, e.draws_before) for e in good]),
        turned_down_after=_share([(e.after, e.draws_after) for e in good]),
        missed_before=_share([(e.before, e.draws_before) for e in harmful]),
        missed_after=_share([(e.after, e.draws_after) for e in harmful]),
        cost_before=_weighted_mean(before),
        cost_after=_weighted_mean(after),
        cost_difference=_weighted_mean(difference),
    )


def _share(strata: Sequence[tuple[Floats, Floats]]) -> Interval | None:
    texts = sum(len(values) for values, _ in strata)
    return _weighted_mean([(len(values) / texts, values, draws) for values, draws in strata]) if texts else None


def _weighted_mean(strata: Sequence[tuple[float, Floats, Floats]]) -> Interval:
    import numpy as np

    value = float(sum(weight * values.mean() for weight, values, _ in strata))
    draws: Floats = np.sum([weight * draws for weight, _, draws in strata], axis=0)
    return percentile_interval(value, draws)


def mean_cost(texts: Sequence[LabeledText], turned_down: Sequence[bool], miss_weight: float) -> float:
    """Return the mean cost of a text, see `ErrorChange`."""
    costs = [
        (miss_weight if text.harmful else 1.0) * (text.harmful != decision)
        for text, decision in zip(texts, turned_down, strict=True)
    ]
    return sum(costs) / len(costs)
