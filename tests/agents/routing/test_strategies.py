"""Routing strategies select the right tool; unclear requests lead to one clarifying question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from taleward.agents.router_agent import Router
from taleward.agents.routing.forced_tool_call import ConstrainedStrategy
from taleward.agents.routing.intent_classifier import SHIPPED, SemanticStrategy, digest
from taleward.agents.routing.request_parsing import SpellingCorrector, edit_distance, parse_request
from taleward.agents.routing.routes import Routes, load_routes
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.threads.checkpointer import Threads
from taleward.agents.tools import TOOLS, Toolbox, story_tools
from taleward.core.errors import InvalidFile
from taleward.testing import FakeJudge
from tests.helpers.scripted_chat import ScriptedChat, calls


@pytest.fixture(scope="module")
def semantic() -> SemanticStrategy:
    return SemanticStrategy()


def router(tmp_path: Path, **options: Any) -> Router:
    judge = FakeJudge()
    toolbox = Toolbox(judge, seed=1, statistics=lambda: {"tales": 3.0, "refused": 1.0})
    return Router(story_tools(toolbox), judge, threads=Threads(tmp_path / "threads.db"), **options)


@pytest.mark.parametrize(
    ("words", "tool"),
    [
        ("Tell me a story about a snail", "tell_story"),
        ("and then waht hapened", "continue_story"),
        ("Is this okay for kids? The wolf bit the boy.", "judge_text"),
        ("make it gentler please", "revise_text"),
        ("what do the rules say about weapons", "look_up_policy"),
        ("how many tales were refused", "moderation_counts"),
        ("find our old tale about the lighthouse", "search_tales"),
        ("Find the tale about the lighthouse and then make it shorter.", "search_tales"),
    ],
)
def test_semantic_strategy_selects_the_tool(semantic: SemanticStrategy, words: str, tool: str) -> None:
    attempt = semantic.invoke(words)
    assert (attempt.outcome, attempt.tool) == ("tool", tool)
    assert sum(attempt.scores.values()) == pytest.approx(1.0)


def test_semantic_strategy_reports_no_tool_and_unsure(semantic: SemanticStrategy) -> None:
    assert semantic.invoke("What is the capital of Peru?").outcome == "none"
    unsure = semantic.invoke("hmm what about the bear")
    assert unsure.outcome == "unsure"
    assert len(unsure.options) == 2
    assert unsure.scores[unsure.tool or ""] < semantic.threshold


def test_shipped_model_was_fitted_on_the_shipped_routes(semantic: SemanticStrategy) -> None:
    assert SHIPPED.is_file()
    assert semantic.state["digest"] == digest(load_routes(), 0.03), (
        "run: python -m taleward.agents.routing.intent_classifier"
    )
    assert set(TOOLS) <= set(semantic.labels)


def test_custom_routes_extend_the_shipped_ones(tmp_path: Path) -> None:
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


def test_custom_routes_are_fitted() -> None:
    shipped = load_routes()
    two = {name: shipped.routes[name] for name in ("tell_story", "moderation_counts")}
    few = tuple(e for e in shipped.examples if e.tool in two)
    fitted = SemanticStrategy(Routes(version="1", fillings=shipped.fillings, routes=two, examples=few), abstain=0.1)
    assert fitted.invoke("how often was a story refused this week").tool == "moderation_counts"
    assert fitted.labels == sorted(two)


@pytest.mark.parametrize(
    ("request_", "instruction", "text"),
    [
        ('Judge this: "The fox went home."', "Judge this:", "The fox went home."),
        ("Rewrite: The fox was cold.", "Rewrite", "The fox was cold."),
        ("Is this fine?  The fox was cold.", "Is this fine?", "The fox was cold."),
        ("Judge this\nThe fox was cold.\nIt snowed.", "Judge this", "The fox was cold.\nIt snowed."),
        ("Check the text below. The fox was cold.", "Check the text below.", "The fox was cold."),
        ("Is it late? Tell me, the fox asked", "Is it late?", "Tell me, the fox asked"),
        ("Who ran? The fox was cold.", "Who ran? The fox was cold.", ""),
        ("At 3:\tlook at that: the fox was cold", "At 3: look at that", "the fox was cold"),
        ("Tell me a story.", "Tell me a story.", ""),
    ],
)
def test_parse_request_separates_instruction_and_text(request_: str, instruction: str, text: str) -> None:
    parsed = parse_request(request_)
    assert (parsed.instruction, parsed.text) == (instruction, text)


@given(st.text("abcd", max_size=6), st.text("abcd", max_size=6))
def test_edit_distance_is_a_metric(one: str, other: str) -> None:
    assert edit_distance(one, other) == edit_distance(other, one) <= max(len(one), len(other))
    assert (edit_distance(one, other) == 0) == (one == other)


def test_spelling_corrector_fixes_words_and_leaves_names_alone() -> None:
    corrector = SpellingCorrector({"story": 5, "about": 3, "tell": 2}, frozenset({"stony"}))
    assert corrector.correct("tel a stroy abuot Storq, stony") == "tell a story about Storq, stony"


def test_clear_request_runs_its_tool_without_a_model(tmp_path: Path) -> None:
    result = router(tmp_path, role="staff").invoke("How many tales were refused?", thread="1")
    assert (result.outcome, result.tool, result.strategy) == ("answered", "moderation_counts", "semantic")
    assert result.text == "- tales: 3\n- refused: 1"
    assert result.selection.scores["moderation_counts"] > 0.5
    assert result.steps == 0


def test_unclear_request_leads_to_one_question_only(tmp_path: Path) -> None:
    unclear = router(tmp_path, role="staff")
    first = unclear.invoke("hmm what about the bear", thread="1")
    assert first.outcome == "asked"
    assert first.selection.question is not None
    assert first.selection.question.startswith("I'm not sure what you'd like. Shall I ")
    assert first.text == first.selection.question
    second = unclear.invoke("no idea, you choose", thread="1")
    assert second.outcome != "asked"


def test_missing_text_is_asked_for_and_then_used(tmp_path: Path) -> None:
    parent = router(tmp_path, role="parent")
    question = parent.invoke("Check this text for me", thread="1")
    assert question.text == "Which text should I check? Please paste it here."
    answer = parent.invoke("The otter swam home bad and slow.", thread="1")
    assert answer.calls[0].args["text"] == "The otter swam home bad and slow."
    assert "does not pass" in answer.text


def test_choose_selects_a_tool_without_calling_it(tmp_path: Path) -> None:
    selection = router(tmp_path, role="staff").choose("Tell me a story about a clever fox in a quiet garden")
    assert (selection.tool, selection.args["character"], selection.args["setting"]) == (
        "tell_story",
        "clever fox",
        "quiet garden",
    )


def test_constrained_strategy_uses_the_models_tool_call() -> None:
    toolbox = Toolbox(FakeJudge())
    model = ScriptedChat(answers=[calls("look_up_policy", {"topic": "fire"}), calls("no_tool", {}), ["just words"]])
    constrained = ConstrainedStrategy(model, story_tools(toolbox))
    attempt = constrained.invoke(RoutingRequest(text="May they play with matches?"))
    assert (attempt.tool, dict(attempt.args or {})) == ("look_up_policy", {"topic": "fire"})
    assert constrained.invoke("What time is it?").outcome == "none"
    assert constrained.invoke("What time is it?").outcome == "unsure"
    assert model.requests[0]["tool_choice"] == "any"
    assert "May they play with matches?" in model.requests[0]["messages"][1].text


def test_local_model_routes_with_one_constrained_call(tmp_path: Path) -> None:
    from transformers import Qwen3Config

    from tests.helpers.tiny_models import SMALL, save_causal, tiny_tokenizer

    template = (
        "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}"
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}<|im_start|>assistant\n"
    )
    tokenizer = tiny_tokenizer(["<|im_start|>", "<|im_end|>"], chat_template=template)
    spec = save_causal(tmp_path / "model", Qwen3Config(**{**SMALL, "head_dim": 16}), tokenizer)
    judge = FakeJudge()
    tools = story_tools(Toolbox(judge), ["look_up_policy"])
    result = Router(tools, judge, model=spec, max_tokens=80, seed=1).invoke("hmm what about the bear")
    assert [attempt.strategy for attempt in result.selection.attempts] == ["semantic", "constrained"]
    assert result.strategy == "constrained"
    assert result.outcome in {"answered", "unavailable"}
