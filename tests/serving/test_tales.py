"""`POST /v1/tales` and `GET /v1/templates`, as a client sees them."""

from __future__ import annotations

import pytest

from taleward.core.tale import Tale
from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.serving_apps import client_of, events_of, fake_app


async def test_a_tale_comes_as_json_without_drafts(values: dict[str, str]) -> None:
    writer = FakeWriter("It was bad.", "A fox ran.")
    async with client_of(fake_app(writer=writer)) as client:
        response = await client.post("/v1/tales", json={"values": values})
    assert response.status_code == 200
    tale = Tale.model_validate(response.json())
    assert tale.text == "A fox ran."
    assert "It was bad" not in response.text
    assert writer.inputs[0] == values


async def test_a_free_sentence_reaches_the_writer() -> None:
    writer = FakeWriter("A fox ran.")
    async with client_of(fake_app(writer=writer)) as client:
        response = await client.post("/v1/tales", json={"request": " a story about a fox "})
    assert response.json()["released_text"] == "A fox ran."
    assert writer.inputs == ["a story about a fox"]


async def test_a_stream_has_every_event_of_the_guard(values: dict[str, str]) -> None:
    writer = FakeWriter(["A fox ran. ", "It was bad. "], "It slept.")
    async with client_of(fake_app(writer=writer)) as client:
        response = await client.post("/v1/tales", json={"values": values, "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    events = events_of(response.text)
    assert all(event == data["type"] for event, data in events)
    assert [data["text"] for event, data in events if event == "text"] == ["A fox ran. ", "It slept."]
    assert {"verdict", "revision"} <= {event for event, _ in events}
    assert events[-1][0] == "done"
    assert events[-1][1]["tale"]["released_text"] == "A fox ran. It slept."
    assert "It was bad" not in response.text


async def test_a_text_that_fails_as_a_whole_is_retracted(values: dict[str, str]) -> None:
    judge = FakeJudge(lambda passage: "fail" if passage.text.count("fox") > 1 else "pass")
    writer = FakeWriter(["A fox ran. ", "A fox hid. "])
    async with client_of(fake_app(writer=writer, judge=judge)) as client:
        response = await client.post("/v1/tales", json={"values": values, "stream": True})
    assert [event for event, _ in events_of(response.text)][-3:] == ["retraction", "refusal", "done"]


async def test_what_a_template_turns_down_is_an_error_before_the_stream(values: dict[str, str]) -> None:
    async with client_of(fake_app()) as client:
        response = await client.post("/v1/tales", json={"values": {**values, "setting": " "}, "stream": True})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == "values"
    assert error["problems"] == ["'setting' is empty: where the story takes place"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"request": "a fox", "band": "9-12"}, "band"),
        ({"request": "a fox", "model": "nobody"}, "model"),
        ({"request": "a fox", "template": "nothing"}, "template"),
        ({"request": "a fox", "temprature": 1}, "temprature"),
        ({"request": "a fox", "seed": -1}, "seed"),
        ({"request": " "}, "values"),
        ({}, "body"),
    ],
)
async def test_a_wrong_request_is_an_error_that_names_the_parameter(body: dict[str, object], param: str) -> None:
    async with client_of(fake_app()) as client:
        response = await client.post("/v1/tales", json=body)
    assert response.status_code in (400, 404)
    assert response.json()["error"]["param"] == param


async def test_templates_are_listed_with_their_variables() -> None:
    async with client_of(fake_app(bands=("3-5",))) as client:
        listing = (await client.get("/v1/templates")).json()
    assert listing["bands"] == ["6-8", "3-5"]
    template = listing["data"][0]
    assert template["name"] == "adventure"
    assert template["variables"][0]["label"] == "Setting"
    assert set(template["examples"][0]) == {variable["name"] for variable in template["variables"]}
