"""Errors in YAML files name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from taleward.core.errors import InvalidFile, UnknownName
from taleward.moderation.policies.load import load_policy

GOOD = Path(__file__).parents[2] / "moderation/policies/kids.yaml"


def test_a_policy_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(GOOD.read_text().replace("name: kids", "name: own"))
    assert load_policy(file).id == load_policy(str(file)).id == "own@1"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("threshold: 0.5", "threshold: 1.5", r"line \d+: bands.3-5.threshold: .*less than or equal to 1"),
        ("ages: [3, 5]", "ages: [5, 3]", r"line \d+: bands.3-5: .*youngest then oldest"),
        (
            "frightening: 0.6",
            "frigtening: 0.6",
            r"line \d+: bands.6-8.thresholds.frigtening: is not a category of this policy; known: violence, fright",
        ),
        (
            "version:",
            "versoin:",
            r"line 2: versoin: is not a known field; did you mean 'version'\? known: name, version",
        ),
        ("    title: Crime\n", "    title: Crime\n    title: Two\n", "duplicate key 'title'"),
        ("violence: mild", "violence: soft", r"line \d+: .*'none', 'mild', 'moderate' or 'severe'; got 'soft'"),
        ("    ages: [3, 5]", "    agse: [3, 5]", r"did you mean 'ages'\? known: ages, writing"),
        ("    writing: >-", "    x-writing: >-", r"line \d+: bands.3-5.writing: is missing"),
        ("categories:", "categories: [", "is not valid YAML"),
    ],
)
def test_an_invalid_policy_names_the_line_and_the_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "own.yaml"
    text = GOOD.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(InvalidFile, match=message):
        load_policy(file)


def test_a_missing_policy(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown policy 'kid'. Did you mean 'kids'\?"):
        load_policy("kid")
    with pytest.raises(InvalidFile, match="cannot be read"):
        load_policy(tmp_path / "none.yaml")
