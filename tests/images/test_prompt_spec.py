"""PromptSpec: what it accepts, what it says in English, and its way through JSON."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

import taleward as tw
from taleward.core.errors import InvalidInputs
from taleward.images import CastMember, PromptSpec, TextShown, size_for

MANSION = PromptSpec(
    subject="an old Victorian mansion",
    details=("shrouded in fog",),
    setting="a hilltop",
    action="perched",
    art_style="oil painting",
    influences=("Gothic Revival", "Romanticism"),
    techniques=("thick impasto",),
    lighting="dramatic",
    camera="low-angle view",
    colors=("deep blue", "gray"),
    text_shown=TextShown(words="FOR SALE", font="crooked", place="a sign"),
    mood="eerie",
    negative=("people",),
    aspect_ratio="16:9",
    quality="high",
    cast=(CastMember(name="Mia", kind="a rabbit", looks=("gray fur", "a blue scarf")),),
    options={"midjourney": {"stylize": 750, "tile": True}, "diffusers": {"guidance_scale": 7.5}},
)


def test_the_prompt_says_everything_but_what_is_not_to_be_shown() -> None:
    assert MANSION.prompt == (
        "An old Victorian mansion perched on a hilltop, shrouded in fog. Mia is a rabbit: gray fur, a blue scarf. "
        'The words "FOR SALE" are written on a sign, in crooked letters. Oil painting, influenced by Gothic Revival and '
        "Romanticism, with thick impasto. Dramatic lighting, low-angle view, in deep blue and gray, eerie mood."
    )


def test_the_alt_text_says_what_is_to_be_seen() -> None:
    assert MANSION.alt_text == (
        "An old Victorian mansion perched on a hilltop, shrouded in fog. Mia is a rabbit: gray fur, a blue scarf. "
        'The words "FOR SALE" are written on a sign. Style: oil painting.'
    )


def test_json_keeps_everything() -> None:
    assert PromptSpec.model_validate_json(MANSION.model_dump_json()) == MANSION
    assert hash(PromptSpec.model_validate(MANSION.model_dump())) == hash(MANSION)


@given(subject=st.text(max_size=30), detail=st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_json_keeps_any_text(subject: str, detail: str) -> None:
    spec = PromptSpec(subject=f"x{subject}", details=(f"y{detail}",))
    assert PromptSpec.model_validate_json(spec.model_dump_json()) == spec
    assert "\n" not in spec.prompt
    assert "\x00" not in spec.prompt


@pytest.mark.parametrize(
    ("text", "ratio"),
    [("square", (1, 1)), ("landscape", (3, 2)), ("portrait", (2, 3)), ("16:9", (16, 9)), ("32:18", (16, 9))],
)
def test_ratios_are_exact(text: str, ratio: tuple[int, int]) -> None:
    assert PromptSpec(subject="a fox", aspect_ratio=text).ratio == ratio


@pytest.mark.parametrize(("text", "message"), [("1.5:1", "write '3:2'"), ("0:3", "from 1 to 9999"), ("wide", "'16:9'")])
def test_a_wrong_ratio_is_explained(text: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PromptSpec(subject="a fox", aspect_ratio=text)


@given(width=st.integers(1, 40), height=st.integers(1, 40), multiple=st.sampled_from([8, 16, 64]))
@settings(max_examples=60, deadline=None)
def test_sizes_are_multiples_of_about_the_right_area(width: int, height: int, multiple: int) -> None:
    sides = size_for((width, height), pixels=512 * 512, multiple=multiple)
    assert all(side % multiple == 0 and side > 0 for side in sides)
    assert (sides[0] >= sides[1]) == (width >= height) or abs(sides[0] - sides[1]) == 0


def test_a_spec_is_closed_and_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        MANSION.subject = "a hut"
    with pytest.raises(ValidationError, match="Extra inputs"):
        PromptSpec(subject="a fox", styl="ink")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="at least 1 character"):
        PromptSpec(subject=" \n")
    with pytest.raises(ValidationError, match="given twice: mia"):
        PromptSpec(subject="a fox", cast=(CastMember(name="Mia"), CastMember(name="MIA")))
    with pytest.raises(ValidationError, match="'openai', 'midjourney'"):
        PromptSpec(subject="a fox", options={"dalle": {}})  # type: ignore[dict-item]


def test_of_takes_a_plain_sentence() -> None:
    assert tw.PromptSpec.of("A fox asleep\nin the snow.") == PromptSpec(subject="A fox asleep in the snow")
    with pytest.raises(InvalidInputs, match="got no text"):
        PromptSpec.of("  ")
    with pytest.raises(InvalidInputs, match="5,000 characters"):
        PromptSpec.of("x" * 5000)
