"""Tools built on the chains: guarded stories, continuations with the same cast, texts, policy and search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taleward.agents.cast_sheet import CastSheet, characters_in
from taleward.agents.router_agent import Router
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.threads.checkpointer import Threads
from taleward.agents.tools import TOOLS, Toolbox, story_tools
from taleward.agents.tools.base import ClarificationNeeded, TaleTool
from taleward.core.errors import UnknownName
from taleward.stores.tale_memory import TaleMemory
from taleward.stores.vector.faiss_store import FaissStore
from taleward.testing import FakeJudge, WordEmbeddings
from tests.helpers.scripted_chat import SECRET, ScriptedChat, leaked


def make_tool(name: str, **options: Any) -> TaleTool:
    return story_tools(Toolbox(FakeJudge(), **options), [name])[0]


def make_router(tmp_path: Path, *answers: str, **options: Any) -> Router:
    judge = FakeJudge()
    writer = ScriptedChat(answers=[[a] for a in answers])
    tools = story_tools(Toolbox(judge, writer=writer, **options))
    return Router(tools, judge, threads=Threads(tmp_path / "threads.db"))


def test_each_tool_has_a_description_a_schema_and_a_valid_example(tmp_path: Path) -> None:
    memory = TaleMemory(FaissStore(WordEmbeddings(), tmp_path))
    toolbox = Toolbox(FakeJudge(), writer=ScriptedChat(answers=[]), memory=memory, statistics=dict)
    tools = story_tools(toolbox)
    assert [tool.name for tool in tools] == list(TOOLS)
    for tool in tools:
        assert len(tool.description) > 40
        schema: Any = tool.tool_call_schema
        assert schema.model_validate(dict(tool.example))
        assert "runtime" not in schema.model_fields
    with pytest.raises(UnknownName, match=r"unknown tool 'tell_storey'\. Did you mean 'tell_story'"):
        story_tools(toolbox, ["tell_storey"])


def test_tools_without_their_requirements_are_left_out() -> None:
    names = [tool.name for tool in story_tools(Toolbox(FakeJudge()))]
    assert names == ["tell_story", "continue_story", "judge_text", "summarize_text", "classify_text", "look_up_policy"]


def test_story_continues_later_with_its_cast(tmp_path: Path) -> None:
    first = "Once a brave girl named Lucy lived by the sea. She loved the waves. Then Lucy met a crab called Otto."
    story = make_router(tmp_path, first).invoke("Tell me a story about a girl in the old harbor", thread="1")
    assert story.text == first

    later = make_router(tmp_path, "Otto had found a shell.")
    result = later.invoke("and then what happened?", thread="1")
    assert result.tool == "continue_story"
    assert result.text == "The next day, Lucy was back in the old harbor. Otto had found a shell."
    prompt = later.tools[0].toolbox.model.requests[0]["messages"][-1].text  # type: ignore[attr-defined]
    assert "Lucy was a brave girl. Otto was a crab." in prompt
    assert "Then Lucy met a crab called Otto." in prompt
    sheet = CastSheet.model_validate(later.agent.get_state({"configurable": {"thread_id": "1"}}).values["cast"])
    assert [c.name for c in sheet.characters][:2] == ["Lucy", "Otto"]
    assert sheet.parts == 2


def test_a_model_that_follows_instructions_gets_the_request_as_it_is(tmp_path: Path) -> None:
    router = make_router(tmp_path, "A fox laughed.")
    router.invoke("Tell me a funny story about a fox who finds a key", thread="1")
    [request] = router.tools[0].toolbox.model.requests  # type: ignore[attr-defined]
    assert request["messages"][-1].text.endswith("The request:\nTell me a funny story about a fox who finds a key")


def test_a_told_story_is_refined_twice(tmp_path: Path) -> None:
    router = make_router(tmp_path, "A fox found a key.", "A fox giggled.", "A fox giggled at noon.")
    router.invoke("Tell me a story about a fox who finds a key", thread="1")
    result = router.invoke("make it funnier and shorter", thread="1")
    assert (result.tool, result.text) == ("revise_text", "A fox giggled.")
    model: Any = router.tools[0].toolbox.model  # type: ignore[attr-defined]
    request = model.requests[1]["messages"][-1].text
    assert "A fox found a key." in request
    assert "make it funnier and shorter" in request
    assert router.invoke("make it a bit longer", thread="1").calls[0].args["text"] == "A fox giggled."


def test_story_tool_does_not_leak_rejected_text(tmp_path: Path) -> None:
    router = make_router(tmp_path, f"A calm day. {SECRET}")
    events = list(router.stream("Tell me a story about a calm day", thread="1"))
    assert leaked(events) == ""
    assert leaked(list(router.agent.get_state_history({"configurable": {"thread_id": "1"}}))) == ""


def test_earlier_tales_are_found(tmp_path: Path) -> None:
    memory = TaleMemory(FaissStore(WordEmbeddings(), tmp_path / "tales"))
    router = make_router(tmp_path, "A whale sang at night.", memory=memory)
    router.invoke("Tell me a story about a whale", thread="1")
    result = router.invoke("Find the tale about the whale", thread="2")
    assert (result.tool, result.text) == ("search_tales", "1. A whale sang at night.")


def test_revised_text_is_what_it_refers_to_next(tmp_path: Path) -> None:
    router = make_router(tmp_path, "The wolf waved at the hat.", "The kind wolf waved.")
    first = router.invoke("Rewrite this so that it is gentler: The wolf ate the hat.", thread="1")
    assert (first.tool, first.text) == ("revise_text", "The wolf waved at the hat.")
    assert router.invoke("make it even gentler", thread="1").calls[0].args["text"] == first.text


def test_a_revised_text_can_be_continued(tmp_path: Path) -> None:
    router = make_router(tmp_path, "Wolf waved at Hare.", "They went home.")
    router.invoke("Rewrite this so that it is gentler: The wolf ate the hare.", thread="1")
    result = router.invoke("And then what happened?", thread="1")
    assert (result.tool, result.outcome) == ("continue_story", "answered")
    assert "They went home." in result.text


def test_embedded_models_summarize_and_classify() -> None:
    router = Router(story_tools(Toolbox(FakeJudge())), FakeJudge(), role="parent")
    text = "The fox lost her kite in a storm. It was a red kite. An old woman found the kite and gave it to the fox."
    summary = router.invoke(f"Sum this up: {text}")
    assert summary.tool == "summarize_text"
    assert 0 < len(summary.text) < len(text)
    label = router.invoke("Classify this as sea or school: The whale sang under the waves all night.")
    assert dict(label.calls[0].args)["labels"] == ["sea", "school"]
    assert label.text.startswith("It fits 'sea' best")


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("What does the policy say about violence for ages 3 to 5?", {"topic": "violence", "band": "3-5"}),
        ("May ten-year-olds read about ghosts?", {"topic": "frightening", "band": "9-12"}),
        ("What are the rules?", {"topic": "", "band": ""}),
    ],
)
def test_look_up_policy_extracts_topic_and_age_band(words: str, arguments: dict[str, str]) -> None:
    assert make_tool("look_up_policy").arguments(RoutingRequest(text=words)) == arguments


@pytest.mark.parametrize(
    ("words", "character", "setting"),
    [
        ("Tell me a story about a clever fox in a quiet garden", "clever fox", "quiet garden"),
        ("a tale with my grandma please", "grandma", ""),
        ("Make up a story where a snail wins a race.", "snail", ""),
        ("I'm bored", "", ""),
    ],
)
def test_tell_story_extracts_character_and_setting(words: str, character: str, setting: str) -> None:
    arguments = make_tool("tell_story").arguments(RoutingRequest(text=words))
    assert (arguments["character"], arguments["setting"]) == (character, setting)


def test_missing_text_raises_a_question() -> None:
    with pytest.raises(ClarificationNeeded, match="Which text should I check"):
        make_tool("judge_text").arguments(RoutingRequest(text="Judge it"))
    assert make_tool("judge_text").arguments(RoutingRequest(text="Judge it", tale="A day."))["text"] == "A day."


def test_characters_in_finds_named_characters() -> None:
    text = "There was a boy named Tim. Tim had a dog. Suddenly, Anna was a kind witch. They said hello to Tim and Anna."
    assert [(c.name, c.about) for c in characters_in(text)] == [("Tim", "a boy"), ("Anna", "a kind witch")]
