"""Prices from the installed list, a price file or an option, and the costs that answers carry."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import genai_prices
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessageChunk, UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from taleward import Guard, StoryChain
from taleward.backends.base.spec import parse_spec
from taleward.backends.hosted import pricing
from taleward.backends.hosted.build_chat import build_hosted_chat
from taleward.backends.hosted.pricing import find_price
from taleward.core.errors import InvalidFile
from taleward.testing import FakeJudge, FakeOpenAI
from tests.helpers.hosted_models import model_on

USAGE = {"input_tokens": 1000, "output_tokens": 100, "input_token_details": {"cache_read": 400}}


def cost_of(spec: str, usage: dict[str, Any] = USAGE) -> float | None:
    price = find_price(parse_spec(spec))
    return None if price is None else price.cost_usd(usage)


def stream_merged(model: BaseChatModel, text: str) -> AIMessageChunk:
    merged = None
    for chunk in model.stream(text):
        merged = chunk if merged is None else merged + chunk
    assert merged is not None
    return merged


def test_costs_are_counted_and_reach_the_tale(values: dict[str, str]) -> None:
    with FakeOpenAI("one two three") as server:
        model = model_on(server, price_usd=(1.0, 10.0))
        answer = model.invoke("four words are here")
        assert answer.response_metadata["cost_usd"] == pytest.approx((4 * 1 + 3 * 10) / 1e6)
        merged = stream_merged(model, "four words are here")
        assert merged.response_metadata["cost_usd"] == pytest.approx(34e-6)
        tale = Guard(StoryChain(model), FakeJudge()).invoke(values)
        cost = tale.attempts[0].calls[0].cost_usd
        assert cost is not None
        assert cost > 0
        assert "cost_usd" not in model_on(server, "gpt-5-mini").invoke("hello").response_metadata  # not OpenAI's server


def test_tokens_reported_chunk_by_chunk_are_added_up() -> None:
    """Gemini reports them so; LangChain adds no numbers up, and raises if two chunks hold the same one."""

    class ChunkwiseUsage(FakeListChatModel):
        async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
            for text in ("one ", "two"):
                usage: UsageMetadata = {"input_tokens": 2, "output_tokens": 1, "total_tokens": 3}
                yield ChatGenerationChunk(message=AIMessageChunk(content=text, usage_metadata=usage))

    def make(**options: Any) -> BaseChatModel:
        return ChunkwiseUsage(responses=["x"], **options)

    model = build_hosted_chat(parse_spec("mine:x"), make, server="here", price_usd=(1.0, 10.0))
    merged = stream_merged(model, "hello")
    assert merged.text == "one two"
    assert merged.response_metadata["cost_usd"] == pytest.approx((4 * 1 + 2 * 10) / 1e6)


def test_prices_come_from_the_installed_list() -> None:
    expected = (600 * 0.25 + 400 * 0.025 + 100 * 2) / 1e6
    assert cost_of("openai:gpt-5-mini") == pytest.approx(expected)
    assert cost_of("openai:gpt-5-mini-2025-08-07") == pytest.approx(expected)
    assert cost_of("azure_openai:gpt-5-mini") == pytest.approx(expected)
    assert find_price(parse_spec("openai:gpt-5-mini")) != find_price(parse_spec("openai:gpt-5"))
    assert find_price(parse_spec("google_genai:gemini-2.5-flash-latest")) is not None
    for unknown in ("openai:gpt-5-mini-tuned", "openai:tale-1", "mine:gpt-5-mini", "ollama:gpt-oss:20b"):
        assert find_price(parse_spec(unknown)) is None


def test_cache_writes_are_priced() -> None:
    usage: dict[str, Any] = {"input_tokens": 1000, "output_tokens": 0, "input_token_details": {"cache_creation": 600}}
    assert cost_of("anthropic:claude-haiku-4-5", usage) == pytest.approx((400 * 1 + 600 * 1.25) / 1e6)
    usage["input_token_details"] = {"cache_creation": 0, "ephemeral_1h_input_tokens": 600}
    assert cost_of("anthropic:claude-haiku-4-5", usage) == pytest.approx((400 * 1 + 600 * 2) / 1e6)


def test_a_cost_never_fails_a_call(caplog: pytest.LogCaptureFixture) -> None:
    contradiction = {"input_tokens": 1, "output_tokens": 1, "input_token_details": {"cache_read": 2}}
    assert cost_of("openai:gpt-5-mini", contradiction) is None
    assert "the cost of a call of openai:gpt-5-mini is unknown" in caplog.text


def test_prices_are_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object) -> None:
        pytest.fail("genai-prices went online")

    monkeypatch.setattr(genai_prices.UpdatePrices, "fetch", fetch)
    monkeypatch.setattr(socket, "getaddrinfo", fetch)
    assert cost_of("openai:gpt-5-mini") is not None
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("genai_prices")]


def test_a_price_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    price_file = tmp_path / "prices.yaml"
    price_file.write_text("prices: {openai: {gpt-5-mini: [9, 9, 9]}, mine: {tale-1: [1, 2]}}")
    monkeypatch.setenv("TALEWARD_PRICES", str(price_file))
    assert find_price(parse_spec("openai:gpt-5-mini")) == (9, 9, 9)
    assert find_price(parse_spec("openai:gpt-5-mini-2025-08-07")) == (9, 9, 9)
    assert find_price(parse_spec("mine:tale-1")) == (1, 1, 2)
    assert cost_of("mine:tale-1") == pytest.approx((1000 * 1 + 100 * 2) / 1e6)
    assert find_price(parse_spec("openai:gpt-5")) is not None
    price_file.write_text("prices: 3")
    pricing._read_price_file.cache_clear()
    with pytest.raises(InvalidFile, match="is not a valid price file"):
        find_price(parse_spec("openai:gpt-5-mini"))
