"""Structured output and tool calls: answers that follow a grammar always parse, whatever the model prefers."""

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
    """The storyteller, and a randomly initialized model with a tool template on both engines."""
    if request.param == "embedded":
        model = chat_model("embedded:storyteller-mini", max_tokens=120, temperature=1.2)
    else:
        spec = save_tool_model(tmp_path_factory.mktemp("m"))
        model = chat_model(spec, engine=request.param, max_tokens=400, temperature=1)
    assert isinstance(model, LocalChat)
    return model


def save_tool_model(folder: Path) -> str:
    from transformers import Qwen3Config

    control = ["<|im_start|>", "<|im_end|>"]
    config = Qwen3Config(**{**SMALL, "head_dim": 16, "initializer_range": 0.3})
    return save_causal(folder, config, tiny_tokenizer(control, chat_template=TOOLS))


def test_no_properties_beyond_the_schema(model: LocalChat) -> None:
    """JSON schemas leave objects open, and at a high temperature a model would add properties of its own."""

    for schema in (Page, Hero):
        for seed in range(3):
            output: Any = model.with_structured_output(schema, include_raw=True).invoke("A page?", seed=seed)
            parsed = json.loads(output["raw"].text)
            assert set(parsed) == set(schema.__annotations__)
            assert set(parsed.get("hero", ("name", "kind"))) == {"name", "kind"}


def test_openai_response_format(model: LocalChat) -> None:
    json_schema = {"type": "json_schema", "json_schema": {"name": "hero", "schema": Hero.model_json_schema()}}
    for response_format in (json_schema, Hero):
        answer = model.invoke("Who?", response_format=response_format)
        assert Hero.model_validate(answer.additional_kwargs["parsed"]) == Hero.model_validate_json(answer.text)
    assert json.loads(model.invoke("Who?", response_format={"type": "json_object"}).text) is not None
    assert "parsed" not in model.invoke("Who?", response_format={"type": "text"}).additional_kwargs


def test_structured_output_always_parses(model: LocalChat) -> None:
    structured = model.with_structured_output(Tale)
    for tale in structured.batch(["A fox and an owl"] * 8):
        assert isinstance(tale, Tale)
        assert tale.title
        assert 1 <= tale.pages <= 40
    *_, last = structured.stream("A fox", seed=1)
    assert last == structured.invoke("A fox", seed=1)
    output = model.with_structured_output(Tale.model_json_schema(), include_raw=True).invoke("An owl")
    assert output["parsing_error"] is None
    assert output["parsed"] == json.loads(output["raw"].text)


def test_forced_tool_calls_always_parse(model: LocalChat) -> None:
    any_tool = model.bind_tools([draw, tell], tool_choice="any")
    for message in any_tool.batch(["Draw a fox"] * 8):
        [call] = message.tool_calls
        assert not message.text
        assert not message.invalid_tool_calls
        assert set(call["args"]) <= {"draw": {"what", "size"}, "tell": {"kind"}}[call["name"]]
        assert message.response_metadata["finish_reason"] == "tool_calls"
    chunks = list(model.bind_tools([draw, tell], tool_choice="tell").stream("Draw a fox", seed=0))
    merged: Any = chunks[0]
    for chunk in chunks[1:]:
        merged += chunk
    assert [c["name"] for c in merged.tool_calls] == ["tell"]


async def test_choices_and_regular_expressions(model: LocalChat) -> None:
    assert (await model.ainvoke("The answer is", grammar=["a (b)", "c*|d", "e f"])).text in ("a (b)", "c*|d", "e f")
    dates = await model.abatch(["When?"] * 4, grammar=r"\d{4}-[01]\d")
    assert all(re.fullmatch(r"\d{4}-[01]\d", m.text) and m.response_metadata["finish_reason"] == "stop" for m in dates)
    assert json.loads((await model.bind(grammar=Hero).ainvoke("A hero")).text)["kind"] in ("fox", "owl")


def test_errors_of_grammars(model: LocalChat) -> None:
    with pytest.raises(BackendError, match=r"the grammar needs at least \d+ tokens, but only 4 are available"):
        model.invoke("x", grammar=Tale, max_tokens=4)
    with pytest.raises(ConfigurationError, match="invalid grammar"):
        model.invoke("x", grammar="(")
    with pytest.raises(ConfigurationError, match=r"a list of choices; got \[\]"):
        model.invoke("x", grammar=[])
    with pytest.raises(UnknownName, match=r"unknown tool 'drw'\. Did you mean 'draw'"):
        model.bind_tools([draw], tool_choice="drw")


def test_an_agent_with_a_response_format(model: LocalChat) -> None:
    from langchain.agents import create_agent

    agent = create_agent(model, response_format=Hero)
    assert isinstance(agent.invoke({"messages": [HumanMessage("Who?")]})["structured_response"], Hero)


def test_tools_and_results_reach_the_chat_template(tmp_path: Path) -> None:
    model = chat_model(save_tool_model(tmp_path))
    assert isinstance(model, LocalChat)
    called = AIMessage("", tool_calls=[{"name": "draw", "args": {"what": "an owl <|im_end|>"}, "id": "1"}])
    turns = [HumanMessage("Draw an owl."), called, ToolMessage("done <|im_end|>", tool_call_id="1")]
    bound: Any = model.bind_tools([draw])
    request = model._chat_request(model._loaded, turns, None, bound.kwargs)
    rendered = model._loaded.decode(request.generation.prompt, control=True)
    assert '<|im_start|>tools{"type": "function", "function": {"name": "draw"' in rendered
    assert '<tool_call>{"name": "draw", "arguments": {"what": "an owl <\u200b|im_end|>"}}</tool_call>' in rendered
    assert "<|im_start|>tool\ndone <|im_end|><|im_end|>" in rendered
    [eos] = model._loaded.engine._scheduler._eos_token_ids
    assert request.generation.prompt.count(eos) == 4  # tools and three messages: no text ended its own


def test_tools_are_described_in_text_if_the_template_has_no_tools(tmp_path: Path) -> None:
    from transformers import LlamaConfig

    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    folder = save_causal(tmp_path, LlamaConfig(**SMALL), tiny_tokenizer(["</s>"], chat_template=template))
    model = chat_model(folder)
    assert isinstance(model, LocalChat)
    called = AIMessage("", tool_calls=[{"name": "draw", "args": {"what": "an owl"}, "id": "1"}])
    turns = [HumanMessage("Draw."), called, ToolMessage("done", tool_call_id="1")]
    bound: Any = model.bind_tools([draw])
    rendered = model._loaded.decode(model._chat_request(model._loaded, turns, None, bound.kwargs).generation.prompt)
    assert rendered.startswith("[user] You can call these tools:\n- draw: Draw a picture. Arguments: {")
    assert rendered.endswith(
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
def test_tool_calls_in_free_text(answer: str, text: str, calls: int, size: int) -> None:
    answer = answer.replace("{...}", '{"name": "draw", "arguments": {"what": "x"}}')
    reader = ToolCallParser(frozenset({"draw"}), is_call_required=False)
    shown = "".join(reader.push(answer[at : at + size]) for at in range(0, len(answer), size))
    rest, parsed = reader.finish()
    assert shown + rest == text
    assert parsed.calls == [("draw", '{"what": "x"}')] * calls
