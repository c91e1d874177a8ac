"""The clients that people use, against a real server; what they make of each case is in the page of clients."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI
from langchain_core.messages import HumanMessage
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


def stream_text(client: OpenAI, model: str) -> tuple[str, str, str | None]:
    """The content, the refusal and the finish reason of a stream."""
    content, refusal, finish = "", "", None
    with client.chat.completions.create(model=model, messages=ASK, stream=True) as chunks:
        for chunk in chunks:
            choice = chunk.choices[0]
            content += choice.delta.content or ""
            refusal += choice.delta.refusal or ""
            finish = choice.finish_reason or finish
    return content, refusal, finish


def test_openai_python_chat_and_stream(client: OpenAI) -> None:
    completion = client.chat.completions.create(model="story", messages=ASK)
    assert completion.choices[0].message.content == STORY
    assert completion.moderation is not None
    assert stream_text(client, "story") == (STORY, "", "stop")


def test_openai_python_shows_the_refusal_of_a_blocked_story(client: OpenAI) -> None:
    message = client.chat.completions.create(model="blocked", messages=ASK).choices[0].message
    assert message.content is None
    assert message.refusal
    assert stream_text(client, "blocked") == ("", message.refusal, "content_filter")
    assert stream_text(client, "blocked-as-content") == (message.refusal, "", "content_filter")


@pytest.mark.parametrize("model", ["judge-away", "withdrawn"])
def test_openai_python_never_sees_what_is_withdrawn(client: OpenAI, model: str) -> None:
    if model == "withdrawn":
        content, refusal, finish = stream_text(client, model)
        assert (content, finish) == ("", "content_filter")
        assert refusal
        return
    with pytest.raises(openai.APIError, match="judge is not available"):
        stream_text(client, model)
    with pytest.raises(openai.InternalServerError) as error:
        client.chat.completions.create(model=model, messages=ASK)
    assert error.value.code == "judge_unavailable"


def test_openai_python_maps_errors_to_its_classes(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as turned_down:
        client.chat.completions.create(model="story", messages=[{"role": "user", "content": "something bad"}])
    assert turned_down.value.code == "content_filter"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=ASK)
    with pytest.raises(openai.BadRequestError) as not_honoured:
        client.chat.completions.create(model="story", messages=ASK, logprobs=True)
    assert not_honoured.value.param == "logprobs"


def test_openai_python_stream_helper(client: OpenAI) -> None:
    with client.chat.completions.stream(model="story", messages=ASK) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        assert "".join(deltas) == STORY
        assert stream.get_final_completion().choices[0].message.content == STORY
    with client.chat.completions.stream(model="blocked", messages=ASK) as stream:
        events = [event.type for event in stream]
    assert "refusal.delta" in events


def test_openai_python_parse(client: OpenAI) -> None:
    parsed = client.chat.completions.parse(model="helper", messages=ASK, response_format=Person)
    assert parsed.choices[0].message.parsed == Person(name="Mia")
    with pytest.raises(openai.ContentFilterFinishReasonError):
        client.chat.completions.parse(model="blocked", messages=ASK)


def test_openai_python_responses(client: OpenAI) -> None:
    assert client.responses.create(model="story", input="hello").output_text == STORY
    with client.responses.stream(model="story", input="hello") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert text == stream.get_final_response().output_text == STORY
    with client.responses.create(model="blocked", input="hello", stream=True) as events:
        *_, last = events
    assert last.type == "response.incomplete"
    with pytest.raises(openai.APIError, match="judge is not available"):
        list(client.responses.create(model="judge-away", input="hello", stream=True))


def test_openai_python_models_moderations_and_embeddings(client: OpenAI) -> None:
    assert "story" in [model.id for model in client.models.list()]
    assert client.models.retrieve("story").owned_by == "taleward"
    assert [r.flagged for r in client.moderations.create(input=["bad", "fox"]).results] == [True, False]
    vectors = client.embeddings.create(model="fake:words", input=["a fox", "a hen"])
    assert len(vectors.data) == 2
    assert isinstance(vectors.data[0].embedding[0], float)


def test_langchain(url: str) -> None:
    def model(name: str) -> ChatOpenAI:
        return ChatOpenAI(model=name, base_url=url, api_key="none", max_retries=0, stream_usage=True)  # type: ignore[arg-type]

    ask = [HumanMessage("hello")]
    assert model("story").invoke(ask).text == STORY
    assert "".join(chunk.text for chunk in model("story").stream(ask)) == STORY
    blocked = model("blocked").invoke(ask)
    assert blocked.text == ""
    assert blocked.additional_kwargs["refusal"]
    assert blocked.response_metadata["finish_reason"] == "content_filter"
    chunks = list(model("blocked").stream(ask))
    assert "bad" not in "".join(chunk.text for chunk in chunks)
    assert any(chunk.response_metadata.get("finish_reason") == "content_filter" for chunk in chunks)
    assert model("blocked-as-content").invoke(ask).text
    with pytest.raises(openai.APIError):
        list(model("judge-away").stream(ask))
    assert model("helper").with_structured_output(Person).invoke(ask) == Person(name="Mia")


def test_the_llm_command(url: str, tmp_path: Path) -> None:
    llm = Path(sys.executable).with_name("llm")
    if not llm.is_file():
        pytest.skip("the llm command is not installed: pip install llm")
    entry = {"model_id": "story", "model_name": "story", "api_base": url}
    models = [entry, {"model_id": "blocked", "model_name": "blocked-as-content", "api_base": url}]
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models))
    environment = {"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none", "PATH": "/usr/bin:/bin"}

    def ask(*args: str) -> str:
        command = [str(llm), *args, "--no-log", "hello"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert ask("-m", "story") == STORY
    assert ask("-m", "story", "--no-stream") == STORY
    assert "bad" not in ask("-m", "blocked")


NODE_CLIENT = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "hello" }];
async function whole(model) {
  const { message, finish_reason } = (await client.chat.completions.create({ model, messages })).choices[0];
  return { content: message.content, refusal: message.refusal, finish_reason };
}
async function stream(model) {
  let content = "", refusal = "", finish_reason = null;
  try {
    for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
      content += chunk.choices[0].delta.content ?? "";
      refusal += chunk.choices[0].delta.refusal ?? "";
      finish_reason = chunk.choices[0].finish_reason ?? finish_reason;
    }
  } catch (error) { return { content, error: error.constructor.name, code: error.code }; }
  return { content, refusal, finish_reason };
}
console.log(JSON.stringify({
  story: await whole("story"), story_stream: await stream("story"), blocked: await whole("blocked"),
  blocked_stream: await stream("blocked"), judge_away: await stream("judge-away"), withdrawn: await stream("withdrawn"),
}));
"""


def test_openai_node(url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    # The package is installed by hand: NODE_PATH does not apply to ES modules, so the folder is named here.
    import os

    folder = os.environ.get("TALEWARD_OPENAI_NODE")
    if not folder or shutil.which("node") is None:
        pytest.skip("needs node, and in TALEWARD_OPENAI_NODE a folder in which `npm install openai` was run")
    script = Path(folder) / f"client-{os.getpid()}.mjs"
    script.write_text(NODE_CLIENT)
    try:
        done = subprocess.run(["node", str(script), url], capture_output=True, text=True, check=True, timeout=60)
    finally:
        script.unlink()
    results = json.loads(done.stdout)
    assert results["story"]["content"] == results["story_stream"]["content"] == STORY
    assert results["blocked"]["refusal"] == results["blocked_stream"]["refusal"]
    assert results["judge_away"] == {"content": "", "error": "APIError", "code": "judge_unavailable"}
    assert results["withdrawn"]["content"] == ""


LITELLM_CLIENT = """
import json, sys, litellm
litellm.telemetry = False
def call(model, **options):
    messages = [{"role": "user", "content": "hello"}]
    return litellm.completion("openai/" + model, messages, api_base=sys.argv[1], api_key="none", num_retries=0, **options)
def whole(model):
    choice = call(model).choices[0]
    return {"content": choice.message.content, "finish_reason": choice.finish_reason,
            "refusal": getattr(choice.message, "refusal", None) or (choice.message.provider_specific_fields or {}).get("refusal")}
def stream(model):
    content, finish, refusal = "", None, ""
    try:
        for chunk in call(model, stream=True):
            content += chunk.choices[0].delta.content or ""
            refusal += getattr(chunk.choices[0].delta, "refusal", None) or ""
            finish = chunk.choices[0].finish_reason or finish
    except Exception as error:
        return {"content": content, "error": type(error).__name__}
    return {"content": content, "finish_reason": finish, "refusal": refusal}
print(json.dumps({
    "story": whole("story"), "story_stream": stream("story"), "blocked": whole("blocked"),
    "blocked_stream": stream("blocked"), "judge_away": stream("judge-away"), "withdrawn": stream("withdrawn"),
}))
"""


def test_litellm(url: str) -> None:
    import os

    python = os.environ.get("TALEWARD_LITELLM_PYTHON")
    if not python:
        pytest.skip(
            "needs in TALEWARD_LITELLM_PYTHON the Python of an environment with litellm, which fits into no other"
        )
    done = subprocess.run(
        [python, "-c", LITELLM_CLIENT, url], capture_output=True, text=True, check=True, timeout=120,
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    results = json.loads(done.stdout.strip().splitlines()[-1])
    assert results["story"]["content"] == results["story_stream"]["content"] == STORY
    assert results["blocked"]["finish_reason"] == results["blocked_stream"]["finish_reason"] == "content_filter"
    assert results["judge_away"]["error"]
    assert results["withdrawn"]["content"] == ""


def test_a_client_that_leaves_stops_the_writer(app: FastAPI, url: str) -> None:
    writer = app.state.served_models.get("endless").own_writer
    assert isinstance(writer, EndlessWriter)
    body = {"model": "endless", "messages": ASK, "stream": True}
    with httpx.stream("POST", f"{url}/chat/completions", json=body, timeout=30) as response:
        for line in response.iter_lines():
            if "ran 1 miles" in line:
                break
    _wait_for_the_end(writer, 1)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/responses", json={"model": "endless", "input": "hello", "stream": False}, timeout=0.5)
    _wait_for_the_end(writer, 1)  # a whole draft is no stream that stops; the task that writes it is cancelled


def _wait_for_the_end(writer: EndlessWriter, stopped: int) -> None:
    deadline = time.monotonic() + 20
    while writer.streams_stopped < stopped and time.monotonic() < deadline:
        time.sleep(0.05)
    assert writer.streams_stopped >= stopped
    written = writer.chunks_yielded
    time.sleep(0.2)
    assert writer.chunks_yielded == written
