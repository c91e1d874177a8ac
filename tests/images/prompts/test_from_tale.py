"""Scenes, cast and pronouns of a tale."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

import taleward as tw
from taleward.core.errors import InvalidInputs
from taleward.images import CastMember, PromptSpec, cast_of, storyboard
from taleward.images.prompts.pronouns import Referent, resolve_pronouns
from taleward.testing import FakeJudge, FakeWriter

TALE = """Once upon a time there was a little rabbit named Mia. She lived in a burrow under an old oak tree. Mia had long \
gray ears and a blue scarf.

One morning she found a golden key in the forest. "What does it open?" she asked. A clever fox came along the path. The \
fox looked at the key. "I know a door," said the fox. "Follow me!"

They walked through the forest to a tiny door in a hill. Mia put the key in the lock, and the door swung open. Inside, \
the stars were shining. She laughed and danced. The fox laughed too.

In the evening they went home. Her mother was waiting by the gate. She hugged Mia."""
TOM, ANNA = Referent(name="Tom", gender="he"), Referent(name="Anna", gender="she")


def test_scenes_joined_are_the_tale() -> None:
    board = storyboard(TALE)
    assert "".join(scene.text for scene in board.scenes) == TALE
    assert all(TALE[scene.start : scene.end] == scene.text for scene in board.scenes)
    assert len(board.scenes) == 4
    assert all(scene.text.rstrip()[-1] in '.!?"' for scene in board.scenes)


@given(
    words=st.lists(
        st.sampled_from(["Mia ran.", "He sat!", "\n\n", '"Oh?" she said.', "x" * 90, "The fox"]), max_size=15
    ),
    scenes=st.integers(1, 6),
)
@settings(max_examples=30, deadline=None)
def test_any_text_is_divided_without_loss(words: list[str], scenes: int) -> None:
    text = f"A hen sang. {' '.join(words)}"
    board = storyboard(text, scenes=scenes)
    assert "".join(scene.text for scene in board.scenes) == text
    assert 1 <= len(board.scenes) <= scenes


def test_everyone_looks_the_same_in_every_scene() -> None:
    board = storyboard(TALE)
    assert board.cast[0] == CastMember(name="Mia", kind="a little rabbit", looks=("long gray ears", "a blue scarf"))
    assert board.cast[1].name == "the fox"
    for scene in board.scenes:
        assert set(scene.spec.cast) <= set(board.cast)
    assert "Mia is a little rabbit: long gray ears, a blue scarf." in board.scenes[1].spec.prompt
    assert len({scene.spec.art_style for scene in board.scenes}) == 1


def test_pronouns_become_names_in_the_pictures_sentence() -> None:
    board = storyboard(TALE)
    assert board.scenes[1].key_sentence == "Mia found a golden key in the forest."


@pytest.mark.parametrize(
    ("sentences", "last"),
    [
        (["Tom gave Anna a shell.", "She put it in her pocket."], "Anna put it in her pocket."),
        (["Tom smiled.", "His hat fell."], "Tom's hat fell."),
        (["Anna ran.", "Nobody saw her."], "Nobody saw Anna."),
        (["Anna ran.", "Nobody saw her hat."], "Nobody saw Anna's hat."),
        # Not certain: another man, speech, plural, or nobody named near.
        (["Tom sat.", "The king came in.", "He was angry."], "He was angry."),
        (["Tom spoke.", '"He is mine," she said.'], '"He is mine," she said.'),
        (["Tom and Anna ran.", "They laughed."], "They laughed."),
        (["Tom ran.", "It rained.", "It snowed.", "He slept."], "He slept."),
    ],
)
def test_pronouns_are_resolved_where_it_is_certain(sentences: list[str], last: str) -> None:
    assert resolve_pronouns(sentences, [TOM, ANNA])[-1] == last


def test_somebody_of_unknown_gender_may_be_meant() -> None:
    sentences = ["Tom met Kim.", "He laughed."]
    assert resolve_pronouns(sentences, [TOM, Referent(name="Kim")]) == sentences


def test_looks_are_invented_once_for_those_without() -> None:
    looks = {member.name: member.looks for member in cast_of(TALE)}
    assert len(looks["the fox"]) == 1
    assert cast_of(TALE) == cast_of(TALE)
    assert {m.name: m.looks for m in cast_of(TALE, invent_looks=False)}["the fox"] == ()


def test_style_and_cast_can_be_given() -> None:
    style = PromptSpec(subject="x", art_style="paper cutout", aspect_ratio="4:3", lighting="candlelight")
    board = storyboard(TALE, style=style, cast=[CastMember(name="Mia", kind="a girl")], scenes=2)
    for scene in board.scenes:
        assert (scene.spec.art_style, scene.spec.aspect_ratio, scene.spec.lighting) == (
            "paper cutout",
            "4:3",
            "candlelight",
        )
    assert [member.name for member in board.cast] == ["Mia"]


def test_only_a_released_tale_gets_pictures() -> None:
    assert storyboard(tw.Guard(FakeWriter("A hen ran home."), FakeJudge()).invoke({})).scenes
    with pytest.raises(tw.Refused):
        storyboard(tw.Guard(FakeWriter("A bad wolf."), FakeJudge()).invoke({}))


def test_bad_input_is_refused() -> None:
    with pytest.raises(InvalidInputs, match="got no text"):
        storyboard("  ")
    with pytest.raises(InvalidInputs, match="got scenes=0"):
        storyboard(TALE, scenes=0)
