"""Hosted models: what comes of requests to a server that fails, and what our care costs.

`python -m benchmarks.hosted`; the peer is `langchain_openai.ChatOpenAI` with retries and a timeout of its own, against
the same server in the same run.
"""

from __future__ import annotations

import asyncio
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from benchmarks.table import Row, run
from taleward.backends.chat_models import chat_model
from taleward.testing import FakeOpenAI, Fault

TEXT = "Once upon a time a hen found a key under the old stone, and nobody knew what it was for. " * 3
FAULTS: tuple[Fault, ...] = (
    "429",
    "500",
    "stall",
    "drip",
    "reset",
    "truncated",
    "invalid-json",
    "html",
    "no-choices",
    "error-in-stream",
    "content-filter",
    "context-length",
)
_SHARE = 0.3
_TIMEOUT_S = 2.0
_DEADLINE_S = 20.0
_HANGS_S = 25.0
_AT_ONCE = 256
_TOLD = ("BackendError", "ContentFiltered", "ContextTooLong", "DeadlineExceeded", "RateLimited", "RequestRejected")
_MIB = 1024


def fault(number: int, _request: Mapping[str, Any]) -> Fault | None:
    """Three requests in ten go wrong, each in one of the twelve ways; the same in every run."""
    draw = random.Random(number)
    return draw.choice(FAULTS) if draw.random() < _SHARE else None


def outcomes(model: BaseChatModel, requests: int) -> tuple[Counter[str], float, list[int]]:
    """What came of so many requests, half of them streams; the longest in seconds; memory in MiB in each tenth."""
    memory: list[int] = []
    longest = 0.0

    async def one(number: int, places: asyncio.Semaphore) -> str:
        nonlocal longest
        async with places:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(_HANGS_S):
                    if number % 2:
                        text = "".join([chunk.text async for chunk in model.astream("Tell me a story.")])
                    else:
                        text = (await model.ainvoke("Tell me a story.")).text
            except TimeoutError:
                return "hangs"
            except Exception as error:  # noqa: BLE001  its kind is what is counted
                return type(error).__name__
            finally:
                longest = max(longest, time.monotonic() - begun)
                if number % max(1, requests // 10) == 0:
                    memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // _MIB)
        return "whole" if text == TEXT else "half"

    async def everything() -> Counter[str]:
        places = asyncio.Semaphore(_AT_ONCE)
        return Counter(await asyncio.gather(*(one(number, places) for number in range(requests))))

    return asyncio.run(everything()), longest, memory


def plain(server: FakeOpenAI) -> BaseChatModel:
    """The peer, set up as well as it can be."""
    from langchain_openai import ChatOpenAI
    from openai import DefaultAsyncHttpxClient

    # A client of its own: the one that ChatOpenAI shares fails on the second event loop.
    client = DefaultAsyncHttpxClient(timeout=_TIMEOUT_S)
    return ChatOpenAI(
        model="any",
        base_url=server.base_url,
        api_key=SecretStr("none"),
        http_async_client=client,
        max_retries=4,
        timeout=_TIMEOUT_S,
        stream_chunk_timeout=_TIMEOUT_S,
    )


def mixed(quick: bool) -> Iterator[Row]:
    """Requests to a server that fails."""
    requests = 1_000 if quick else 10_000
    with FakeOpenAI(TEXT, faults=fault) as server:
        model = chat_model("openai:any", base_url=server.base_url, concurrency=_AT_ONCE, max_retries=4,
                           timeout=_TIMEOUT_S, total_timeout_s=_DEADLINE_S)  # fmt: skip
        found, longest, memory = outcomes(model, requests)
        others = requests // 5
        with_peer, theirs_longest, _ = outcomes(plain(server), others)
    name, share = "ChatOpenAI(max_retries=4)", requests / others
    told = sum(found[kind] for kind in _TOLD)
    print(f"<!-- ours: {dict(found)}; ChatOpenAI, of {others}: {dict(with_peer)} -->")
    ended = found["whole"] + told
    yield Row(f"of {requests:,} requests, ended whole or in an error of ours", "requests", ended, None, "", None,
              "all", ended == requests)  # fmt: skip
    half, theirs = found["half"], with_peer["half"] * share
    yield Row("half answers passed off as whole", "requests", half, theirs, name, None, "0", half == 0)
    hangs, theirs = found["hangs"], with_peer["hangs"] * share
    yield Row(f"without an end after {_HANGS_S:g} s", "requests", hangs, theirs, name, None, "0", hangs == 0)
    yield Row("whole answers", "requests", found["whole"], with_peer["whole"] * share, name,
              found["whole"] / (with_peer["whole"] * share))  # fmt: skip
    yield Row("longest request", "s", longest, theirs_longest, name, None, "<= deadline", longest <= _DEADLINE_S + 1)
    grown = memory[-1] - memory[len(memory) // 2]
    yield Row("memory grown in the second half", "MiB", grown, None, "", None, "<= 20", grown <= 20)


def care(quick: bool) -> Iterator[Row]:
    """What a call costs beside the peer's where nothing goes wrong."""
    calls = 100 if quick else 500

    async def awaited(model: BaseChatModel) -> None:
        for _ in range(calls):
            await model.ainvoke("hello")

    ways: dict[str, Callable[[BaseChatModel], object]] = {
        "invoke": lambda model: [model.invoke("hello") for _ in range(calls)],
        "ainvoke": lambda model: asyncio.run(awaited(model)),
        "stream": lambda model: [list(model.stream("hello")) for _ in range(calls)],
    }
    with FakeOpenAI("Once upon a time.") as server:
        for way, work in ways.items():
            taken: dict[str, list[float]] = {"ours": [], "theirs": []}
            for _ in range(3):
                ours = chat_model("openai:any", base_url=server.base_url)
                for name, model in (("ours", ours), ("theirs", plain(server))):
                    begun = time.perf_counter()
                    work(model)
                    taken[name].append((time.perf_counter() - begun) / calls * 1e3)
            mine, other = min(taken["ours"]), min(taken["theirs"])
            yield Row(f"a call on loopback, {way}", "ms", mine, other, "ChatOpenAI", other / mine)


def measure(quick: bool) -> Iterator[Row]:
    """All rows."""
    yield from mixed(quick)
    yield from care(quick)


if __name__ == "__main__":
    run("hosted", measure)
