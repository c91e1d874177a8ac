"""The examples, as a reader of them would try them."""

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

import taleward as tw

EXAMPLES = Path(__file__).parents[2] / "examples"
VALUES = {
    "setting": "quiet harbour",
    "character": "small boat",
    "mysterious_object": "brass bell",
    "magical_properties": "the power to call the wind",
    "action": "ring the bell",
    "outcome": "a safe way home",
}


def example(name: str) -> ModuleType:
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


def events(answer: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    parts = [part.splitlines() for part in answer.text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in parts]


async def test_the_server_streams_a_judged_story_in_several_pieces() -> None:
    server = example("story_server")
    server.writer.seed = 1
    answer = await post(server, VALUES)
    assert answer.headers["content-type"].startswith("text/event-stream")
    came = events(answer)
    words = [data["text"] for name, data in came if name == "text"]
    assert len(words) > 2
    assert "boat" in "".join(words)
    assert came[-1][0] == "done"
    verdict = tw.judge("embedded:judge").invoke("".join(words))
    assert came[-1][1]["released"] is (verdict.outcome == "pass")


async def test_the_server_says_no_in_words_for_a_child_and_names_what_is_missing() -> None:
    server = example("story_server")
    came = events(await post(server, {**VALUES, "character": "bloodthirsty murderer with a knife"}))
    assert [name for name, _ in came] == ["refusal", "done"]
    assert "murderer" not in json.dumps(came)
    answer = await post(server, {"setting": "sea"})
    assert answer.status_code == 422
    assert "character" in answer.json()["detail"]


def test_the_bedtime_story_is_remembered_for_the_next_evening(tmp_path: Path) -> None:
    bedtime = example("bedtime")
    first = bedtime.tell("Mia", tmp_path, seed=3)
    assert first.startswith("Good evening, Mia.\n\n")
    assert first.endswith("\n\nSleep well.")
    assert bedtime.tell("Mia", tmp_path, seed=3) != first
    (tmp_path / "a file of one's own").touch()
    bedtime.forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a file of one's own"]
