"""The server under load and with faults: `python -m benchmarks.serving [--litellm PYTHON] [--nemo PYTHON]`.

A fake model writes, so that the server alone is measured. The peers run in environments of their own, named by their
Python; their rows are left out without it.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.fake_model_server import story_of
from benchmarks.serving_processes import (
    Process,
    fake_model,
    litellm_proxy,
    model_stats,
    nemo_server,
    open_files,
    taleward_server,
)
from benchmarks.stream_client import StreamResult, stream_chat
from benchmarks.table import Row, Size, pick, run

_CALLERS = 8
_LEAVE_TIMEOUT_S = 10.0


def is_right(result: StreamResult, number: int) -> bool:
    """Whether a stream ended, with its own story and nothing else."""
    return result.done and result.text.split() == story_of(str(number)).split()


def names_another(text: str, number: int) -> bool:
    """Whether a text holds a sentence of another stream's story."""
    return any(found != str(number) for found in re.findall(r"Fox (\d+) ran", text))


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value below which a share of the values lies; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def many_streams(base_url: str, count: int, seconds: float) -> list[tuple[int, StreamResult]]:
    """Keep so many streams open for so many seconds; return each with its number."""
    end_s, results = time.perf_counter() + seconds, []

    async def reader(first: int) -> None:
        number = first
        while True:
            results.append((number, await stream_chat(base_url, "tales", f"a story about fox number {number}")))
            number += count
            if time.perf_counter() >= end_s:
                return

    await asyncio.gather(*(reader(number) for number in range(count)))
    return results


async def load(server: Process, count: int, seconds: float) -> list[Row]:
    """Many streams at once: none is lost or mixed up with another."""
    results = await many_streams(server.base_url, count, seconds)
    complete = sum(is_right(result, number) for number, result in results)
    # On a machine without time for them, streams reach a limit: they are told so, in an error or in a refusal.
    told = sum(result.error is not None or result.finish_reason == "content_filter" for _, result in results)
    lost = len(results) - complete - told
    crossed = sum(names_another(result.text, number) for number, result in results)
    why = Counter((r.status, r.error, r.finish_reason) for n, r in results if not is_right(r, n))
    for (status, error, finish_reason), times in why.items():
        print(f"{times} streams ended with status {status}, error {error}, finish {finish_reason}", file=sys.stderr)
    firsts = [result.first_sentence_s for _, result in results if result.first_sentence_s is not None]
    name = f"{count} streams at once for {seconds:g} s"
    return [
        Row(f"{name}: complete", "streams", complete, len(results), "streams begun"),
        Row(f"{name}: ended by a limit, and told so", "streams", told, goal="0", met=not told),
        Row(f"{name}: lost", "streams", lost, goal="0", met=not lost),
        Row(f"{name}: mixed up", "streams", crossed, goal="0", met=not crossed),
        Row(f"{name}: first sentence, p50", "s", percentile(firsts, 0.5)),
        Row(f"{name}: first sentence, p95", "s", percentile(firsts, 0.95)),
        Row(f"{name}: memory of the server", "MB", server.memory_mb()),
    ]


async def faults(server: Process, model: Process) -> list[Row]:
    """A judge that hangs, a model that dies, and a client that leaves."""
    hung = await stream_chat(server.base_url, "hung-judge", "a story about fox number 7")
    leaked = "Fox" in hung.text
    died = await stream_chat(server.base_url, "dying", "a story about fox number 7")
    beside = await stream_chat(server.base_url, "tales", "a story about fox number 8")
    before = await model_stats(model)
    await stream_chat(server.base_url, "tales", "a story about fox number 9", leave_after=2)
    start_s = time.perf_counter()
    stopped_s = _LEAVE_TIMEOUT_S
    while time.perf_counter() - start_s < _LEAVE_TIMEOUT_S:
        stats = await model_stats(model)
        if stats["broken"] > before["broken"] and not stats["open"]:
            stopped_s = time.perf_counter() - start_s
            break
        await asyncio.sleep(0.02)
    is_told = bool(died.error) and not died.done
    return [
        Row("judge that hangs: text that left", "", float(leaked), goal="0", met=not leaked),
        Row(
            "judge that hangs: time until the refusal, limit 2 s",
            "s",
            hung.total_s,
            goal="<= 10",
            met=hung.total_s <= 10,
        ),
        Row(
            "model that dies: the client is told by an error, without [DONE]", "", float(is_told), goal="1", met=is_told
        ),
        Row(
            "model that dies: the next stream is complete",
            "",
            float(is_right(beside, 8)),
            goal="1",
            met=is_right(beside, 8),
        ),
        Row("client that leaves: time until the model stops", "s", stopped_s, goal="<= 5", met=stopped_s <= 5),
    ]


async def termination(server: Process, restart: Callable[[], Awaitable[Process]], count: int) -> list[Row]:
    """SIGTERM under load, and a restart on the same port."""
    tasks = [
        asyncio.ensure_future(stream_chat(server.base_url, "tales", f"a story about fox number {number}"))
        for number in range(count)
    ]
    await asyncio.sleep(1.0)
    server.terminate()
    await asyncio.sleep(0.5)
    refused = await stream_chat(server.base_url, "tales", "a story about fox number 1")
    results = await asyncio.gather(*tasks)
    complete = sum(is_right(result, number) for number, result in enumerate(results))
    await server.ended()
    start_s = time.perf_counter()
    again = await restart()
    restart_s = time.perf_counter() - start_s
    after = await stream_chat(again.base_url, "tales", "a story about fox number 5")
    again.terminate()
    await again.ended()
    is_refused = refused.status in (0, 503)
    return [
        Row(
            "SIGTERM under load: complete",
            "streams",
            complete,
            count,
            "streams that ran",
            goal="all",
            met=complete == count,
        ),
        Row("SIGTERM under load: new work is refused", "", float(is_refused), goal="1", met=is_refused),
        Row("restart: time until it answers", "s", restart_s),
        Row("restart: the next stream is complete", "", float(is_right(after, 5)), goal="1", met=is_right(after, 5)),
    ]


async def first_sentences(base_url: str, model: str, count: int) -> list[float]:
    """Return the times to the first sentence of streams, so many at once."""
    streams = (stream_chat(base_url, model, f"a story about fox number {number}") for number in range(count))
    results = await asyncio.gather(*streams)
    return [result.first_sentence_s for result in results if result.first_sentence_s is not None]


async def throughput(server: Process, model: str, seconds: float) -> tuple[float, float]:
    """Return complete streams a second, and milliseconds of CPU for each: eight callers, a model that does not wait."""
    start_s, start_cpu_s, complete = time.perf_counter(), server.cpu_s(), 0

    async def caller(first: int) -> None:
        nonlocal complete
        number = first
        while time.perf_counter() - start_s < seconds:
            result = await stream_chat(server.base_url, model, f"a story about fox number {number}")
            complete += is_right(result, number)
            number += _CALLERS

    await asyncio.gather(*(caller(number) for number in range(_CALLERS)))
    cpu_ms = 1000 * (server.cpu_s() - start_cpu_s) / max(1, complete)
    return complete / (time.perf_counter() - start_s), cpu_ms


async def overhead(ours: Process, peers: Sequence[tuple[str, Process]], size: Size) -> list[Row]:
    """The first sentence and the throughput, against the bare model server and other proxies, in turns."""
    servers = [("taleward", ours, "chat"), *((name, peer, "") for name, peer in peers)]
    repeats, seconds = pick(size, full=(5, 4.0), quick=(1, 1.5), smoke=(1, 0.3))
    streams = pick(size, full=16, quick=8, smoke=2)
    firsts: dict[str, list[float]] = {name: [] for name, *_ in servers}
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name, *_ in servers}
    for _, server, prefix in servers:
        for model in ("paced", "instant"):  # servers load what they need with their first request
            await stream_chat(server.base_url, f"{prefix}-{model}".strip("-"), "a story about fox number 1")
    for _ in range(repeats):
        for name, server, prefix in servers:
            firsts[name] += await first_sentences(server.base_url, f"{prefix}-paced".strip("-"), streams)
            rates[name].append(await throughput(server, f"{prefix}-instant".strip("-"), seconds))
    rows = []
    for name, _ in peers:
        for share in (0.5, 0.95):
            mine, other = percentile(firsts["taleward"], share), percentile(firsts[name], share)
            metric = f"first sentence, {streams} at once, p{share * 100:.0f}"
            rows.append(Row(metric, "s", mine, other, name, other / mine if mine else None))
        for place, (metric, unit) in enumerate(
            (("streams, 8 callers", "1/s"), ("CPU of the server for a stream", "ms"))
        ):
            mine, other = (statistics.median(rate[place] for rate in rates[who]) for who in ("taleward", name))
            better = (mine / other if unit == "1/s" else other / mine) if mine and other else None
            rows.append(Row(metric, unit, mine, other, name, better))
    return rows


async def measure_all(size: Size, litellm: Path | None, nemo: Path | None) -> list[Row]:
    """Run everything, and end every process."""
    count, seconds = pick(size, full=(256, 60.0), quick=(64, 4.0), smoke=(4, 0.1))
    with TemporaryDirectory() as folder, fake_model() as model:

        async def start() -> Process:
            return await taleward_server(Path(folder), model)

        ours = await start()
        peers = [("the bare model server", model)]
        try:
            if litellm is not None:
                peers.append(("LiteLLM's proxy", await litellm_proxy(Path(folder), model, litellm)))
            if nemo is not None:
                peers.append(("NeMo Guardrails' server", await nemo_server(Path(folder), model, nemo)))
            rows = await overhead(ours, peers, size)
            rows += await faults(ours, model)
            files_before = open_files(ours)
            rows += await load(ours, count, seconds)
            # Connections to the model are kept for a while; the next call closes those that idled too long.
            await asyncio.sleep(pick(size, full=6.0, quick=6.0, smoke=0.0))
            await stream_chat(ours.base_url, "tales", "a story about fox number 2")
            left = open_files(ours) - files_before
            rows.append(Row("open files that the load left behind", "", left, goal="<= 40", met=left <= 40))
            rows += await termination(ours, start, pick(size, full=64, quick=16, smoke=2))
            return rows
        finally:
            for server in [ours, *(peer for _, peer in peers[1:])]:
                server.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; see the module."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--litellm", type=Path, help="Python of an environment with litellm[proxy]")
    parser.add_argument("--nemo", type=Path, help="Python of an environment with nemoguardrails[server]")
    options, _ = parser.parse_known_args(arguments)
    return run("serving", lambda size: asyncio.run(measure_all(size, options.litellm, options.nemo)), arguments, parser)


if __name__ == "__main__":
    sys.exit(main())
