"""Hosted models against a server that fails in every way: the documented error or a whole answer, and in time."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import genai_prices
import langchain_core.exceptions
import openai
import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from taleward import Guard, StoryChain, chat_model, embeddings
from taleward.backends.base.spec import parse_spec
from taleward.backends.hosted import pricing, retries
from taleward.backends.hosted.errors import BY_CLASS, map_vendor_error, retry_after
from taleward.backends.hosted.openai import with_calls
from taleward.backends.hosted.pricing import find_price
from taleward.backends.hosted.rate_limits import Bucket, seconds_of
from taleward.core.errors import (
    BackendError,
    ConfigurationError,
    ContentFiltered,
    ContextTooLong,
    DeadlineExceeded,
    InvalidFile,
    MissingKey,
    RateLimited,
    RequestRejected,
)
from taleward.stores.fingerprint import fingerprint
from taleward.testing.fake_openai import FakeOpenAI, Fault
from tests.helpers.fakes import FakeJudge

TEXT = "Once upon a time a hen found a key and kept it well."
_BROKEN = {"stall": DeadlineExceeded, "drip": DeadlineExceeded, "reset": BackendError, "truncated": BackendError}
_REFUSED: dict[str, type[BackendError]] = {
    "401": BackendError,
    "404": BackendError,
    "quota": BackendError,
    "context-length": ContextTooLong,
    "content-filter": ContentFiltered,
}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between attempts but those that a server asks for."""
    monkeypatch.setattr(retries, "_FIRST_PAUSE_S", 0.001)


def model_of(server: FakeOpenAI, name: str = "any", **options: Any) -> BaseChatModel:
    return chat_model(f"openai:{name}", base_url=server.base_url, **{"timeout": 0.5, "total_timeout_s": 20, **options})


def written(model: BaseChatModel, way: str) -> str:
    """The answer, by one of the four ways."""

    async def awaited() -> str:
        return (await model.ainvoke("hello")).text

    async def streamed() -> str:
        return "".join([chunk.text async for chunk in model.astream("hello")])

    if way == "invoke":
        return model.invoke("hello").text
    if way == "stream":
        return "".join(chunk.text for chunk in model.stream("hello"))
    return asyncio.run(awaited() if way == "ainvoke" else streamed())


@pytest.mark.parametrize("way", ["invoke", "astream"])
@pytest.mark.parametrize("fault", get_args(Fault))
def test_every_fault_ends_in_the_documented_error_or_a_whole_answer(fault: Fault, way: str) -> None:
    with FakeOpenAI(TEXT, faults=[fault]) as server:
        begun = time.monotonic()
        model = model_of(server)
        broken = {**_BROKEN, "error-in-stream": BackendError} if way == "astream" else {}
        if kind := {**_REFUSED, **broken}.get(fault):
            with pytest.raises(kind) as caught:
                written(model, way)
            assert caught.value.hint
            assert caught.value.retryable is (fault in broken)
            assert "sk-abc" not in str(caught.value)
            assert len(server.requests) == 1
        else:
            assert written(model, way) == TEXT
            assert len(server.requests) == (1 if fault == "error-in-stream" else 2)
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_a_server_that_never_recovers_ends_in_an_error(way: str) -> None:
    with FakeOpenAI(TEXT, faults=lambda number, request: "500") as server:
        with pytest.raises(BackendError, match=r"failed on the server's side: .*The server had an error") as caught:
            written(model_of(server, max_retries=2), way)
        assert caught.value.retryable
        assert "It was asked 3 times." in caught.value.__notes__
        assert len(server.requests) == 3


def test_retry_after_is_honoured_for_all_who_ask() -> None:
    with FakeOpenAI(TEXT, faults=["429-retry-after"]) as server:
        model = model_of(server)

        async def both() -> None:
            first = asyncio.create_task(model.ainvoke("one"))
            while not server.requests:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.05)
            await asyncio.gather(first, model.ainvoke("two"))

        begun = time.monotonic()
        asyncio.run(both())
        assert 1.0 <= time.monotonic() - begun < 3
    with FakeOpenAI(TEXT, faults=lambda number, request: "429-retry-after") as server:
        with pytest.raises(RateLimited) as caught:
            model_of(server, total_timeout_s=0.5).invoke("hello")
        assert caught.value.retry_after_s == 1
        assert len(server.requests) == 1


def test_the_deadline_holds_for_everything() -> None:
    with FakeOpenAI(TEXT, faults=lambda number, request: "slow") as server:
        begun = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"within 0\.7 s"):
            model_of(server, timeout=0.3, total_timeout_s=0.7, max_retries=99).invoke("hello")
        assert time.monotonic() - begun < 5
    with FakeOpenAI(TEXT, delay_s=0.3) as server:  # nor does anybody stand in line for longer
        model = model_of(server, concurrency=1, total_timeout_s=0.5)
        found = model.batch(["hello"] * 4, {"max_concurrency": 4}, return_exceptions=True)
        assert [type(f) for f in found].count(DeadlineExceeded) >= 2


def test_other_providers_of_openais_kind_are_held_to_a_reason_too() -> None:
    settings = {"azure_endpoint": "http://127.0.0.1:9", "api_version": "2025-01-01", "api_key": SecretStr("x")}
    model: Any = chat_model("azure_openai:any", max_retries=1, **settings)
    assert (model.calls.ends, model.max_retries, model.calls.attempts.terms.max_retries) == (True, 0, 1)


def test_nobody_is_reached(unused_tcp_port: int) -> None:
    model = chat_model("openai:any", base_url=f"http://127.0.0.1:{unused_tcp_port}/v1", max_retries=1)
    with pytest.raises(BackendError, match=r"openai:any could not be reached: .*\(.*refused|failed.*\)") as caught:
        model.invoke("hello")
    assert "base_url" in str(caught.value.hint)


def test_a_batch_is_as_many_at_once_as_the_model_may_be_asked() -> None:
    with FakeOpenAI(TEXT, delay_s=1) as server:
        assert len(model_of(server, timeout=20).batch(["hello"] * 40)) == 40
        assert server.at_once > 20  # LangChain's own default is four more than there are cores


def test_concurrency_and_pace_are_kept() -> None:
    with FakeOpenAI(TEXT, delay_s=0.02) as server:
        assert len(model_of(server, concurrency=3).batch(["hello"] * 12)) == 12
        assert server.at_once == 3
    with FakeOpenAI(TEXT) as server:
        model = model_of(server, requests_per_minute=600)
        model_of(server, requests_per_minute=600)  # shares the pace
        model.invoke("hello")
        begun = time.monotonic()
        bucket = model.calls.attempts.pace.requests
        bucket.take(bucket._most)
        model.invoke("hello")
        assert time.monotonic() - begun >= 0.09


def test_limits_are_learned_from_headers() -> None:
    told = {"limit-requests": "600", "remaining-requests": "0", "reset-requests": "200ms", "limit-tokens": "90000"}
    told |= {"remaining-tokens": "89000", "reset-tokens": "6ms"}
    with FakeOpenAI(TEXT, headers={f"x-ratelimit-{name}": value for name, value in told.items()}) as server:
        model = model_of(server)
        first = model.invoke("hello")
        assert "headers" not in first.response_metadata
        bucket = model.calls.attempts.pace.requests
        bucket.learn(600, 0, 60)  # 600 a minute, none left
        begun = time.monotonic()
        list(model.stream("hello"))
        assert time.monotonic() - begun >= 0.09


def test_a_bucket_fills_up_steadily_and_keeps_a_given_number(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("taleward.backends.hosted.rate_limits.time.monotonic", lambda: now[0])
    bucket = Bucket(60)
    bucket.take(60)
    assert bucket.wait_s(2) == pytest.approx(2)
    assert bucket.wait_s(1000) == pytest.approx(60)  # more than it holds: when it is full
    bucket.learn(10_000, 9_000, 6)  # the server takes more, we were told less
    now[0] = 2
    assert bucket.wait_s(2) == 0
    assert Bucket().wait_s(1e9) == 0


@pytest.mark.parametrize(
    ("text", "seconds"), [("6m0s", 360), ("1h2m3.5s", 3723.5), ("20ms", 0.02), ("1.5", 1.5), ("", None), ("soon", None)]
)
def test_spans_are_read(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == (None if seconds is None else pytest.approx(seconds))


def test_retry_after_is_read_in_all_its_forms() -> None:
    assert retry_after({"retry-after": "2", "retry-after-ms": "1500"}) == 1.5
    assert retry_after({"retry-after": "2"}) == 2
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after({"retry-after": "later"}) is None


def test_fallbacks_answer_where_the_first_cannot(values: dict[str, str]) -> None:
    with (
        FakeOpenAI(TEXT, faults=lambda number, request: "500") as down,
        FakeOpenAI("The other answers here.") as up,
    ):
        other = model_of(up, "other")
        model = model_of(down, max_retries=0, fallbacks=[other])
        answer = model.invoke("hello")
        assert answer.text == "The other answers here."
        assert answer.response_metadata["answered_by"] == "openai:other"
        assert written(model, "astream") == "The other answers here."
        tale = Guard(StoryChain(model), FakeJudge()).invoke(values)
        assert tale.attempts[0].calls[0].model == "openai:other"
        down.faults = lambda number, request: "content-filter"
        with pytest.raises(ContentFiltered):  # the request is at fault, not the server
            model.invoke("hello")
        up.faults = lambda number, request: "401"
        down.faults = lambda number, request: "500"
        with pytest.raises(BackendError, match="openai:any failed") as caught:
            model.invoke("hello")
        assert "openai:other did not answer either" in " ".join(caught.value.__notes__)


def test_an_embedded_model_stands_in_for_a_server_of_ones_own() -> None:
    with FakeOpenAI(TEXT, faults=lambda number, request: "500") as server:
        model = model_of(server, max_retries=0, fallbacks=[chat_model("embedded:storyteller", max_tokens=40, seed=1)])
        for way in ("invoke", "ainvoke", "stream", "astream"):
            assert len(written(model, way)) > 20
        assert isinstance(model.with_structured_output(Page).invoke("A page?"), Page)
        assert isinstance(list(model.with_structured_output(Page).stream("A page?"))[-1], Page)
        [call] = model.bind_tools([turn], tool_choice="any").invoke("Page three, please").tool_calls
        assert call["name"] == "turn"
        # What it does not take hides nothing of what went wrong at first.
        with pytest.raises(BackendError, match="openai:any failed") as caught:
            model.invoke("hello", user="me")
        assert "does not take ['user']" in " ".join(caught.value.__notes__)


def test_a_hedged_call_takes_the_first_answer() -> None:
    with FakeOpenAI(TEXT, faults=["slow"]) as server:
        begun = time.monotonic()
        assert written(model_of(server, timeout=10, hedge_s=0.1), "ainvoke") == TEXT
        assert time.monotonic() - begun < 2
        assert len(server.requests) == 2
        assert written(model_of(server, timeout=10, hedge_s=5), "astream") == TEXT
        assert len(server.requests) == 3


def wait_until(reached: Callable[[], bool]) -> None:
    for _ in range(500):
        if reached():
            return
        time.sleep(0.01)
    pytest.fail("it did not come to that within five seconds")


def test_a_cancelled_call_leaves_its_place() -> None:
    with FakeOpenAI(TEXT, faults=["slow", "slow"]) as server:
        model = model_of(server, concurrency=1, timeout=20)

        async def leave(call: Any) -> None:
            task = asyncio.ensure_future(call)
            while server.open == 0:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        async def first_piece() -> None:
            async for _ in model.astream("hello"):
                return

        asyncio.run(leave(model.ainvoke("hello")))
        wait_until(lambda: server.open == 0)
        asyncio.run(leave(first_piece()))
        assert model.invoke("hello").text == TEXT


def test_one_model_serves_many_event_loops_and_none() -> None:
    """ChatOpenAI itself fails with "Event loop is closed" here."""
    with FakeOpenAI(TEXT) as server:
        model = model_of(server)
        for way in ("ainvoke", "invoke", "astream", "stream", "ainvoke", "astream"):
            assert written(model, way) == TEXT


def test_a_forked_child_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = chat_model("openai:any", base_url="http://127.0.0.1:9/v1")
    monkeypatch.setattr("os.getpid", lambda: 1)
    with pytest.raises(ConfigurationError, match="made before this process was forked"):
        model.invoke("hello")


def test_it_is_still_its_vendors_model() -> None:
    model = chat_model("openai:tale-1", base_url="http://127.0.0.1:9/v1", temperature=0.5, max_tokens=7)
    assert isinstance(model, ChatOpenAI)
    assert (model.get_name(), model.model_name, model.temperature) == ("ChatOpenAI", "tale-1", 0.5)
    assert model.max_retries == 0
    copy = model.model_copy(update={"temperature": 0.1})
    assert copy._plain({}).temperature == 0.1
    assert "sk-" not in repr(model)


# Costs --------------------------------------------------------------------------------------------------------------


def test_models_share_their_connections() -> None:
    one = chat_model("openai:one", base_url="http://127.0.0.1:9/v1")
    other = chat_model("openai:other", base_url="http://127.0.0.1:8/v1", timeout=3)
    own = chat_model("openai:one", base_url="http://127.0.0.1:9/v1", http_socket_options=())
    clients = [model.http_async_client for model in (one, other, own)]  # type: ignore[attr-defined]
    assert clients[0] is clients[1]
    assert clients[2] is not clients[0]


def test_costs_are_counted_and_reach_the_tale(values: dict[str, str]) -> None:
    with FakeOpenAI("one two three") as server:
        model = model_of(server, price_usd=(1.0, 10.0))
        answer = model.invoke("four words are here")
        assert answer.response_metadata["cost_usd"] == pytest.approx((4 * 1 + 3 * 10) / 1e6)
        merged = None
        for chunk in model.stream("four words are here"):
            merged = chunk if merged is None else merged + chunk
        assert merged is not None
        assert merged.response_metadata["cost_usd"] == pytest.approx(34e-6)
        tale = Guard(StoryChain(model), FakeJudge()).invoke(values)
        assert tale.attempts[0].calls[0].cost_usd > 0
        assert "cost_usd" not in model_of(server, "gpt-5-mini").invoke("hello").response_metadata  # not OpenAI's server


def test_tokens_that_are_told_piece_by_piece_make_one_sum() -> None:
    """As Gemini does; LangChain adds no numbers up, and raises where two pieces hold the same one."""

    class Pieces(FakeListChatModel):
        async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
            for text in ("one ", "two"):
                usage = {"input_tokens": 2, "output_tokens": 1, "total_tokens": 3}
                yield ChatGenerationChunk(message=AIMessageChunk(text, usage_metadata=usage))

    model = with_calls(
        parse_spec("mine:x"), lambda **options: Pieces(responses=["x"], **options), server="here", price_usd=(1.0, 10.0)
    )
    merged = None
    for chunk in model.stream("hello"):
        merged = chunk if merged is None else merged + chunk
    assert merged is not None
    assert merged.text == "one two"
    assert merged.response_metadata["cost_usd"] == pytest.approx((4 * 1 + 2 * 10) / 1e6)


USAGE = {"input_tokens": 1000, "output_tokens": 100, "input_token_details": {"cache_read": 400}}


def cost_of(spec: str, usage: dict[str, Any] = USAGE) -> float | None:
    price = find_price(parse_spec(spec))
    return None if price is None else price.cost_usd(usage)


def test_prices_come_from_the_installed_list() -> None:
    expected = (600 * 0.25 + 400 * 0.025 + 100 * 2) / 1e6
    assert cost_of("openai:gpt-5-mini") == pytest.approx(expected)
    assert cost_of("openai:gpt-5-mini-2025-08-07") == pytest.approx(expected)
    assert cost_of("azure_openai:gpt-5-mini") == pytest.approx(expected)
    assert find_price(parse_spec("openai:gpt-5-mini")) != find_price(parse_spec("openai:gpt-5"))
    assert find_price(parse_spec("google_genai:gemini-2.5-flash-latest")) is not None
    for unknown in ("openai:gpt-5-mini-tuned", "openai:tale-1", "mine:gpt-5-mini", "ollama:gpt-oss:20b"):
        assert find_price(parse_spec(unknown)) is None
    written = {"input_tokens": 1000, "output_tokens": 0, "input_token_details": {"cache_creation": 600}}
    assert cost_of("anthropic:claude-haiku-4-5", written) == pytest.approx((400 * 1 + 600 * 1.25) / 1e6)
    written["input_token_details"] = {"cache_creation": 0, "ephemeral_1h_input_tokens": 600}
    assert cost_of("anthropic:claude-haiku-4-5", written) == pytest.approx((400 * 1 + 600 * 2) / 1e6)


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
    own = tmp_path / "prices.yaml"
    own.write_text("prices: {openai: {gpt-5-mini: [9, 9, 9]}, mine: {tale-1: [1, 2]}}")
    monkeypatch.setenv("TALEWARD_PRICES", str(own))
    assert find_price(parse_spec("openai:gpt-5-mini")) == (9, 9, 9)
    assert find_price(parse_spec("openai:gpt-5-mini-2025-08-07")) == (9, 9, 9)
    assert find_price(parse_spec("mine:tale-1")) == (1, 1, 2)
    assert cost_of("mine:tale-1") == pytest.approx((1000 * 1 + 100 * 2) / 1e6)
    assert find_price(parse_spec("openai:gpt-5")) is not None
    own.write_text("prices: 3")
    pricing._read_price_file.cache_clear()
    with pytest.raises(InvalidFile, match="is not a valid price file"):
        find_price(parse_spec("openai:gpt-5-mini"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"concurrency": 0}, "concurrency is a whole number from 1; got 0"),
        ({"max_retries": -1}, "max_retries is a whole number from 0"),
        ({"timeout": 0}, "timeout is a number of seconds above 0; got 0"),
        ({"total_timeout_s": "soon"}, "total_timeout_s is a number of seconds above 0; got 'soon'"),
        ({"requests_per_minute": 0}, "requests_per_minute is a number above 0; got 0"),
        ({"price_usd": 3}, "price_usd must be two non-negative numbers"),
        ({"base_url": "127.0.0.1:9/v1"}, "base_url is an address that begins with http:// or https://; got '127"),
        ({"fallbacks": "embedded:storyteller"}, "fallbacks is a list of specs"),
        ({"fallbacks": ["nobody:x"]}, "unknown provider 'nobody'"),
    ],
)
def test_wrong_terms_are_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        chat_model("openai:any", **{"base_url": "http://127.0.0.1:9/v1", **options})


# Errors -------------------------------------------------------------------------------------------------------------


def vendors() -> Iterator[type[BaseException]]:
    for module, base in (
        (openai, openai.OpenAIError),
        (langchain_core.exceptions, langchain_core.exceptions.ModelError),
    ):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, base) and not kind.__name__.startswith("_"):
                yield kind


def test_every_class_of_the_vendors_errors_has_a_meaning() -> None:
    """Fails when a new version brings one: give it a line in `BY_CLASS`."""
    assert {kind.__name__ for kind in vendors()} <= set(BY_CLASS)


def test_other_clients_are_understood_by_their_status() -> None:
    class Response:
        status_code, headers = 429, {"Retry-After": "7"}

    class Theirs(Exception):
        response = Response()

    found = map_vendor_error(Theirs("slow down, sk-abcdefghijkl"), "x:y")
    assert isinstance(found, RateLimited)
    assert found.retry_after_s == 7
    assert str(found) == "x:y is asked too often: slow down, [redacted]"
    Response.status_code = 422
    assert isinstance(map_vendor_error(Theirs("no"), "x:y"), RequestRejected)
    assert isinstance(map_vendor_error(TimeoutError(), "x:y"), DeadlineExceeded)
    assert map_vendor_error(TypeError("create() got an unexpected keyword argument 'colour'"), "x:y") is None


@pytest.mark.parametrize(
    "told",
    [
        {"finish_reason": "content_filter"},
        {"finish_reason": "SAFETY"},
        {"stop_reason": "refusal"},
        {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
    ],
)
def test_an_answer_that_a_vendor_cut_off_is_no_answer(told: dict[str, Any]) -> None:
    calls: Any = chat_model("openai:any", base_url="http://127.0.0.1:9/v1").calls
    with pytest.raises(ContentFiltered, match=r"openai:any was stopped by its vendor's filter \("):
        calls.see_end(told)
    for whole in ({"finish_reason": "stop"}, {"stop_reason": "end_turn"}, {"finish_reason": "length"}):
        assert calls.see_end(whole)


def test_a_model_that_declines_in_a_field_of_its_own_is_no_answer() -> None:
    calls: Any = chat_model("openai:any", base_url="http://127.0.0.1:9/v1").calls
    with pytest.raises(ContentFiltered, match="openai:any declined to answer: I cannot help"):
        calls.see_refusal(AIMessage("", additional_kwargs={"refusal": "I cannot help."}))


def test_a_wrong_argument_is_no_servers_fault() -> None:
    with FakeOpenAI(TEXT) as server, pytest.raises(TypeError, match="colour"):
        model_of(server).invoke("hello", colour="red")


# Options that a server ignores --------------------------------------------------------------------------------------


class Page(BaseModel):
    title: str
    number: int


@tool
def turn(page: int) -> str:
    """Turn to a page."""
    return "turned"


def chatty(request: Any) -> str:
    """A model that does what it is told in words."""
    asked = next(str(m["content"]) for m in reversed(request["messages"]) if "schema" in str(m["content"]))
    if '"arguments"' not in asked:
        return 'Gladly! ```json\n{"title": "Hen", "number": 3}\n```'
    arguments = {"page": 3} if '"turn"' in asked else {"title": "Hen", "number": 3}
    name = "turn" if '"turn"' in asked else "Page"
    return f'Here: {{"name": "{name}", "arguments": {str(arguments).replace(chr(39), chr(34))}}}'


IGNORED = ("response_format", "tool_choice", "n")


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_a_form_is_had_from_a_server_that_ignores_it(method: str) -> None:
    def answer(request: Any) -> str:
        return chatty(request) if "schema" in str(request["messages"]) else "I would rather chat."

    with FakeOpenAI(answer, ignores=IGNORED) as server:
        asking: Any = model_of(server).with_structured_output(Page, method=method)
        assert asking.invoke("A page?") == Page(title="Hen", number=3)
        assert len(server.requests) == 2
        assert asyncio.run(asking.ainvoke("A page?")) == Page(title="Hen", number=3)
        assert len(server.requests) == 3  # remembered
        again: Any = model_of(server).with_structured_output(Page, method=method)
        assert list(again.stream("A page?"))[-1] == Page(title="Hen", number=3)
        assert len(server.requests) == 4  # for every model of this server


def test_forced_tools_and_several_answers_are_had_too() -> None:
    def answer(request: Any) -> str:
        return chatty(request) if "schema" in str(request["messages"]) else "I would rather chat."

    with FakeOpenAI(answer, ignores=IGNORED) as server:
        model = model_of(server)
        [call] = model.bind_tools([turn], tool_choice="any").invoke("Page three, please").tool_calls
        assert (call["name"], call["args"]) == ("turn", {"page": 3})
        assert len(model.bind(n=3).generate([[]], n=3).generations[0]) == 3


def test_a_server_that_honours_them_is_asked_once() -> None:
    with FakeOpenAI(TEXT) as server:
        model = model_of(server)
        assert model.with_structured_output(Page).invoke("A page?") == Page(title="tale", number=1)
        assert model.bind_tools([turn], tool_choice="any").invoke("x").tool_calls[0]["args"] == {"page": 1}
        assert len(model.generate([[]], n=3).generations[0]) == 3
        assert len(server.requests) == 3


def test_missing_log_probabilities_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with FakeOpenAI(TEXT, ignores=["logprobs"]) as ignoring, FakeOpenAI(TEXT) as honouring:
        for model in (model_of(ignoring), model_of(ignoring, logprobs=True), model_of(honouring)):
            assert model.invoke("hello", logprobs=True).text == TEXT
    assert [r.getMessage() for r in caplog.records if "log-probabilities" in r.getMessage()] == [
        "openai:any gives no log-probabilities: its server takes logprobs and leaves them out."
    ]


def test_there_is_no_endless_loop() -> None:
    with FakeOpenAI("Never.", ignores=IGNORED) as server:
        agent = create_agent(model_of(server), [turn], response_format=Page)
        with pytest.raises(BackendError, match="does not honour tool_choice, and asked in words"):
            agent.invoke({"messages": [("human", "A page?")]})
        assert len(server.requests) == 4


# Embeddings ---------------------------------------------------------------------------------------------------------


def test_embeddings_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with FakeOpenAI() as server:
        model = embeddings("openai:any", base_url=server.base_url)
        assert isinstance(model, OpenAIEmbeddings)
        [fox, other] = model.embed_documents(["a fox", "a key"])
        assert server.requests[0]["input"] == ["a fox", "a key"]  # texts, not the numbers of OpenAI's tokens
        assert model.embed_query("a fox") == fox != other
        for _ in range(2):  # on any event loop; OpenAIEmbeddings itself fails on the second
            assert asyncio.run(model.aembed_query("a fox")) == fox
    plain = OpenAIEmbeddings(
        model="any", base_url=server.base_url, api_key=SecretStr("x"), check_embedding_ctx_length=False
    )
    assert fingerprint(model) == fingerprint(plain)
    with FakeOpenAI(faults=["401"]) as server, pytest.raises(BackendError, match="did not accept the key") as caught:
        embeddings("openai:any", base_url=server.base_url).embed_query("a fox")
    assert "sk-abc" not in str(caught.value)
    with pytest.raises(MissingKey, match="has no OPENAI_API_KEY"):
        embeddings("openai:text-embedding-3-small")


# All at once --------------------------------------------------------------------------------------------------------


def test_of_many_mixed_requests_each_ends_in_exactly_one_outcome() -> None:
    kinds = [None, None, None, "429", "500", "reset", "truncated", "no-choices", "html", "401", "content-filter"]

    def fault(number: int, request: Any) -> Fault | None:
        return kinds[(number * 7919) % len(kinds)]  # type: ignore[return-value]

    with FakeOpenAI(TEXT, faults=fault) as server:
        model = model_of(server, concurrency=64, timeout=10, total_timeout_s=120)

        async def one(number: int) -> str:
            try:
                if number % 2:
                    text = "".join([chunk.text async for chunk in model.astream("hello")])
                else:
                    text = (await model.ainvoke("hello")).text
            except BackendError as error:
                return type(error).__name__
            return "whole" if text == TEXT else f"half: {text!r}"

        async def everything() -> Counter[str]:
            return Counter(await asyncio.gather(*(one(number) for number in range(400))))

        outcomes = asyncio.run(everything())
        assert set(outcomes) <= {"whole", "BackendError", "RateLimited", "ContentFiltered"}
        assert sum(outcomes.values()) == 400
        assert outcomes["whole"] > 100
        assert server.at_once <= 64
