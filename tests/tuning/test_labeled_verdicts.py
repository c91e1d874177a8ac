"""Labels to tune a judge on: columns, bands, folds, and feedback that may be trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.moderation.calibration.labeled_texts import Columns, LabeledData, LabeledText
from taleward.moderation.policies.load import load_policy
from taleward.tuning.labeled_verdicts import bands_with_enough, load_verdicts, split_into_folds, texts_by_band

KIDS = load_policy("kids")


def texts(band: str, harmful: int, harmless: int) -> list[LabeledText]:
    labels = [True] * harmful + [False] * harmless
    return [LabeledText(f"text {n} for {band}", label, band=band) for n, label in enumerate(labels)]


def test_the_columns_of_exported_feedback_are_read_if_they_are_there(tmp_path: Path) -> None:
    row = {"text": "x", "label": True, "categories": ["violence"], "band": "3-5"}
    (tmp_path / "all.jsonl").write_text(json.dumps(row))
    (tmp_path / "plain.csv").write_text("text,label\nx,1\n")
    (tmp_path / "named.csv").write_text("t,label,why\nx,1,hate\n")
    assert load_verdicts(tmp_path / "all.jsonl", KIDS).rows == (LabeledText("x", True, ("violence",), "3-5"),)
    assert load_verdicts(tmp_path / "plain.csv", KIDS).rows == (LabeledText("x", True),)
    named = load_verdicts(tmp_path / "named.csv", KIDS, Columns("t", category="why"))
    assert named.rows == (LabeledText("x", True, ("hate",)),)
    assert load_verdicts(named, KIDS) is named


def test_a_text_without_a_band_gets_one_and_an_unknown_band_is_refused() -> None:
    data = LabeledData("x", "0", (LabeledText("a", True), LabeledText("b", False, band="3-5")))
    assert [text.band for text in texts_by_band(data, KIDS, "9-12")] == ["9-12", "3-5"]
    with pytest.raises(UnknownName, match="unknown band of policy 'kids' '4-5'"):
        texts_by_band(LabeledData("x", "0", (LabeledText("a", True, band="4-5"),)), KIDS, "6-8")


def test_a_band_with_few_labels_is_left_out_and_said_so() -> None:
    enough, notes = bands_with_enough(texts("9-12", 10, 12) + texts("6-8", 30, 30) + texts("3-5", 3, 40))
    assert enough == ["6-8", "9-12"]
    assert notes == ["3-5 is left out: 3 harmful and 40 harmless texts, 10 of each needed"]
    with pytest.raises(ConfigurationError, match="too few labels to tune a judge: 3-5 is left out: 9 harmful"):
        bands_with_enough(texts("3-5", 9, 40))


def test_folds_spread_labels_evenly_and_keep_equal_texts_together() -> None:
    labeled = texts("6-8", 20, 30)
    twice = [*labeled, *labeled[:10]]
    folds = list(split_into_folds(twice, 5, seed=0))
    assert sorted(index for _, inside in folds for index in inside) == list(range(60))
    for outside, inside in folds:
        assert not {twice[n].text for n in outside} & {twice[n].text for n in inside}
        assert len({twice[n].text for n in inside if twice[n].harmful}) == 4
        assert sum(not twice[n].harmful for n in inside) == 6
    assert folds == list(split_into_folds(twice, 5, seed=0))
    assert folds != list(split_into_folds(twice, 5, seed=1))
