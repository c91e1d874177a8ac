"""Tune a judge on people's verdicts: `tune_judge("embedded:judge", "verdicts.jsonl", "tuned")`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from taleward.core.errors import ConfigurationError, MissingExtra, UnknownName
from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Policy
from taleward.moderation.calibration.labeled_texts import Columns, LabeledData, LabeledText
from taleward.moderation.judges import judge as make_judge
from taleward.moderation.judges.base import Judge
from taleward.moderation.policies.load import load_policy
from taleward.tuning.judge_folder import check_judge_folder, write_judge_report
from taleward.tuning.judge_report import JudgeTuningReport, decide_promotion, mean_cost, measure_change
from taleward.tuning.judge_tuners import CalibrationTuner, EmbeddedTuner, JudgeTuner, calibration_file, make_tuner
from taleward.tuning.labeled_verdicts import bands_with_enough, load_verdicts, texts_by_band
from taleward.tuning.settings import JudgeTuningSettings, TunedPart, check_settings

HEAD_TEXTS = 400
"""Labeled texts from which on the method `auto` tries the head.

On 100 and on 200 of the texts in `training/judge/probes` the head gained no more than the thresholds alone, but for the
noise of the sample; and a report that shows so small a gain beyond noise needs hundreds of texts.
"""


class TunedJudge(FrozenModel):
    """The result of tuning a judge.

    Attributes:
        folder: The folder with `report.json` and, if it was promoted, the tuned judge.
        report: Errors before and after, and whether the tuned judge was written.
    """

    folder: Path
    report: JudgeTuningReport

    @property
    def promoted(self) -> bool:
        """Whether the tuned judge is better beyond noise, and so was written."""
        return self.report.promoted

    @property
    def spec(self) -> str:
        """The judge's spec: the folder of a tuned embedded judge, else the spec of the judge that was to be tuned."""
        if not self.promoted or self.calibrations:
            return self.report.judge
        folder = str(self.folder)
        return f"embedded:{folder}" if folder.startswith(("/", "./", "../", "~")) else f"embedded:./{folder}"

    @property
    def calibrations(self) -> dict[str, Path]:
        """The calibration file of each band; empty for the embedded judge."""
        files = {band: self.folder / calibration_file(band) for band in self.report.bands}
        return {band: file for band, file in files.items() if file.is_file()}

    def judge(self, band: str | None = None, *, policy: Policy | str = "kids", **options: Any) -> Judge:
        """Make the tuned judge; the one that was to be tuned if the tuned one was not promoted.

        Args:
            band: The age band; needed if it was tuned for several.
            policy: The policy that it was tuned for.
            options: Options of the judge.

        Raises:
            ConfigurationError: If it was not tuned for this band or policy.
        """
        bands = list(self.report.bands)
        if band is None and len(bands) > 1:
            raise ConfigurationError(f"the judge was tuned for {', '.join(bands)}.", hint="Pass band=...")
        chosen = band or bands[0]
        if chosen not in bands:
            raise UnknownName("band of the tuned judge", chosen, bands)
        calibration = self.calibrations.get(chosen)
        return make_judge(self.spec, policy=policy, band=chosen, calibration=calibration, **options)


def tune_judge(
    judge: str,
    labeled: LabeledData | str | Path,
    out: str | Path,
    *,
    policy: Policy | str = "kids",
    band: str = "6-8",
    held_out: LabeledData | str | Path | None = None,
    columns: Columns | None = None,
    judge_options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> TunedJudge:
    """Tune a judge on texts that people labeled, and write it if it is better beyond noise.

    The method `thresholds` fits an offset for each band of the embedded judge, which moves all its thresholds alike, so
    it needs few labels and no categories. For another judge it fits a curve and a threshold for each category with
    enough labels, see `fit_calibration`. The method `head` also fits the linear layer of the embedded judge, starting
    from what it is and pulled back to it; the encoder and the word list stay.

    Errors before and after are measured on texts that the measured judge was not tuned on. They should be like those
    that will be judged, in the share of harmful ones, too. The tuned judge is written only if the cost of a text falls
    beyond the noise of a paired bootstrap, and rises beyond it in no band; the report is always written.

    Args:
        judge: The spec of a judge that gives scores: `embedded:judge`, `embedded:./FOLDER`, or another.
        labeled: Labeled texts, or a file of them; `verdicts_from_feedback` returns those of recorded feedback.
        out: Folder for the result: new, empty, or with the report of a judge that was not promoted.
        policy: A policy, or the name or path of one.
        band: The age band of texts that name none.
        held_out: Labeled texts to measure on; by default the judge is cross-validated.
        columns: The columns of the files; by default `text`, `label` and, if there are any, `categories` and `band`.
        judge_options: Options of the judge.
        settings: Fields of `JudgeTuningSettings`, such as `method="head"`, `miss_weight=5` or `seed=1`.

    Raises:
        MissingExtra: If the extra `calibration` is not installed.
        ConfigurationError: If a setting is unknown or invalid, there are too few labels, a held-out text is among those
            to tune on, or this judge cannot be tuned.
        InvalidFile: If a file has invalid rows, or `out` holds something else.
    """
    if not find_spec("sklearn"):
        raise MissingExtra("tuning a judge", "calibration")
    chosen = check_settings(JudgeTuningSettings, settings)
    out = Path(out)
    check_judge_folder(out)
    rules = load_policy(policy) if isinstance(policy, str) else policy
    data = load_verdicts(labeled, rules, columns)
    all_texts = texts_by_band(data, rules, band)
    bands, notes = bands_with_enough(all_texts)
    texts = [text for text in all_texts if text.band in bands]
    held_out_data = None if held_out is None else load_verdicts(held_out, rules, columns)
    unseen = texts if held_out_data is None else _unseen(texts_by_band(held_out_data, rules, band), texts, bands)
    made = make_tuner(judge, rules, bands, data, chosen, judge_options or {})
    part, part_reason, turned_down = _choose_part(made, texts, chosen)
    tuner: JudgeTuner[Any] = made.with_part(part) if isinstance(made, EmbeddedTuner) else made
    fitted = tuner.fit(texts)
    if held_out_data is not None:
        turned_down = tuner.turned_down(fitted, unseen)
    elif turned_down is None:
        turned_down = tuner.cross_validated(texts, chosen.folds, chosen.seed)
    by_band, total = measure_change(unseen, tuner.turned_down(None, unseen), turned_down, chosen)
    promoted, reason = decide_promotion(by_band, total)
    report = JudgeTuningReport(
        judge=judge,
        policy=rules.id,
        policy_sha256=rules.sha256,
        part=part,
        part_reason=part_reason,
        data=data.name,
        data_sha256=data.sha256,
        texts=len(texts),
        harmful=sum(text.harmful for text in texts),
        held_out=held_out_data.name if held_out_data else "",
        settings=chosen,
        bands=by_band,
        total=total,
        promoted=promoted,
        reason=reason,
        notes=(*notes, *tuner.notes(fitted)),
        tuned_at=datetime.now(UTC).replace(microsecond=0),
        taleward=version("taleward"),
    )
    out.mkdir(parents=True, exist_ok=True)
    if promoted:
        tuner.save(fitted, out)
    write_judge_report(out, report)
    return TunedJudge(folder=out, report=report)


def _choose_part(
    tuner: EmbeddedTuner | CalibrationTuner, texts: Sequence[LabeledText], settings: JudgeTuningSettings
) -> tuple[TunedPart, str, list[bool] | None]:
    """Return the part to fit, the reason, and what the cross-validated judge turns down if that decided."""
    if settings.method != "auto":
        return settings.method, "as asked for", None
    if isinstance(tuner, CalibrationTuner):
        return "thresholds", "only the embedded judge has a head that can be fitted", None
    if len(texts) < HEAD_TEXTS:
        return "thresholds", f"{len(texts)} texts; the head is tried from {HEAD_TEXTS} on", None
    parts: tuple[TunedPart, ...] = ("thresholds", "head")
    decisions = {part: tuner.with_part(part).cross_validated(texts, settings.folds, settings.seed) for part in parts}
    costs = {part: mean_cost(texts, decisions[part], settings.miss_weight) for part in parts}
    reason = ", ".join(f"{cost:.3f} with the {part}" for part, cost in costs.items())
    best: TunedPart = "head" if costs["head"] < costs["thresholds"] else "thresholds"
    return best, f"cross-validated cost of a text: {reason}", decisions[best]


def _unseen(held_out: Sequence[LabeledText], texts: Sequence[LabeledText], bands: Sequence[str]) -> list[LabeledText]:
    """Return the held-out texts of some bands, and check that none of them is among the texts to tune on."""
    kept = [text for text in held_out if text.band in bands]
    shared = {text.text.strip() for text in texts} & {text.text.strip() for text in kept}
    if shared:
        raise ConfigurationError(
            f"{len(shared)} of the held-out texts are among those to tune on.",
            hint="Leave them out of one of the two; without held-out texts, the judge is cross-validated.",
        )
    missing = [band for band in bands if all(text.band != band for text in kept)]
    if missing:
        raise ConfigurationError(
            f"no held-out text is for {', '.join(missing)}.",
            hint="Add some; without held-out texts, the judge is cross-validated.",
        )
    return kept
