"""`check_template`: all problems at once with their lines, and advice on what can be used but should be changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from taleward.chains.template import load_template, template_names
from taleward.chains.template_check import STARTER, TemplateAdvice, check_template
from taleward.core.errors import InvalidFile
from taleward.moderation.policies.load import load_policy

GOOD = """\
name: sea
version: "1"
description: A night by the sea.
text: High above the {sea} lived a {keeper}.
variables:
  sea: {description: which sea, example: stormy sea}
  keeper: {description: who lives there, example: old owl, max_length: 60}
examples:
  - {sea: quiet bay, keeper: girl with a lamp}
request: Once upon a time, in a {sea}, there lived a {keeper}.
bands:
  "3-5": {text: Look at the {sea}! There is a {keeper}., guidance: Short sentences.}
  "6-8": {guidance: A small peril.}
  "9-12": {guidance: Suspense.}
"""


def check(folder: Path, content: str, policy: str = "kids") -> tuple[TemplateAdvice, ...]:
    file = folder / "sea.yaml"
    file.write_text(content, encoding="utf-8")
    return check_template(file, load_policy(policy))[1]


@pytest.fixture
def good() -> str:
    # In braces, YAML would read `{sea}` as a mapping.
    return GOOD.replace(
        "{text: Look at the {sea}! There is a {keeper}., guidance: Short sentences.}",
        "\n    text: Look at the {sea}! There is a {keeper}.\n    guidance: Short sentences.",
    )


def test_a_good_file_gets_no_advice(tmp_path: Path, good: str) -> None:
    assert check(tmp_path, good) == ()


@pytest.mark.parametrize("name", template_names())
def test_the_shipped_templates_get_no_advice(name: str) -> None:
    file = Path(load_template.__code__.co_filename).parent / "templates" / f"{name}.yaml"
    template, advice = check_template(file, load_policy("kids"))
    assert advice == ()
    assert 3 <= len(template.variables) <= 6
    assert len(template.example_values) >= 3


def test_the_starter_file_gets_no_advice(tmp_path: Path) -> None:
    assert check(tmp_path, STARTER.format(name="sea", path="sea.yaml")) == ()
    template = load_template("sea", tmp_path)
    assert template.render(template.example_values[0], "3-5").startswith("Here is a long and windy pier.")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("lived a {keeper}", "lived a {kepper}", "line 4: text: uses {kepper} without declaring it; did you mean"),
        ("lived a {keeper}", "lived an owl", "line 7: variables.keeper: is not used in `text`; write {keeper} there"),
        ("There is a {keeper}", "There", "line 13: bands.3-5.text: does not use {keeper}"),
        ("there lived a {keeper}", "there was light", "line 10: request: does not use {keeper}"),
        (", example: stormy sea", "", "line 6: variables.sea.example: is missing"),
        ("{sea: quiet bay, ", "{", "line 9: examples.0: has no value for 'sea'"),
        ("{sea: quiet bay, ", "{bay: x, sea: y, ", "line 9: examples.0.bay: is not a variable of this template"),
        ("max_length: 60", "max_length: 5", "line 7: variables.keeper.example: has 7 characters, but `max_length`"),
        ("the {sea} lived", "the {sea.a} {sea} lived", "'{sea.a}' is not a placeholder: braces may only enclose"),
        ("the {sea} lived", "the {{ sea }} {sea} lived", "'{{ sea }}' is not a placeholder"),
        ("the {sea} lived", "the {sea!r:>99} {sea} lived", "'{sea!r:>99}' is not a placeholder"),
        ("A small peril.", "'Praise the {keeper}.'", "line 15: bands.6-8.guidance: contains braces"),
        ("name: sea", "name: see", "line 1: name: is 'see', but a template is loaded by its file's name"),
        ("  keeper: {", "  Keeper: {", "line 7: variables.Keeper: is not a variable's name"),
    ],
)  # fmt: skip
def test_a_problem_is_named_with_line_and_next_step(
    tmp_path: Path, good: str, old: str, new: str, problem: str
) -> None:
    assert old in good
    with pytest.raises(InvalidFile) as caught:
        check(tmp_path, good.replace(old, new))
    assert problem in str(caught.value)
    assert "templates show adventure" in str(caught.value.hint)


def test_all_problems_are_listed_at_once(tmp_path: Path, good: str) -> None:
    bad = good.replace("lived a {keeper}", "lived a {kepper}").replace("description: which sea, ", "")
    with pytest.raises(InvalidFile) as caught:
        check(tmp_path, bad)
    message = str(caught.value)
    assert "uses {kepper}" in message
    assert "variables.sea.description: is missing" in message
    with pytest.raises(InvalidFile, match=r"line 4: text: uses \{kepper\}"):
        load_template("sea", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "line", "place", "message"),
    [
        ('  "9-12": {guidance: Suspense.}\n', "", 11, "bands", "has no variant for 9-12"),
        ('"9-12"', '"9-13"', 16, "bands.9-13", "is not a band of policy 'kids'; did you mean '9-12'?"),
        ("examples:\n  - {sea: quiet bay, keeper: girl with a lamp}\n", "", 1, "examples", "is missing; add one or"),
        ("max_length: 60", "max_length: 2000", 7, "variables.keeper.max_length", "allow 200 or fewer"),
        ("lived a {keeper}.", 'lived one. {keeper}.', 4, "text", "{keeper} is a sentence of its own"),
        ("High above", "Write a story high above", 4, "text", "begins like an instruction"),
    ],
)  # fmt: skip
def test_advice_on_a_template_that_can_be_used(
    tmp_path: Path, good: str, old: str, new: str, line: int, place: str, message: str
) -> None:
    assert old in good
    found = [item for item in check(tmp_path, good.replace(old, new)) if item.place == place]
    assert [(item.line, message in item.message) for item in found] == [(line, True)]
    assert load_template("sea", tmp_path).name == "sea"


def test_bands_are_those_of_the_policy(tmp_path: Path, good: str) -> None:
    bands = tuple(load_policy("teen").bands)
    missing = [item.message for item in check(tmp_path, good, "teen") if item.place == "bands"]
    assert [band for band in bands if any(f"no variant for {band}," in message for message in missing)] == [
        band for band in bands if band not in ("3-5", "6-8", "9-12")
    ]


def test_a_text_that_yaml_misreads_gets_the_hint_to_write_it_as_a_block(tmp_path: Path, good: str) -> None:
    with pytest.raises(InvalidFile, match="not valid YAML") as caught:
        check(tmp_path, good.replace("text: High", "text: {sea}: High"))
    assert "`text: >-`" in str(caught.value.hint)


@pytest.mark.parametrize("content", ["", "[]", "text: 3", "variables: []", "bands: {x: 1}", "examples: 7", "3: {3: 3}"])
def test_any_yaml_is_an_invalid_file_and_never_another_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(InvalidFile):
        check(tmp_path, content)
