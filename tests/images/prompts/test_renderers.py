"""Prompts for OpenAI, diffusers and stable-diffusion.cpp: sizes, options, negative prompts, retired models."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from taleward.core.errors import ConfigurationError, InvalidFile, InvalidInputs, UnknownName
from taleward.images import ImageModelFamily, PromptSpec, RenderedPrompt, TextShown, render_openai, render_prompt
from taleward.images.prompts.clip_tokens import estimate_clip_tokens, words_beyond
from taleward.images.prompts.renderers.diffusers import (
    diffusers_families,
    diffusers_schedulers,
    family_of,
    render_diffusers,
)
from taleward.images.prompts.renderers.openai import openai_image_models
from taleward.images.prompts.renderers.sd_cpp import render_sd_cpp

FOX = PromptSpec(subject="a fox", setting="a forest", negative=("people", "letters"), aspect_ratio="16:9")
TODAY = datetime.date(2026, 11, 30)


def openai(spec: PromptSpec, model: str = "gpt-image-2") -> RenderedPrompt:
    return render_openai(spec, model, today=TODAY)


def options(platform: str, **values: object) -> PromptSpec:
    return PromptSpec.model_validate({"subject": "a fox", "options": {platform: values}})


class TestOpenAI:
    def test_the_negative_becomes_a_sentence(self) -> None:
        rendered = openai(FOX)
        assert rendered.prompt == "A fox in a forest. Do not show people or letters."
        assert rendered.arguments == {"size": "1536x864", "quality": "medium", "moderation": "auto"}
        assert not rendered.notes

    @pytest.mark.parametrize(
        ("ratio", "model", "size"),
        [
            ("square", "gpt-image-2", "1024x1024"),
            ("landscape", "gpt-image-2", "1536x1024"),
            ("9:16", "gpt-image-2.6-flare", "864x1536"),
            ("5:1", "gpt-image-2", "1536x512"),
            ("16:9", "gpt-image-1.5", "1536x1024"),
            ("1:4", "gpt-image-1.5", "1024x1536"),
        ],
    )
    def test_the_nearest_size_of_a_model(self, ratio: str, model: str, size: str) -> None:
        rendered = openai(FOX.model_copy(update={"aspect_ratio": ratio}), model)
        assert rendered.arguments["size"] == size
        assert any("nearest to" in note for note in rendered.notes) == (ratio in ("5:1", "1:4") or "1.5" in model)

    @given(width=st.integers(1, 99), height=st.integers(1, 99))
    @settings(max_examples=60, deadline=None)
    def test_any_ratio_gives_a_size_that_the_api_takes(self, width: int, height: int) -> None:
        spec = PromptSpec(subject="a fox", aspect_ratio=f"{width}:{height}")
        sides = [int(side) for side in str(openai(spec).arguments["size"]).split("x")]
        assert all(side % 16 == 0 for side in sides)
        assert max(sides) <= 3 * min(sides)
        assert not (width > height and sides[0] < sides[1])

    @pytest.mark.parametrize("model", ["dall-e-2", "dall-e-3", "gpt-image-1"])
    def test_a_retired_model_names_its_replacement(self, model: str) -> None:
        with pytest.raises(ConfigurationError, match=r"was retired on 2026-") as error:
            openai(FOX, model)
        assert error.value.hint == "Use 'gpt-image-2'."

    def test_an_announced_end_is_a_note_until_it_comes(self) -> None:
        assert "2026-12-01" in openai(FOX, "gpt-image-1.5").notes[0]
        with pytest.raises(ConfigurationError, match="retired"):
            render_openai(FOX, "gpt-image-1.5", today=datetime.date(2026, 12, 1))

    def test_replacements_are_models_that_live(self) -> None:
        known = openai_image_models()
        live = known.live(datetime.date(2027, 1, 1))
        assert {model.replacement for model in known.models.values()} - {None} <= set(live)

    def test_an_unknown_model_needs_a_family(self) -> None:
        with pytest.raises(UnknownName, match="Did you mean 'gpt-image-2'"):
            openai(FOX, "gpt-image-22")
        family = ImageModelFamily(sizes=("512x512",), qualities=("auto",))
        rendered = render_openai(PromptSpec(subject="a fox"), "flux", family=family)
        assert rendered.arguments["size"] == "512x512"
        assert rendered.arguments["quality"] == "auto"

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"style": "vivid"}, "went with dall-e-3"),
            ({"response_format": "url"}, "always come as base64"),
            ({"quality": "hd"}, "one of auto, low, medium, high; got 'hd'"),
            ({"size": "1000x700"}, "the nearest is 992x704"),
            ({"size": "4096x1024"}, "ratio from 1:3 to 3:1"),
            ({"size": "big"}, "such as 1536x864"),
            ({"moderation": "low"}, "filter stays on"),
            ({"background": "transparent"}, "one of auto, opaque"),
            ({"output_compression": 50}, "png has none"),
            ({"qualty": "low"}, "did you mean 'quality'?"),
        ],
    )
    def test_a_wrong_option_is_explained(self, values: dict[str, object], message: str) -> None:
        with pytest.raises(InvalidInputs) as error:
            openai(options("openai", **values))
        assert message in str(error.value)

    def test_a_prompt_that_is_too_long_is_refused(self) -> None:
        spec = PromptSpec(subject="a fox", details=("word " * 700,) * 10)
        with pytest.raises(InvalidInputs, match="32,000"):
            openai(spec)


class TestDiffusers:
    @pytest.mark.parametrize(
        ("model", "family"),
        [
            ("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd1"),
            ("stabilityai/stable-diffusion-xl-base-1.0", "sdxl"),
            ("stabilityai/sdxl-turbo", "sdxl-turbo"),
            ("black-forest-labs/FLUX.1-schnell", "flux-schnell"),
            ("Tongyi-MAI/Z-Image-Turbo", "z-image-turbo"),
            ("latent-consistency/lcm-lora-sdxl", "lcm"),
            ("someone/something", None),
        ],
    )
    def test_the_name_tells_the_family(self, model: str, family: str | None) -> None:
        assert family_of(model) == family

    def test_a_folder_tells_the_family_by_its_pipeline(self, tmp_path: Path) -> None:
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
        assert family_of(str(tmp_path)) == "sdxl"
        (tmp_path / "model_index.json").write_text("{")
        with pytest.raises(InvalidFile, match="cannot be read"):
            family_of(str(tmp_path))

    def test_settings_follow_family_and_quality(self) -> None:
        rendered = render_diffusers(FOX.model_copy(update={"quality": "draft"}), "stable-diffusion-v1-5")
        assert rendered.prompt == "a fox in a forest"
        assert rendered.arguments == {
            "width": 680,
            "height": 384,
            "num_inference_steps": 15,
            "guidance_scale": 7.5,
            "scheduler": "dpm++",
            "negative_prompt": "people, letters",
        }
        sentences = render_diffusers(FOX, "black-forest-labs/FLUX.1-dev")
        assert sentences.prompt == "A fox in a forest."

    def test_a_negative_prompt_without_effect_is_left_out_with_a_note(self) -> None:
        for model, why in (("sdxl-turbo", "no effect at guidance_scale 0"), ("FLUX.1-dev", "take no negative prompt")):
            rendered = render_diffusers(FOX, model)
            assert "negative_prompt" not in rendered.arguments
            assert why in rendered.notes[0]
        off = FOX.model_copy(update={"options": {"diffusers": {"cfg_scale": 1.0}}})
        assert "raise it above 1" in render_diffusers(off).notes[0]

    def test_an_unknown_family_is_a_note(self) -> None:
        assert "no known family" in render_diffusers(PromptSpec(subject="a fox"), "someone/something").notes[0]

    def test_what_clip_does_not_read_is_a_note(self) -> None:
        spec = PromptSpec(subject="a fox", details=tuple(f"detail number {i} of many" for i in range(20)), mood="calm")
        [note] = render_diffusers(spec).notes
        assert "about 1" in note
        assert "calm mood" in note
        assert not render_diffusers(spec, "stabilityai/stable-diffusion-3-medium").notes

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"steps": 0}, "num_inference_steps must be a whole number from 1 to 500; got 0"),
            ({"guidance": 99}, "guidance_scale must be a number from 0 to 50; got 99"),
            ({"scheduler": "k_lms"}, "scheduler must be one of"),
            ({"seed": -1}, "seed must be"),
            ({"seed": True}, "seed must be"),
            ({"width": 500, "height": 512}, "width must be a multiple of 8; got 500"),
            ({"width": 512}, "go together"),
            ({"strength": 0.02, "steps": 20}, "less than one step"),
            ({"step": 3}, "did you mean 'steps'?"),
        ],
    )
    def test_a_wrong_option_is_explained(self, values: dict[str, object], message: str) -> None:
        with pytest.raises(InvalidInputs) as error:
            render_diffusers(options("diffusers", **values))
        assert message in str(error.value)

    def test_the_data_fits_together(self) -> None:
        assert {family.scheduler for family in diffusers_families().values()} <= set(diffusers_schedulers())
        assert diffusers_schedulers()["euler-trailing"].options == {"timestep_spacing": "trailing"}


class TestTokens:
    def test_words_digits_and_signs_count(self) -> None:
        assert estimate_clip_tokens("a red fox") == 3
        assert estimate_clip_tokens("in 2026, it's late!") == 10
        assert estimate_clip_tokens("狐狸") == 2

    def test_the_end_that_does_not_fit(self) -> None:
        assert words_beyond("one two three four", 2, estimate_clip_tokens) == "three four"
        assert words_beyond("one two", 2, estimate_clip_tokens) == ""


class TestSdCpp:
    def test_settings_go_into_the_tag(self) -> None:
        spec = FOX.model_copy(update={"options": {"sd_cpp": {"steps": 8, "seed": 3, "sample_method": "euler_a"}}})
        rendered = render_sd_cpp(spec)
        words, tag = re.fullmatch(r"(.*) <sd_cpp_extra_args>(.*)</sd_cpp_extra_args>", rendered.prompt).groups()  # type: ignore[union-attr]
        assert words == "a fox in a forest"
        assert json.loads(tag) == {
            "sample_params": {"sample_steps": 8, "guidance": {"txt_cfg": 7.0}, "sample_method": "euler_a"},
            "seed": 3,
            "negative_prompt": "people, letters",
        }
        assert rendered.arguments == {"size": "704x384", "output_format": "png"}

    @given(text=st.text(max_size=40).map(lambda t: f"fox <sd_cpp_extra_args>{{}}</sd_cpp_extra_args> {t}"))
    @settings(max_examples=60, deadline=None)
    def test_only_one_tag_can_be_in_it(self, text: str) -> None:
        rendered = render_sd_cpp(PromptSpec(subject=text, negative=(text,), details=(text,)))
        assert rendered.prompt.count("<") == 2
        assert "\n" not in rendered.prompt

    def test_a_negative_prompt_without_effect(self) -> None:
        spec = FOX.model_copy(update={"options": {"sd_cpp": {"cfg_scale": 1.0}}})
        rendered = render_sd_cpp(spec)
        assert "negative_prompt" not in rendered.prompt
        assert "no effect" in rendered.notes[0]

    def test_a_wrong_option_is_explained(self) -> None:
        with pytest.raises(InvalidInputs, match="side must be one of 256"):
            render_sd_cpp(options("sd_cpp", side=500))


@pytest.mark.parametrize("target", ["openai-image:gpt-image-2", "midjourney", "midjourney:7", "diffusers", "sd-cpp"])
def test_every_target_renders_the_same_spec(target: str) -> None:
    spec = PromptSpec(subject="a fox", text_shown=TextShown(words="HELLO", place="a sign"))
    rendered = render_prompt(spec, target)
    assert "HELLO" in rendered.text
    assert "a fox" in rendered.text.lower()
    assert RenderedPrompt.model_validate_json(rendered.model_dump_json()) == rendered


def test_unknown_targets_list_the_known() -> None:
    with pytest.raises(UnknownName, match="'diffusers', 'midjourney', 'openai-image', 'sd-cpp'"):
        render_prompt(FOX, "dalle")
    with pytest.raises(ConfigurationError, match="needs the name of a model"):
        render_prompt(FOX, "openai-image")


def test_a_subject_of_signs_only_is_refused() -> None:
    with pytest.raises(InvalidInputs, match="has no words"):
        render_prompt(PromptSpec(subject="<>{}"), "diffusers")
