"""OpenAI's clients for pictures, against a real server; what they make of each case is in the page of clients."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from PIL import Image

from taleward.images import ImageGuard
from taleward.serving import ServeConfig, ServedModel, ServedModelConfig, create_app
from taleward.testing import FakeWriter
from tests.helpers.client_cases import judge
from tests.helpers.image_models import NoiseModel, noise_png
from tests.helpers.loopback_server import loopback_server

pytestmark = pytest.mark.server

WORDS = "I would rather not draw that. Shall we think of something else?"
TABLE = {"picture": "a fox", "turned_down": "something bad", "judge_away": "a storm"}
"""The cases: what is asked for."""
SHOWN = {
    "picture": {"size": [64, 64]},
    "turned_down": {"error": "BadRequestError", "code": "moderation_blocked", "words": WORDS},
    "judge_away": {"error": "InternalServerError", "code": "judge_unavailable"},
}


def app_of(guard: ImageGuard) -> Any:
    config = ServedModelConfig()
    tales = ServedModel("tales", config, writer=FakeWriter("A fox ran."), judge=judge())
    serve = ServeConfig(models={"tales": config}, embeddings=None, keep_alive_s=0.05)
    return create_app(serve, models={"tales": tales}, images=guard, warm=False)


def noise_guard(model: NoiseModel, **options: Any) -> ImageGuard:
    return ImageGuard(model, judge(), picture_judges=["picture-checks"], fallback=None, **options)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with loopback_server(app_of(noise_guard(NoiseModel(step_s=0.1)))) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def opened(b64_json: str | None) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(b64_json or "")))


def outcomes(draw: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for case, prompt in TABLE.items():
        try:
            found[case] = {"size": list(opened(draw(prompt)).size)}
        except openai.APIStatusError as error:
            found[case] = {"error": type(error).__name__, "code": error.code}
            if error.code == "moderation_blocked":
                found[case]["words"] = error.body["message"]  # type: ignore[index]
    return found


def test_openai_python_generates(client: OpenAI) -> None:
    def draw(prompt: str) -> str | None:
        answer = client.images.generate(model="gpt-image-2", prompt=prompt, n=1, size="64x64", quality="low")
        assert answer.size == "64x64"
        assert answer.data is not None
        [item] = answer.data
        assert item.taleward["verdicts"][0]["outcome"] == "pass"  # type: ignore[attr-defined]
        return item.b64_json

    assert outcomes(draw) == SHOWN
    with pytest.raises(openai.BadRequestError) as not_honoured:
        client.images.generate(prompt="a fox", response_format="url")
    assert not_honoured.value.param == "response_format"


def test_openai_python_streams(client: OpenAI) -> None:
    def draw(prompt: str) -> str:
        with client.images.generate(prompt=prompt, size="64x64", stream=True, partial_images=2) as events:
            [event] = list(events)
        assert event.type == "image_generation.completed"
        assert event.usage.total_tokens == 0
        return event.b64_json

    assert outcomes(draw) == SHOWN


def test_openai_python_edits(client: OpenAI) -> None:
    mask = BytesIO()
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(mask, "PNG")
    picture = ("fox.png", noise_png(1, (64, 64)), "image/png")

    def draw(prompt: str) -> str | None:
        answer = client.images.edit(image=[picture], mask=("m.png", mask.getvalue()), prompt=prompt, n=1)
        return answer.data[0].b64_json if answer.data else None

    def draw_streamed(prompt: str) -> str:
        with client.images.edit(image=picture, prompt=prompt, stream=True, partial_images=0) as events:
            [event] = list(events)
        assert event.type == "image_edit.completed"
        return event.b64_json

    assert outcomes(draw) == outcomes(draw_streamed) == SHOWN


def test_a_refusal_in_mid_stream_is_an_api_error() -> None:
    model = NoiseModel(blocked=frozenset(range(8)))
    with loopback_server(app_of(noise_guard(model))) as url, OpenAI(base_url=url, api_key="none") as client:
        with client.images.generate(prompt="a fox", stream=True) as events, pytest.raises(openai.APIError) as error:
            list(events)
        assert error.value.code == "moderation_blocked"
        with pytest.raises(openai.BadRequestError) as refused:
            client.images.generate(prompt="a fox")
        assert refused.value.body["moderation_details"]["moderation_stage"] == "output"  # type: ignore[index]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_the_drawing(stream: bool) -> None:
    model = NoiseModel(step_s=0.05, steps=2000)
    with loopback_server(app_of(noise_guard(model))) as url:
        body = {"prompt": "a fox", "stream": stream}
        with httpx.Client(timeout=0.8) as client:
            if stream:
                with client.stream("POST", f"{url}/images/generations", json=body) as response:
                    assert next(response.iter_lines()) == ": judging"
            else:
                with pytest.raises(httpx.ReadTimeout):
                    client.post(f"{url}/images/generations", json=body)
        deadline = time.monotonic() + 20
        while not model.stopped and time.monotonic() < deadline:
            time.sleep(0.05)
        assert model.stopped


def test_the_server_answers_others_while_it_draws() -> None:
    ask = {"prompt": "a fox", "stream": True}
    with (
        loopback_server(app_of(noise_guard(NoiseModel(step_s=0.3, steps=4)))) as url,
        httpx.Client() as client,
        client.stream("POST", f"{url}/images/generations", json=ask) as response,
    ):
        lines = response.iter_lines()
        assert next(lines) == ": judging"
        assert client.get(f"{url}/models").status_code == 200
        assert ": judging" in list(lines)


NODE_CLIENT = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
function size(b64) {
  const file = Buffer.from(b64, "base64");
  return [file.readUInt32BE(16), file.readUInt32BE(20)];
}
async function whole(prompt) {
  return { size: size((await client.images.generate({ prompt, size: "64x64" })).data[0].b64_json) };
}
async function stream(prompt) {
  let shown = null;
  for await (const event of await client.images.generate({ prompt, size: "64x64", stream: true }))
    shown = { size: size(event.b64_json) };
  return shown;
}
const found = { whole: {}, stream: {} };
for (const [name, show] of Object.entries({ whole, stream }))
  for (const [label, prompt] of Object.entries(JSON.parse(process.argv[3])))
    try { found[name][label] = await show(prompt); }
    catch (error) {
      found[name][label] = { error: error.constructor.name, code: error.code ?? null };
      if (error.code === "moderation_blocked") found[name][label].words = error.error.message;
    }
console.log(JSON.stringify(found));
"""


def test_openai_node(url: str) -> None:
    folder, node = os.environ.get("TALEWARD_OPENAI_NODE"), shutil.which("node")
    if not folder or node is None:
        pytest.skip("needs node, and in TALEWARD_OPENAI_NODE a folder in which `npm install openai` was run")
    script = Path(folder) / f"images-{os.getpid()}.mjs"  # NODE_PATH does not apply to ES modules
    script.write_text(NODE_CLIENT)
    try:
        command = [node, str(script), url, json.dumps(TABLE)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    finally:
        script.unlink()
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["whole"] == found["stream"] == SHOWN
