"""`/v1/chat/completions` as it is on the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.messages.tool import tool_call_chunk
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from taleward.moderation.judges import Assessment
from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.scripted_chat import ScriptedChat
from tests.helpers.serving_apps import client_of, events_of, fake_app

URL = "/v1/chat/completions"


def chat(text: str = "a story about a fox", **fields: Any) -> dict[str, Any]:
    return {"model": "tales", "messages": [{"role": "user", "content": text}], **fields}


async def post(app: Any, body: dict[str, Any]) -> Any:
    async with client_of(app) as client:
        return await client.post(URL, json=body)


def chunks_of(text: str) -> list[Any]:
    return [data for _, data in events_of(text)]


def texts_of(chunks: list[Any]) -> list[str]:
    deltas = [choice["delta"] for chunk in chunks if "choices" in chunk for choice in chunk["choices"]]
    return [delta["content"] for delta in deltas if delta.get("content")]


async def test_a_story_answers_a_chat() -> None:
    writer = FakeWriter("A fox ran. It slept.")
    response = await post(fake_app(writer=writer), chat("a fox"))
    completion = ChatCompletion.model_validate(response.json())
    assert completion.choices[0].message.content == "A fox ran. It slept."
    assert completion.choices[0].finish_reason == "stop"
    assert completion.moderation is not None
    for side in (completion.moderation.input, completion.moderation.output):
        assert side.type == "moderation_results"
        assert [result.flagged for result in side.results] == [False]
    assert writer.inputs == ["a fox"]


async def test_a_stream_begins_with_the_role_and_has_one_chunk_for_each_sentence() -> None:
    writer = FakeWriter(["A fox ", "ran. It sl", "ept. The end."])
    body = chat(stream=True, stream_options={"include_usage": True})
    response = await post(fake_app(writer=writer), body)
    *chunks, done = chunks_of(response.text)
    assert done == "[DONE]"
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert texts_of(chunks) == ["A fox ran. ", "It slept. ", "The end."]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-2]["moderation"]["output"]["results"][0]["flagged"] is False
    assert chunks[-1]["choices"] == []
    assert "usage" in chunks[-1]
    assert len({chunk["id"] for chunk in chunks}) == 1


def fails_as_a_whole() -> FakeJudge:
    return FakeJudge(lambda passage: "fail" if passage.text.count("fox") > 1 else "pass")


async def test_by_default_nothing_leaves_before_the_whole_text_has_passed() -> None:
    app = fake_app(writer=FakeWriter(["A fox ran. ", "A fox hid. "]), judge=fails_as_a_whole())
    response = await post(app, chat("hello", stream=True))
    chunks = chunks_of(response.text)
    assert texts_of(chunks) == []
    assert chunks[1]["choices"][0]["delta"]["refusal"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "content_filter"
    assert chunks[-1] == "[DONE]"
    assert "fox ran" not in response.text


async def test_a_client_that_can_withdraw_gets_sentences_and_a_retraction() -> None:
    app = fake_app(writer=FakeWriter(["A fox ran. ", "A fox hid. "]), judge=fails_as_a_whole())
    chunks = chunks_of((await post(app, chat("hello", stream=True, release="sentences"))).text)
    assert texts_of(chunks) == ["A fox ran. ", "A fox hid. "]
    last = chunks[-2]["choices"][0]
    assert last["finish_reason"] == "content_filter"
    assert last["taleward"]["retraction"] == {"start": 0, "end": len("A fox ran. A fox hid. ")}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_has_no_content_unless_it_is_asked_for(stream: bool) -> None:
    app = fake_app(writer=FakeWriter("It was bad."), attempts=1)
    refusal = (await post(app, chat())).json()["choices"][0]
    assert refusal["message"]["content"] is None
    assert refusal["finish_reason"] == "content_filter"
    words = refusal["message"]["refusal"]
    response = await post(app, chat(stream=stream, refusal_as="content"))
    if stream:
        assert texts_of(chunks_of(response.text)) == [words]
    else:
        assert response.json()["choices"][0]["message"] == {"role": "assistant", "content": words, "refusal": None}
    assert "It was" not in response.text


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_is_turned_down_is_a_400(stream: bool) -> None:
    response = await post(fake_app(), chat("something bad", stream=stream))
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "content_filter"
    assert error["param"] == "messages"
    assert error["taleward"]["categories"] == ["violence"]
    assert "something bad" not in response.text


async def test_only_what_is_new_in_a_conversation_is_judged() -> None:
    judge = FakeJudge()
    model = ScriptedChat(answers=[["Hello."]])
    turns = [
        {"role": "user", "content": "something bad"},
        {"role": "assistant", "content": None, "refusal": "Let us talk about something else."},
        {"role": "user", "content": "hello"},
    ]
    response = await post(fake_app(chat=model, judge=judge), {"model": "tales", "messages": turns})
    assert response.json()["choices"][0]["message"]["content"] == "Hello."
    assert judge.judged_texts[0] == "hello"


@pytest.mark.parametrize("stream", [False, True])
async def test_without_a_judge_nothing_leaves(stream: bool) -> None:
    judge = FakeJudge(lambda passage: "pass" if passage.text == "hello" else "error")
    response = await post(fake_app(judge=judge), chat("hello", stream=stream))
    if not stream:
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "judge_unavailable"
        return
    chunks = chunks_of(response.text)
    assert chunks[-1]["error"]["code"] == "judge_unavailable"
    assert "[DONE]" not in chunks
    assert texts_of(chunks) == []


async def test_a_judge_that_fails_in_mid_stream_takes_back_what_was_sent() -> None:
    def outcome(passage: Any) -> Any:
        return "error" if "slept" in passage.text else "pass"

    app = fake_app(writer=FakeWriter(["A fox ran. ", "It slept. "]), judge=FakeJudge(outcome))
    chunks = chunks_of((await post(app, chat("hello", stream=True, release="sentences"))).text)
    assert texts_of(chunks) == ["A fox ran. "]
    assert chunks[-1]["error"]["taleward"]["retraction"] == {"start": 0, "end": 11}


async def test_several_choices() -> None:
    app = fake_app(writer=FakeWriter("A fox ran.", "A hen sat."))
    choices = (await post(app, chat(n=2))).json()["choices"]
    assert sorted(choice["message"]["content"] for choice in choices) == ["A fox ran.", "A hen sat."]
    assert [choice["index"] for choice in choices] == [0, 1]
    chunks = chunks_of((await post(app, chat(n=2, stream=True))).text)
    assert [chunk["choices"][0]["index"] for chunk in chunks[:2]] == [0, 1]
    assert sum(chunk["choices"][0]["finish_reason"] == "stop" for chunk in chunks[:-1]) == 2


async def test_a_conversation_reaches_the_model_with_its_options() -> None:
    model = ScriptedChat(answers=[["Hello ", "Mia."]])
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "I am Mia, mia@example.com"}]},
    ]
    app = fake_app(chat=model, system_prompt="You talk with children.")
    body = {"model": "tales", "messages": messages, "temperature": 0.5, "max_tokens": 20, "stop": "###", "seed": 7}
    response = await post(app, body)
    assert response.json()["choices"][0]["message"]["content"] == "Hello Mia."
    [request] = model.requests
    assert request["messages"] == [
        SystemMessage("You talk with children."),
        SystemMessage("Be brief."),
        HumanMessage("I am Mia, [e-mail address]"),
    ]
    assert {key: request[key] for key in ("temperature", "max_tokens", "stop", "seed")} == {
        "temperature": 0.5,
        "max_tokens": 20,
        "stop": ["###"],
        "seed": 7,
    }


TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
SCORE_ONLY = {"output": {"mode": "score"}}


def asks_for_tool(city: str) -> ScriptedChat:
    call = tool_call_chunk(name="weather", args=json.dumps({"city": city}), id="call_123456", index=0)
    return ScriptedChat(answers=[[AIMessageChunk(content="", tool_call_chunks=[call])]])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_judged_tool_call_reaches_the_client(stream: bool) -> None:
    response = await post(fake_app(chat=asks_for_tool("Rome")), chat("hello", tools=[TOOL], stream=stream))
    if stream:
        chunks = chunks_of(response.text)
        calls = [
            c["choices"][0]["delta"]["tool_calls"] for c in chunks[:-1] if "tool_calls" in c["choices"][0]["delta"]
        ]
        [[call]] = calls
        assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
    else:
        choice = response.json()["choices"][0]
        [call] = choice["message"]["tool_calls"]
        assert choice["finish_reason"] == "tool_calls"
    assert call["id"] == "call_123456"
    assert call["function"] == {"name": "weather", "arguments": '{"city": "Rome"}'}


async def test_a_tool_call_with_harmful_words_is_refused() -> None:
    response = await post(fake_app(chat=asks_for_tool("bad")), chat("hello", tools=[TOOL]))
    choice = response.json()["choices"][0]
    assert choice["finish_reason"] == "content_filter"
    assert "tool_calls" not in choice["message"]


async def test_a_tool_result_continues_the_conversation() -> None:
    model = ScriptedChat(answers=[["It is sunny."]])
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    messages = [
        {"role": "user", "content": "How is the weather in Rome?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    response = await post(fake_app(chat=model), {"model": "tales", "messages": messages, "tools": [TOOL]})
    assert response.json()["choices"][0]["message"]["content"] == "It is sunny."
    assert model.requests[0]["messages"][1].tool_calls[0]["args"] == {"city": "Rome"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "nobody"}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "assistant", "content": "Once"}]}, "messages"),
        ({"messages": [{"role": "wizard", "content": "Once"}]}, "messages[0].role"),
        ({"n": 0}, "n"),
        ({"seed": -1}, "seed"),
        ({"temperature": 3}, "temperature"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"store": True}, "store"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"tools": [TOOL]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"frequency_penalty": 1.0}, "frequency_penalty"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"temprature": 1.0}, "temprature"),
        ({"band": "9-12"}, "band"),
        ({"moderation": {"model": "tales", "policy": SCORE_ONLY}}, "moderation.policy.output.mode"),
        ({"moderation": {"model": "another"}}, "moderation.model"),
    ],
)  # fmt: skip
async def test_what_cannot_be_honoured_is_an_error_that_names_it(fields: dict[str, Any], param: str) -> None:
    response = await post(fake_app(), {**chat(), **fields})
    assert response.status_code in (400, 404), response.text
    error = response.json()["error"]
    assert error["param"] == param
    assert set(error) >= {"message", "type", "param", "code"}


async def test_what_changes_nothing_is_accepted() -> None:
    fields: dict[str, Any] = {
        "user": "u1",
        "metadata": {"a": "b"},
        "store": False,
        "logprobs": False,
        "service_tier": "auto",
        "n": 1,
        "modalities": ["text"],
        "response_format": {"type": "text"},
        "tool_choice": "none",
        "logit_bias": None,
        "moderation": {"model": "omni-moderation-latest", "policy": {"output": {"mode": "block"}}},
    }
    assert (await post(fake_app(), chat(**fields))).status_code == 200


async def test_a_story_model_says_which_messages_it_did_not_read() -> None:
    messages = [{"role": "system", "content": "Be a pirate."}, {"role": "user", "content": "a fox"}]
    response = await post(fake_app(), {"model": "tales", "messages": messages})
    assert response.json()["choices"][0]["taleward"]["ignored_messages"] == 1


async def test_a_slow_judge_is_no_silence() -> None:
    judge = FakeJudge(delay_s=0.2)
    response = await post(fake_app(judge=judge, keep_alive_s=0.05), chat(stream=True))
    assert ": judging\n\n" in response.text
    assert chunks_of(response.text)[-1] == "[DONE]"


async def test_an_exception_is_answered_and_logged_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    app = fake_app(writer=FakeWriter(RuntimeError("Mia lives in Rome")))
    response = await post(app, chat())
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    chunks = chunks_of((await post(app, chat(stream=True))).text)
    assert chunks[-1]["error"]["code"] == "internal_error"
    assert "RuntimeError" in caplog.text
    assert "Mia" not in caplog.text + response.text


async def test_unknown_paths_and_wrong_methods_and_broken_json_have_openais_shape() -> None:
    async with client_of(fake_app()) as client:
        answers = [
            await client.get("/v1/nothing"),
            await client.get(URL),
            await client.post(URL, content=b"{", headers={"content-type": "application/json"}),
        ]
    assert [answer.status_code for answer in answers] == [404, 405, 400]
    assert [answer.json()["error"]["code"] for answer in answers] == [
        "unknown_url",
        "method_not_allowed",
        "invalid_json",
    ]


async def test_a_request_that_is_too_long_is_not_read() -> None:
    response = await post(fake_app(max_input_chars=10), chat("a" * 11))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "input_too_long"


def abstains_on_stories(passage: Any) -> Assessment:
    return Assessment(outcome="abstain" if "fox ran" in passage.text else None)


async def test_a_text_that_the_judge_cannot_read_is_refused() -> None:
    response = await post(fake_app(judge=FakeJudge(abstains_on_stories)), chat("hello"))
    assert response.json()["choices"][0]["finish_reason"] == "content_filter"
