"""craft completes an idea, critique says what a prompt lacks, and read_prompt finds its parts."""

from __future__ import annotations

import json

import pytest
from langchain_core.language_models import FakeListChatModel

from taleward.core.errors import InvalidInputs, UnknownName
from taleward.images import PromptSpec, craft, critique, picture_lexicon, read_prompt
from taleward.images.prompts.lexicon import contains_any

MANSION = (
    "an old Victorian mansion perched on a hilltop, shrouded in fog, with dramatic lighting, eerie atmosphere, in the "
    "style of Gothic Revival"
)
FILLED = ("setting", "details", "art_style", "influences", "techniques", "lighting", "camera", "colors", "mood")
ANSWER = {
    "subject": "a palace", "details": ["ivy on the walls"], "setting": "in a valley", "action": "", "mood": "calm",
    "art_style": "gouache", "influences": ["Claude Monet", "Living Person"], "techniques": ["dry brush"],
    "lighting": "soft light", "camera": "wide shot", "colors": ["green"], "negative": ["people"],
}  # fmt: skip


class TestRead:
    def test_the_tutorials_mansion(self) -> None:
        spec = read_prompt(MANSION)
        assert spec == PromptSpec(
            subject="an old Victorian mansion",
            action="perched",
            setting="on a hilltop",
            details=("shrouded in fog",),
            lighting="dramatic lighting",
            mood="eerie atmosphere",
            influences=("Gothic Revival",),
        )
        assert spec.prompt.startswith("An old Victorian mansion perched on a hilltop, shrouded in fog.")

    @pytest.mark.parametrize(
        ("text", "fields"),
        [
            ("a cat in a hat", {"subject": "a cat in a hat"}),
            ("a fox asleep in the snow", {"action": "asleep", "setting": "in the snow"}),
            ("Watercolor, a fox in a wood, 16:9", {"art_style": "Watercolor", "aspect_ratio": "16:9"}),
            ("an oil painting of two rabbits", {"art_style": "oil painting", "subject": "two rabbits"}),
            ("a knight without any dragons", {"negative": ("dragons",), "subject": "a knight"}),
            ("a bear, no people or cars, 50mm lens", {"negative": ("people", "cars"), "camera": "50mm lens"}),
            ("a hen, in blue and gold", {"colors": ("blue", "gold")}),
            ("a hen in the style of Monet", {"influences": ("Claude Monet",), "subject": "a hen"}),
            ("in a dark forest", {"subject": "in a dark forest"}),
        ],
    )
    def test_parts_are_found(self, text: str, fields: dict[str, object]) -> None:
        spec = read_prompt(text)
        assert {name: getattr(spec, name) for name in fields} == fields

    def test_words_to_be_shown(self) -> None:
        shown = read_prompt('a bakery with the words "Fresh Bread" on the sign, wide shot').text_shown
        assert shown is not None
        assert (shown.words, shown.place) == ("Fresh Bread", "on the sign")


class TestCraft:
    @pytest.mark.parametrize("idea", ["a house", "a fox", "a girl", "a boat", "a teapot", "a dragon at night"])
    def test_an_idea_becomes_a_whole_prompt(self, idea: str) -> None:
        for seed in range(4):
            crafted = craft(idea, seed=seed)
            assert all(getattr(crafted.spec, name) for name in FILLED)
            assert crafted.spec.subject.startswith(" ".join(idea.split()[:2]))
            assert critique(crafted.spec).is_complete, critique(crafted.spec).findings

    def test_the_seed_decides(self) -> None:
        assert craft("a house", seed=1) == craft("a house", seed=1)
        assert len({craft("a house", seed=seed).spec for seed in range(8)}) > 4

    def test_what_the_idea_says_stays(self) -> None:
        spec = craft(MANSION, seed=2).spec
        assert (spec.setting, spec.lighting, spec.mood) == ("on a hilltop", "dramatic lighting", "eerie atmosphere")
        assert craft("a house", style="pixel art").spec.art_style == "pixel art"

    def test_night_has_no_sunlight(self) -> None:
        for seed in range(12):
            lighting = craft("a fox at night", seed=seed).spec.lighting
            assert not contains_any(lighting, ["sunlight", "daylight", "morning"]), lighting

    def test_an_unknown_artist_is_left_out_with_a_note(self) -> None:
        crafted = craft("a knight in the style of Greg Someone, cheerful")
        assert "Greg" not in crafted.spec.prompt
        assert "'Greg Someone' is no art movement" in crafted.notes[0]

    def test_a_model_fills_what_is_empty(self) -> None:
        crafted = craft("a house, watercolor", FakeListChatModel(responses=[json.dumps(ANSWER)]))
        assert crafted.method == "model"
        assert (crafted.spec.subject, crafted.spec.art_style) == ("a house", "watercolor")
        assert crafted.spec.setting == "in a valley"
        assert crafted.spec.influences == ("Claude Monet",)
        assert "'Living Person'" in crafted.notes[0]

    @pytest.mark.parametrize(
        ("response", "reason"),
        [
            ("Here it is: {}", "not one JSON object"),
            (json.dumps({**ANSWER, "extra": 1}), "extra"),
            (json.dumps({**ANSWER, "mood": 3}), "mood"),
        ],
    )
    def test_rules_take_over_from_a_model_that_fails(self, response: str, reason: str) -> None:
        crafted = craft("a house", FakeListChatModel(responses=[response]))
        assert crafted.method == "rules"
        assert crafted.spec == craft("a house").spec
        assert reason in crafted.notes[0]

    def test_rules_take_over_from_a_model_that_raises(self) -> None:
        class Broken(FakeListChatModel):
            def _call(self, *args: object, **kwargs: object) -> str:
                raise ConnectionError("secret words")

        crafted = craft("a house", Broken(responses=[""]))
        assert "ConnectionError" in crafted.notes[0]
        assert "secret" not in crafted.notes[0]

    def test_bad_input_is_refused(self) -> None:
        with pytest.raises(InvalidInputs, match="got no text"):
            craft(" ")
        with pytest.raises(UnknownName, match="art style"):
            craft("a house", style=" ")


class TestCritique:
    def test_the_tutorials_mansion_lacks_a_style(self) -> None:
        found = critique(MANSION)
        assert found.missing[0] == "art_style"
        assert not {"setting", "lighting", "mood", "details"} & set(found.missing)
        assert all(finding.suggestion for finding in found.findings)

    @pytest.mark.parametrize(
        ("prompt", "kind", "message"),
        [
            ("a cat at midnight in bright sunlight", "contradiction", "'midnight' and 'sunlight'"),
            ("a cat, close-up, wide shot", "contradiction", "distance"),
            ("a cat, photo, watercolor", "contradiction", "photograph and watercolor"),
            ("a cat, no cats", "contradiction", "asked for and ruled out"),
            ('a shop with the words "OPEN", no letters', "contradiction", "are to be shown"),
            ("a beautiful cat", "vague", "'beautiful'"),
            ("a cat that is not black", "negation", "'not'"),
            ("a cat in the style of Foo Bar", "influence", "'Foo Bar'"),
            (", ".join(["a cat", *(f"whisker {i}x" for i in range(9))]), "overloaded", "9 details"),
            ("a cat, " + "very long whiskers and paws " * 20, "too_long", "read 75"),
        ],
    )
    def test_what_is_wrong_is_found(self, prompt: str, kind: str, message: str) -> None:
        messages = [finding.message for finding in critique(prompt).findings if finding.kind == kind]
        assert any(message in text for text in messages), critique(prompt).findings

    def test_midjourneys_parameters_are_read(self) -> None:
        found = critique("/imagine prompt: a fox in the snow --ar 16:9 --no people --chaos 5")
        assert found.spec.aspect_ratio == "16:9"
        assert found.spec.negative == ("people",)
        with pytest.raises(InvalidInputs, match="from 0 to 100"):
            critique("a fox --chaos 500")


def test_nobody_in_the_lexicon_is_alive() -> None:
    lexicon = picture_lexicon()
    assert max(lexicon.artists.values()) < 1956
    names = {name for style in lexicon.styles.values() for name in style.influences}
    assert all(lexicon.influence(name) for name in names)
    assert {light for mood in lexicon.moods.values() for light in mood.lighting} <= set(lexicon.lighting)
