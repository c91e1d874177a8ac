"""How judges are tuned: the embedded judge by its head, every other judge by calibrating its thresholds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from taleward.core.errors import ConfigurationError
from taleward.core.policy import Policy
from taleward.core.verdict import Verdict
from taleward.moderation.calibration.calibration import Calibration, Target
from taleward.moderation.calibration.fit import fit_calibration
from taleward.moderation.calibration.labeled_texts import LabeledData, LabeledText
from taleward.moderation.judges import judge as make_judge
from taleward.moderation.judges.base import Judge
from taleward.moderation.judges.embedded.head import Head
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.tuning.head_fit import FitTexts, HeadChange, fit_head, fit_thresholds, read_texts
from taleward.tuning.labeled_verdicts import MIN_PER_LABEL, split_into_folds
from taleward.tuning.settings import JudgeTuningSettings, TunedPart

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

Fitted = TypeVar("Fitted")

_RESAMPLES = 50  # of the intervals in a calibration file; the report has its own


class JudgeTuner(ABC, Generic[Fitted]):
    """Fits a judge to labeled texts, and says what it would turn down."""

    @abstractmethod
    def fit(self, texts: Sequence[LabeledText]) -> Fitted:
        """Fit the judge to texts, each with its band."""

    @abstractmethod
    def turned_down(self, fitted: Fitted | None, texts: Sequence[LabeledText]) -> list[bool]:
        """Return which texts a fitted judge does not pass; `None` is the judge as it was."""

    @abstractmethod
    def notes(self, fitted: Fitted) -> list[str]:
        """Return what a person should know about the fit."""

    @abstractmethod
    def save(self, fitted: Fitted, folder: Path) -> None:
        """Write the fitted judge to a folder."""

    def cross_validated(self, texts: Sequence[LabeledText], folds: int, seed: int) -> list[bool]:
        """Return which texts are turned down by a judge that was fitted to the other folds."""
        turned_down = [False] * len(texts)
        for outside, inside in split_into_folds(texts, folds, seed):
            fitted = self.fit([texts[n] for n in outside])
            for index, decision in zip(inside, self.turned_down(fitted, [texts[n] for n in inside]), strict=True):
                turned_down[index] = decision
        return turned_down


class _RememberingHead(Head):
    """A head that reads a text once, also if it is asked with other weights."""

    def __init__(self, head: Head) -> None:
        self.__dict__.update(vars(head))
        self._remembered: dict[tuple[tuple[int, ...], ...], Floats] = {}

    def vectors(self, sentences: Sequence[Sequence[int]]) -> Floats:
        key = tuple(map(tuple, sentences))
        if key not in self._remembered:
            self._remembered[key] = super().vectors(sentences)
        return self._remembered[key]


class EmbeddedTuner(JudgeTuner[Head]):
    """Tunes the embedded judge; the lexicon stays as it is.

    Args:
        judges: The embedded judge of each band.
        part: What is fitted.
        settings: The settings.

    Raises:
        ConfigurationError: If a band tolerates everything that the head scores.
    """

    def __init__(self, judges: Mapping[str, EmbeddedJudge], part: TunedPart, settings: JudgeTuningSettings) -> None:
        head = next(iter(judges.values())).head
        self._head = head if isinstance(head, _RememberingHead) else _RememberingHead(head)
        self._judges = {band: judge.with_head(self._head) for band, judge in judges.items()}
        self._part, self._settings = part, settings
        for band, judge in self._judges.items():
            if not judge.sentence_scores("A calm day.").categories:
                raise ConfigurationError(f"the band {band!r} tolerates everything that {judge.spec} scores.")

    def with_part(self, part: TunedPart) -> EmbeddedTuner:
        """Return a tuner of another part, which shares what was read."""
        return EmbeddedTuner(self._judges, part, self._settings)

    def fit(self, texts: Sequence[LabeledText]) -> Head:
        """Fit the offsets, and the linear layer if that is the part."""
        read = read_texts(texts, self._judges, self._head.config.categories)
        return self._adjusted(self._change(read))

    def turned_down(self, fitted: Head | None, texts: Sequence[LabeledText]) -> list[bool]:
        """Judge the texts, with the word list; the encoder reads each text once."""
        judges = {band: judge.with_head(fitted or self._head) for band, judge in self._judges.items()}
        return [not judges[text.band].invoke(text.text).passed for text in texts]

    def notes(self, fitted: Head) -> list[str]:
        """Say how far the thresholds of each band moved."""
        notes: list[str] = []
        for band, judge in self._judges.items() if self._part == "thresholds" else ():
            age = judge.policy.band(band).ages[0]
            shift = fitted.config.offset(age) - self._head.config.offset(age)
            notes.append(f"{band} is {'stricter' if shift >= 0 else 'milder'} by {abs(shift):.2f} in log-odds")
        return notes

    def save(self, fitted: Head, folder: Path) -> None:
        """Write the head, without the encoder."""
        fitted.save(folder)

    def _change(self, texts: FitTexts) -> HeadChange:
        bands, miss_weight = len(self._judges), self._settings.miss_weight
        if self._part == "thresholds":
            return fit_thresholds(texts, bands, miss_weight)
        return fit_head(texts, bands, miss_weight, self._settings.pull)

    def _adjusted(self, change: HeadChange) -> Head:
        ages = [judge.policy.band(band).ages[0] for band, judge in self._judges.items()]
        offsets = dict(zip(ages, map(float, change.offsets), strict=True))
        return self._head.adjusted(change.weight.astype("float32"), change.bias.astype("float32"), offsets, ages)


class CalibrationTuner(JudgeTuner[dict[str, Calibration]]):
    """Tunes a judge by a curve and a threshold for each category, see `fit_calibration`.

    Args:
        judges: The judge of each band.
        data: What the labeled texts are from, for the calibrations.
        settings: The settings.
    """

    def __init__(self, judges: Mapping[str, Judge], data: LabeledData, settings: JudgeTuningSettings) -> None:
        self._judges, self._data, self._settings = judges, data, settings
        self._verdicts: dict[tuple[str, str], Verdict] = {}

    def fit(self, texts: Sequence[LabeledText]) -> dict[str, Calibration]:
        """Fit a calibration for each band."""
        self._judge(texts)
        target, calibrations = Target(kind="cost", value=self._settings.miss_weight), {}
        for band, judge in self._judges.items():
            rows = tuple(text for text in texts if text.band == band)
            calibrations[band] = fit_calibration(
                judge,
                LabeledData(self._data.name, self._data.sha256, rows),
                target,
                min_texts=MIN_PER_LABEL,
                resamples=_RESAMPLES,
                seed=self._settings.seed,
                verdicts=[self._verdicts[band, text.text] for text in rows],
            )
        return calibrations

    def turned_down(self, fitted: dict[str, Calibration] | None, texts: Sequence[LabeledText]) -> list[bool]:
        """Decide by the calibrations from verdicts; each text is judged once."""
        self._judge(texts)
        verdicts = [self._verdicts[text.band, text.text] for text in texts]
        if fitted is None:
            return [not verdict.passed for verdict in verdicts]
        judges = {band: judge.calibrated(fitted[band]) for band, judge in self._judges.items()}
        outcomes = (judges[t.band].outcome_from(verdict) for t, verdict in zip(texts, verdicts, strict=True))
        return [outcome != "pass" for outcome in outcomes]

    def notes(self, fitted: dict[str, Calibration]) -> list[str]:
        """Say which categories were not fitted, and why."""
        notes = []
        for band, calibration in fitted.items():
            names: dict[str, list[str]] = {}
            for category, reason in calibration.left_alone.items():
                names.setdefault(reason, []).append(category)
            notes += [f"{band}: not fitted, {reason}: {', '.join(c)}" for reason, c in names.items()]
        return notes

    def save(self, fitted: dict[str, Calibration], folder: Path) -> None:
        """Write a calibration file for each band."""
        for band, calibration in fitted.items():
            calibration.save(folder / calibration_file(band))

    def _judge(self, texts: Sequence[LabeledText]) -> None:
        """Judge the texts that have no verdict yet, each once: some judges cost money."""
        missing = list(dict.fromkeys((t.band, t.text) for t in texts if (t.band, t.text) not in self._verdicts))
        with ThreadPoolExecutor(self._settings.concurrency) as pool:
            verdicts = pool.map(lambda key: self._judges[key[0]].invoke(key[1]), missing)
            self._verdicts.update(zip(missing, verdicts, strict=True))


def calibration_file(band: str) -> str:
    """Return the name of the calibration file of a band."""
    return f"calibration-{band}.yaml"


def make_tuner(
    spec: str,
    policy: Policy,
    bands: Sequence[str],
    data: LabeledData,
    settings: JudgeTuningSettings,
    options: Mapping[str, Any],
) -> EmbeddedTuner | CalibrationTuner:
    """Make the judge of each band, and the tuner for its kind.

    Args:
        spec: The judge's spec.
        policy: The policy.
        bands: The bands.
        data: What the labeled texts are from.
        settings: The settings.
        options: Options of the judge.

    Raises:
        ConfigurationError: If the judge cannot be made, or has no head that could be fitted.
    """
    judges = {band: make_judge(spec, policy=policy, band=band, **options) for band in bands}
    embedded = {band: judge for band, judge in judges.items() if isinstance(judge, EmbeddedJudge)}
    if embedded:
        return EmbeddedTuner(embedded, "head" if settings.method == "head" else "thresholds", settings)
    if settings.method == "head":
        raise ConfigurationError(
            f"only the embedded judge has a head that can be fitted; the judge is {spec!r}.",
            hint="Tune 'embedded:judge', or fit the thresholds: method='thresholds'.",
        )
    return CalibrationTuner(judges, data, settings)
