"""The collage as a model: what a caller of `image_model("collage")` sees."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import combinations
from typing import Any

import pytest

from taleward.core.errors import ConfigurationError
from taleward.images.collage.compose import compose
from taleward.images.collage.library import library
from taleward.images.collage.model import CollageModel
from taleward.images.collage.plan import plan_scene
from taleward.images.collage.scenery.land import LAND
from taleward.images.collage.scenery.settled import SETTLED
from taleward.images.collage.scenery.water import WATERS
from taleward.images.collage.styles import STYLES, style_of
from taleward.images.models.factory import image_model
from taleward.images.picture import Picture
from taleward.images.prompt_spec import CastMember, PromptSpec, TextShown


def draw(prompt: PromptSpec | str, *, seed: int = 3, **fields: Any) -> Picture:
    picture: Picture = CollageModel("svg").invoke(prompt, n=1, seed=seed, **fields)[0]
    return picture


def account(picture: Picture, name: str) -> list[str]:
    return [part for part in str(picture.lineage.parameters[name]).split("; ") if part]


def test_a_picture_says_exactly_what_is_in_it() -> None:
    picture = draw("a fox asleep under a tree in a snowy forest at night")
    assert picture.alt_text == "A fox asleep under a tree, in a forest at night in falling snow."
    assert account(picture, "drawn") == ["a fox", "a tree"]
    assert account(picture, "not_drawn") == []
    assert f"<title>{picture.alt_text}</title>" in picture.data.decode()
    assert picture.credits == ("Noto Emoji by Google Inc, Apache-2.0 (https://github.com/googlefonts/noto-emoji)",)


def test_what_is_not_known_is_said_and_the_scene_still_works() -> None:
    picture = draw("a sad zorblax juggling in the kitchen")
    assert account(picture, "not_drawn") == ["zorblax"]
    assert "zorblax" not in picture.alt_text
    assert picture.alt_text == "A scene in a kitchen by day."


def test_same_seed_same_bytes_other_seed_other_picture() -> None:
    model = image_model("collage", pixels=256 * 256)
    first, again, other = (model.invoke("two children in a garden", n=1, seed=seed)[0] for seed in (1, 1, 2))
    assert first.media_type == "image/png"
    assert (first.width, first.height) == (256, 256)
    assert first.data == again.data
    assert first.data != other.data


def test_the_aspect_ratio_is_the_picture_s() -> None:
    picture = draw(PromptSpec(subject="a whale", aspect_ratio="16:9"))
    assert picture.width / picture.height == pytest.approx(16 / 9, rel=0.01)


def test_a_character_looks_the_same_on_every_page() -> None:
    mira = CastMember(name="Mira", kind="a young girl", looks=("curly red hair", "a green dress"))
    pages = [
        plan_scene(PromptSpec(subject=subject, cast=(mira,)), seed).things
        for seed, subject in enumerate(
            ("Mira in the forest", "a dragon greets Mira on a hill", "Mira asleep in her bed")
        )
    ]
    looks = {next(thing.look for thing in things if thing.name == "Mira") for things in pages}
    assert len(looks) == 1
    (look,) = looks
    assert look is not None
    assert look.worn == ("green dress",)
    asleep = draw(PromptSpec(subject="Mira asleep", setting="in her bedroom at night", cast=(mira,)))
    assert asleep.alt_text == "Mira, a girl with a green dress, asleep, in a bedroom at night."


def test_the_cast_is_named_in_the_caption_also_when_the_text_does_not_name_it() -> None:
    cast = (CastMember(name="Bruno", kind="a brown bear"), CastMember(name="Glip", kind="a flumph"))
    picture = draw(PromptSpec(subject="a picnic in the meadow", cast=cast))
    assert "Bruno, a bear" in picture.alt_text
    assert account(picture, "not_drawn")[0] == "Glip, a flumph"


def test_what_must_not_be_in_it_is_not() -> None:
    picture = draw(PromptSpec(subject="a boy, a dog and a cat in the park", negative=("people", "cats")))
    assert account(picture, "drawn") == ["a dog"]
    assert account(picture, "not_drawn") == ["boy", "cat"]


def test_words_are_drawn_as_outlines() -> None:
    picture = draw(PromptSpec(subject="a bear", text_shown=TextShown(words="Gute Nacht, Bär!")))
    assert 'The words "Gute Nacht, Bär!" are written in it.' in picture.alt_text
    assert "<text" not in picture.data.decode()


def test_letters_that_the_font_lacks_are_reported() -> None:
    picture = draw(PromptSpec(subject="a bear", text_shown=TextShown(words="おやすみ")))
    assert account(picture, "not_drawn") == ['the words "おやすみ"']
    assert "おやすみ" not in picture.alt_text


def test_words_from_a_prompt_cannot_become_markup() -> None:
    hostile = '<script>alert(1)</script> & "a fox"'
    svg = draw(PromptSpec(subject=hostile, text_shown=TextShown(words=hostile))).data.decode()
    assert "<script" not in svg
    ET.fromstring(svg)  # noqa: S314


@pytest.mark.parametrize(
    "place", sorted({*LAND, *SETTLED, *WATERS, "bedroom", "kitchen", "living", "classroom", "study", "hall", "stage"})
)
def test_every_scenery_is_valid_svg_with_the_ids_it_refers_to(place: str) -> None:
    spec = PromptSpec(subject="a girl with a dog")
    scene = plan_scene(spec, 1)
    scene = type(scene)(**{**scene.__dict__, "place": place, "weather": "fog", "time": "night"})
    root = compose(scene, (512, 384), 1, style_of(spec)).svg
    ET.fromstring(root)  # noqa: S314
    ids = re.findall(r'\bid="([^"]+)"', root)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', root)) <= set(ids)


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_another_picture(style: str) -> None:
    plain, styled = (draw(PromptSpec(subject="a bear and a bird", art_style=name)) for name in ("", style))
    assert styled.lineage.parameters["style"] == style
    assert (styled.data == plain.data) == (style == "flat")


@pytest.mark.parametrize(
    "prompt",
    [
        "a boy and a girl in the park",
        "a lion, a zebra and a giraffe",
        "three rabbits and a fox with an apple",
        "a grandmother and a cat in the kitchen",
        "a bear, a wolf, a pig and a hen",
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_characters_hide_no_other_and_stay_in_the_picture(prompt: str, seed: int) -> None:
    spec = PromptSpec(subject=prompt)
    scene = plan_scene(spec, seed)
    placed = [p for p in compose(scene, (900, 700), seed, style_of(spec)).layout.placed if p.thing.drawing.is_living]
    width, height = 1000 * 900 / 700, 1000
    for p in placed:
        left, top, right, bottom = p.box
        assert left > -0.02 * width
        assert right < 1.02 * width
        assert top > -0.02 * height
        assert bottom < height
    for a, b in combinations(placed, 2):
        shared = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
        assert shared < 0.3 * min(a.box[2] - a.box[0], b.box[2] - b.box[0])


def test_the_library_has_its_credits_and_no_drawing_without_a_name() -> None:
    drawings = library().drawings
    assert len(drawings) > 450
    assert {d.collection for d in drawings.values()} <= {*library().credits, "own"}
    assert all(d.words and library().body(d.name) for d in drawings.values())


def test_who_stands_before_a_thing_hides_it_and_not_the_other_way_round() -> None:
    spec = PromptSpec(subject="a king on a horse in front of a castle")
    for seed in range(4):
        scene = plan_scene(spec, seed)
        orders = {p.thing.noun: p.order for p in compose(scene, (600, 600), seed, style_of(spec)).layout.placed}
        assert orders["castle"] < min(orders["king"], orders["horse"])
    assert draw(spec).alt_text == "A king on a horse in front of a castle, among hills by day."


def test_a_kite_flies_and_the_child_does_not() -> None:
    spec = PromptSpec(subject="a boy flying a kite on a hill")
    scene = plan_scene(spec, 1)
    boy, kite = (p.y for p in compose(scene, (600, 600), 1, style_of(spec)).layout.placed[::-1])
    assert max(boy, kite) > 800
    assert min(boy, kite) < 700


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="png or an svg"):
        image_model("collage:gif")
