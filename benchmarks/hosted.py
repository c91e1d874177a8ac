"""Hosted models: requests to a faulty server, and the overhead of a call: `python -m benchmarks.hosted`.

The peer is `langchain_openai.ChatOpenAI` with its own retries and timeout, against the same server in the same run.
"""

from __future__ import annotations

import asyncio
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from benchmarks.table import Row, Size, pick, run
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
_FAULTY_SHARE = 0.3
_TIMEOUT_S = 2.0
_DEADLINE_S = 20.0
_HANG_S = 25.0
_CONCURRENCY = 256
_DOCUMENTED_ERRORS = (
    "BackendError",
    "ContentFiltered",
    "ContextTooLong",
    "DeadlineExceeded",
    "RateLimited",
    "RequestRejected",
)
_KIB_PER_MIB = 1024


def fault_of(number: int, _request: Mapping[str, Any]) -> Fault | None:
    """Return the fault of a request: three in ten fail, each in one of twelve ways, the same in every run."""
    rng = random.Random(number)
    return rng.choice(FAULTS) if rng.random() < _FAULTY_SHARE else None


def outcomes(model: BaseChatModel, requests: int) -> tuple[Counter[str], float, list[int]]:
    """Send requests, half of them streams.

    Returns:
        How often each outcome occurred, the longest request in seconds, and the memory in MiB after each tenth.
    """
    memory: list[int] = []
    longest_s = 0.0

    async def outcome(number: int, slots: asyncio.Semaphore) -> str:
        nonlocal longest_s
        async with slots:
            start = time.monotonic()
            try:
                async with asyncio.timeout(_HANG_S):
                    if number % 2:
                        text = "".join([chunk.text async for chunk in model.astream("Tell me a story.")])
                    else:
                        text = (await model.ainvoke("Tell me a story.")).text
            except TimeoutError:
                return "hang"
            except Exception as error:  # noqa: BLE001  its type is counted
                return type(error).__name__
            finally:
                longest_s = max(longest_s, time.monotonic() - start)
                if number % max(1, requests // 10) == 0:
                    memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // _KIB_PER_MIB)
        return "complete" if text == TEXT else "incomplete"

    async def send_all() -> Counter[str]:
        slots = asyncio.Semaphore(_CONCURRENCY)
        return Counter(await asyncio.gather(*(outcome(number, slots) for number in range(requests))))

    return asyncio.run(send_all()), longest_s, memory


def peer_model(server: FakeOpenAI) -> BaseChatModel:
    """Create the peer, with its best settings."""
    from langchain_openai import ChatOpenAI
    from openai import DefaultAsyncHttpxClient

    # The client that ChatOpenAI instances share fails on a second event loop, so this one gets its own.
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


def faulty_server(size: Size) -> Iterator[Row]:
    """Requests to a server of which three in ten fail."""
    requests = pick(size, full=10_000, quick=1_000, smoke=5)
    peer_requests = requests // 5
    with FakeOpenAI(TEXT, faults=fault_of) as server:
        model = chat_model(
            "openai:any",
            base_url=server.base_url,
            concurrency=_CONCURRENCY,
            max_retries=4,
            timeout=_TIMEOUT_S,
            total_timeout_s=_DEADLINE_S,
        )
        ours, longest_s, memory = outcomes(model, requests)
        peer, peer_longest_s, _ = outcomes(peer_model(server), peer_requests)
    print(f"<!-- ours: {dict(ours)}; ChatOpenAI, of {peer_requests}: {dict(peer)} -->")
    name, scale = "ChatOpenAI(max_retries=4)", requests / peer_requests
    ended = ours["complete"] + sum(ours[error] for error in _DOCUMENTED_ERRORS)
    metric = f"of {requests:,} requests, complete or a documented error"
    yield Row(metric, "requests", ended, goal="all", met=ended == requests)
    for outcome, metric in (
        ("incomplete", "incomplete answers passed off as complete"),
        ("hang", f"no end after {_HANG_S:g} s"),
    ):
        yield Row(metric, "requests", ours[outcome], peer[outcome] * scale, name, None, "0", ours[outcome] == 0)
    complete, peer_complete = ours["complete"], peer["complete"] * scale
    ratio = complete / peer_complete if peer_complete else None
    yield Row("complete answers", "requests", complete, peer_complete, name, ratio)
    met = longest_s <= _DEADLINE_S + 1
    yield Row("longest request", "s", longest_s, peer_longest_s, name, None, "<= deadline", met)
    growth = memory[-1] - memory[len(memory) // 2]
    yield Row("memory growth in the second half", "MiB", growth, goal="<= 20", met=growth <= 20)


def overhead(size: Size) -> Iterator[Row]:
    """Duration of a call when nothing fails."""
    calls = pick(size, full=500, quick=100, smoke=1)

    async def ainvoke_all(model: BaseChatModel) -> None:
        for _ in range(calls):
            await model.ainvoke("hello")

    methods: dict[str, Callable[[BaseChatModel], object]] = {
        "invoke": lambda model: [model.invoke("hello") for _ in range(calls)],
        "ainvoke": lambda model: asyncio.run(ainvoke_all(model)),
        "stream": lambda model: [list(model.stream("hello")) for _ in range(calls)],
    }
    with FakeOpenAI("Once upon a time.") as server:
        for method, call in methods.items():
            durations_ms: dict[str, list[float]] = {"ours": [], "peer": []}
            for _ in range(pick(size, full=3, quick=3, smoke=1)):
                ours = chat_model("openai:any", base_url=server.base_url)
                for name, model in (("ours", ours), ("peer", peer_model(server))):
                    start = time.perf_counter()
                    call(model)
                    durations_ms[name].append((time.perf_counter() - start) / calls * 1e3)
            ours_ms, peer_ms = min(durations_ms["ours"]), min(durations_ms["peer"])
            yield Row(f"a call on loopback, {method}", "ms", ours_ms, peer_ms, "ChatOpenAI", peer_ms / ours_ms)


def measure(size: Size) -> Iterator[Row]:
    """Yield all rows."""
    yield from faulty_server(size)
    yield from overhead(size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    return run("hosted", measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
