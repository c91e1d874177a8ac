"""Errors in YAML files name the line."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings, strategies as st

from taleward.chains.template import load_template
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


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB, "values once its aliases are written out"),
        ("".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n" if n else "a0: &a0 {x: 1}\n"
                 for n in range(10)), "values once its aliases are written out"),
        ("a: &a [*a]", "an alias stands within its own value"),
        ("[" * 100_000, "nested more than 50 deep"),
        ("".join(f"{' ' * n}a:\n" for n in range(500)), "nested more than 50 deep"),
        ("a" * 1_000_001, "more than 1,000,000 bytes"),
        ("name: 2026-13-45", "not valid YAML"),
        ("name: " + "9" * 5000, "not valid YAML"),
        ("? [a]\n: 1", "a key is no text"),
        ("name: \0", "not valid YAML"),
        ("\ud800", "cannot be read"),
        ("".join(f"unknown{n}: 1\n" for n in range(2000)), r"and \d,\d+ more"),
        ("", "has problems"),
    ],
    ids=lambda value: value[:20],
)  # fmt: skip
def test_a_hostile_file_is_an_invalid_file_at_once(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_bytes(content.encode("utf-8", "surrogatepass"))
    started_s = time.monotonic()
    with pytest.raises(InvalidFile, match=message):
        load_policy(file)
    (tmp_path / "own2.yaml").write_bytes(file.read_bytes())
    with pytest.raises(InvalidFile):
        load_template("own2", tmp_path)
    assert time.monotonic() - started_s < 10


def test_aliases_as_people_write_them_are_read(tmp_path: Path) -> None:
    file = tmp_path / "tale.yaml"
    file.write_text(
        "name: tale\nversion: '1'\ndescription: &d A tale.\ntext: 'A {a} met a {b}.'\n"
        "variables:\n  a: &v {description: *d, example: fox}\n  b: *v\n"
    )
    assert load_template("tale", tmp_path).render({"a": "fox", "b": "owl"}) == "A fox met an owl."


def test_policies_do_not_extend_each_other_without_end(tmp_path: Path) -> None:
    for number in range(30):
        extended = f"p{number + 1}.yaml"
        (tmp_path / f"p{number}.yaml").write_text(f"extends: {extended}\nname: p{number}\nversion: '1'\n")
    with pytest.raises(InvalidFile, match="more than 20 policies"):
        load_policy(tmp_path / "p0.yaml")


@given(
    st.recursive(
        st.text(max_size=6) | st.integers() | st.none() | st.floats(),
        lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3),
        max_leaves=8,
    ),
    st.text(max_size=12),
)
@settings(max_examples=60)
def test_any_file_is_a_policy_or_an_invalid_file(data: object, more: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "own.yaml"
        file.write_bytes((yaml.safe_dump(data) + more).encode("utf-8", "surrogatepass"))
        with pytest.raises(InvalidFile):
            load_policy(file)
