"""Metrics of single pictures and of variations: features, palette, shape, copies, coverage, and their table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.images.metrics import PICTURE_METRICS, TEXT_METRICS, picture_metric, resolve_picture_metrics
from taleward.images.metrics.base import PictureSample
from taleward.images.metrics.colors import COLOR_TERMS, color_shares, color_term
from taleward.images.metrics.features import ConvolutionFeatures, PixelFeatures, compute_features
from taleward.images.metrics.prompt_coverage import find_things, requested_things
from taleward.images.models.factory import image_model
from taleward.images.picture import Picture
from taleward.images.prompt_spec import PromptSpec
from tests.helpers.image_models import noise_png, png


def one_color(color: str | tuple[int, ...] = "red", size: tuple[int, int] = (32, 32), **fields: Any) -> Picture:
    return Picture.from_bytes(png(color, size), prompt="a picture", **fields)


def noise(seed: int) -> Picture:
    return Picture.from_bytes(noise_png(seed), prompt="noise")


def from_image(image: Any) -> Picture:
    from io import BytesIO

    buffer = BytesIO()
    image.save(buffer, "PNG")
    return Picture.from_bytes(buffer.getvalue(), prompt="a picture")


def sample(*pictures: Picture, spec: PromptSpec | str = "a picture", **fields: Any) -> PictureSample:
    prompt = PromptSpec.of(spec) if isinstance(spec, str) else spec
    return PictureSample(id="1", prompt=prompt, pictures=pictures, **fields)


def value(name: str, row: PictureSample, **options: Any) -> float | None:
    metric = picture_metric(name, **options)
    [statistics] = metric.measure([row])
    return metric.sample_value(statistics)


def test_pixel_features_are_the_small_picture_from_0_to_1() -> None:
    rows = PixelFeatures(4)([one_color("red"), one_color("white", (64, 16)), one_color((0, 0, 0, 0), (8, 8))])
    assert rows.shape == (3, 48)
    assert rows[0].reshape(-1, 3).tolist() == [[1, 0, 0]] * 16
    assert (rows[1] == 1).all()


def test_convolution_features_see_blur_and_noise_and_not_the_brightness() -> None:
    features = ConvolutionFeatures(32)
    image = noise(1).to_pil()
    sharp, blurred, dark, light = features(
        [noise(1), from_image(image.filter(ImageFilter.GaussianBlur(2))), one_color("black"), one_color("white")]
    )
    assert sharp.shape == (64,)
    assert blurred[:16].mean() < 0.5 * sharp[:16].mean()
    np.testing.assert_allclose(dark, light, atol=1e-9)
    assert (ConvolutionFeatures(32)([noise(1)]) == sharp).all()
    assert (ConvolutionFeatures(32, seed=1)([noise(1)]) != sharp).any()


def test_feature_functions_of_users_are_checked() -> None:
    def bad(pictures: Any) -> Any:
        return np.ones((1, 4))

    with pytest.raises(ConfigurationError, match="bad returned 1 rows for 2 pictures"):
        compute_features(bad, [one_color(), one_color()])
    with pytest.raises(ConfigurationError, match="side must be from 16 to 256"):
        ConvolutionFeatures(4)
    with pytest.raises(ConfigurationError, match="side must be from 1 to 256"):
        PixelFeatures(0)


@pytest.mark.parametrize(
    ("color", "term"),
    [("red", "red"), ("navy", "blue"), ("skyblue", "blue"), ("gold", "yellow"), ("forestgreen", "green"),
     ("saddlebrown", "brown"), ("hotpink", "pink"), ("indigo", "purple"), ("darkorange", "orange"), ("silver", "gray"),
     ("black", "black"), ("white", "white"), ("limegreen", "green"), ("crimson", "red"), ("teal", "blue")],
)  # fmt: skip
def test_colors_count_for_their_basic_term(color: str, term: str) -> None:
    shares = color_shares(one_color(color))
    if color != "teal":  # between green and blue
        assert next(iter(shares)) == term
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) == set(COLOR_TERMS)
    if color in ("navy", "gold", "silver", "crimson", "teal"):
        assert color_term(f"deep {color}") == term


def test_palette_match_is_the_share_of_the_wanted_colors() -> None:
    half = Image.new("RGB", (32, 32), "red")
    half.paste("#1f6fd0", (0, 0, 32, 16))
    picture = from_image(half)
    wanted = PromptSpec(subject="a house", colors=("crimson", "deep blue", "gold", "warm tones"))
    assert value("palette_match", sample(picture, spec=wanted)) == pytest.approx(2 / 3)
    assert value("palette_match", sample(picture)) is None
    assert value("palette_match", sample(picture, spec=PromptSpec(subject="x", colors=("sunny",)))) is None
    assert color_term("no color") is None


@pytest.mark.parametrize(
    ("size", "ratio", "expected"),
    [
        ((160, 90), "16:9", 1),
        ((160, 88), "16:9", 1),
        ((160, 96), "16:9", 0),
        ((90, 160), "16:9", 0),
        ((64, 64), "1:1", 1),
    ],
)
def test_aspect_match_allows_for_rounding_only(size: tuple[int, int], ratio: str, expected: float) -> None:
    spec = PromptSpec(subject="a house", aspect_ratio=ratio)
    assert value("aspect_match", sample(one_color(size=size), spec=spec)) == expected


def test_size_match_needs_a_size() -> None:
    pictures = one_color(size=(64, 32)), one_color(size=(64, 64))
    assert value("size_match", sample(*pictures, size=(64, 32))) == 0.5
    assert value("size_match", sample(*pictures)) is None


def test_copies_and_diversity_of_variations() -> None:
    known = [noise(seed) for seed in range(8)]
    assert value("copy_rate", sample(known[3], one_color()), reference=known) == 0.5
    assert value("variation_diversity", sample(one_color("black"), one_color("white"))) == 1
    assert value("variation_diversity", sample(one_color(), one_color())) == 0
    assert value("variation_diversity", sample(one_color())) is None


def test_a_prompt_without_pictures_is_left_out() -> None:
    for name in ("aspect_match", "prompt_coverage", "variation_diversity"):
        assert value(name, sample()) is None
    assert value("release_rate", sample(released=False)) == 0
    assert value("release_rate", sample()) is None


def test_a_collage_says_what_is_in_it() -> None:
    picture = image_model("collage:svg").invoke("a fox and a zorblax under a tree", n=1, seed=1)[0]
    found = find_things(picture)
    assert (found.found, found.missing) == (("a fox", "a tree"), ("zorblax",))
    assert found.share == pytest.approx(2 / 3)
    assert find_things(picture, ["fox", "dog"]).missing == ("dog",)
    assert requested_things("a fox and a zorblax under a tree") == ("fox", "tree", "zorblax")
    assert requested_things(PromptSpec(subject="a fox and a cat", negative=("cats",))) == ("fox",)


def test_a_detector_gives_a_number_per_thing() -> None:
    picture = one_color()
    found = find_things(picture, ["fox", "cat"], detector=lambda _, things: [0.7, 0.2], threshold=0.6)
    assert (found.found, found.missing) == (("fox",), ("cat",))
    with pytest.raises(ConfigurationError, match="one number per thing"):
        find_things(picture, ["fox", "cat"], detector=lambda _, things: [0.7])
    with pytest.raises(ConfigurationError, match="file does not say what is in it"):
        find_things(picture)


@pytest.mark.parametrize("name", [*PICTURE_METRICS, *TEXT_METRICS])
def test_every_metric_can_be_made_by_name(name: str) -> None:
    [metric] = resolve_picture_metrics([name], reference=np.ones((3, 64)))
    assert metric.name == name
    assert metric.signature.startswith(name)


def test_metrics_that_cannot_be_made_say_why() -> None:
    with pytest.raises(ConfigurationError, match="different names"):
        resolve_picture_metrics(["cost", "cost"])
    with pytest.raises(UnknownName, match="picture metric"):
        picture_metric("bleu")
    with pytest.raises(ConfigurationError, match="invalid options"):
        picture_metric("aspect_match", foo=1)
    with pytest.raises(ConfigurationError, match="got a ready"):
        picture_metric(picture_metric("cost"), foo=1)
    with pytest.raises(ConfigurationError, match="two pictures or more"):
        picture_metric("fid", reference=[])
    metric = picture_metric("fid", reference=np.ones((3, 5)))
    with pytest.raises(ConfigurationError, match="reference has 5 dimensions, and the pictures 64"):
        metric.measure([sample(one_color())])
