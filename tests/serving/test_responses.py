"""`/v1/responses` without state."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import Response

from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.scripted_chat import ScriptedChat
from tests.helpers.serving_apps import client_of, events_of, fake_app
from tests.serving.test_chat_completions import asks_for_tool

URL = "/v1/responses"
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}


async def post(app: Any, **body: Any) -> Any:
    async with client_of(app) as client:
        return await client.post(URL, json={"model": "tales", **body})


async def test_a_story() -> None:
    response = Response.model_validate((await post(fake_app(), input="a fox")).json())
    assert response.output_text == "A fox ran. It slept."
    assert response.status == "completed"
    assert response.moderation is not None


async def test_a_stream_has_openais_events_in_order() -> None:
    response = await post(fake_app(writer=FakeWriter(["A fox ran. ", "It slept."])), input="a fox", stream=True)
    events = events_of(response.text)
    assert all(event == data["type"] for event, data in events)
    assert [event for event, _ in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert events[-1][1]["response"]["output"][0]["content"][0]["text"] == "A fox ran. It slept."


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_an_incomplete_response(stream: bool) -> None:
    response = await post(fake_app(writer=FakeWriter("It was bad."), attempts=1), input="hello", stream=stream)
    assert "It was bad" not in response.text
    body = events_of(response.text)[-1][1]["response"] if stream else response.json()
    assert body["incomplete_details"] == {"reason": "content_filter"}
    assert [part["type"] for part in body["output"][0]["content"]] == ["refusal"]


async def test_without_a_judge_the_stream_ends_in_an_error() -> None:
    judge = FakeJudge(lambda passage: "pass" if passage.text == "hello" else "error")
    response = await post(fake_app(judge=judge), input="hello", stream=True)
    event, data = events_of(response.text)[-1]
    assert event == "error"
    assert data["code"] == data["error"]["code"] == "judge_unavailable"


async def test_a_conversation_with_tools() -> None:
    answer = (await post(fake_app(chat=asks_for_tool("Rome")), input="hello", tools=[TOOL])).json()
    [call] = answer["output"]
    assert (call["type"], call["name"], call["arguments"]) == ("function_call", "weather", '{"city": "Rome"}')
    model = ScriptedChat(answers=[["It is sunny."]])
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "How is the weather?"}]},
        call,
        {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"},
    ]
    response = await post(fake_app(chat=model), input=items, tools=[TOOL], instructions="Be brief.")
    assert response.json()["output"][0]["content"][0]["text"] == "It is sunny."
    assert [message.type for message in model.requests[0]["messages"]] == ["system", "human", "ai", "tool"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"temperature": 5}, "temperature"),
        ({"inputs": "x"}, "inputs"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": "something bad"}, "input"),
    ],
)
async def test_what_cannot_be_honoured_is_an_error_that_names_it(fields: dict[str, Any], param: str) -> None:
    response = await post(fake_app(), **{"input": "hello", **fields})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
