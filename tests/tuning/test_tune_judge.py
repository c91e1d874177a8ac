"""Tuning a judge, on few short texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn", reason="the extra calibration is not installed")
pytest.importorskip("tokenizers", reason="the extra local is not installed")

import taleward as tw
from taleward.core.errors import ConfigurationError, InvalidFile, UnknownName
from taleward.evaluation.example_passages import example_passages
from taleward.moderation.calibration.labeled_texts import LabeledData, LabeledText
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.moderation.policies.load import load_policy
from taleward.tuning import tune_judge
from taleward.tuning.judge_folder import read_judge_report

KIDS = load_policy("kids")
QUICK: dict[str, Any] = {"folds": 2, "resamples": 200}


def labels_for(band: str, texts: int = 120) -> LabeledData:
    """Texts that people label for 6-8 as strictly as another band demands."""
    passages = example_passages()[:texts]
    rows = (passage.labeled_text(KIDS, band) for passage in passages)
    return LabeledData("passages", "0" * 64, tuple(rows))


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("tuned") / "strict"
    return tune_judge("embedded:judge", labels_for("3-5"), out, **QUICK)


def test_few_labels_move_the_thresholds_and_the_tuned_judge_is_used_by_its_folder(strict: Any) -> None:
    report = strict.report
    assert strict.promoted, report.reason
    assert (report.part, report.part_reason) == ("thresholds", "120 texts; the head is tried from 400 on")
    assert "6-8 is stricter by" in report.notes[0]
    assert report.total.missed_after.value < report.total.missed_before.value
    tuned, shipped = strict.judge(), tw.judge("embedded:judge")
    assert isinstance(tuned, EmbeddedJudge)
    assert isinstance(shipped, EmbeddedJudge)
    mild = "The two foxes wanted the same plum. Rufus gave his brother a shove, and both of them sat down in the mud."
    assert tuned.margin(mild) > shipped.margin(mild) + 0.5
    assert tw.judge(strict.spec).invoke(mild).outcome == tuned.invoke(mild).outcome
    assert read_judge_report(strict.folder) == report


def test_a_tuned_judge_is_not_overwritten(strict: Any) -> None:
    with pytest.raises(InvalidFile, match="holds a tuned judge already"):
        tune_judge("embedded:judge", labels_for("3-5"), strict.folder, **QUICK)


def test_a_judge_that_is_not_better_leaves_only_its_report(tmp_path: Path) -> None:
    shipped = tw.judge("embedded:judge")
    assert isinstance(shipped, EmbeddedJudge)
    rows = [LabeledText(row.text, not shipped.invoke(row.text).passed) for row in labels_for("6-8").rows]
    data = LabeledData("judge", "0" * 64, tuple(rows))
    for _ in range(2):  # the folder may be used again
        refused = tune_judge("embedded:judge", data, tmp_path / "out", **QUICK)
        assert not refused.promoted
        assert [file.name for file in (tmp_path / "out").iterdir()] == ["report.json"]
    assert "does not fall beyond noise" in refused.report.reason
    assert refused.spec == "embedded:judge"
    assert refused.judge().invoke(rows[0].text).judge == "embedded:judge"


def test_the_head_is_fitted_on_demand_and_measured_on_held_out_texts(tmp_path: Path) -> None:
    passages = [passage.labeled_text(KIDS, "3-5") for passage in example_passages()]
    data, unseen = (LabeledData(n, "0" * 64, tuple(passages[k::2])) for k, n in enumerate(("even", "odd")))
    first, second = (
        tune_judge("embedded:judge", data, tmp_path / n, held_out=unseen, method="head", **QUICK) for n in "ab"
    )
    assert first.promoted, first.report.reason
    assert (first.report.part, first.report.held_out, first.report.total.texts) == ("head", "odd", 60)
    assert second.promoted
    assert (tmp_path / "a/head.safetensors").read_bytes() == (tmp_path / "b/head.safetensors").read_bytes()
    tuned = first.judge()
    turned_down = sum(not tuned.invoke(row.text).passed for row in unseen.rows if not row.harmful)
    harmless = sum(not row.harmful for row in unseen.rows)
    assert first.report.total.turned_down_after is not None
    assert first.report.total.turned_down_after.value == pytest.approx(turned_down / harmless)


def test_another_judge_gets_a_calibration_for_each_band(tmp_path: Path) -> None:
    # People forgive "damn", which the word list fails, and do not forgive worse.
    words = [("damn", False), ("shit", True)]
    rows = [LabeledText(f"Oh, {w}, said {n}.", h, ("profanity",) if h else ()) for n in range(24) for w, h in words]
    tuned = tune_judge("lexicon", LabeledData("words", "0" * 64, tuple(rows)), tmp_path / "out", **QUICK)
    assert tuned.promoted, tuned.report.reason
    assert tuned.calibrations == {"6-8": tmp_path / "out/calibration-6-8.yaml"}
    assert tuned.spec == "lexicon"
    assert [tuned.judge().invoke(f"Oh, {word}, said Tom.").passed for word, _ in words] == [True, False]
    assert not tw.judge("lexicon").invoke("Oh, damn, said Tom.").passed
    assert any("violence" in note for note in tuned.report.notes)
    assert tuned.report.total.turned_down_after is not None
    assert tuned.report.total.turned_down_after.value == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "everything"}, "invalid setting method"),
        ({"miss_weight": 0}, "invalid setting miss_weight"),
        ({"folds": 1}, "invalid setting folds"),
        ({"speed": 1}, "invalid setting speed"),
        ({"judge": "lexicon", "method": "head"}, "only the embedded judge has a head that can be fitted"),
        ({"held_out": labels_for("6-8", 20)}, "20 of the held-out texts are among those to tune on"),
        ({"labeled": labels_for("6-8", 12)}, "too few labels to tune a judge: 6-8 is left out"),
        ({"band": "4-5"}, "unknown band"),
        ({"judge": "embedded:jugde"}, "."),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given = {"judge": "embedded:judge", "labeled": labels_for("6-8"), **QUICK, **arguments}
    with pytest.raises(ConfigurationError, match=message):
        tune_judge(given.pop("judge"), given.pop("labeled"), tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidFile, match="is not empty"):
        tune_judge("embedded:judge", labels_for("6-8"), tmp_path, **QUICK)
    with pytest.raises(InvalidFile, match="is a file"):
        tune_judge("embedded:judge", labels_for("6-8"), tmp_path / "notes.txt", **QUICK)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_tuned_judge_is_for_its_bands(strict: Any) -> None:
    with pytest.raises(UnknownName, match="unknown band of the tuned judge '3-5'"):
        strict.judge("3-5")
    with pytest.raises(ConfigurationError, match="tuned for bands from age 6"):
        tw.judge(strict.spec, band="3-5")
