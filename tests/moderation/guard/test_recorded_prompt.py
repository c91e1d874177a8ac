"""The prompt that a tale keeps with its drafts: what the writer's model was sent, if that is one plain conversation."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableLambda

from taleward.core.tale import ChatTurn
from taleward.moderation.guard.best_of import BestOf
from taleward.moderation.guard.guard import Guard
from taleward.testing import FakeJudge, WordEmbeddings
from tests.helpers.scripted_chat import ScriptedChat

REQUEST: list[BaseMessage] = [SystemMessage("Be kind."), HumanMessage("A story about a fox.")]
TURNS = (ChatTurn(role="system", content="Be kind."), ChatTurn(role="user", content="A story about a fox."))


def writer_of(messages: list[BaseMessage], chat: Runnable[Any, Any]) -> Runnable[Any, Any]:
    return RunnableLambda(lambda _: messages) | chat


def prompt_of(*messages: BaseMessage) -> tuple[ChatTurn, ...]:
    writer = writer_of(list(messages), ScriptedChat(answers=[["A good fox."]]))
    return Guard(writer, FakeJudge(), keep_drafts=True).invoke({}).attempts[0].messages


def test_a_tale_keeps_the_prompt_of_its_first_draft_only_with_its_drafts() -> None:
    writer = writer_of(REQUEST, ScriptedChat(answers=[["A bad fox."], ["A good fox."]]))
    tale = Guard(writer, FakeJudge(), keep_drafts=True).invoke({})
    assert [attempt.messages for attempt in tale.attempts] == [TURNS, ()]
    assert "A story about a fox." not in repr(tale)
    assert "A story about a fox." not in tale.without_drafts().model_dump_json()
    assert "A story about a fox." not in Guard(writer, FakeJudge()).invoke({}).model_dump_json()


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage([{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "data:,"}}]),
        ToolMessage("42", tool_call_id="1"),
        AIMessage("Let me see.", tool_calls=[{"name": "look", "args": {}, "id": "1"}]),
        AIMessage(""),
    ],
)
def test_a_conversation_that_is_not_plain_text_is_not_kept(message: BaseMessage) -> None:
    assert prompt_of(*REQUEST, message) == ()
    assert prompt_of(*REQUEST, AIMessage("Once upon a time")) == (
        *TURNS,
        ChatTurn(role="assistant", content="Once upon a time"),
    )


def test_the_same_prompt_sent_twice_is_one_prompt() -> None:
    def fail(_: Any) -> Any:
        raise ConnectionError

    broken: Runnable[Any, Any] = ScriptedChat(answers=[["never"]]) | RunnableLambda(fail)
    writer = writer_of(REQUEST, broken.with_fallbacks([ScriptedChat(answers=[["A good fox."]])]))
    tale = Guard(writer, FakeJudge(), keep_drafts=True).invoke({})
    assert tale.attempts[0].messages == TURNS


def test_the_first_of_several_candidates_has_the_prompt() -> None:
    writer = writer_of(REQUEST, ScriptedChat(answers=[["A good fox."], ["A kind fox."]]))
    guard = BestOf(writer, FakeJudge(), candidates=2, embeddings=WordEmbeddings(), keep_drafts=True)
    messages = {attempt.number: attempt.messages for attempt in guard.invoke({}).attempts}
    assert messages == {1: TURNS, 2: ()}
