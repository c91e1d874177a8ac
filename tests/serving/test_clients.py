"""The clients that people use, against a real server; what they make of each case is in the page of clients."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI
from langchain_openai import ChatOpenAI
from openai import OpenAI
from pydantic import BaseModel

from taleward.testing import FakeOpenAI
from tests.helpers.client_cases import STORY, EndlessWriter, client_app
from tests.helpers.loopback_server import loopback_server

pytestmark = pytest.mark.server

ASK: Any = [{"role": "user", "content": "hello"}]


class Person(BaseModel):
    name: str


@pytest.fixture(scope="module")
def app() -> Iterator[FastAPI]:
    def answer(request: Any) -> str:
        return '{"name": "Mia"}' if "response_format" in request else "Hello there."

    with FakeOpenAI(answer) as upstream:
        yield client_app(helper_url=upstream.base_url)


@pytest.fixture(scope="module")
def url(app: FastAPI) -> Iterator[str]:
    with loopback_server(app) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


WORDS = "I could not find a good story for you this time. Shall we try another idea?"
STORY_SHOWN = {"content": STORY, "refusal": "", "finish": "stop"}
REFUSAL_SHOWN = {"content": "", "refusal": WORDS, "finish": "content_filter"}
CONTENT_SHOWN = {"content": WORDS, "refusal": "", "finish": "content_filter"}
NOTHING_SHOWN = {"content": "", "refusal": "", "finish": "content_filter"}
TABLE: dict[str, tuple[str, str]] = {
    "story": ("story", "hello"),
    "blocked": ("blocked", "hello"),
    "blocked_as_content": ("blocked-as-content", "hello"),
    "withdrawn": ("withdrawn", "hello"),
    "judge_away": ("judge-away", "hello"),
    "turned_down": ("story", "something bad"),
}
"""The cases of the page of clients: the model and the request of each."""


def outcomes(show: Callable[[str, str], tuple[Any, Any, Any]]) -> dict[str, dict[str, Any]]:
    """What a client shows in each case: content, refusal and finish reason, or the class and code of an error."""
    found: dict[str, dict[str, Any]] = {}
    for case, (model, words) in TABLE.items():
        try:
            content, refusal, finish = show(model, words)
        except openai.OpenAIError as error:
            found[case] = {"error": type(error).__name__, "code": getattr(error, "code", None)}
        else:
            found[case] = {"content": content or "", "refusal": refusal or "", "finish": finish}
    return found


def user(words: str) -> Any:
    return [{"role": "user", "content": words}]


SHOWN: dict[str, dict[str, Any]] = {
    "story": STORY_SHOWN,
    "blocked": REFUSAL_SHOWN,
    "blocked_as_content": CONTENT_SHOWN,
    "withdrawn": REFUSAL_SHOWN,
}
TURNED_DOWN = {"error": "BadRequestError", "code": "content_filter"}
NO_JUDGE = {"error": "InternalServerError", "code": "judge_unavailable"}
NO_JUDGE_IN_STREAM = {"error": "APIError", "code": "judge_unavailable"}


def test_openai_python(client: OpenAI) -> None:
    def whole(model: str, words: str) -> tuple[Any, Any, Any]:
        choice = client.chat.completions.create(model=model, messages=user(words)).choices[0]
        return choice.message.content, choice.message.refusal, choice.finish_reason

    assert outcomes(whole) == {**SHOWN, "judge_away": NO_JUDGE, "turned_down": TURNED_DOWN}


def test_openai_python_stream(client: OpenAI) -> None:
    def stream(model: str, words: str) -> tuple[Any, Any, Any]:
        content, refusal, finish = "", "", None
        with client.chat.completions.create(model=model, messages=user(words), stream=True) as chunks:
            for chunk in chunks:
                choice = chunk.choices[0]
                content += choice.delta.content or ""
                refusal += choice.delta.refusal or ""
                finish = choice.finish_reason or finish
        return content, refusal, finish

    assert outcomes(stream) == {**SHOWN, "judge_away": NO_JUDGE_IN_STREAM, "turned_down": TURNED_DOWN}


def test_openai_python_stream_helper(client: OpenAI) -> None:
    def stream(model: str, words: str) -> tuple[Any, Any, Any]:
        content, refusal, finish = "", "", None
        with client.chat.completions.stream(model=model, messages=user(words)) as events:
            for event in events:
                content += event.delta if event.type == "content.delta" else ""
                refusal += event.delta if event.type == "refusal.delta" else ""
                finish = events.current_completion_snapshot.choices[0].finish_reason
        return content, refusal, finish

    assert outcomes(stream) == {**SHOWN, "judge_away": NO_JUDGE_IN_STREAM, "turned_down": TURNED_DOWN}
    with (
        client.chat.completions.stream(model="blocked", messages=ASK) as events,
        pytest.raises(openai.ContentFilterFinishReasonError),
    ):
        events.get_final_completion()


def test_openai_python_parse(client: OpenAI) -> None:
    def parse(model: str, words: str) -> tuple[Any, Any, Any]:
        choice = client.chat.completions.parse(model=model, messages=user(words)).choices[0]
        return choice.message.content, choice.message.refusal, choice.finish_reason

    found = outcomes(parse)
    cut = {"error": "ContentFilterFinishReasonError", "code": None}
    assert found["blocked"] == found["blocked_as_content"] == found["withdrawn"] == cut
    assert found["judge_away"] == NO_JUDGE
    assert found["turned_down"] == TURNED_DOWN
    parsed = client.chat.completions.parse(model="helper", messages=ASK, response_format=Person)
    assert parsed.choices[0].message.parsed == Person(name="Mia")


def test_openai_python_maps_other_errors(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=ASK)
    with pytest.raises(openai.BadRequestError) as not_honoured:
        client.chat.completions.create(model="story", messages=ASK, logprobs=True)
    assert not_honoured.value.param == "logprobs"


def test_openai_python_responses(client: OpenAI) -> None:
    def whole(model: str, words: str) -> tuple[Any, Any, Any]:
        response = client.responses.create(model=model, input=words)
        [message] = response.output
        assert message.type == "message"
        refusals = [part.refusal for part in message.content if part.type == "refusal"]
        finish = response.incomplete_details.reason if response.incomplete_details else "stop"
        return response.output_text, "".join(refusals), finish

    def stream(model: str, words: str) -> tuple[Any, Any, Any]:
        content, refusal, finish = "", "", None
        with client.responses.create(model=model, input=words, stream=True) as events:
            for event in events:
                content += event.delta if event.type == "response.output_text.delta" else ""
                refusal += event.delta if event.type == "response.refusal.delta" else ""
                finish = {"response.completed": "stop", "response.incomplete": "content_filter"}.get(event.type, finish)
        return content, refusal, finish

    assert outcomes(whole) == {**SHOWN, "judge_away": NO_JUDGE, "turned_down": TURNED_DOWN}
    assert outcomes(stream) == {**SHOWN, "judge_away": NO_JUDGE_IN_STREAM, "turned_down": TURNED_DOWN}
    with client.responses.stream(model="story", input="hello") as events:
        assert events.get_final_response().output_text == STORY


def test_openai_python_models_moderations_and_embeddings(client: OpenAI) -> None:
    assert "story" in [model.id for model in client.models.list()]
    assert client.models.retrieve("story").owned_by == "taleward"
    assert [r.flagged for r in client.moderations.create(input=["bad", "fox"]).results] == [True, False]
    vectors = client.embeddings.create(model="fake:words", input=["a fox", "a hen"])
    assert len(vectors.data) == 2
    assert isinstance(vectors.data[0].embedding[0], float)


def test_langchain(url: str) -> None:
    def chat(name: str) -> ChatOpenAI:
        return ChatOpenAI(model=name, base_url=url, api_key="none", max_retries=0)  # type: ignore[arg-type]

    def whole(model: str, words: str) -> tuple[Any, Any, Any]:
        message = chat(model).invoke(words)
        return message.text, message.additional_kwargs.get("refusal"), message.response_metadata["finish_reason"]

    def stream(model: str, words: str) -> tuple[Any, Any, Any]:
        chunks = list(chat(model).stream(words))
        finish = [chunk.response_metadata.get("finish_reason") for chunk in chunks]
        refusal = "".join(str(chunk.additional_kwargs.get("refusal") or "") for chunk in chunks)
        return "".join(chunk.text for chunk in chunks), refusal, next(filter(None, finish))

    # LangChain's own classes, which are subclasses of OpenAI's.
    turned_down = {**TURNED_DOWN, "error": "OpenAIInvalidRequestError"}
    assert outcomes(whole) == {
        **SHOWN,
        "judge_away": {**NO_JUDGE, "error": "OpenAIAPIError"},
        "turned_down": turned_down,
    }
    dropped = {"blocked": NOTHING_SHOWN, "withdrawn": NOTHING_SHOWN}
    assert outcomes(stream) == {**SHOWN, **dropped, "judge_away": NO_JUDGE_IN_STREAM, "turned_down": turned_down}
    assert chat("helper").with_structured_output(Person).invoke("hello") == Person(name="Mia")


def test_the_llm_command(url: str, tmp_path: Path) -> None:
    llm = Path(sys.executable).with_name("llm")
    if not llm.is_file():
        pytest.skip("the llm command is not installed: pip install llm")
    entry = {"model_id": "story", "model_name": "story", "api_base": url}
    models = [entry, {"model_id": "blocked", "model_name": "blocked-as-content", "api_base": url}]
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models))
    # Without its plugins, of which one may need a library that is not installed.
    environment = {"LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": "", "OPENAI_API_KEY": "none"}

    def ask(*args: str) -> str:
        command = [str(llm), *args, "--no-log", "hello"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert ask("-m", "story") == STORY
    assert ask("-m", "blocked", "--no-stream") == WORDS


NODE_CLIENT = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
async function whole(model, messages) {
  const { message, finish_reason } = (await client.chat.completions.create({ model, messages })).choices[0];
  return { content: message.content ?? "", refusal: message.refusal ?? "", finish: finish_reason };
}
async function stream(model, messages) {
  const shown = { content: "", refusal: "", finish: null };
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
    shown.content += chunk.choices[0].delta.content ?? "";
    shown.refusal += chunk.choices[0].delta.refusal ?? "";
    shown.finish = chunk.choices[0].finish_reason ?? shown.finish;
  }
  return shown;
}
const found = { whole: {}, stream: {} };
for (const [name, show] of Object.entries({ whole, stream }))
  for (const [label, [model, words]] of Object.entries(JSON.parse(process.argv[3])))
    try { found[name][label] = await show(model, [{ role: "user", content: words }]); }
    catch (error) { found[name][label] = { error: error.constructor.name, code: error.code ?? null }; }
console.log(JSON.stringify(found));
"""


def test_openai_node(url: str) -> None:
    folder, node = os.environ.get("TALEWARD_OPENAI_NODE"), shutil.which("node")
    if not folder or node is None:
        pytest.skip("needs node, and in TALEWARD_OPENAI_NODE a folder in which `npm install openai` was run")
    script = Path(folder) / f"client-{os.getpid()}.mjs"  # NODE_PATH does not apply to ES modules
    script.write_text(NODE_CLIENT)
    try:
        found = _run_client([node, str(script), url, json.dumps(TABLE)])
    finally:
        script.unlink()
    assert found["whole"] == {**SHOWN, "judge_away": NO_JUDGE, "turned_down": TURNED_DOWN}
    assert found["stream"] == {**SHOWN, "judge_away": NO_JUDGE_IN_STREAM, "turned_down": TURNED_DOWN}


LITELLM_CLIENT = """
import json, sys, litellm
litellm.telemetry = False
def call(model, words, **options):
    server = {"api_base": sys.argv[1], "api_key": "none", "num_retries": 0, "max_retries": 0}
    return litellm.completion("openai/" + model, [{"role": "user", "content": words}], **server, **options)
def whole(model, words):
    choice = call(model, words).choices[0]
    fields = getattr(choice.message, "provider_specific_fields", None) or {}
    refusal = getattr(choice.message, "refusal", None) or fields.get("refusal") or ""
    return {"content": choice.message.content or "", "refusal": refusal, "finish": choice.finish_reason}
def stream(model, words):
    shown = {"content": "", "refusal": "", "finish": None}
    for chunk in call(model, words, stream=True):
        shown["content"] += chunk.choices[0].delta.content or ""
        shown["refusal"] += getattr(chunk.choices[0].delta, "refusal", None) or ""
        shown["finish"] = chunk.choices[0].finish_reason or shown["finish"]
    return shown
found = {}
for show in (whole, stream):
    found[show.__name__] = {}
    for case, (model, words) in json.loads(sys.argv[2]).items():
        try:
            found[show.__name__][case] = show(model, words)
        except Exception as error:
            found[show.__name__][case] = {"error": type(error).__name__}
print(json.dumps(found))
"""


def test_litellm(url: str) -> None:
    python = os.environ.get("TALEWARD_LITELLM_PYTHON")
    if not python:
        pytest.skip("needs in TALEWARD_LITELLM_PYTHON the Python of an environment of its own, with litellm")
    found = _run_client([python, "-c", LITELLM_CLIENT, url, json.dumps(TABLE)])
    turned_down = {"error": "BadRequestError"}
    assert found["whole"] == {**SHOWN, "judge_away": {"error": "ServiceUnavailableError"}, "turned_down": turned_down}
    dropped = {**SHOWN, "blocked": NOTHING_SHOWN, "withdrawn": NOTHING_SHOWN}
    assert found["stream"] == {**dropped, "judge_away": {"error": "MidStreamFallbackError"}, "turned_down": turned_down}


def _run_client(command: list[str]) -> Any:
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, env=environment)
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_a_client_that_leaves_stops_the_writer(app: FastAPI, url: str) -> None:
    writer = app.state.served_models.get("endless").own_writer
    assert isinstance(writer, EndlessWriter)
    body = {"model": "endless", "messages": ASK, "stream": True}
    with httpx.stream("POST", f"{url}/chat/completions", json=body, timeout=30) as response:
        for line in response.iter_lines():
            if "ran 1 miles" in line:
                break
    _wait_for_the_end(writer)


async def test_a_client_that_leaves_a_whole_answer_stops_the_writer(app: FastAPI, url: str) -> None:
    writer = app.state.served_models.get("endless").own_writer
    async with httpx.AsyncClient(timeout=0.5) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(f"{url}/responses", json={"model": "endless", "input": "hello"})
    _wait_for_the_end(writer)


def _wait_for_the_end(writer: EndlessWriter) -> None:
    """Wait until the writer has not written for a while; its whole text takes much longer."""
    deadline, pieces = time.monotonic() + 20, -1
    while time.monotonic() < deadline:
        if pieces == (pieces := writer.pieces):
            return
        time.sleep(0.3)
    pytest.fail(f"the writer goes on and has written {pieces} pieces")
