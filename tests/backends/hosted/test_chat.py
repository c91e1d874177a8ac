"""Hosted models on a server that fails in every way: the documented error or a complete answer, in time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, get_args

import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from taleward import Guard, StoryChain, chat_model
from taleward.core.errors import (
    BackendError,
    ConfigurationError,
    ContentFiltered,
    ContextTooLong,
    DeadlineExceeded,
    RateLimited,
    TalewardError,
)
from taleward.testing import FakeJudge, FakeOpenAI, Fault
from tests.helpers.hosted_models import TEXT, Page, caller_of, model_on, run

_BROKEN: dict[str, type[TalewardError]] = {
    "stall": DeadlineExceeded,
    "drip": DeadlineExceeded,
    "reset": BackendError,
    "truncated": BackendError,
}
_REJECTED: dict[str, type[BackendError]] = {
    "401": BackendError,
    "404": BackendError,
    "quota": BackendError,
    "context-length": ContextTooLong,
    "content-filter": ContentFiltered,
}


@tool
def turn(page: int) -> str:
    """Turn to a page."""
    return "turned"


@pytest.mark.parametrize("method", ["invoke", "astream"])
@pytest.mark.parametrize("fault", get_args(Fault))
def test_every_fault_ends_in_the_documented_error_or_a_complete_answer(fault: Fault, method: str) -> None:
    with FakeOpenAI(TEXT, faults=[fault]) as server:
        started = time.monotonic()
        model = model_on(server)
        broken: dict[str, type[TalewardError]] = {}
        if method == "astream":
            broken = {**_BROKEN, "error-in-stream": BackendError}
        if error_class := {**_REJECTED, **broken}.get(fault):
            with pytest.raises(error_class) as caught:
                run(model, method)
            assert caught.value.hint
            assert caught.value.retryable is (fault in broken)
            assert "sk-abc" not in str(caught.value)
            assert len(server.requests) == 1
        else:
            assert run(model, method) == TEXT
            assert len(server.requests) == (1 if fault == "error-in-stream" else 2)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("method", ["invoke", "ainvoke", "stream", "astream"])
def test_a_server_that_never_recovers_ends_in_an_error(method: str) -> None:
    with FakeOpenAI(TEXT, faults=lambda number, request: "500") as server:
        with pytest.raises(BackendError, match=r"failed with a server error: .*The server had an error") as caught:
            run(model_on(server, max_retries=2), method)
        assert caught.value.retryable
        assert "Attempted 3 times." in caught.value.__notes__
        assert len(server.requests) == 3


def test_retry_after_delays_all_callers() -> None:
    with FakeOpenAI(TEXT, faults=["429-retry-after"]) as server:
        model = model_on(server)

        async def run_both() -> None:
            first = asyncio.create_task(model.ainvoke("one"))
            while not server.requests:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.05)
            await asyncio.gather(first, model.ainvoke("two"))

        started = time.monotonic()
        asyncio.run(run_both())
        assert 1.0 <= time.monotonic() - started < 3
    with FakeOpenAI(TEXT, faults=lambda number, request: "429-retry-after") as server:
        with pytest.raises(RateLimited) as caught:
            model_on(server, total_timeout_s=0.5).invoke("hello")
        assert caught.value.retry_after_s == 1
        assert len(server.requests) == 1


def test_the_total_timeout_covers_attempts_and_waiting() -> None:
    with FakeOpenAI(TEXT, faults=lambda number, request: "slow") as server:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"within 0\.7 s"):
            model_on(server, timeout=0.3, total_timeout_s=0.7, max_retries=99).invoke("hello")
        assert time.monotonic() - started < 5
    with FakeOpenAI(TEXT, delay_s=0.3) as server:
        model = model_on(server, concurrency=1, total_timeout_s=0.5)
        results = model.batch(["hello"] * 4, {"max_concurrency": 4}, return_exceptions=True)
        assert sum(isinstance(result, DeadlineExceeded) for result in results) >= 2


def test_azure_must_report_finish_reasons_too() -> None:
    settings = {"azure_endpoint": "http://127.0.0.1:9", "api_version": "2025-01-01", "api_key": SecretStr("x")}
    model: Any = chat_model("azure_openai:any", max_retries=1, **settings)
    assert model.caller.reports_finish_reason
    assert (model.max_retries, caller_of(model).retrier.settings.max_retries) == (0, 1)


def test_an_unreachable_server(unused_tcp_port: int) -> None:
    model = chat_model("openai:any", base_url=f"http://127.0.0.1:{unused_tcp_port}/v1", max_retries=1)
    with pytest.raises(BackendError, match=r"openai:any could not be reached: .*\(.*refused|failed.*\)") as caught:
        model.invoke("hello")
    assert "base_url" in str(caught.value.hint)


def test_a_batch_uses_the_models_concurrency() -> None:
    with FakeOpenAI(TEXT, delay_s=1) as server:
        assert len(model_on(server, timeout=20).batch(["hello"] * 40)) == 40
        assert server.peak_concurrency > 20  # LangChain's own default is four more than there are cores


def test_concurrency_and_rate_limits_hold() -> None:
    with FakeOpenAI(TEXT, delay_s=0.02) as server:
        assert len(model_on(server, concurrency=3).batch(["hello"] * 12)) == 12
        assert server.peak_concurrency == 3
    with FakeOpenAI(TEXT) as server:
        model = model_on(server, requests_per_minute=600)
        model_on(server, requests_per_minute=600)  # shares the rate limiter
        model.invoke("hello")
        started = time.monotonic()
        bucket = caller_of(model).retrier.rate_limiter.requests
        assert bucket._capacity is not None
        bucket.take(bucket._capacity)
        model.invoke("hello")
        assert time.monotonic() - started >= 0.09


def test_rate_limits_are_learned_from_headers() -> None:
    headers = {"limit-requests": "600", "remaining-requests": "0", "reset-requests": "200ms", "limit-tokens": "90000"}
    headers |= {"remaining-tokens": "89000", "reset-tokens": "6ms"}
    with FakeOpenAI(TEXT, headers={f"x-ratelimit-{name}": value for name, value in headers.items()}) as server:
        model = model_on(server)
        answer = model.invoke("hello")
        assert "headers" not in answer.response_metadata
        bucket = caller_of(model).retrier.rate_limiter.requests
        bucket.update(600, 0, 60)
        started = time.monotonic()
        list(model.stream("hello"))
        assert time.monotonic() - started >= 0.09


def test_fallbacks_answer_if_the_model_cannot(values: dict[str, str]) -> None:
    with (
        FakeOpenAI(TEXT, faults=lambda number, request: "500") as down,
        FakeOpenAI("The other answers here.") as up,
    ):
        fallback = model_on(up, "other")
        model = model_on(down, max_retries=0, fallbacks=[fallback])
        answer = model.invoke("hello")
        assert answer.text == "The other answers here."
        assert answer.response_metadata["answered_by"] == "openai:other"
        assert run(model, "astream") == "The other answers here."
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


def test_an_embedded_model_as_fallback() -> None:
    with FakeOpenAI(TEXT, faults=lambda number, request: "500") as server:
        model = model_on(
            server, max_retries=0, fallbacks=[chat_model("embedded:storyteller-mini", max_tokens=40, seed=1)]
        )
        for method in ("invoke", "ainvoke", "stream", "astream"):
            assert len(run(model, method)) > 20
        assert isinstance(model.with_structured_output(Page).invoke("A page?"), Page)
        assert isinstance(list(model.with_structured_output(Page).stream("A page?"))[-1], Page)
        [call] = model.bind_tools([turn], tool_choice="any").invoke("Page three, please").tool_calls
        assert call["name"] == "turn"
        # An option that the fallback does not accept does not hide the first error.
        with pytest.raises(BackendError, match="openai:any failed") as caught:
            model.invoke("hello", user="me")
        assert "does not accept ['user']" in " ".join(caught.value.__notes__)


def test_a_hedged_call_uses_the_first_answer() -> None:
    with FakeOpenAI(TEXT, faults=["slow"]) as server:
        started = time.monotonic()
        assert run(model_on(server, timeout=10, hedge_s=0.1), "ainvoke") == TEXT
        assert time.monotonic() - started < 2
        assert len(server.requests) == 2
        assert run(model_on(server, timeout=10, hedge_s=5), "astream") == TEXT
        assert len(server.requests) == 3


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("the condition did not become true within five seconds")


def test_a_canceled_call_frees_its_slot() -> None:
    with FakeOpenAI(TEXT, faults=["slow", "slow"]) as server:
        model = model_on(server, concurrency=1, timeout=20)

        async def cancel(call: Any) -> None:
            task = asyncio.ensure_future(call)
            while server.open_requests == 0:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        async def first_chunk() -> None:
            async for _ in model.astream("hello"):
                return

        asyncio.run(cancel(model.ainvoke("hello")))
        wait_until(lambda: server.open_requests == 0)
        asyncio.run(cancel(first_chunk()))
        assert model.invoke("hello").text == TEXT


def test_one_model_serves_many_event_loops_and_synchronous_code() -> None:
    """ChatOpenAI itself fails with "Event loop is closed" here."""
    with FakeOpenAI(TEXT) as server:
        model = model_on(server)
        for method in ("ainvoke", "invoke", "astream", "stream", "ainvoke", "astream"):
            assert run(model, method) == TEXT


def test_a_forked_child_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = chat_model("openai:any", base_url="http://127.0.0.1:9/v1")
    monkeypatch.setattr("os.getpid", lambda: 1)
    with pytest.raises(ConfigurationError, match="made before this process was forked"):
        model.invoke("hello")


def test_it_is_still_its_vendors_model() -> None:
    model = chat_model("openai:tale-1", base_url="http://127.0.0.1:9/v1", temperature=0.5, max_tokens=7)
    assert isinstance(model, ChatOpenAI)
    assert (model.get_name(), model.model_name, model.temperature) == ("ChatOpenAI", "tale-1", 0.5)
    assert model.max_retries == 0
    copy: Any = model.model_copy(update={"temperature": 0.1})
    assert copy._vendor_model({}).temperature == 0.1
    assert "sk-" not in repr(model)


def test_models_share_their_connections() -> None:
    one = chat_model("openai:one", base_url="http://127.0.0.1:9/v1")
    other = chat_model("openai:other", base_url="http://127.0.0.1:8/v1", timeout=3)
    configured = chat_model("openai:one", base_url="http://127.0.0.1:9/v1", http_socket_options=())
    clients = [model.http_async_client for model in (one, other, configured)]  # type: ignore[attr-defined]
    assert clients[0] is clients[1]
    assert clients[2] is not clients[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 0}, "concurrency must be an integer of at least 1; got 0"),
        ({"max_retries": -1}, "max_retries must be an integer of at least 0"),
        ({"timeout": 0}, "timeout must be a positive number of seconds; got 0"),
        ({"total_timeout_s": "soon"}, "total_timeout_s must be a positive number of seconds; got 'soon'"),
        ({"requests_per_minute": 0}, "requests_per_minute must be positive; got 0"),
        ({"price_usd": 3}, "price_usd must be two non-negative numbers"),
        ({"base_url": "127.0.0.1:9/v1"}, "base_url must start with http:// or https://; got '127"),
        ({"fallbacks": "embedded:storyteller-mini"}, "fallbacks must be a list of specs"),
        ({"fallbacks": ["nobody:x"]}, "unknown provider 'nobody'"),
    ],
)
def test_invalid_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        chat_model("openai:any", **{"base_url": "http://127.0.0.1:9/v1", **options})


def test_a_wrong_argument_is_not_the_servers_fault() -> None:
    with FakeOpenAI(TEXT) as server, pytest.raises(TypeError, match="colour"):
        model_on(server).invoke("hello", colour="red")


def test_each_of_many_mixed_requests_has_exactly_one_outcome() -> None:
    kinds = [None, None, None, "429", "500", "reset", "truncated", "no-choices", "html", "401", "content-filter"]

    def fault(number: int, request: Any) -> Fault | None:
        return kinds[(number * 7919) % len(kinds)]  # type: ignore[return-value]

    with FakeOpenAI(TEXT, faults=fault) as server:
        model = model_on(server, concurrency=64, timeout=10, total_timeout_s=120)

        async def outcome(number: int) -> str:
            try:
                if number % 2:
                    text = "".join([chunk.text async for chunk in model.astream("hello")])
                else:
                    text = (await model.ainvoke("hello")).text
            except BackendError as error:
                return type(error).__name__
            return "complete" if text == TEXT else f"incomplete: {text!r}"

        async def count_outcomes() -> Counter[str]:
            return Counter(await asyncio.gather(*(outcome(number) for number in range(400))))

        outcomes = asyncio.run(count_outcomes())
        assert set(outcomes) <= {"complete", "BackendError", "RateLimited", "ContentFiltered"}
        assert sum(outcomes.values()) == 400
        assert outcomes["complete"] > 100
        assert server.peak_concurrency <= 64
