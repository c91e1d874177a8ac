"""The guard's streams: leaks, delay, cost by length, revision, many at once: `python -m benchmarks.guard`.

Writers and judges are fakes with a known truth and fixed speeds, so that the guard alone is measured.
"""

from __future__ import annotations

import asyncio
import random
import resource
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig

from benchmarks.table import Row, Size, pick, run
from taleward.core.events import DoneEvent, Event, TextEvent
from taleward.core.tale import Tale
from taleward.core.verdict import Finding, Passage, Verdict
from taleward.moderation.guard.guard import Guard
from taleward.moderation.guard.revision_context import Revision, revision_of
from taleward.moderation.judges.base import Assessment, Judge

UNSAFE = "cruel"
_WORDS = ("fox", "owl", "ran", "sang", "sea", "small", "green", "home", "met", "a", "and", "the", "with", "friend")


class ScriptedWriter(Runnable[Any, str]):
    """Streams what `script(revision)` returns, one token every `pause_s` seconds."""

    continues = True

    def __init__(self, script: Callable[[Revision], Sequence[str]], pause_s: float = 0.0) -> None:
        self.script, self.pause_s = script, pause_s

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        raise NotImplementedError

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        return "".join([piece async for piece in self.astream(input, config)])

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[str]:
        for token in self.script(revision_of(config or {}) or Revision(attempt=1)):
            await asyncio.sleep(self.pause_s)
            yield token


class TruthfulJudge(Judge):
    """Fails texts with an unsafe word, takes `delay_s` seconds, and counts calls and characters."""

    def __init__(self, delay_s: float = 0.0) -> None:
        super().__init__("fake", policy="kids", band="6-8")
        self.delay_s = delay_s
        self.calls = self.characters = 0

    def assess(self, passage: Passage) -> Assessment:
        raise NotImplementedError

    async def aassess(self, passage: Passage) -> Assessment:
        self.calls += 1
        self.characters += len(passage.text) + len(passage.context)
        await asyncio.sleep(self.delay_s)
        start = passage.text.find(UNSAFE)
        if start < 0:
            return Assessment()
        end = start + len(UNSAFE)
        finding = Finding(category="violence", severity="severe", quote=UNSAFE, start=start, end=end)
        return Assessment(findings=(finding,))


class UnreliableJudge(TruthfulJudge):
    """Also fails a twentieth of all other texts, and at random is slow, raises or returns no verdict."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self.rng = seed, random.Random(seed)
        self.failed: list[Passage] = []

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Verdict:
        for _ in range(self.rng.choice((0, 1, 1, 2, 9))):
            await asyncio.sleep(0)
        draw = self.rng.random()
        if draw < 0.05:
            raise RuntimeError("unreliable")
        if draw < 0.1:
            return "pass"  # type: ignore[return-value]
        fails = UNSAFE in input.text or random.Random(f"{self.seed} {input}").random() < 0.05
        if fails:
            self.failed.append(input)
        return self._verdict(Assessment(outcome="fail" if fails else None), time.perf_counter())


def tokens(text: str) -> list[str]:
    """Return the words, each followed by a space."""
    return [word + " " for word in text.split(" ")]


def writer_of(text: str, pause_s: float = 0.0) -> ScriptedWriter:
    """Return a writer of this text."""
    return ScriptedWriter(lambda _: tokens(text), pause_s)


def story(rng: random.Random, sentences: int, unsafe_share: float = 0.0) -> str:
    """Return sentences of 5 to 12 words; each is unsafe with the given probability."""

    def sentence() -> str:
        words = [rng.choice(_WORDS) for _ in range(rng.randint(5, 12))]
        if rng.random() < unsafe_share:
            words[rng.randrange(len(words))] = UNSAFE
        return f"{' '.join(words).capitalize()}."

    return " ".join(sentence() for _ in range(sentences))


def released_text(events: Sequence[Event]) -> str:
    """Return the text that a stream released."""
    return "".join(e.text for e in events if isinstance(e, TextEvent))


async def count_leaked(seed: int) -> int:
    """Count the characters that one random stream released although a judge failed them."""
    rng = random.Random(seed)

    def script(_revision: Revision) -> list[str]:
        text, pieces = story(rng, rng.randint(1, 8), 0.15), []
        while text:
            length = rng.randint(1, 20)
            pieces.append(text[:length])
            text = text[length:]
        return [*pieces, " "]

    judge = UnreliableJudge(seed)
    events: list[Event] = []
    stream = Guard(ScriptedWriter(script), judge, attempts=rng.randint(1, 4)).astream({})
    disconnects = rng.random() < 0.1
    async for event in stream:
        events.append(event)
        if disconnects and rng.random() < 0.1:
            await stream.aclose()  # type: ignore[attr-defined]
    text = released_text(events)
    leaked = text.count(UNSAFE) * len(UNSAFE)
    for event in events:
        if isinstance(event, TextEvent):
            passage = Passage(text=event.text, context=text[: event.start][-600:])
            leaked += len(event.text) * (passage in judge.failed)
    if events and isinstance(events[-1], DoneEvent) and events[-1].tale.released_text not in (text, None):
        leaked += len(text)
    return leaked


async def leaks(count: int) -> list[Row]:
    """Leaked characters of many random streams, a hundred at a time."""
    leaked = 0
    for first in range(0, count, 100):
        leaked += sum(await asyncio.gather(*(count_leaked(seed) for seed in range(first, min(first + 100, count)))))
    metric = f"characters released although a judge failed them, {count:,} streams"
    return [Row(metric, "", leaked, goal="0", met=not leaked)]


async def first_text_s(guard: Guard) -> float:
    """Return the seconds until the first text is released."""
    start = time.perf_counter()
    stream = guard.astream({})
    async for event in stream:
        if isinstance(event, TextEvent):
            break
    duration_s = time.perf_counter() - start
    await stream.aclose()  # type: ignore[attr-defined]
    return duration_s


async def total_s(stream: AsyncIterator[Any]) -> float:
    """Return the seconds until a stream ends."""
    start = time.perf_counter()
    async for _ in stream:
        pass
    return time.perf_counter() - start


async def delay(size: Size) -> list[Row]:
    """Delay with a judge of 100 ms and a writer of 20 ms per token."""
    pause_s, delay_s = pick(size, full=(0.02, 0.1), quick=(0.02, 0.1), smoke=(0.001, 0.001))
    text = story(random.Random(1), pick(size, full=18, quick=18, smoke=3))
    writer = writer_of(text, pause_s)
    guard = Guard(writer, TruthfulJudge(delay_s))
    first_sentence_s = pause_s * len(text.split(". ", maxsplit=1)[0].split())
    first, whole, guarded, unguarded = [], [], [], []
    for _ in range(pick(size, full=5, quick=1, smoke=1)):
        first.append(await first_text_s(guard))
        start = time.perf_counter()
        await guard.ainvoke({})
        whole.append(time.perf_counter() - start)
        guarded.append(await total_s(guard.astream({})))
        unguarded.append(await total_s(writer.astream({})))
    first_s, whole_s, guarded_s, unguarded_s = (statistics.median(x) for x in (first, whole, guarded, unguarded))
    added_ms = (first_s - first_sentence_s) * 1000
    ratio = unguarded_s / guarded_s
    met = guarded_s <= 1.1 * unguarded_s
    return [
        Row("delay added to the first sentence", "ms", added_ms, goal="<= 150 ms", met=added_ms <= 150),
        Row("time to the first words", "s", first_s, whole_s, "judging the whole text", whole_s / first_s),
        Row("time of a passing story", "s", guarded_s, unguarded_s, "unguarded", ratio, "<= 1.1 times", met),
    ]


async def growth(lengths: Sequence[int]) -> list[Row]:
    """Judge calls and judged characters by the length of the story."""
    rows: list[Row] = []
    for words in lengths:
        text = " ".join(story(random.Random(2), words // 6).split(" ")[:words])
        judge = TruthfulJudge()
        guard = Guard(writer_of(text), judge, timeout_s=None)
        async for _ in guard.astream({}):
            pass
        per_word = judge.characters / words
        met = not rows or per_word <= 1.1 * rows[-1].ours
        goal = "<= 1.1 times the previous row" if rows else ""
        rows.append(Row(f"judge calls, {words:,} words", "per word", judge.calls / words))
        rows.append(Row(f"judged characters, {words:,} words", "per word", per_word, goal=goal, met=met))
    return rows


async def revision(count: int) -> list[Row]:
    """Stories with one unsafe sentence in ten: how many are released, and how many of those are safe."""

    async def tell(seed: int, attempts: int) -> Tale:
        rng = random.Random(seed)
        writer = ScriptedWriter(lambda _: tokens(story(rng, 12, 0.1)))
        events = [event async for event in Guard(writer, TruthfulJudge(), attempts=attempts).astream({})]
        return next(e.tale for e in events if isinstance(e, DoneEvent))

    safe_share = sum(UNSAFE not in story(random.Random(seed), 12, 0.1) for seed in range(count)) / count
    rows = [Row("stories without an unsafe sentence, unguarded", "share", safe_share)]
    for attempts in (1, 3, 6):
        tales = await asyncio.gather(*(tell(seed, attempts) for seed in range(count)))
        released = [t for t in tales if t.released]
        share, safe = len(released) / count, sum(UNSAFE not in t.text for t in released)
        ended_by_writer = sum(t.lineage.closed_by is None for t in released)
        setup = f"{attempts} attempts"
        ratio = share / safe_share if safe_share else None
        rows += [
            Row(f"released, {setup}", "share", share, safe_share, "no revision", ratio),
            Row(f"of these ended by the writer, {setup}", "share", ended_by_writer / max(1, len(released))),
            Row(f"of these safe, {setup}", "share", safe / max(1, len(released)), goal="1", met=safe == len(released)),
        ]
    return rows


async def concurrent_streams(count: int) -> list[Row]:
    """Many streams at once: each gets its own complete text, and memory stays bounded."""

    async def is_right(number: int) -> bool:
        text = " ".join(f"Number {number} ran home {n} times." for n in range(20))
        guard = Guard(writer_of(text, 0.001), TruthfulJudge(0.01))
        events = [event async for event in guard.astream({})]
        return released_text(events).strip() == text

    await asyncio.gather(*(is_right(n) for n in range(min(50, count))))  # warm-up
    memory_before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    right = sum(await asyncio.gather(*(is_right(n) for n in range(count))))
    duration_s = time.perf_counter() - start
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_before) / 1024
    metric = f"streams with their own text, of {count:,} at once"
    return [
        Row(metric, "streams", right, goal=f"{count:,}", met=right == count),
        Row("memory for them", "MB", megabytes),
        Row("time for them", "s", duration_s),
    ]


def measure(size: Size) -> Iterator[Row]:
    """Yield all rows."""
    yield from asyncio.run(leaks(pick(size, full=20_000, quick=1_000, smoke=3)))
    yield from asyncio.run(delay(size))
    lengths = pick(size, full=(500, 1_000, 2_000, 4_000, 8_000), quick=(500, 1_000), smoke=(12, 24))
    yield from asyncio.run(growth(lengths))
    yield from asyncio.run(revision(pick(size, full=1_000, quick=100, smoke=2)))
    yield from asyncio.run(concurrent_streams(pick(size, full=1_000, quick=200, smoke=2)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    return run("guard", measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
