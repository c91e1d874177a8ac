"""Tool calls, JSON, structured output and other content of a guarded chat model."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import invalid_tool_call, tool_call
from pydantic import BaseModel

from taleward.core.errors import Refused
from taleward.moderation.chat.guarded_chat import GuardedChat
from taleward.testing import FakeJudge
from tests.helpers.chat_paths import FINE, STREAMED, WHOLE, Path, ainvoke, astream, invoke, stream
from tests.helpers.scripted_chat import SECRET, ScriptedChat, Witness, call_id, calls, leaked, says

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
@pytest.mark.parametrize(
    "args", [{"note": SECRET}, {"note": {"deep": ["fine", SECRET]}}, {SECRET: 1}, {"note": "fine", "other": SECRET}]
)
def test_the_words_in_tool_calls_are_judged(path: Path, args: dict[str, Any]) -> None:
    witness = Witness()
    chat = GuardedChat(ScriptedChat(answers=[calls("save", args, text=FINE)]), FakeJudge())
    seen = path(chat, {"callbacks": [witness]})
    assert leaked(seen) == ""
    assert leaked(witness.events) == ""
    assert call_id("save") not in repr(seen)


@pytest.mark.parametrize("text", ["", "\n\n", FINE])
@pytest.mark.parametrize("path", [invoke, ainvoke, stream, astream], ids=lambda path: path.__name__)
def test_a_tool_call_that_passes_arrives(path: Path, text: str) -> None:
    judge = FakeJudge()
    chat = GuardedChat(ScriptedChat(answers=[calls("save", {"note": "a fox", "n": 3}, text=text)]), judge)
    seen = path(chat, {})
    message = seen[0]
    for chunk in seen[1:]:
        message += chunk
    assert [(c["name"], c["args"], c["id"]) for c in message.tool_calls] == [
        ("save", {"note": "a fox", "n": 3}, call_id("save"))
    ]
    assert message.text == (text if text.strip() else "")
    assert "a fox" in judge.judged_texts[-1]


def test_names_in_tool_definitions_are_not_the_models_words() -> None:
    def save_bad_note(note: str, bad: int) -> None:
        """Save a note."""

    judge = FakeJudge()
    model = ScriptedChat(answers=[calls("save_bad_note", {"note": "fine", "bad": 1})])
    message = GuardedChat(model, judge).bind_tools([save_bad_note]).invoke("hi")
    assert [c["name"] for c in message.tool_calls] == ["save_bad_note"]
    assert model.requests[0]["tools"][0]["function"]["name"] == "save_bad_note"
    refused = GuardedChat(model, FakeJudge()).invoke("hi")
    assert refused.tool_calls == []


def test_a_tool_call_without_words_needs_no_verdict() -> None:
    def now() -> None:
        """What time it is."""

    judge = FakeJudge()
    message = GuardedChat(ScriptedChat(answers=[calls("now", {})]), judge).bind_tools([now]).invoke("hi")
    assert message.tool_calls[0]["name"] == "now"
    assert message.response_metadata["taleward"] == {"released": True}
    assert judge.judged_texts == []


def test_an_invalid_tool_call_is_judged_as_raw_text() -> None:
    broken = invalid_tool_call(name="save", args='{"note": "' + SECRET, id="1")
    model = ScriptedChat(answers=[[AIMessageChunk(content="", invalid_tool_calls=[broken])]])
    message = GuardedChat(model, FakeJudge()).invoke("hi")
    assert leaked(message) == ""
    assert message.invalid_tool_calls == []


@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
def test_content_that_no_judge_has_seen_is_dropped(path: Path) -> None:
    chunk = AIMessageChunk(
        content=[
            {"type": "reasoning", "reasoning": SECRET},
            {"type": "thinking", "thinking": SECRET},
            {"type": "text", "text": FINE, "annotations": [{"type": "citation", "cited_text": SECRET}]},
            {"type": "image", "url": SECRET},
            {"type": "server_tool_result", "output": SECRET},
        ],
        additional_kwargs={"reasoning_content": SECRET, "audio": {"transcript": SECRET}},
        response_metadata={"logprobs": {"content": [{"token": SECRET}]}, "model_name": "m", "finish_reason": "stop"},
        usage_metadata={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
    )
    witness = Witness()
    seen = path(GuardedChat(ScriptedChat(answers=[[chunk]]), FakeJudge()), {"callbacks": [witness]})
    assert leaked(seen) == ""
    assert leaked(witness.events) == ""
    assert "red tail" in repr(seen)
    if isinstance(seen[-1], AIMessage):
        assert seen[-1].usage_metadata == {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
        assert seen[-1].response_metadata["model_name"] == "m"


@pytest.mark.parametrize("where", ["kwargs", "block"])
def test_the_models_own_refusal_is_judged_like_its_text(where: str) -> None:
    def refusal(words: str) -> AIMessageChunk:
        if where == "kwargs":
            return AIMessageChunk(content="", additional_kwargs={"refusal": words})
        return AIMessageChunk(content=[{"type": "refusal", "refusal": words}])

    message = GuardedChat(ScriptedChat(answers=[[refusal("No, thank you.")]]), FakeJudge()).invoke("hi")
    assert message.content == "No, thank you."
    assert leaked(GuardedChat(ScriptedChat(answers=[[refusal(SECRET)]]), FakeJudge()).invoke("hi")) == ""


ESCAPED = json.dumps({"title": "fine", "story": "so b" + "ad"}).replace("bad", "\\u0062ad")


@pytest.mark.parametrize("text", [ESCAPED, f"```json\n{ESCAPED}\n```"])
@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
def test_json_is_judged_as_it_reads_once_parsed(path: Path, text: str) -> None:
    assert "bad" not in text
    seen = path(GuardedChat(says(text), FakeJudge()), {})
    assert "u0062" not in repr(seen)
    assert "title" not in repr(seen)


class Story(BaseModel):
    """A story."""

    title: str
    text: str


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("include_raw", [False, True])
def test_structured_output_is_judged(asynchronous: bool, include_raw: bool) -> None:
    def ask(text: str) -> Any:
        model = ScriptedChat(answers=[calls("Story", {"title": "Fox", "text": text})])
        structured = GuardedChat(model, FakeJudge()).with_structured_output(Story, include_raw=include_raw)
        return asyncio.run(structured.ainvoke("hi")) if asynchronous else structured.invoke("hi")

    fine = ask(FINE)
    assert (fine["parsed"] if include_raw else fine) == Story(title="Fox", text=FINE)
    if include_raw:
        refused = ask(SECRET)
        assert leaked(refused) == ""
        assert refused["parsed"] is None
        assert isinstance(refused["parsing_error"], Refused)
        assert refused["raw"].response_metadata["taleward"]["released"] is False
    else:
        with pytest.raises(Refused, match=r"not released \(failed\): violence") as error:
            ask(SECRET)
        assert leaked(error.value) == ""


async def test_structured_output_is_not_in_events_before_its_verdict() -> None:
    model, witness = ScriptedChat(answers=[calls("Story", {"title": "Fox", "text": SECRET})]), Witness()
    structured = GuardedChat(model, FakeJudge()).with_structured_output(Story, include_raw=True)
    seen = [e async for e in structured.astream_events("hi", {"callbacks": [witness]}, version="v2")]
    assert leaked(seen) == ""
    assert leaked(witness.events) == ""


HOSTILE_METADATA = {
    "finish_reason": "because bad",
    "stop_reason": "bad_bad_bad",
    "model_name": "the-bad-wolf",
    "model": "bad",
    "model_provider": "Bad Words",
    "system_fingerprint": "fp_bad_words",
    "service_tier": "bad",
    "logprobs": {"content": [{"token": "bad"}]},
}


class NamedChat(ScriptedChat):
    """A model that was asked for by name."""

    model_name: str = "gpt-fox"


@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
def test_only_known_values_of_metadata_ids_and_counts_leave(path: Path) -> None:
    usage: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "bad": 4}
    usage["output_token_details"] = {"reasoning": 1, "bad_words": 2}
    call = tool_call(name="save", args={"n": 3}, id="bad-bad-words")
    chunk = AIMessageChunk(content=FINE, tool_calls=[call], usage_metadata=usage, response_metadata=HOSTILE_METADATA)
    seen = path(GuardedChat(NamedChat(answers=[[chunk]]), FakeJudge()), {})
    assert "bad" not in re.sub(r"[0-9a-f]{24}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", repr(seen).lower())
    if path.__name__ != "chain":  # a chain ends in a parser, which keeps the text only
        assert "gpt-fox" in repr(seen)


@pytest.mark.parametrize("reported", ["gpt-fox", "gpt-fox-2026-01-31", "gpt-fox:latest", "gpt-fox-3.5-instruct"])
def test_versions_of_the_model_are_known_values(reported: str) -> None:
    metadata = {"model_name": reported, "finish_reason": "stop", "system_fingerprint": "fp_0a1b2c3d"}
    chunk = AIMessageChunk(content="A fox.", response_metadata=metadata)
    answer = GuardedChat(NamedChat(answers=[[chunk]]), FakeJudge()).invoke("hi")
    assert {key: answer.response_metadata[key] for key in metadata} == metadata
