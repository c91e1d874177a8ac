"""The example applications, run as a reader would run them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("faiss")

import httpx
from openai import OpenAI

import taleward as tw
from taleward.serving import ServeConfig, ServedModel, ServedModelConfig, create_app
from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.loopback_server import loopback_server

EXAMPLES = Path(__file__).parents[2] / "examples"
VALUES = {
    "setting": "quiet harbor",
    "character": "small boat",
    "mysterious_object": "brass bell",
    "magical_properties": "the power to call the wind",
    "action": "ring the bell",
    "outcome": "a safe way home",
}


def load_example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def post(server: ModuleType, values: dict[str, str]) -> httpx.Response:
    transport = httpx.ASGITransport(app=server.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.post("/stories", json=values)


def parse_events(response: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    parts = [part.splitlines() for part in response.text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in parts]


async def test_the_server_streams_a_judged_story_in_several_events() -> None:
    server = load_example("story_server")
    server.writer.seed = 1
    response = await post(server, VALUES)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = parse_events(response)
    texts = [data["text"] for name, data in events if name == "text"]
    assert len(texts) > 2
    assert "boat" in "".join(texts)
    assert events[-1][0] == "done"
    verdict = tw.judge("embedded:judge").invoke("".join(texts))
    assert events[-1][1]["released"] is (verdict.outcome == "pass")


async def test_the_server_refuses_kindly_and_names_missing_values() -> None:
    server = load_example("story_server")
    events = parse_events(await post(server, {**VALUES, "character": "bloodthirsty murderer with a knife"}))
    assert [name for name, _ in events] == ["refusal", "done"]
    assert "murderer" not in json.dumps(events)
    response = await post(server, {"setting": "sea"})
    assert response.status_code == 422
    assert "character" in response.json()["detail"]


def test_the_next_bedtime_story_is_another_one(tmp_path: Path) -> None:
    bedtime = load_example("bedtime")
    first = bedtime.tell("Mia", tmp_path, seed=3)
    assert first.startswith("Good evening, Mia.\n\n")
    assert first.endswith("\n\nSleep well.")
    assert bedtime.tell("Mia", tmp_path, seed=3) != first
    (tmp_path / "another file").touch()
    bedtime.forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["another file"]


@pytest.mark.server
def test_a_program_for_openais_api_makes_a_page_of_what_was_judged() -> None:
    example = load_example("picture_story")
    config = ServedModelConfig()
    model = ServedModel("tales", config, writer=FakeWriter("A fox <ran>.\n\nIt slept."), judge=FakeJudge())
    app = create_app(ServeConfig(models={"tales": config}, embeddings=None), models={"tales": model}, warm=False)
    with loopback_server(app) as url, OpenAI(base_url=url, api_key="none") as client:
        page = example.make_page(client, "a fox")
        refused = example.make_page(client, "a bad fox")
    assert "<p>A fox &lt;ran&gt;.</p><p>It slept.</p>" in page
    assert 'alt="A fox' in page
    assert "data:image/webp;base64," in page
    assert "<img" not in refused
    assert "I would rather not" in refused
