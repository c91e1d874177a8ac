"""Templates: values are inserted as typed, and all problems with them are reported at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from taleward.chains.template import Template, Variable, load_template, template_names
from taleward.core.errors import InvalidFile, InvalidInputs, UnknownName


def test_the_adventure_template(values: dict[str, str]) -> None:
    assert load_template("adventure").render(values) == (
        "Once upon a time, in an enchanted forest, there lived a brave adventurer. One day, brave adventurer "
        "discovered a glowing map that had the power to show hidden places. Excited and curious, brave adventurer "
        "decided to follow the map. The outcome was a new friendship."
    )


def test_all_problems_are_reported_at_once(values: dict[str, object]) -> None:
    del values["setting"]
    values |= {"character": "  ", "action": 7, "outcome": "x" * 101, "color": "red"}
    with pytest.raises(InvalidInputs) as caught:
        load_template("adventure").render(values)
    message = str(caught.value)
    for problem in (
        "'setting' is missing",
        "'character' is empty",
        "'action' must be text, not int",
        "'outcome' has 101 characters; the maximum is 100",
        "unknown variable 'color'",
    ):
        assert problem in message
    assert len(caught.value.problems) == 5
    assert "enchanted forest" in str(caught.value.hint)


@pytest.mark.parametrize(
    "value",
    ["{setting}", "{0.__class__}", "{a:>10000000}", "{{ 7*7 }}", "${x}", "%(setting)s", "{% raw %}", r"\1 \g<0>", "}{"],
)
def test_values_are_inserted_as_typed(values: dict[str, str], value: str) -> None:
    rendered = load_template("adventure").render({**values, "character": value})
    assert rendered.count(value) == 3


@given(st.text(min_size=1, max_size=100).filter(str.strip))
def test_any_value_is_inserted_as_typed(value: str) -> None:
    template = Template(
        name="t", version="1", description="d", text="<{a}>", variables={"a": Variable(description="d", example="e")}
    )
    assert template.render({"a": value}) == f"<{value.strip()}>"


def test_templates_in_your_own_folder(tmp_path: Path) -> None:
    file = tmp_path / "sea.yaml"
    file.write_text(
        "name: sea\nversion: '3'\ndescription: d\ntext: A {boat}.\n"
        "variables:\n  boat: {description: which, example: red boat}\n"
    )
    assert template_names(tmp_path) == ("adventure", "sea")
    assert load_template("sea", tmp_path).render({"boat": "raft"}) == "A raft."
    file.write_text(file.read_text().replace("A {boat}", "A {boat.__class__} {boat}"))
    with pytest.raises(InvalidFile, match="braces may only enclose"):
        load_template("sea", tmp_path)
    file.write_text(file.read_text().replace("{boat.__class__} {boat}", "{boat} {sail}"))
    with pytest.raises(InvalidFile, match=r"uses \['sail'\] without declaring"):
        load_template("sea", tmp_path)
    with pytest.raises(UnknownName, match=r"unknown template 'advenure'\. Did you mean 'adventure'"):
        load_template("advenure", tmp_path)
    with pytest.raises(UnknownName, match="template folder"):
        template_names(tmp_path / "none")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("old map", "an old map"), ("Egg", "an Egg"), ("map", "a map"), ("unicorn", "a unicorn"), ("{old}", "a {old}")],
)
def test_the_article_fits_the_value(values: dict[str, str], value: str, expected: str) -> None:
    text = load_template("adventure").render({**values, "mysterious_object": value})
    assert f"discovered {expected} that" in text
