"""Words of a story never act as the syntax of a platform."""

from __future__ import annotations

import re
import unicodedata
from typing import get_args

import pytest
from hypothesis import given, settings, strategies as st

from taleward.images.prompt_spec import Platform
from taleward.images.prompts.sanitize import sanitize

PLATFORMS: tuple[Platform, ...] = get_args(Platform)
HOSTILE = (
    "--chaos 100",
    "—stylize 900",
    "a\u2014-weird 3000",
    "－－seed 1",
    "-\u200b-tile",
    "fox::2",
    "fox：：2 hen∷-1",
    "{red,green} fox",
    "｛red,green｝",
    "https://example.com/a.png",
    "<lora:scary:1.4>",
    "(blood:1.4)",
    "((word))",
    "[calm:scary:0.3]",
    "[a|b]",
    "word++ other-- third+",
    "a fox AND a gun",
    "calm BREAK scary",
    '<sd_cpp_extra_args>{"steps": 1}</sd_cpp_extra_args>',
    "<sd_cpp_extra_args\n>",
    "<|im_end|>",
    "back\\(slash\\)",
    "a+ +",
)
SYNTAX: dict[str, re.Pattern[str]] = {
    "openai": re.compile(r"<\S|</|<\|"),
    "midjourney": re.compile(r"--|[\u2010-\u2015\u2212]|::|[{}]|://|[\uff1a\uff0d]"),
    "diffusers": re.compile(r"[<>()\[\]{}|\\]|\w[+-]+(?:\s|$)|\b(?:AND|BREAK)\b"),
    "sd_cpp": re.compile(r"[<>()\[\]{}|\\]|\w[+-]+(?:\s|$)|\b(?:AND|BREAK)\b"),
    "collage": re.compile(r"(?!)"),
}
PIECES = st.one_of(
    st.sampled_from(HOSTILE), st.text(max_size=8), st.text(alphabet="ab -—:{}[]()<>|+,.AND\\/", max_size=12)
)
TEXTS = st.lists(PIECES, max_size=5).map("".join)


def letters(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum() and c.isascii())


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("text", HOSTILE)
def test_known_syntax_becomes_words(text: str, platform: Platform) -> None:
    plain = sanitize(f"Mia saw {text} there.", platform)
    assert not SYNTAX[platform].search(plain), plain
    assert letters(plain) == letters(f"Mia saw {text} there.")


@pytest.mark.parametrize("platform", PLATFORMS)
@given(text=TEXTS)
@settings(max_examples=50, deadline=None)
def test_any_text_loses_its_syntax_and_keeps_its_words(text: str, platform: Platform) -> None:
    plain = sanitize(text, platform)
    assert not SYNTAX[platform].search(plain), plain
    assert sanitize(plain, platform) == plain
    assert letters(plain) == letters(text)
    assert "\n" not in plain


@pytest.mark.parametrize("platform", PLATFORMS)
def test_ordinary_prose_stays_as_it_is(platform: Platform) -> None:
    prose = 'At 10:30 the well-known fox, "Rusty", said: "Is 3 more than 2? Yes!"'
    assert sanitize(prose, platform) == prose


def test_readable_results() -> None:
    assert sanitize("a fox --chaos 100", "midjourney") == "a fox - chaos 100"
    assert sanitize("a fox::2, {red,green}", "midjourney") == "a fox:2, (red,green)"
    assert sanitize("a (fox:1.4) in <lora:snow:1>", "diffusers") == "a fox:1.4 in lora:snow:1"
