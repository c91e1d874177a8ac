"""Tools over the chains: told behind a guard, continued with their cast, and right about what they cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taleward.agents.router import Router
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.story_state import CastSheet, characters_in
from taleward.agents.threads.checkpointer import Threads
from taleward.agents.tools import TOOLS, Toolbox, story_tools
from taleward.agents.tools.base import NeedsMore, TaleTool
from taleward.core.errors import UnknownName
from taleward.stores.tale_memory import TaleMemory
from taleward.stores.vector.faiss_store import FaissStore
from taleward.testing.fake_embeddings import WordEmbeddings
from tests.helpers.fakes import FakeJudge
from tests.helpers.scripted_chat import SECRET, ScriptedChat, leaked


def made(name: str, **box: Any) -> TaleTool:
    return story_tools(Toolbox(FakeJudge(), **box), [name])[0]


def teller(tmp_path: Path, *answers: str, **box: Any) -> Router:
    judge = FakeJudge()
    writer = ScriptedChat(answers=[[a] for a in answers])
    return Router(story_tools(Toolbox(judge, writer=writer, **box)), judge, threads=Threads(tmp_path / "threads.db"))


def test_each_tool_has_a_schema_words_for_models_and_an_example(tmp_path: Path) -> None:
    memory = TaleMemory(FaissStore(WordEmbeddings(), tmp_path))
    box = Toolbox(FakeJudge(), writer=ScriptedChat(answers=[]), memory=memory, statistics=dict)
    all_ = story_tools(box)
    assert [tool.name for tool in all_] == list(TOOLS)
    for tool in all_:
        assert len(tool.description) > 40
        schema: Any = tool.tool_call_schema
        assert schema.model_validate(dict(tool.example))
        assert "runtime" not in schema.model_fields
    with pytest.raises(UnknownName, match=r"unknown tool 'tell_storey'\. Did you mean 'tell_story'"):
        story_tools(box, ["tell_storey"])


def test_a_tool_that_lacks_what_it_needs_is_left_out() -> None:
    names = [tool.name for tool in story_tools(Toolbox(FakeJudge()))]
    assert names == ["tell_story", "continue_story", "judge_text", "summarize_text", "classify_text", "look_up_policy"]


def test_a_story_goes_on_another_evening_with_its_cast(tmp_path: Path) -> None:
    first = "Once a brave girl named Lucy lived by the sea. She loved the waves. Then Lucy met a crab called Otto."
    told = teller(tmp_path, first).invoke("Tell me a story about a girl in the old harbour", thread="1")
    assert told.text == first

    again = teller(tmp_path, "Otto had found a shell.")
    routed = again.invoke("and then what happened?", thread="1")
    assert routed.tool == "continue_story"
    assert routed.text == "The next day, Lucy was back in the old harbour. Otto had found a shell."
    asked = again.tools[0].box.model.asked[0]["messages"][-1].text  # type: ignore[attr-defined]
    assert "Lucy was a brave girl. Otto was a crab." in asked
    assert "Then Lucy met a crab called Otto." in asked
    sheet = CastSheet.model_validate(again.agent.get_state({"configurable": {"thread_id": "1"}}).values["cast"])
    assert [c.name for c in sheet.characters][:2] == ["Lucy", "Otto"]
    assert sheet.parts == 2


def test_nothing_leaves_a_telling_tool_that_did_not_pass(tmp_path: Path) -> None:
    router = teller(tmp_path, f"A calm day. {SECRET}")
    events = list(router.stream("Tell me a story about a calm day", thread="1"))
    assert leaked(events) == ""
    assert leaked(list(router.agent.get_state_history({"configurable": {"thread_id": "1"}}))) == ""


def test_told_tales_are_found_again(tmp_path: Path) -> None:
    memory = TaleMemory(FaissStore(WordEmbeddings(), tmp_path / "tales"))
    router = teller(tmp_path, "A whale sang at night.", memory=memory)
    router.invoke("Tell me a story about a whale", thread="1")
    found = router.invoke("Find the tale about the whale", thread="2")
    assert (found.tool, found.text) == ("search_tales", "1. A whale sang at night.")


def test_a_text_is_revised_and_becomes_the_one_that_is_meant(tmp_path: Path) -> None:
    router = teller(tmp_path, "The wolf waved at the hat.", "The kind wolf waved.")
    first = router.invoke("Rewrite this so that it is gentler: The wolf ate the hat.", thread="1")
    assert (first.tool, first.text) == ("revise_text", "The wolf waved at the hat.")
    assert router.invoke("make it even gentler", thread="1").calls[0].args["text"] == first.text


def test_a_text_is_summed_up_and_labelled_with_the_embedded_models(tmp_path: Path) -> None:
    router = Router(story_tools(Toolbox(FakeJudge())), FakeJudge(), role="parent")
    text = "The fox lost her kite in a storm. It was a red kite. An old woman found the kite and gave it to the fox."
    summed = router.invoke(f"Sum this up: {text}")
    assert summed.tool == "summarize_text"
    assert 0 < len(summed.text) < len(text)
    labelled = router.invoke("Classify this as sea or school: The whale sang under the waves all night.")
    assert dict(labelled.calls[0].args)["labels"] == ["sea", "school"]
    assert labelled.text.startswith("It fits 'sea' best")


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("What does the policy say about violence for ages 3 to 5?", {"topic": "violence", "band": "3-5"}),
        ("May ten-year-olds read about ghosts?", {"topic": "frightening", "band": "9-12"}),
        ("What are the rules?", {"topic": "", "band": ""}),
    ],
)
def test_the_policy_is_looked_up_by_what_is_asked(words: str, arguments: dict[str, str]) -> None:
    assert made("look_up_policy").arguments(RoutingRequest(text=words)) == arguments


@pytest.mark.parametrize(
    ("words", "character", "setting"),
    [
        ("Tell me a story about a clever fox in a quiet garden", "clever fox", "quiet garden"),
        ("a tale with my grandma please", "grandma", ""),
        ("Make up a story where a snail wins a race.", "snail", ""),
        ("I'm bored", "", ""),
    ],
)
def test_hero_and_place_come_from_the_words(words: str, character: str, setting: str) -> None:
    found = made("tell_story").arguments(RoutingRequest(text=words))
    assert (found["character"], found["setting"]) == (character, setting)


def test_what_is_missing_is_a_question() -> None:
    with pytest.raises(NeedsMore, match="Which text shall I judge"):
        made("judge_text").arguments(RoutingRequest(text="Judge it"))
    assert made("judge_text").arguments(RoutingRequest(text="Judge it", tale="A day."))["text"] == "A day."


def test_characters_are_those_with_names() -> None:
    text = "There was a boy named Tim. Tim had a dog. Suddenly, Anna was a kind witch. They said hello to Tim and Anna."
    assert [(c.name, c.about) for c in characters_in(text)] == [("Tim", "a boy"), ("Anna", "a kind witch")]
