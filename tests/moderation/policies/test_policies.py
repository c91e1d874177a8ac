"""Policies of one's own in a few lines, and the ones that are shipped."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from taleward.core.errors import InvalidFile
from taleward.core.policy import SEVERITIES, Policy
from taleward.moderation.judges import judge
from taleward.moderation.policies.diff import policy_diff
from taleward.moderation.policies.load import load_policy, policy_names

OWN = """\
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


def write(folder: Path, text: str, name: str = "own.yaml") -> Path:
    file = folder / name
    file.write_text(dedent(text))
    return file


def test_a_few_lines_extend_a_policy(tmp_path: Path) -> None:
    kids, own = load_policy("kids"), load_policy(write(tmp_path, OWN))
    assert (own.id, own.parent) == ("school@2", "kids@1")
    assert list(own.bands) == ["6-8", "9-12"]
    assert set(kids.categories) - set(own.categories) == {"crime"}
    assert "crime" not in own.bands["9-12"].tolerance
    assert own.categories["weather"].not_allowed == ("It hailed.",)
    assert own.categories["violence"].definition == kids.categories["violence"].definition
    assert own.categories["violence"].allowed == ("A snowball fight.",)
    assert (own.threshold("violence", "6-8"), own.threshold("frightening", "6-8")) == (0.4, 0.6)
    assert own.bands["6-8"].reading_level == 3
    assert own.bands["6-8"].closing == kids.bands["6-8"].closing
    assert Policy.model_validate_json(own.model_dump_json()) == own


def test_an_extended_policy_is_extended_again_by_its_path(tmp_path: Path) -> None:
    write(tmp_path, OWN, "school.yaml")
    (tmp_path / "sub").mkdir()
    below = write(tmp_path / "sub", 'extends: ../school.yaml\nname: class\nversion: "1"\n', "class.yaml")
    assert load_policy(below).parent == "school@2"
    assert "crime" not in load_policy(below).categories


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: kid\nname: a\nversion: '1'", r"line 1: extends: got 'kid'; did you mean 'kids'\? taken: kids, teen"),
        ("extends: [kids]\nname: a\nversion: '1'", r"line 1: extends: got \['kids'\]; taken: kids, teen"),
        ("extends: kids", r"name is missing: .*\n.*version is missing"),
        ("extends: kids\nname: kids\nversion: '1'", r"line 3: version: kids@1 is what this extends"),
        ("extends: kids\nname: a\nversion: '1'\ncategories: {crmie: null}", r"line 4: .*did you mean 'crime'\?"),
        (
            "extends: kids\nname: a\nversion: 1a\ncategories: {crime: null}\nbands:\n  6-8: {tolerance: {crime: none}}",
            r"line 6: bands.6-8.tolerance.crime: is not a category of this policy",
        ),
        (
            "extends: kids\nname: a\nversion: 1\nbands: {6-8: {threshhold: 0.3}}",
            r"line 3: version: .* string; got 1\n.*line 4: bands.6-8.threshhold: .*did you mean 'threshold'",
        ),
        ("extends: kids\nname: a\nversion: '1'\nparent: x@1", r"line 4: parent: is set by 'extends' alone"),
        ("extends: none.yaml\nname: a\nversion: '1'", "none.yaml cannot be read"),
    ],
)
def test_a_wrong_extension_names_line_and_what_is_taken(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidFile, match=said):
        load_policy(write(tmp_path, text))


def test_policies_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path, "extends: two.yaml\nname: one\nversion: '1'\n", "one.yaml")
    write(tmp_path, "extends: one.yaml\nname: two\nversion: '1'\n", "two.yaml")
    with pytest.raises(InvalidFile, match=r"two\.yaml has problems:\n.*line 1: extends: goes round in a circle"):
        load_policy(one)


def test_every_shipped_policy_has_what_judges_and_writers_need() -> None:
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


def test_a_difference_is_found_where_a_verdict_would_feel_it(tmp_path: Path) -> None:
    kids, own = load_policy("kids"), load_policy(write(tmp_path, OWN))
    changes = {c.place: (c.before, c.after) for c in policy_diff(kids, own)}
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


def test_the_digest_tells_every_change() -> None:
    kids = load_policy("kids")
    assert kids.sha256 == load_policy("kids").sha256
    assert kids.model_copy(update={"description": "else"}).sha256 != kids.sha256
