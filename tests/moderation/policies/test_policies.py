"""Custom policies in a few lines, and the shipped ones."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from taleward.core.errors import InvalidFile
from taleward.core.policy import SEVERITIES, Policy
from taleward.moderation.judges import judge
from taleward.moderation.policies.diff import policy_diff
from taleward.moderation.policies.load import load_policy, policy_names

CUSTOM = """\
extends: kids
name: school
version: "2"
categories:
  crime: null
  weather: {title: Weather, definition: Storms., not_allowed: [It hailed.]}
  violence: {allowed: [A snowball fight.]}
bands:
  "3-5": null
  "6-8": {thresholds: {violence: 0.4}, reading_level: 3}
"""


def write(folder: Path, text: str, name: str = "custom.yaml") -> Path:
    file = folder / name
    file.write_text(dedent(text))
    return file


def test_a_few_lines_extend_a_policy(tmp_path: Path) -> None:
    kids, custom = load_policy("kids"), load_policy(write(tmp_path, CUSTOM))
    assert (custom.id, custom.parent) == ("school@2", "kids@1")
    assert list(custom.bands) == ["6-8", "9-12"]
    assert set(kids.categories) - set(custom.categories) == {"crime"}
    assert "crime" not in custom.bands["9-12"].tolerance
    assert custom.categories["weather"].not_allowed == ("It hailed.",)
    assert custom.categories["violence"].definition == kids.categories["violence"].definition
    assert custom.categories["violence"].allowed == ("A snowball fight.",)
    assert (custom.threshold("violence", "6-8"), custom.threshold("frightening", "6-8")) == (0.4, 0.6)
    assert custom.bands["6-8"].reading_level == 3
    assert custom.bands["6-8"].closing == kids.bands["6-8"].closing
    assert Policy.model_validate_json(custom.model_dump_json()) == custom


def test_an_extending_policy_is_extended_by_its_path(tmp_path: Path) -> None:
    write(tmp_path, CUSTOM, "school.yaml")
    (tmp_path / "sub").mkdir()
    child = write(tmp_path / "sub", 'extends: ../school.yaml\nname: class\nversion: "1"\n', "class.yaml")
    assert load_policy(child).parent == "school@2"
    assert "crime" not in load_policy(child).categories


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "extends: kid\nname: a\nversion: '1'",
            r"line 1: extends: got 'kid'; did you mean 'kids'\? expected kids, teen",
        ),
        ("extends: [kids]\nname: a\nversion: '1'", r"line 1: extends: got \['kids'\]; expected kids, teen"),
        ("extends: kids", r"name is missing: .*\n.*version is missing"),
        ("extends: kids\nname: kids\nversion: '1'", r"line 3: version: kids@1 is the extended policy"),
        ("extends: kids\nname: a\nversion: '1'\ncategories: {crmie: null}", r"line 4: .*did you mean 'crime'\?"),
        (
            "extends: kids\nname: a\nversion: 1a\ncategories: {crime: null}\nbands:\n  6-8: {tolerance: {crime: none}}",
            r"line 6: bands.6-8.tolerance.crime: is not a category of this policy",
        ),
        (
            "extends: kids\nname: a\nversion: 1\nbands: {6-8: {threshhold: 0.3}}",
            r"line 3: version: .* string; got 1\n.*line 4: bands.6-8.threshhold: .*did you mean 'threshold'",
        ),
        ("extends: kids\nname: a\nversion: '1'\nparent: x@1", r"line 4: parent: is set by 'extends'; remove it"),
        ("extends: none.yaml\nname: a\nversion: '1'", "none.yaml cannot be read"),
    ],
)
def test_an_invalid_extension_names_the_line_and_the_accepted_values(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidFile, match=message):
        load_policy(write(tmp_path, text))


def test_policies_that_extend_each_other_are_rejected(tmp_path: Path) -> None:
    one = write(tmp_path, "extends: two.yaml\nname: one\nversion: '1'\n", "one.yaml")
    write(tmp_path, "extends: one.yaml\nname: two\nversion: '1'\n", "two.yaml")
    with pytest.raises(InvalidFile, match=r"two\.yaml has problems:\n.*line 1: extends: is circular"):
        load_policy(one)


def test_every_shipped_policy_has_the_fields_that_judges_and_writers_need() -> None:
    assert policy_names() == ("kids", "teen")
    for name in policy_names():
        policy = load_policy(name)
        for category in policy.categories.values():
            assert category.allowed
            assert category.not_allowed
        for band in policy.bands.values():
            assert band.reading_level
            assert band.closing


def test_teen_is_looser_than_kids_and_fits_every_judge() -> None:
    kids, teen = load_policy("kids"), load_policy("teen")
    assert list(teen.categories) == list(kids.categories)
    for category in kids.categories:
        looser, stricter = teen.tolerance(category, "13-15"), kids.tolerance(category, "9-12")
        assert SEVERITIES.index(looser) >= SEVERITIES.index(stricter), category
    text = "He stabbed the guard in the throat and blood ran down the wall."
    swearing = "Damn, said Leo, we missed it."
    assert judge("lexicon", policy="teen", band="13-15").invoke(text).outcome == "fail"
    assert judge("lexicon", policy="teen", band="13-15").invoke(swearing).outcome == "pass"


def test_differences_that_can_change_a_verdict_are_found(tmp_path: Path) -> None:
    kids, custom = load_policy("kids"), load_policy(write(tmp_path, CUSTOM))
    changes = {c.place: (c.before, c.after) for c in policy_diff(kids, custom)}
    assert changes["bands.6-8.threshold.violence"] == ("0.5", "0.4")
    assert changes["categories.weather"] == (None, "Storms.")
    assert changes["categories.crime"][1] is None
    codes = {place for place in changes if place.startswith("codes.")}
    assert codes
    assert all("category: crime" in str(changes[place][0]) and changes[place][1] is None for place in codes)
    assert set(changes) - codes == {
        "categories.violence.allowed",
        "categories.crime",
        "categories.weather",
        "bands.3-5",
        "bands.6-8.reading_level",
        "bands.6-8.threshold.violence",
    }
    assert policy_diff(kids, kids) == ()


def test_the_digest_changes_with_every_change() -> None:
    kids = load_policy("kids")
    assert kids.sha256 == load_policy("kids").sha256
    assert kids.model_copy(update={"description": "else"}).sha256 != kids.sha256
