"""Templates: values are inserted as typed, and all problems with them are reported at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from taleward.chains.template import BandVariant, Template, Variable, load_template, template_names
from taleward.core.errors import InvalidFile, InvalidInputs, UnknownName
from taleward.moderation.judges import judge
from taleward.moderation.policies.load import load_policy

SHIPPED = (
    "adventure", "animals", "bedtime", "friendship", "mystery", "real_life", "school", "science_fiction",
)  # fmt: skip


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
    assert set(template_names(tmp_path)) - set(template_names()) == {"sea"}
    assert load_template("sea", tmp_path).render({"boat": "raft"}) == "A raft."
    file.write_text(file.read_text().replace("A {boat}", "A {boat.__class__} {boat}"))
    with pytest.raises(InvalidFile, match="braces may only enclose"):
        load_template("sea", tmp_path)
    file.write_text(file.read_text().replace("{boat.__class__} {boat}", "{boat} {sail}"))
    with pytest.raises(InvalidFile, match=r"line 4: text: uses \{sail\} without declaring"):
        load_template("sea", tmp_path)
    with pytest.raises(UnknownName, match=r"unknown template 'advenure'\. Did you mean 'adventure'"):
        load_template("advenure", tmp_path)
    with pytest.raises(UnknownName, match="template folder"):
        template_names(tmp_path / "none")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("old map", "an old map"),
        ("Egg", "an Egg"),
        ("map", "a map"),
        ("unicorn", "a unicorn"),
        ("{old}", "a {old}"),
        ("the old map", "the old map"),
        ("An egg", "An egg"),
        ("myth", "a myth"),
        ("a {setting}", "a {setting}"),
    ],
)
def test_the_article_fits_the_value(values: dict[str, str], value: str, expected: str) -> None:
    text = load_template("adventure").render({**values, "mysterious_object": value})
    assert f"discovered {expected} that" in text


def _sea(**fields: object) -> Template:
    content: dict[str, object] = {
        "name": "sea",
        "version": "1",
        "description": "d",
        "text": "There was the {sea}.",
        "variables": {"sea": Variable(description="d", example="bay")},
    }
    return Template.model_validate(content | fields)


@pytest.mark.parametrize(("value", "expected"), [("old bay", "the old bay"), ("an old bay", "an old bay")])
def test_the_gives_way_to_an_article_of_the_value(value: str, expected: str) -> None:
    assert _sea().render({"sea": value}) == f"There was {expected}."


def test_a_band_uses_its_own_text_or_the_general_one() -> None:
    template = _sea(
        bands={"3-5": BandVariant(text="Look, a {sea}!", guidance="Short."), "6-8": BandVariant(guidance="A peril.")}
    )
    values = {"sea": "bay"}
    assert template.render(values, "3-5") == "Look, a bay!"
    assert template.render(values, "6-8") == template.render(values, "9-12") == template.render(values)
    assert [template.guidance_for(band) for band in ("3-5", "6-8", "9-12")] == ["Short.", "A peril.", ""]
    with pytest.raises(InvalidInputs, match="'sea' is empty"):
        template.render({"sea": " "}, "3-5")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("bands", {"3-5": {"text": "A {sae}.", "guidance": "x"}}, "bands.3-5.text: uses {sae} without declaring it"),
        ("bands", {"3-5": {"guidance": "About the {sea}."}}, "bands.3-5.guidance: contains braces"),
        ("request", "A story.", "request: does not use {sea}"),
        ("examples", [{"see": "x"}], "examples.0: has no value for 'sea'"),
        ("examples", [{"sea": "x" * 101}], "examples.0.sea: has 101 characters, but `max_length` is 100"),
    ],
)
def test_a_template_made_in_python_is_checked_like_a_file(field: str, value: object, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _sea(**{field: value})
    assert message in str(caught.value)


def test_the_request_is_the_text_unless_there_is_one() -> None:
    assert _sea().render_request({"sea": "bay"}) == "There was the bay."
    assert _sea(request="A story of a {sea}.").render_request({"sea": "eddy"}) == "A story of an eddy."


def test_eight_templates_ship() -> None:
    assert template_names() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_template_has_a_wording_of_its_own_for_each_band(name: str) -> None:
    template, bands = load_template(name), tuple(load_policy("kids").bands)
    assert tuple(template.bands) == bands
    assert len({template.text_for(band) for band in bands}) == len(bands)
    assert len({template.guidance_for(band) for band in bands}) == len(bands)


@pytest.mark.parametrize("band", ["3-5", "6-8", "9-12"])
def test_the_shipped_openings_pass_the_judge_for_their_band(band: str) -> None:
    reader = judge("embedded:judge", policy="kids", band=band)
    openings = [t.render(v, band) for t in map(load_template, SHIPPED) for v in t.example_values]
    failed = {text: verdict.outcome for text in openings if (verdict := reader.invoke(text)).outcome != "pass"}
    assert failed == {}
