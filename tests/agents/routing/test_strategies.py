"""A request finds its tool, by whichever way is sure; what is not clear is asked back, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from taleward.agents.router import Router
from taleward.agents.routing.constrained import ConstrainedStrategy
from taleward.agents.routing.request_parsing import Spelling, edits, take_apart
from taleward.agents.routing.routes import Routes, load_routes
from taleward.agents.routing.semantic import SHIPPED, SemanticStrategy, digest
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.threads.checkpointer import Threads
from taleward.agents.tools import TOOLS, Toolbox, story_tools
from taleward.core.errors import InvalidFile
from tests.helpers.fakes import FakeJudge
from tests.helpers.scripted_chat import ScriptedChat, calls


@pytest.fixture(scope="module")
def way() -> SemanticStrategy:
    return SemanticStrategy()


def router(tmp_path: Path, **options: Any) -> Router:
    judge = FakeJudge()
    box = Toolbox(judge, seed=1, statistics=lambda: {"tales": 3.0, "refused": 1.0})
    return Router(story_tools(box), judge, threads=Threads(tmp_path / "threads.db"), **options)


@pytest.mark.parametrize(
    ("words", "tool"),
    [
        ("Tell me a story about a snail", "tell_story"),
        ("and then waht hapened", "continue_story"),
        ("Is this okay for kids? The wolf bit the boy.", "judge_text"),
        ("make it gentler please", "revise_text"),
        ("what do the rules say about weapons", "look_up_policy"),
        ("how many tales were refused", "feedback_statistics"),
        ("find our old tale about the lighthouse", "search_tales"),
        ("Find the tale about the lighthouse and then make it shorter.", "search_tales"),
    ],
)
def test_the_semantic_way_knows_what_is_wanted(way: SemanticStrategy, words: str, tool: str) -> None:
    found = way.invoke(words)
    assert (found.found, found.tool) == ("tool", tool)
    assert sum(found.scores.values()) == pytest.approx(1.0)


def test_it_says_when_no_tool_is_for_it_and_when_it_is_not_sure(way: SemanticStrategy) -> None:
    assert way.invoke("What is the capital of Peru?").found == "none"
    unsure = way.invoke("hmm what about the bear")
    assert unsure.found == "unsure"
    assert len(unsure.options) == 2
    assert unsure.scores[unsure.tool or ""] < way.threshold


def test_the_shipped_fit_is_that_of_the_shipped_routes(way: SemanticStrategy) -> None:
    assert SHIPPED.is_file()
    assert way.state["digest"] == digest(load_routes(), 0.03), "run: python -m taleward.agents.routing.semantic"
    assert set(TOOLS) <= set(way.labels)


def test_routes_of_ones_own_are_a_file(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(
        'version: "ours"\nfillings: {drawing: [a picture, a drawing, an image]}\n'
        "routes:\n  illustrate: ['[paint|draw|sketch] {drawing} [of the fox|for the story|]']\n"
    )
    routes = load_routes(tmp_path / "ours.yaml")
    assert any(tool == "illustrate" and text.startswith("draw a ") for tool, text in routes.utterances(20))
    assert len(load_routes().routes) + 1 == len(routes.routes)
    (tmp_path / "ours.yaml").write_text('version: "1"\nroutes: {x: ["draw {thing}"]}\n')
    with pytest.raises(InvalidFile, match=r"patterns use \['thing'\]"):
        load_routes(tmp_path / "ours.yaml")


def test_a_small_fit_of_ones_own_learns_its_routes() -> None:
    shipped = load_routes()
    two = {name: shipped.routes[name] for name in ("tell_story", "feedback_statistics")}
    few = tuple(e for e in shipped.examples if e.tool in two)
    own = SemanticStrategy(Routes(version="1", fillings=shipped.fillings, routes=two, examples=few), abstain=0.1)
    assert own.invoke("how often was a story refused this week").tool == "feedback_statistics"
    assert own.labels == sorted(two)


@pytest.mark.parametrize(
    ("request_", "wish", "text"),
    [
        ('Judge this: "The fox went home."', "Judge this:", "The fox went home."),
        ("Rewrite: The fox was cold.", "Rewrite", "The fox was cold."),
        ("Is this fine?  The fox was cold.", "Is this fine?", "The fox was cold."),
        ("Judge this\nThe fox was cold.\nIt snowed.", "Judge this", "The fox was cold.\nIt snowed."),
        ("Tell me a story.", "Tell me a story.", ""),
    ],
)
def test_a_request_is_taken_apart(request_: str, wish: str, text: str) -> None:
    apart = take_apart(request_)
    assert (apart.wish, apart.text) == (wish, text)


@given(st.text("abcd", max_size=6), st.text("abcd", max_size=6))
def test_edits_are_a_distance(one: str, other: str) -> None:
    assert edits(one, other) == edits(other, one) <= max(len(one), len(other))
    assert (edits(one, other) == 0) == (one == other)


def test_misspelt_words_are_mended_and_names_are_left_alone() -> None:
    spelling = Spelling({"story": 5, "about": 3, "tell": 2}, frozenset({"stony"}))
    assert spelling.mended("tel a stroy abuot Storq, stony") == "tell a story about Storq, stony"


def test_a_clear_request_runs_its_tool_without_a_model(tmp_path: Path) -> None:
    routed = router(tmp_path, role="staff").invoke("How many tales were refused?", thread="1")
    assert (routed.outcome, routed.tool, routed.by) == ("answered", "feedback_statistics", "semantic")
    assert routed.text == "- tales: 3\n- refused: 1"
    assert routed.choice.scores["feedback_statistics"] > 0.5
    assert routed.steps == 0


def test_an_unclear_request_is_asked_back_once(tmp_path: Path) -> None:
    asks = router(tmp_path, role="staff")
    first = asks.invoke("hmm what about the bear", thread="1")
    assert first.outcome == "asked"
    assert first.choice.question is not None
    assert first.text == first.choice.question
    second = asks.invoke("no idea, you choose", thread="1")
    assert second.outcome != "asked"


def test_a_missing_text_is_asked_for_and_then_taken(tmp_path: Path) -> None:
    asks = router(tmp_path, role="parent")
    assert asks.invoke("Check this text for me", thread="1").text == "Which text shall I judge? Please paste it."
    answer = asks.invoke("The otter swam home bad and slow.", thread="1")
    assert answer.calls[0].args["text"] == "The otter swam home bad and slow."
    assert "does not pass" in answer.text


def test_a_choice_can_be_had_without_acting(tmp_path: Path) -> None:
    choice = router(tmp_path, role="staff").choose("Tell me a story about a clever fox in a quiet garden")
    assert (choice.tool, choice.args["character"], choice.args["setting"]) == (
        "tell_story",
        "clever fox",
        "quiet garden",
    )


def test_a_model_forced_to_one_call_is_a_way_too() -> None:
    box = Toolbox(FakeJudge())
    model = ScriptedChat(answers=[calls("look_up_policy", {"topic": "fire"}), calls("no_tool", {}), ["just words"]])
    forced = ConstrainedStrategy(model, story_tools(box))
    found = forced.invoke(RoutingRequest(text="May they play with matches?"))
    assert (found.tool, dict(found.args or {})) == ("look_up_policy", {"topic": "fire"})
    assert forced.invoke("What time is it?").found == "none"
    assert forced.invoke("What time is it?").found == "unsure"
    assert model.asked[0]["tool_choice"] == "any"
    assert "May they play with matches?" in model.asked[0]["messages"][1].text


def test_a_model_that_runs_here_is_asked_for_one_forced_call(tmp_path: Path) -> None:
    from transformers import Qwen3Config

    from tests.helpers.tiny_models import SMALL, save_causal, tiny_tokenizer

    template = (
        "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}"
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}<|im_start|>assistant\n"
    )
    tokenizer = tiny_tokenizer(["<|im_start|>", "<|im_end|>"], chat_template=template)
    spec = save_causal(tmp_path / "model", Qwen3Config(**{**SMALL, "head_dim": 16}), tokenizer)
    judge = FakeJudge()
    made = story_tools(Toolbox(judge), ["look_up_policy"])
    router = Router(made, judge, model=spec, max_tokens=80, seed=1)
    routed = router.invoke("hmm what about the bear")
    assert [tried.way for tried in routed.choice.tried] == ["semantic", "constrained"]
    assert routed.by == "constrained"
    assert routed.outcome in {"answered", "unavailable"}
