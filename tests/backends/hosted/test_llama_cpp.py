"""A real OpenAI-compatible server with a real model: llama.cpp's, in this process, with SmolLM2-135M-Instruct."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from taleward import chat_model
from taleward.core.errors import BackendError
from tests.helpers.smollm import smollm_file

pytestmark = [pytest.mark.server, pytest.mark.smollm]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    xllamacpp = pytest.importorskip("xllamacpp", reason="needs llama.cpp's server: pip install xllamacpp")
    settings = xllamacpp.CommonParams()
    settings.model.path = str(smollm_file())
    settings.hostnames, settings.port = ["127.0.0.1"], 0
    settings.n_ctx, settings.n_parallel, settings.n_gpu_layers = 2048, 1, 0
    # On a busy machine, two threads wait for each other at every step: 1 token/s instead of 100.
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.use_jinja = True
    server = xllamacpp.Server(settings)
    yield f"{server.listening_address}/v1"
    del server


def smollm(base_url: str, **options: Any) -> Any:
    return chat_model("openai:smollm2", base_url=base_url, temperature=0, **{"max_tokens": 24, **options})


class Fox(BaseModel):
    name: str
    color: Literal["red", "grey", "white"]


def paint(color: str) -> str:
    """Paint the fox in a color."""
    return color


async def test_answers_stream(base_url: str) -> None:
    model = smollm(base_url)
    prompt = "What is the capital of France?"
    chunks = [chunk.text for chunk in model.stream(prompt)]
    assert len([chunk for chunk in chunks if chunk]) > 3
    # The server computes in its own precision, so what this small model answers is not compared.
    assert "".join([chunk.text async for chunk in model.astream(prompt)])
    answer = model.invoke(prompt)
    assert answer.content
    assert 0 < answer.usage_metadata["output_tokens"] <= 24


def test_schemas_and_grammars_are_enforced(base_url: str) -> None:
    model = smollm(base_url, max_tokens=60)
    fox = model.with_structured_output(Fox).invoke("Describe a fox named Tom.")
    assert isinstance(fox, Fox)
    assert model.option_support.known["response_format"]
    grammar = 'root ::= "purple" | "orange"'
    assert model.invoke("Is the sky blue?", extra_body={"grammar": grammar}).content in ("purple", "orange")


def test_logprobs_are_returned(base_url: str) -> None:
    model = smollm(base_url, max_tokens=2, logprobs=True, top_logprobs=3)
    [first, *_] = model.invoke("Is the sky blue?").response_metadata["logprobs"]["content"]
    assert len(first["top_logprobs"]) == 3
    assert first["logprob"] <= 0
    assert model.option_support.known["logprobs"]


def test_the_ignored_tool_choice_is_detected(base_url: str) -> None:
    """The server accepts `tool_choice` and ignores it; the model is too small to follow the prompt instead."""
    model = smollm(base_url)
    with pytest.raises(BackendError, match="ignores tool_choice, and prompted for the format it missed it"):
        model.bind_tools([paint], tool_choice="any").invoke("Paint the fox red.")
    assert not model.option_support.known["tool_choice"]


async def test_concurrent_calls_share_the_one_slot(base_url: str) -> None:
    model = smollm(base_url, max_tokens=8)
    prompts = ["Say hello.", "Name a color.", "Count to three."]
    together = await asyncio.gather(*(model.ainvoke(prompt) for prompt in prompts))
    assert all(answer.content for answer in together)
