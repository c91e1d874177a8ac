"""Hosted pictures against a server on loopback: what is sent, what is read, what counts as blocked."""

from __future__ import annotations

import json
import re
from io import BytesIO

import pytest
from PIL import Image

from taleward.core.errors import (
    BackendError,
    ConfigurationError,
    DeadlineExceeded,
    InvalidInputs,
    MissingKey,
    PictureBlocked,
    RateLimited,
    RequestRejected,
)
from taleward.images.models.events import FinishedPicture, PartialPicture
from taleward.images.models.factory import image_model
from taleward.images.models.openai_images import OpenAIImages
from taleward.images.models.request import ImageRequest
from taleward.images.picture import Picture
from taleward.images.prompt_spec import PromptSpec
from taleward.testing import FakeImages
from tests.helpers.image_models import png

KEY = "sk-secret-of-the-garden"


def openai_like(server: FakeImages, monkeypatch: pytest.MonkeyPatch, **options: object) -> OpenAIImages:
    """A model that takes the server for OpenAI's own."""
    monkeypatch.setattr("taleward.backends.hosted.build_chat._OPENAI_URL", server.base_url)
    options = {"api_key": KEY, "max_retries": 0, "pixels": 256 * 256, "n": 1, **options}
    return OpenAIImages("gpt-image-2", base_url=server.base_url, **options)  # type: ignore[arg-type]


def other_server(server: FakeImages, **options: object) -> OpenAIImages:
    model = image_model(
        "openai-image:any", base_url=server.base_url, **{"n": 1, "max_retries": 0, "pixels": 4096, **options}
    )
    assert isinstance(model, OpenAIImages)
    return model


def test_what_openai_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeImages() as server:
        pictures = openai_like(server, monkeypatch, n=2, safety_identifier="lina@home").invoke(
            PromptSpec(subject="a fox", aspect_ratio="16:9", quality="high")
        )
    [request] = server.requests
    assert (request["model"], request["n"], request["quality"], request["moderation"]) == (
        "gpt-image-2",
        2,
        "high",
        "auto",
    )
    assert re.fullmatch(r"[0-9a-f]{64}", request["safety_identifier"])
    assert "style" not in request
    assert pictures[0].lineage.parameters["moderation"] == "auto"
    width, height = map(int, request["size"].split("x"))
    assert width % 16 == height % 16 == 0
    assert width / height == pytest.approx(16 / 9, rel=0.1)
    assert [(p.width, p.height) for p in pictures] == [(width, height)] * 2
    assert pictures[0].seed is None
    assert pictures[0].lineage.prompt == request["prompt"]
    assert pictures[0].lineage.cost_usd == pytest.approx(0.00411, abs=1e-4)


def test_more_than_ten_pictures_are_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeImages() as server:
        assert len(openai_like(server, monkeypatch, n=12).invoke("a fox")) == 12
    assert [request["n"] for request in server.requests] == [10, 2]


def test_another_server_gets_only_what_all_of_them_know() -> None:
    with FakeImages(reports_usage=False) as server:
        [picture] = other_server(server).invoke("a fox")
    assert set(server.requests[0]) == {"model", "prompt", "n", "size", "response_format"}
    assert picture.lineage.cost_usd is None


def test_a_server_with_seeds_gets_each_variations_own() -> None:
    with FakeImages() as server:
        model = other_server(server, sends_seed=True, extra_body={"num_inference_steps": 4})
        pictures = model.invoke("a fox", n=2, seed=5)
    assert [request["seed"] for request in server.requests] == [picture.seed for picture in pictures]
    assert pictures[0].seed == 5
    assert server.requests[0]["num_inference_steps"] == 4


def test_an_edit_sends_picture_references_and_mask_as_files(monkeypatch: pytest.MonkeyPatch) -> None:
    image, mask = (Picture.from_bytes(png(color, (64, 64)), prompt="x") for color in ("white", "black"))
    white = Image.new("RGB", (64, 64), "black")
    white.paste((255, 255, 255), (0, 0, 32, 64))
    buffer = BytesIO()
    white.save(buffer, "PNG")
    mask = Picture.from_bytes(buffer.getvalue(), prompt="x")
    with FakeImages() as server:
        model = openai_like(server, monkeypatch)
        [edited] = model.invoke("a hat on the bear", init_image=image, mask=mask)
        model.invoke("a hat on the bear", init_image=image, references=(mask,))
    first, second = server.requests
    assert first["image"] == image.data
    alpha = Image.open(BytesIO(first["mask"])).getchannel("A")
    assert (alpha.getpixel((0, 0)), alpha.getpixel((63, 0))) == (0, 255)
    assert second["image[]"] == [image.data, mask.data]
    assert edited.lineage.parents == (image.sha256, mask.sha256)


def test_a_stream_shows_unfinished_pictures() -> None:
    with FakeImages() as server:
        events = list(other_server(server, partial_images=2, n=2).stream("a fox"))
    kinds = [PartialPicture, PartialPicture, FinishedPicture]
    assert [type(event) for event in events] == kinds * 2
    assert [event.index for event in events if isinstance(event, FinishedPicture)] == [0, 1]


@pytest.mark.parametrize("partial_images", [0, 1])
@pytest.mark.parametrize(
    ("fault", "error", "match"),
    [
        ("blocked-input", PictureBlocked, r"blocked the prompt \(violence\)"),
        ("blocked-output", PictureBlocked, r"blocked the picture \(violence\)"),
        ("url-only", BackendError, "without its data"),
        ("not-base64", BackendError, "no picture"),
        ("not-a-picture", BackendError, "no picture"),
        ("bare-error", RequestRejected, "rejected the request"),
        ("429", RateLimited, "rate limited"),
        ("401", BackendError, "rejected the API key"),
        ("500", BackendError, "server error"),
        ("invalid-json", BackendError, "openai-image:any"),
        ("html", BackendError, "openai-image:any"),
        ("truncated", BackendError, "openai-image:any"),
        ("reset", BackendError, "openai-image:any"),
    ],
)
def test_every_fault_is_an_error_and_never_a_picture(
    fault: str, error: type[Exception], match: str, partial_images: int
) -> None:
    if partial_images and fault in ("url-only", "invalid-json"):
        pytest.skip("does not occur in a stream")
    with FakeImages(faults=[fault]) as server:  # type: ignore[list-item]
        model = other_server(server, partial_images=partial_images)
        with pytest.raises(error, match=match) as raised:
            model.invoke("a fox")
    assert "sk-abcdefghijklmnop" not in str(raised.value)


def test_an_error_that_is_a_bare_string_is_shown() -> None:
    with FakeImages(faults=["bare-error"]) as server, pytest.raises(RequestRejected) as error:
        other_server(server).invoke("a fox")
    assert "prompt required" in "".join(error.value.__notes__)


def test_an_empty_answer_is_blocked_not_ok() -> None:
    with FakeImages(faults=["empty-data"]) as server, pytest.raises(PictureBlocked, match="no picture"):
        other_server(server).invoke("a fox")


def test_a_slow_server_is_given_up() -> None:
    with FakeImages(delay_s=5.0) as server, pytest.raises(DeadlineExceeded):
        other_server(server, timeout_s=0.2).invoke("a fox")


def test_an_error_that_passes_is_tried_again() -> None:
    with FakeImages(faults=["500"]) as server:
        assert len(other_server(server, max_retries=1).invoke("a fox")) == 1
    assert len(server.requests) == 2


def test_the_same_request_comes_from_the_cache_until_a_seed_is_named() -> None:
    store: dict[str, Picture] = {}

    class Store:
        get = staticmethod(store.get)
        put = staticmethod(store.__setitem__)

    with FakeImages() as server:
        model = other_server(server, n=2, cache=Store())
        assert model.invoke("a fox") == model.invoke("a fox")
        model.invoke("a fox", n=1)
        assert len(server.requests) == 1
        model.invoke("a fox", seed=1)
        assert len(server.requests) == 2


def test_a_spent_budget_stops_the_next_call() -> None:
    with FakeImages() as server:
        model = other_server(server, budget_usd=0.05, price_usd=0.04)
        model.invoke("a fox")
        model.invoke("a fox")
        with pytest.raises(ConfigurationError, match="budget"):
            model.invoke("a fox")
        assert len(server.requests) == 2
        assert model.spent_usd == pytest.approx(0.08)
        with pytest.raises(ConfigurationError, match="price"):
            other_server(server, budget_usd=1.0)


def test_the_key_is_nowhere_to_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeImages() as server:
        model = openai_like(server, monkeypatch)
        [picture] = model.invoke("a fox")
        assert KEY not in f"{model!r} {vars(model)} {picture.model_dump_json()}"
        server.faults = ["401"] * 9
        with pytest.raises(BackendError) as error:
            model.invoke("a fox")
    assert KEY not in str(error.value) + repr(error.value.__cause__)


@pytest.mark.parametrize("name", ["dall-e-3", "gpt-image-1"])
def test_a_model_that_was_shut_down_names_its_replacement(name: str) -> None:
    with pytest.raises(ConfigurationError, match="retired") as error:
        OpenAIImages(name, api_key=KEY)
    assert "gpt-image-2" in str(error.value.hint)


def test_stable_diffusion_cpp_gets_seed_and_negative_in_its_tag_and_none_from_a_story() -> None:
    spec = PromptSpec(subject='a fox <sd_cpp_extra_args>{"seed":1}</sd_cpp_extra_args>', negative=("letters",))
    with FakeImages() as server:
        pictures = other_server(server, dialect="sd_cpp", n=2).invoke(spec, seed=7)
    tags = [request["prompt"].split("<sd_cpp_extra_args>") for request in server.requests]
    assert [len(tag) for tag in tags] == [2, 2]
    settings = [json.loads(tag[1].removesuffix("</sd_cpp_extra_args>")) for tag in tags]
    assert settings[0]["seed"] == pictures[0].seed == 7
    assert settings[0]["negative_prompt"] == "letters"
    assert settings[1]["seed"] != 7


def test_no_key_and_no_server_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(MissingKey):
        image_model("openai-image:gpt-image-2")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"partial_images": 4}, "partial_images"),
        ({"output_format": "gif"}, "output_format"),
        ({"extra_body": {"moderation": "low"}}, "moderation"),
        ({"seeds": True}, "seeds"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        image_model("openai-image:any", base_url="http://127.0.0.1:1/v1", **options)


def test_openai_takes_no_seed_and_no_extreme_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="no seed"):
        OpenAIImages("gpt-image-2", api_key=KEY, sends_seed=True)
    wide = ImageRequest(prompt=PromptSpec(subject="a fox", aspect_ratio="8:1"))
    assert OpenAIImages("gpt-image-2", api_key=KEY).size_of(wide) == (1536, 512)
    with pytest.raises(InvalidInputs, match="strength"):
        OpenAIImages("gpt-image-2", api_key=KEY).invoke(
            "a fox", init_image=Picture.from_bytes(png(), prompt="x"), strength=0.5
        )
