"""`/v1/images/generations` and `/v1/images/edits` as they are on the wire."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

import pytest
from openai.types import ImageGenCompletedEvent, ImagesResponse
from PIL import Image

from taleward.core.errors import InvalidFile, MissingExtra
from taleward.core.frozen_model import FrozenDict
from taleward.images import ImageGuard, PictureJudge
from taleward.moderation.judges import Assessment
from taleward.serving import ServeConfig, ServedImagesConfig, ServedModel, ServedModelConfig, create_app, load_config
from taleward.testing import FakeImages, FakeJudge, FakeWriter
from tests.helpers.image_models import NoiseModel, noise_png
from tests.helpers.serving_apps import client_of, events_of

URL, EDITS = "/v1/images/generations", "/v1/images/edits"
SMALL = "64x48"


class ScriptedPictureJudge(PictureJudge):
    """A picture judge whose outcomes follow each other; the last one is repeated."""

    def __init__(self, *outcomes: Any) -> None:
        super().__init__("scripted")
        self.outcomes, self.calls = outcomes, 0

    def assess(self, picture: Any) -> Assessment:
        self.calls += 1
        return Assessment(outcome=self.outcomes[min(self.calls, len(self.outcomes)) - 1])


def images_app(guard: ImageGuard | None = None, *, judge: FakeJudge | None = None, **settings: Any) -> Any:
    """An app whose stories are fake and whose pictures are drawn by the configuration, or by a guard."""
    config = ServedModelConfig()
    tales = ServedModel("tales", config, writer=FakeWriter("A fox ran."), judge=judge or FakeJudge())
    images = ServedImagesConfig(**settings)
    serve = ServeConfig(models={"tales": config}, embeddings=None, images=images)
    return create_app(serve, models={"tales": tales}, images=guard, warm=False)


def noise_guard(*outcomes: Any, model: NoiseModel | None = None, **options: Any) -> ImageGuard:
    judges = ["picture-checks", ScriptedPictureJudge(*(outcomes or ("pass",)))]
    return ImageGuard(model or NoiseModel(), FakeJudge(), **{"picture_judges": judges, "fallback": None, **options})


async def post(app: Any, **body: Any) -> Any:
    async with client_of(app) as client:
        return await client.post(URL, json=body)


async def edit(app: Any, files: Any, **data: Any) -> Any:
    async with client_of(app) as client:
        return await client.post(EDITS, data=data, files=files)


def opened(item: Any) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(item["b64_json"])))


async def test_pictures_come_with_their_verdicts_and_in_the_size_asked_for() -> None:
    response = await post(images_app(), prompt="a fox asleep", n=2, size=SMALL, seed=3)
    body = response.json()
    ImagesResponse.model_validate(body)
    assert [opened(item).size for item in body["data"]] == [(64, 48), (64, 48)]
    assert (body["size"], body["output_format"], body["background"]) == (SMALL, "png", "opaque")
    assert "usage" not in body
    first = body["data"][0]["taleward"]
    assert first["seed"] == 3
    assert "fox" in first["alt_text"]
    assert [verdict["judge"] for verdict in first["verdicts"]] == ["picture-checks"]
    assert body["taleward"]["input_verdicts"][0]["outcome"] == "pass"


async def test_the_same_seed_draws_the_same_picture() -> None:
    app = images_app()
    answers = [(await post(app, prompt="a fox", size=SMALL, seed=3)).json() for _ in range(2)]
    assert len({answer["data"][0]["taleward"]["sha256"] for answer in answers}) == 1


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
async def test_a_file_has_the_format_asked_for_and_is_labeled_as_made_by_ai(file_format: str) -> None:
    response = await post(images_app(), prompt="a fox", size=SMALL, output_format=file_format)
    [item] = response.json()["data"]
    assert opened(item).format == file_format.upper()
    assert b"algorithmicMedia" in base64.b64decode(item["b64_json"])


async def test_svg_comes_from_the_collage_that_draws_it() -> None:
    app = images_app(model="collage:svg")
    [svg] = (await post(app, prompt="a fox", size=SMALL, output_format="svg")).json()["data"]
    assert base64.b64decode(svg["b64_json"]).startswith(b"<svg")
    [png] = (await post(app, prompt="a fox", size=SMALL)).json()["data"]
    assert opened(png).format == "PNG"


async def test_compression_makes_a_smaller_file() -> None:
    async def size(**fields: Any) -> int:
        app = images_app(noise_guard(model=NoiseModel()))
        response = await post(app, prompt="a fox", seed=1, size=SMALL, output_format="jpeg", **fields)
        return len(response.json()["data"][0]["b64_json"])

    assert await size(output_compression=20) < await size()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 11}, "n"),
        ({"size": "3x"}, "size"),
        ({"size": "8x8"}, "size"),
        ({"size": "4000x4000"}, "size"),
        ({"quality": "max"}, "quality"),
        ({"background": "transparent"}, "background"),
        ({"output_format": "svg"}, "output_format"),
        ({"output_format": "gif"}, "output_format"),
        ({"output_compression": 50}, "output_compression"),
        ({"response_format": "url"}, "response_format"),
        ({"moderation": "low"}, "moderation"),
        ({"partial_images": 2}, "partial_images"),
        ({"partial_images": 4, "stream": True}, "partial_images"),
        ({"style": "vivid"}, "style"),
        ({"svg": {"model": "any"}}, "svg"),
        ({"frame_count": 3}, "frame_count"),
        ({"band": "9-12"}, "band"),
        ({"promt": "a fox"}, "promt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": "a fox " * 1000}, "prompt"),
        ({"prompt": None}, "prompt"),
    ],
)
async def test_what_cannot_be_honoured_is_an_error_that_names_it(fields: dict[str, Any], param: str) -> None:
    response = await post(images_app(), **{"prompt": "a fox", **fields})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_a_size_that_the_model_cannot_draw_names_the_nearest() -> None:
    response = await post(images_app(noise_guard()), prompt="a fox", size="65x64")
    assert response.json()["error"]["param"] == "size"
    assert "The nearest is 64x64" in response.json()["error"]["message"]


async def test_values_that_ask_for_nothing_are_accepted() -> None:
    nothing = {"style": None, "response_format": "b64_json", "moderation": "auto", "background": "auto", "user": "x"}
    response = await post(images_app(), prompt="a fox", size="auto", quality="auto", stream=False, **nothing)
    assert response.status_code == 200
    assert response.json()["size"] == "1024x1024"


@pytest.mark.parametrize("name", [None, "collage", "gpt-image-2", "dall-e-3"])
async def test_openais_names_stand_for_the_served_model(name: str | None) -> None:
    assert (await post(images_app(), prompt="a fox", size=SMALL, model=name)).status_code == 200


async def test_another_name_is_not_found() -> None:
    response = await post(images_app(name="painter"), prompt="a fox", model="collage")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_prompt_that_does_not_pass_is_a_refusal_in_openais_shape_and_nothing_is_drawn() -> None:
    model = NoiseModel()
    for stream in (False, True):
        response = await post(images_app(noise_guard(model=model)), prompt="a bad fox", stream=stream)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, "moderation_blocked")
        assert error["type"] == "image_generation_user_error"
        assert error["moderation_details"] == {"moderation_stage": "input", "categories": ["violence"]}
        assert "bad fox" not in response.text
    assert model.drawn == []


async def test_a_picture_that_does_not_pass_is_a_refusal_of_the_output() -> None:
    response = await post(images_app(noise_guard("fail")), prompt="a fox")
    error = response.json()["error"]
    assert (response.status_code, error["moderation_details"]["moderation_stage"]) == (400, "output")
    assert error["taleward"]["attempts"] == 3


async def test_only_pictures_that_pass_are_in_the_answer_and_the_others_are_counted() -> None:
    body = (await post(images_app(noise_guard("fail", "pass")), prompt="a fox", n=3)).json()
    assert len(body["data"]) == 2
    assert body["taleward"]["withheld"] == 1


async def test_a_softened_prompt_is_said() -> None:
    body = (await post(images_app(noise_guard("fail", "pass")), prompt="a fox")).json()
    assert "gentle" in body["data"][0]["revised_prompt"].lower()
    assert body["taleward"]["attempts"] == 2


async def test_the_judge_is_away() -> None:
    for guard in (noise_guard("error"), ImageGuard(NoiseModel(), FakeJudge("error"), fallback=None)):
        response = await post(images_app(guard), prompt="a fox")
        assert (response.status_code, response.json()["error"]["code"]) == (503, "judge_unavailable")
        assert response.headers["retry-after"]


async def test_the_time_is_up() -> None:
    guard = noise_guard(model=NoiseModel(step_s=0.2, steps=20), timeout_s=0.3)
    response = await post(images_app(guard), prompt="a fox")
    assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")


async def test_a_stream_has_one_event_for_each_judged_picture_and_no_unfinished_one() -> None:
    app = images_app()
    response = await post(app, prompt="a fox", n=2, size=SMALL, stream=True, partial_images=3)
    events = events_of(response.text)
    assert [name for name, _ in events] == ["image_generation.completed"] * 2
    for number, (_, data) in enumerate(events):
        ImageGenCompletedEvent.model_validate(data)
        assert opened(data).size == (64, 48)
        assert data["taleward"]["index"] == number


async def test_a_refusal_in_mid_stream_is_an_error_event() -> None:
    response = await post(images_app(noise_guard("fail")), prompt="a fox", stream=True)
    assert response.status_code == 200
    [(name, data)] = events_of(response.text)
    assert (name, data["error"]["code"]) == ("error", "moderation_blocked")


async def test_a_style_of_the_server_is_for_prompts_that_name_none() -> None:
    model = NoiseModel()
    app = images_app(noise_guard(model=model), style="watercolor")
    body = (await post(app, prompt="a fox")).json()
    await post(app, prompt="a fox, oil painting")
    assert "watercolor" in model.prompts[0].lower()
    assert "watercolor" not in model.prompts[1].lower()
    assert "watercolor" in body["data"][0]["revised_prompt"].lower()


async def test_personal_data_in_a_prompt_reaches_no_model() -> None:
    model = NoiseModel()
    await post(images_app(noise_guard(model=model)), prompt="a letter to mia@example.org")
    assert "mia@example.org" not in model.prompts[0]


async def test_a_hosted_model_counts_its_tokens_and_takes_no_seed() -> None:
    with FakeImages() as server:
        app = images_app(
            model="openai-image:painter", base_url=server.base_url, picture_judges=["picture-checks"], fallback=None
        )
        refused = await post(app, prompt="a fox", seed=3)
        assert refused.json()["error"]["param"] == "seed"
        # Pictures of one color do not pass, so another one is sent.
        server.picture = lambda request: noise_png(int(request["number"]), (64, 64))
        body = (await post(app, prompt="a fox", n=2, size="64x64")).json()
        assert body["usage"]["input_tokens_details"] == {"text_tokens": 12, "image_tokens": 0}
        assert body["usage"]["total_tokens"] == 284
        response = await post(app, prompt="a fox", stream=True)
        assert [data["usage"]["total_tokens"] for _, data in events_of(response.text)] == [284]
        metrics = await get(app, "/metrics")
    assert 'taleward_tokens_total{direction="output",model="openai-image:painter"} 544.0' in metrics.text


async def test_a_picture_is_changed_with_a_mask() -> None:
    model = NoiseModel()
    mask = BytesIO()
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(mask, "PNG")
    picture = noise_png(1, (64, 64))
    files = {"image": ("a.png", picture, "image/png"), "mask": ("m.png", mask.getvalue(), "image/png")}
    response = await edit(
        images_app(noise_guard(model=model)), files, prompt="a hat", n="1", size="auto", stream="false"
    )
    assert response.status_code == 200
    body = response.json()
    assert (body["size"], opened(body["data"][0]).size) == ("64x64", (64, 64))
    assert len(body["taleward"]["input_verdicts"]) == 2


async def test_an_edit_is_streamed_as_an_edit() -> None:
    files = [("image[]", ("a.png", noise_png(1, (64, 64)), "image/png"))]
    response = await edit(images_app(noise_guard()), files, prompt="a hat", stream="true")
    assert [name for name, _ in events_of(response.text)] == ["image_edit.completed"]


async def test_a_picture_that_does_not_pass_is_not_changed() -> None:
    model = NoiseModel()
    files = {"image": ("a.png", noise_png(1, (64, 64)), "image/png")}
    for stream in ("false", "true"):
        response = await edit(images_app(noise_guard("fail", model=model)), files, prompt="a hat", stream=stream)
        details = response.json()["error"]["moderation_details"]
        assert (response.status_code, details["moderation_stage"]) == (400, "input")
    assert model.drawn == []


@pytest.mark.parametrize(
    ("files", "data", "param"),
    [
        ({}, {}, "image"),
        ({"image": b"no picture"}, {}, "image"),
        ({"image": b"<svg width='20' height='20'></svg>"}, {}, "image"),
        ({"image": noise_png(1), "mask": noise_png(2, (40, 40))}, {}, "mask"),
        ({"image": noise_png(1), "markup": noise_png(2)}, {}, "markup"),
        ({"image": noise_png(1)}, {"prompt": ""}, "prompt"),
        ({"image": noise_png(1)}, {"n": "many"}, "n"),
        ({"image": noise_png(1)}, {"input_fidelity": "high"}, "input_fidelity"),
    ],
)
async def test_an_edit_that_cannot_be_honoured_names_the_parameter(files: Any, data: Any, param: str) -> None:
    form = {"prompt": (None, "a hat"), **{name: ("a.png", content) for name, content in files.items()}}
    form |= {name: (None, value) for name, value in data.items()}
    async with client_of(images_app(noise_guard())) as client:
        response = await client.post(EDITS, files=form)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_the_collage_changes_no_pictures_and_says_so() -> None:
    response = await edit(images_app(), {"image": ("a.png", noise_png(1))}, prompt="a hat")
    assert (response.status_code, response.json()["error"]["param"]) == (400, "image")


async def test_an_edit_that_is_no_form_or_too_long() -> None:
    app = images_app(noise_guard(), max_upload_bytes=20_000)
    async with client_of(app) as client:
        assert (await client.post(EDITS, json={"prompt": "a hat"})).status_code == 400
    long = {"image": ("a.png", b"x" * 30_000)}
    assert (await edit(app, long, prompt="a hat")).status_code == 413


async def get(app: Any, path: str) -> Any:
    async with client_of(app) as client:
        return await client.get(path)


async def test_the_model_is_listed_and_described() -> None:
    app = images_app()
    assert "collage" in [model["id"] for model in (await get(app, "/v1/models")).json()["data"]]
    details = (await get(app, "/v1/models/collage")).json()["taleward"]
    assert details["answers"] == "pictures"
    assert details["changes_pictures"] is False


async def test_metrics_and_logs_know_pictures_and_no_words(caplog: pytest.LogCaptureFixture) -> None:
    app = images_app(noise_guard("fail"))
    with caplog.at_level("DEBUG"):
        await post(app, prompt="a fox called Zanzibar")
    metrics = (await get(app, "/metrics")).text
    assert 'taleward_pictures_total{model="noise",result="failed"} 1.0' in metrics
    assert "Zanzibar" not in metrics + caplog.text


async def test_without_images_the_routes_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"tales": ServedModelConfig()}
    tales = {"tales": ServedModel("tales", models["tales"], writer=FakeWriter("A fox ran."), judge=FakeJudge())}

    def make(**fields: Any) -> Any:
        config = ServeConfig(models=models, embeddings=None, **fields)
        return create_app(config, models=tales, warm=False)

    assert (await post(make(images=None), prompt="a fox")).status_code == 404
    monkeypatch.setattr("taleward.serving.served_images.find_spec", lambda _: None)
    response = await post(make(), prompt="a fox")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "images_not_served")
    assert "pip install 'taleward[images]'" in response.json()["error"]["message"]
    with pytest.raises(MissingExtra):
        make(images=ServedImagesConfig(style="watercolor"))


def test_the_default_models_judges_and_bands_hold_for_pictures() -> None:
    from taleward.serving.served_images import make_images

    config = ServedModelConfig(judge=("lexicon",), band="3-5", bands=("6-8",))
    default = ServedModel("tales", config, writer=FakeWriter("A fox ran."))
    served = make_images(ServeConfig(models={"tales": config}), default)
    assert served is not None
    assert list(served.guards) == ["3-5", "6-8"]
    assert served.guard().prompt_judge is default.judge("3-5")
    other = ServedImagesConfig(band="9-12", judge=("lexicon",))
    served = make_images(ServeConfig(models={"tales": config}, images=other), default)
    assert served is not None
    assert served.guard().prompt_judge.band == served.guard().picture_judges[0].band == "9-12"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: {policy: kidz}", "images.policy: unknown policy 'kidz'"),
        ("images: {band: '6-9'}", "images.band: "),
        ("images: {base_url: http://x}", "images.base_url: is the server of an openai-image: model"),
        ("images: {options: {api_key: sk-1}}", "images.options.api_key: is a secret"),
        ("images: {name: a}", "'a' is the name of another model"),
        ("images: {modle: collage}", "did you mean 'model'?"),
    ],
)
def test_a_mistake_in_the_file_is_reported(tmp_path: Any, text: str, message: str) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(f"models: {{a: {{}}}}\n{text}\n")
    with pytest.raises(InvalidFile) as error:
        load_config(path)
    assert message in str(error.value)
    assert "sk-1" not in str(error.value)


def test_a_configuration_survives_json() -> None:
    config = ServeConfig(models={"a": ServedModelConfig()}, images=ServedImagesConfig(options=FrozenDict({"n": 2})))
    assert ServeConfig.model_validate_json(json.dumps(config.model_dump(mode="json"))) == config
