"""Questions, ideas, pictures and titles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taleward.chains.template import Template, load_template, template_names
from taleward.serving.page import questions, static_files

STATIC = Path(static_files.__file__).parent / "static"
DRAWN = set(re.findall(r'<symbol id="([\w-]+)"', (STATIC / "pictures.svg").read_text()))


def test_every_template_has_its_questions_and_every_idea_a_drawn_picture() -> None:
    kinds = questions.story_kinds(map(load_template, template_names()))
    known = questions._data()["kinds"]
    for kind in kinds:
        assert set(known[kind["name"]]["questions"]) == {field["name"] for field in kind["fields"]}
        assert all(field["question"].endswith("?") for field in kind["fields"])
    pictures = {idea["picture"] for kind in kinds for field in kind["fields"] for idea in field["ideas"]}
    pictures |= {kind["picture"] for kind in kinds} | {idea["picture"] for idea in questions.sentence_ideas()}
    assert pictures | set(questions._data()["pictures"]) <= DRAWN


def test_the_ideas_of_one_question_have_different_pictures() -> None:
    for kind in questions.story_kinds(map(load_template, template_names())):
        for field in kind["fields"]:
            pictures = [idea["picture"] for idea in field["ideas"]]
            assert len(set(pictures)) == len(pictures), (kind["name"], field)
            assert "star" not in pictures


def test_a_template_of_your_own_asks_with_its_descriptions() -> None:
    own = Template.model_validate(
        {
            "name": "pirates",
            "version": "1",
            "description": "A ship sets out.",
            "text": "A ship named {ship} set out.",
            "variables": {"ship": {"description": "the ship's name", "example": "Dolly"}},
        }
    )
    (kind,) = questions.story_kinds([own])
    assert (kind["title"], kind["fields"][0]["question"]) == ("Pirates", "The ship's name")


@pytest.mark.parametrize(
    ("asked", "title"),
    [
        ({"setting": "wood", "character": "shy dragon"}, "The shy dragon"),
        ({"character": "a shy dragon"}, "The shy dragon"),
        ({"name": "Otis", "character": "young otter"}, "Otis"),
        ({"ship": "Dolly"}, "Dolly"),
        ("Tell me a story about a fox.", "A fox"),
        ("two friends " * 10, "Two friends two friends two friends two friends two…"),
    ],
)
def test_a_title_is_in_the_words_of_who_asked(asked: dict[str, str] | str, title: str) -> None:
    assert questions.tale_title(asked) == title
