"""Answers that follow a grammar, and tool calls: they always parse, whatever the model would rather write."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, Field

from taleward.backends.chat_models import chat_model
from taleward.backends.local.chat import LocalChat
from taleward.backends.local.tools import ToolCallParser
from taleward.core.errors import BackendError, ConfigurationError, UnknownName
from tests.helpers.tiny_models import SMALL, save_causal, tiny_tokenizer

TOOLS = (
    "{% if tools %}<|im_start|>tools{% for t in tools %}{{ t | tojson }}{% endfor %}<|im_end|>{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls or [] %}"
    "<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|im_end|>{% endfor %}<|im_start|>assistant\n"
)


class Hero(BaseModel):
    name: str
    kind: Literal["fox", "owl"]


class Tale(BaseModel):
    """A story's plan."""

    title: str = Field(min_length=1)
    heroes: list[Hero] = Field(max_length=3)
    pages: int = Field(ge=1, le=40)
    moral: str | None = None


class Beast(TypedDict):
    name: str
    kind: Literal["fox", "owl"]


class Page(TypedDict):
    title: str
    hero: Beast


def draw(what: str, size: int = 3) -> str:
    """Draw a picture."""
    return f"{what} {size}"


def tell(kind: Literal["calm", "wild"]) -> str:
    """Tell a story."""
    return kind


@pytest.fixture(scope="module", params=["embedded", "onnx", "transformers"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalChat:
    """The storyteller, and a random model with a template for tools on both engines."""
    if request.param == "embedded":
        made = chat_model("embedded:storyteller", max_tokens=120, temperature=1.2)
    else:
        made = chat_model(with_tools(tmp_path_factory.mktemp("m")), engine=request.param, max_tokens=400, temperature=1)
    assert isinstance(made, LocalChat)
    return made


def with_tools(folder: Path) -> str:
    from transformers import Qwen3Config

    control = ["<|im_start|>", "<|im_end|>"]
    config = Qwen3Config(**{**SMALL, "head_dim": 16, "initializer_range": 0.3})
    return save_causal(folder, config, tiny_tokenizer(control, chat_template=TOOLS))


def test_nothing_is_made_up_beside_a_schema(model: LocalChat) -> None:
    """JSON schemas leave objects open, and a hot model would go on with properties of its own."""

    for schema in (Page, Hero):
        for seed in range(3):
            told: Any = model.with_structured_output(schema, include_raw=True).invoke("A page?", seed=seed)
            found = json.loads(told["raw"].text)
            assert set(found) == set(schema.__annotations__)
            assert set(found.get("hero", ("name", "kind"))) == {"name", "kind"}


def test_openais_form_is_taken_too(model: LocalChat) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "hero", "schema": Hero.model_json_schema()}}
    for asked in (form, Hero):
        answer = model.invoke("Who?", response_format=asked)
        assert Hero.model_validate(answer.additional_kwargs["parsed"]) == Hero.model_validate_json(answer.text)
    assert json.loads(model.invoke("Who?", response_format={"type": "json_object"}).text) is not None
    assert "parsed" not in model.invoke("Who?", response_format={"type": "text"}).additional_kwargs


def test_structured_output_always_parses(model: LocalChat) -> None:
    shaped = model.with_structured_output(Tale)
    for tale in shaped.batch(["A fox and an owl"] * 8):
        assert isinstance(tale, Tale)
        assert tale.title
        assert 1 <= tale.pages <= 40
    *_, last = shaped.stream("A fox", seed=1)
    assert last == shaped.invoke("A fox", seed=1)
    both = model.with_structured_output(Tale.model_json_schema(), include_raw=True).invoke("An owl")
    assert both["parsing_error"] is None
    assert both["parsed"] == json.loads(both["raw"].text)


def test_forced_tool_calls_always_parse(model: LocalChat) -> None:
    any_tool = model.bind_tools([draw, tell], tool_choice="any")
    for message in any_tool.batch(["Draw a fox"] * 8):
        [call] = message.tool_calls
        assert not message.text
        assert not message.invalid_tool_calls
        assert set(call["args"]) <= {"draw": {"what", "size"}, "tell": {"kind"}}[call["name"]]
        assert message.response_metadata["finish_reason"] == "tool_calls"
    chunks = list(model.bind_tools([draw, tell], tool_choice="tell").stream("Draw a fox", seed=0))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert [c["name"] for c in whole.tool_calls] == ["tell"]


async def test_grammars_of_other_kinds(model: LocalChat) -> None:
    assert (await model.ainvoke("The answer is", grammar=["a (b)", "c*|d", "e f"])).text in ("a (b)", "c*|d", "e f")
    dates = await model.abatch(["When?"] * 4, grammar=r"\d{4}-[01]\d")
    assert all(re.fullmatch(r"\d{4}-[01]\d", m.text) and m.response_metadata["finish_reason"] == "stop" for m in dates)
    assert json.loads((await model.bind(grammar=Hero).ainvoke("A hero")).text)["kind"] in ("fox", "owl")


def test_a_grammar_that_cannot_be_followed_says_so(model: LocalChat) -> None:
    with pytest.raises(BackendError, match=r"the grammar needs \d+ tokens at least; there is room for 4"):
        model.invoke("x", grammar=Tale, max_tokens=4)
    with pytest.raises(ConfigurationError, match="the grammar cannot be followed"):
        model.invoke("x", grammar="(")
    with pytest.raises(ConfigurationError, match=r"a list of choices; got \[\]"):
        model.invoke("x", grammar=[])
    with pytest.raises(UnknownName, match=r"unknown tool 'drw'\. Did you mean 'draw'"):
        model.bind_tools([draw], tool_choice="drw")


def test_an_agent_ends_with_the_schema_it_was_given(model: LocalChat) -> None:
    from langchain.agents import create_agent

    agent = create_agent(model, response_format=Hero)
    assert isinstance(agent.invoke({"messages": [("user", "Who?")]})["structured_response"], Hero)


def test_tools_and_their_results_reach_the_template(tmp_path: Path) -> None:
    made = chat_model(with_tools(tmp_path))
    assert isinstance(made, LocalChat)
    called = AIMessage("", tool_calls=[{"name": "draw", "args": {"what": "an owl <|im_end|>"}, "id": "1"}])
    turns = [HumanMessage("Draw an owl."), called, ToolMessage("done <|im_end|>", tool_call_id="1")]
    bound: Any = made.bind_tools([draw])
    request = made._chat_request(made._loaded, turns, None, bound.kwargs)
    said = made._loaded.decode(request.generation.prompt, control=True)
    assert '<|im_start|>tools{"type": "function", "function": {"name": "draw"' in said
    assert '<tool_call>{"name": "draw", "arguments": {"what": "an owl <\u200b|im_end|>"}}</tool_call>' in said
    assert "<|im_start|>tool\ndone <|im_end|><|im_end|>" in said
    [end] = made._loaded.engine._line._ends
    assert request.generation.prompt.count(end) == 4  # tools and three turns: none of the texts ended one


def test_tools_are_told_in_words_where_the_template_has_none(tmp_path: Path) -> None:
    from transformers import LlamaConfig

    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    folder = save_causal(tmp_path, LlamaConfig(**SMALL), tiny_tokenizer(["</s>"], chat_template=template))
    made = chat_model(folder)
    assert isinstance(made, LocalChat)
    called = AIMessage("", tool_calls=[{"name": "draw", "args": {"what": "an owl"}, "id": "1"}])
    turns = [HumanMessage("Draw."), called, ToolMessage("done", tool_call_id="1")]
    bound: Any = made.bind_tools([draw])
    said = made._loaded.decode(made._chat_request(made._loaded, turns, None, bound.kwargs).generation.prompt)
    assert said.startswith("[user] You can call these tools:\n- draw: Draw a picture. Arguments: {")
    assert said.endswith(
        '[assistant] {"name": "draw", "arguments": {"what": "an owl"}}\n[user] The tool answered: done\n'
    )


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    ("answer", "text", "calls"),
    [
        ("I draw. <tool_call>\n{...}\n</tool_call>", "I draw. ", 1),
        ("<tool_call>{...}</tool_call>\n<tool_call>{...}</tool_call>", "", 2),
        ('{"name": "draw", "parameters": {"what": "x"}}', "", 1),
        ("[{...}, {...}]", "", 2),
        ("A <tool> is {not} a call.", "A <tool> is {not} a call.", 0),
        ('{"name": "other", "arguments": {}}', '{"name": "other", "arguments": {}}', 0),
        ("{once} upon <tool_ca", "{once} upon <tool_ca", 0),
    ],
)
def test_calls_that_a_model_chose_to_write(answer: str, text: str, calls: int, size: int) -> None:
    answer = answer.replace("{...}", '{"name": "draw", "arguments": {"what": "x"}}')
    reader = ToolCallParser(frozenset({"draw"}), is_call_required=False)
    shown = "".join(reader.push(answer[at : at + size]) for at in range(0, len(answer), size))
    rest, found = reader.finish()
    assert shown + rest == text
    assert found.calls == [("draw", '{"what": "x"}')] * calls
