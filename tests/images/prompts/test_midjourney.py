"""Midjourney's prompts: parsing, ranges and versions, and rendering a spec."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from taleward.core.errors import InvalidInputs
from taleward.images.prompt_spec import PromptSpec, TextShown
from taleward.images.prompts.midjourney_parameters import midjourney_parameters
from taleward.images.prompts.renderers.midjourney import (
    MidjourneyPrompt,
    WeightedText,
    parse_midjourney,
    render_midjourney,
)
from taleward.images.prompts.sanitize import sanitize

WORDS = st.text(min_size=1, max_size=30).map(lambda text: sanitize(text, "midjourney").strip(": /"))
TEXTS = WORDS.filter(lambda text: bool(text) and not text.startswith("http"))
VERSIONLESS: dict[str, st.SearchStrategy[str | bool | int | float]] = {
    "ar": st.tuples(st.integers(1, 9999), st.integers(1, 9999)).map(lambda r: f"{r[0]}:{r[1]}"),
    "stylize": st.integers(0, 1000),
    "chaos": st.integers(0, 100),
    "weird": st.integers(0, 3000),
    "seed": st.integers(0, 4294967295),
    "iw": st.floats(0, 3).map(lambda value: round(value, 4)),
    "tile": st.just(True),
    "raw": st.just(True),
    "p": st.sampled_from(["", "abc12"]),
    "no": st.lists(st.sampled_from(["people", "red cars", "letters"]), min_size=1, max_size=3).map(", ".join),
}
PARAMETERS = st.fixed_dictionaries({}, optional=VERSIONLESS)
PARTS = st.one_of(
    TEXTS.map(lambda text: (WeightedText(text=text),)),
    st.lists(
        st.builds(WeightedText, text=TEXTS, weight=st.floats(0.1, 9).map(lambda w: round(w, 4))),
        min_size=2,
        max_size=3,
    ).map(tuple),
)


@given(parts=PARTS, parameters=PARAMETERS, images=st.sampled_from([(), ("https://example.com/fox.png",)]))
@settings(max_examples=80, deadline=None)
def test_a_rendered_prompt_parses_to_itself(
    parts: tuple[WeightedText, ...], parameters: dict[str, str | bool | int | float], images: tuple[str, ...]
) -> None:
    prompt = MidjourneyPrompt(parts=parts, parameters=parameters, images=images)
    assert parse_midjourney(prompt.command) == prompt


@given(text=st.text(min_size=1, max_size=40).filter(lambda t: any(c.isalnum() and c.isascii() for c in t)))
@settings(max_examples=80, deadline=None)
def test_no_text_of_a_spec_becomes_a_parameter(text: str) -> None:
    spec = PromptSpec(subject=f"x{text}", details=(f"y{text}",), negative=(f"z{text}",), options={"midjourney": {}})
    parsed = parse_midjourney(render_midjourney(spec).text)
    assert set(parsed.parameters) == {"no"}
    assert not parsed.images
    assert not parsed.is_weighted


def test_the_tutorials_parameters() -> None:
    prompt = parse_midjourney("/imagine prompt: a castle in the clouds --ar 16:9 --stylize 750 --chaos 20")
    assert prompt.text == "a castle in the clouds"
    assert prompt.parameters == {"ar": "16:9", "stylize": 750, "chaos": 20}
    spec = PromptSpec(
        subject="a castle", aspect_ratio="16:9", options={"midjourney": {"stylize": 750, "c": 20}}, negative=("people",)
    )
    assert render_midjourney(spec).text == ("/imagine prompt: a castle --ar 16:9 --stylize 750 --chaos 20 --no people")


def test_aliases_dashes_and_repeated_no() -> None:
    prompt = parse_midjourney("a fox —s 50 --NO red --no blue, green")
    assert prompt.parameters == {"stylize": 50, "no": "red, blue, green"}


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a fox --ar 1.5:1", "write 3:2"),
        ("a fox --ar 16:9,", "leave out the punctuation"),
        ("a fox --stylise 5", "did you mean 'stylize'?"),
        ("a fox --chaos 101", "from 0 to 100; got 101"),
        ("a fox --weird", "from 0 to 3000"),
        ("a fox --tile yes", "takes no value; got 'yes'"),
        ("a fox --q 3", "takes one of 0.25, 0.5, 1, 2, 4"),
        ("a fox --v 9", "takes one of 1, 2"),
        ("a fox --v 7 --niji 6", "name two models"),
        ("a fox --v 7 --cref https://x.org/a.png", "versions up to 6.1; the prompt names 7; use --oref"),
        ("a fox --v 6 --exp 5", "--exp needs version 7 or later"),
        ("a fox::1 hen::1 --v 8.1", "weights such as"),
        ("a fox::1 hen::-1", "must be above 0; got 1, -1"),
        ("a fox --ow 100", "--ow needs --oref"),
        ("a fox --fast --turbo", "exclude each other"),
        ("a fox --seed 1 --seed 2", "--seed is given twice"),
        ("a fox--ar 3:2", "put a space before --ar"),
        ("--ar 3:2", "there are no words"),
    ],
)
def test_a_mistake_is_explained(prompt: str, message: str) -> None:
    with pytest.raises(InvalidInputs) as error:
        parse_midjourney(prompt)
    assert message in str(error.value)


def test_all_mistakes_are_listed_at_once() -> None:
    with pytest.raises(InvalidInputs) as error:
        parse_midjourney("a fox --ar wide --chaos 300 --foo")
    assert len(error.value.problems) == 3


def test_options_of_a_spec_are_checked() -> None:
    with pytest.raises(InvalidInputs, match="no parameter --stylise"):
        render_midjourney(PromptSpec(subject="a fox", options={"midjourney": {"stylise": 5}}))
    with pytest.raises(InvalidInputs, match="from 0 to 1000; got 2000"):
        render_midjourney(PromptSpec(subject="a fox", options={"midjourney": {"stylize": 2000}}))
    with pytest.raises(InvalidInputs, match="takes no value"):
        render_midjourney(PromptSpec(subject="a fox", options={"midjourney": {"tile": 1}}))
    assert "--tile" not in render_midjourney(PromptSpec(subject="a fox", options={"midjourney": {"tile": False}})).text


def test_an_option_cannot_smuggle_in_another() -> None:
    with pytest.raises(InvalidInputs, match="--sref"):
        render_midjourney(PromptSpec(subject="a fox", options={"midjourney": {"sref": "random --chaos 100"}}))


def test_quality_and_words_shown() -> None:
    spec = PromptSpec(subject="a shop", text_shown=TextShown(words="OPEN", place="the door"), quality="draft")
    assert render_midjourney(spec).text == '/imagine prompt: a shop, the words "OPEN" are written on the door --draft'
    high = render_midjourney(spec.model_copy(update={"quality": "high"}))
    assert "quality" in high.notes[0]


def test_every_parameter_says_what_it_takes() -> None:
    assert all(parameter.allowed.startswith("takes ") for parameter in midjourney_parameters().values())
