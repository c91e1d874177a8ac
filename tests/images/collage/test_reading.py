"""Reading a prompt's words as things, places and relations."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from taleward.images.collage.captions import plural
from taleward.images.collage.plan import plan_scene
from taleward.images.collage.reading import Mention, find_drawing, read
from taleward.images.prompt_spec import PromptSpec


def only(text: str) -> Mention:
    (mention,) = read(text).mentions
    return mention


@pytest.mark.parametrize(
    ("text", "drawing", "count"),
    [
        ("a fox", "fox", 1),
        ("three foxes", "fox", 3),
        ("two wolves", "wolf", 2),
        ("5 mice", "mouse", 5),
        ("children", "child", 3),
        ("an old Victorian mansion", "derelict-house", 1),
        ("a hot air balloon", "hot-air-balloon", 1),
        ("a kitten", "cat", 1),
        ("the polar bear's", "polar-bear", 1),
        ("a giant mushroom", "mushroom", 1),
        ("a giant", "troll", 1),
    ],
)
def test_the_longest_name_wins_and_plurals_count(text: str, drawing: str, count: int) -> None:
    mention = only(text)
    assert (mention.drawing.name, mention.count) == (drawing, count)


def test_colors_sizes_and_poses_belong_to_their_noun() -> None:
    dragon, bird = read("a tiny blue dragon sleeping and a huge yellow bird").mentions
    assert (dragon.color, dragon.pose) == ("#1e88e5", "sleep")
    assert dragon.size < 0.5
    assert bird.color == "#fdd835"
    assert bird.size > 1.5


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("a fox under a tree", "under"),
        ("a mouse in a boat", "in"),
        ("a girl riding a horse", "on"),
        ("a boy holding a balloon", "hold"),
        ("a cat next to a house", "by"),
        ("a knight in front of a castle", "before"),
    ],
)
def test_relations(text: str, relation: str) -> None:
    first, second = read(text).mentions
    assert (first.relation, second.relation, second.other) == ("", relation, 0)


@pytest.mark.parametrize(
    ("subject", "setting", "place", "time", "weather"),
    [
        ("a fox", "in a snowy forest at night", "forest", "night", "snow"),
        ("a king", "in a castle", "hall", "day", ""),
        ("a king in front of a castle", "", "hills", "day", ""),
        ("a camel", "", "desert", "day", ""),
        ("a girl", "by the sea at sunset", "beach", "dusk", ""),
        ("a mouse in a boat", "on the lake", "sea", "day", ""),
        ("three fish", "in the sea", "underwater", "day", ""),
        ("a robot", "on the moon", "moonscape", "night", ""),
        ("a house", "shrouded in fog", "meadow", "day", "fog"),
    ],
)
def test_place_time_and_weather(subject: str, setting: str, place: str, time: str, weather: str) -> None:
    scene = plan_scene(PromptSpec(subject=subject, setting=setting), 1)
    assert (scene.place, scene.time, scene.weather) == (place, time, weather)


@pytest.mark.parametrize(
    ("noun", "expected"),
    [("fox", "foxes"), ("fairy", "fairies"), ("mouse", "mice"), ("polar bear", "polar bears"), ("sheep", "sheep")],
)
def test_plurals(noun: str, expected: str) -> None:
    assert plural(noun) == expected
    assert find_drawing(expected) == find_drawing(noun)


@given(st.text(alphabet="abcdefghijklmnop ,.'-äß<>&\n", max_size=80))
@settings(max_examples=60, deadline=None)
def test_any_text_is_read(text: str) -> None:
    reading = read(text)
    assert len(reading.mentions) + len(reading.unknown) <= len(text) + 1
