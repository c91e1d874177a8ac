"""The guard's streams: leaks, delay, growth, revision, many at once.

Writers and judges are fakes with a known truth and set speeds, so that what is measured is the guard alone.
"""

from __future__ import annotations

import asyncio
import random
import resource
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig

from benchmarks.table import Row, run
from taleward.core.events import DoneEvent, Event, TextEvent
from taleward.core.tale import Tale
from taleward.core.verdict import Finding, Passage, Verdict
from taleward.moderation.guard.guard import Guard
from taleward.moderation.guard.revision import Revision, revision_of
from taleward.moderation.judges.base import Assessment, Judge

BAD = "cruel"


class FakeWriter(Runnable[Any, str]):
    """Streams what `tell(revision)` says, a token each `pause` seconds."""

    continues = True

    def __init__(self, tell: Callable[[Revision], Sequence[str]], pause: float = 0.0) -> None:
        self.tell, self.pause = tell, pause

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        raise NotImplementedError

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        return "".join([piece async for piece in self.astream(input, config)])

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[str]:
        for token in self.tell(revision_of(config or {}) or Revision(attempt=1)):
            await asyncio.sleep(self.pause)
            yield token


class FakeJudge(Judge):
    """Knows the truth: a text with the word `cruel` fails. Takes `seconds`, and counts."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__("fake", policy="kids", band="6-8")
        self.seconds = seconds
        self.calls = self.characters = 0

    def assess(self, passage: Passage) -> Assessment:
        raise NotImplementedError

    async def aassess(self, passage: Passage) -> Assessment:
        self.calls += 1
        self.characters += len(passage.text) + len(passage.context)
        await asyncio.sleep(self.seconds)
        at = passage.text.find(BAD)
        if at < 0:
            return Assessment()
        finding = Finding(category="violence", severity="severe", quote=BAD, start=at, end=at + len(BAD))
        return Assessment(findings=(finding,))


class MoodyJudge(FakeJudge):
    """Also fails a twentieth of all else, and is slow, raises or gives no verdict by chance."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self.chance = seed, random.Random(seed)
        self.failed: list[Passage] = []

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Verdict:
        for _ in range(self.chance.choice((0, 1, 1, 2, 9))):
            await asyncio.sleep(0)
        mood = self.chance.random()
        if mood < 0.05:
            raise RuntimeError("moody")
        if mood < 0.1:
            return "pass"  # type: ignore[return-value]
        fails = BAD in input.text or random.Random(f"{self.seed} {input}").random() < 0.05
        if fails:
            self.failed.append(input)
        return self._verdict(Assessment(outcome="fail" if fails else None), time.perf_counter())


def tokens(text: str) -> list[str]:
    """Words with the space behind them."""
    return [word + " " for word in text.split(" ")]


def writes(text: str) -> FakeWriter:
    """A writer of this text."""
    return FakeWriter(lambda _: tokens(text))


def story(chance: random.Random, sentences: int, bad: float = 0.0) -> str:
    """Sentences of 5 to 12 words; each with the chance `bad` of being an unsafe one."""
    words = ("fox", "owl", "ran", "sang", "sea", "small", "green", "home", "met", "a", "and", "the", "with", "friend")

    def sentence() -> str:
        said = [chance.choice(words) for _ in range(chance.randint(5, 12))]
        if chance.random() < bad:
            said[chance.randrange(len(said))] = BAD
        return f"{' '.join(said).capitalize()}."

    return " ".join(sentence() for _ in range(sentences))


def shown(events: Sequence[Event]) -> str:
    """The text that was released."""
    return "".join(e.text for e in events if isinstance(e, TextEvent))


async def leak(seed: int) -> int:
    """Characters of one random stream that left although a judge had failed them."""
    chance = random.Random(seed)

    def tell(_revision: Revision) -> list[str]:
        text, pieces = story(chance, chance.randint(1, 8), 0.15), []
        while text:
            size = chance.randint(1, 20)
            pieces.append(text[:size])
            text = text[size:]
        return [*pieces, " "]

    judge = MoodyJudge(seed)
    events: list[Event] = []
    reader = Guard(FakeWriter(tell), judge, attempts=chance.randint(1, 4)).astream({})
    leaves = chance.random() < 0.1
    async for event in reader:
        events.append(event)
        if leaves and chance.random() < 0.1:
            await reader.aclose()  # type: ignore[attr-defined]
    text = shown(events)
    leaked = text.count(BAD) * len(BAD)
    for event in events:
        if isinstance(event, TextEvent):
            passage = Passage(text=event.text, context=text[: event.start][-600:])
            leaked += len(event.text) * (passage in judge.failed)
    if events and isinstance(events[-1], DoneEvent) and events[-1].tale.released_text not in (text, None):
        leaked += len(text)
    return leaked


async def leaks(count: int) -> int:
    """Over `count` streams, a hundred at a time."""
    total = 0
    for first in range(0, count, 100):
        total += sum(await asyncio.gather(*(leak(seed) for seed in range(first, min(first + 100, count)))))
    return total


async def first_words(guard: Guard) -> float:
    """Seconds until the first text leaves."""
    begun = time.perf_counter()
    reader = guard.astream({})
    async for event in reader:
        if isinstance(event, TextEvent):
            break
    taken = time.perf_counter() - begun
    await reader.aclose()  # type: ignore[attr-defined]
    return taken


async def timed(work: AsyncIterator[Any]) -> float:
    """Seconds until an iterator has ended."""
    begun = time.perf_counter()
    async for _ in work:
        pass
    return time.perf_counter() - begun


async def delay(repeats: int) -> list[Row]:
    """With a judge of 100 ms and a writer of 20 ms a token."""
    text = story(random.Random(1), 18)
    writer = FakeWriter(lambda _: tokens(text), 0.02)
    guard = Guard(writer, FakeJudge(0.1))
    own = 0.02 * len(text.split(". ", maxsplit=1)[0].split())
    first, whole, total, bare = [], [], [], []
    for _ in range(repeats):
        first.append(await first_words(guard))
        begun = time.perf_counter()
        await guard.ainvoke({})
        whole.append(time.perf_counter() - begun)
        total.append(await timed(guard.astream({})))
        bare.append(await timed(writer.astream({})))
    ours, late, all_, alone = (statistics.median(x) for x in (first, whole, total, bare))
    behind = (ours - own) * 1000
    return [
        Row("first sentence leaves behind its own writing", "ms", behind, goal="<= 150 ms", met=behind <= 150),
        Row("first words", "s", ours, late, "judging the whole text", late / ours),
        Row(
            "a passing story, all of it",
            "s",
            all_,
            alone,
            "unguarded",
            alone / all_,
            "<= 1.1 times",
            all_ <= 1.1 * alone,
        ),
    ]


async def growth(sizes: Sequence[int]) -> list[Row]:
    """Judge calls and judged characters by the length of the story."""
    rows: list[Row] = []
    for words in sizes:
        writer = writes(" ".join(story(random.Random(2), words // 6).split(" ")[:words]))
        judge = FakeJudge()
        async for _ in Guard(writer, judge, timeout_s=None).astream({}):
            pass
        per = judge.characters / words
        met = not rows or per <= 1.1 * rows[-1].ours
        rows.append(Row(f"judge calls, {words:,} words", "calls a word", judge.calls / words))
        rows.append(
            Row(
                f"judged characters, {words:,} words",
                "a word",
                per,
                goal="<= 1.1 times the row before" if rows else "",
                met=met,
            )
        )
    return rows


async def revision(count: int) -> list[Row]:
    """One planted unsafe sentence in ten: what is released, and how much of it is safe."""

    async def one(seed: int, attempts: int) -> Tale:
        chance = random.Random(seed)
        guard = Guard(FakeWriter(lambda _: tokens(story(chance, 12, 0.1))), FakeJudge(), attempts=attempts)
        events = [event async for event in guard.astream({})]
        return next(e.tale for e in events if isinstance(e, DoneEvent))

    async def whole(seed: int) -> bool:
        return BAD not in story(random.Random(seed), 12, 0.1)

    bare = sum([await whole(seed) for seed in range(count)]) / count
    rows = [Row("stories without a planted sentence, unguarded", "share", bare)]
    for attempts in (1, 3, 6):
        tales = await asyncio.gather(*(one(seed, attempts) for seed in range(count)))
        released = [t for t in tales if t.released]
        safe = sum(BAD not in t.text for t in released)
        own = sum(not t.lineage.closed for t in released)
        name = f"{attempts} attempts"
        rows += [
            Row(f"released, {name}", "share", len(released) / count, bare, "no revision", len(released) / count / bare),
            Row(f"of these ended by the writer itself, {name}", "share", own / max(1, len(released))),
            Row(f"of these safe, {name}", "share", safe / max(1, len(released)), goal="1", met=safe == len(released)),
        ]
    return rows


async def crowd(count: int) -> list[Row]:
    """Many streams at once: each gets its own text, all of it, and memory stays bounded."""

    async def one(number: int) -> bool:
        text = " ".join(f"Number {number} ran home {n} times." for n in range(20))
        events = [e async for e in Guard(FakeWriter(lambda _: tokens(text), 0.001), FakeJudge(0.01)).astream({})]
        return shown(events).strip() == text

    await asyncio.gather(*(one(n) for n in range(50)))
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    right = sum(await asyncio.gather(*(one(n) for n in range(count))))
    taken = time.perf_counter() - begun
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return [
        Row(
            f"streams with their own text, of {count:,} at once",
            "streams",
            right,
            goal=f"{count:,}",
            met=right == count,
        ),
        Row("memory for them", "MB", megabytes),
        Row("time for them", "s", taken),
    ]


def measure(quick: bool) -> Iterator[Row]:
    """All rows."""
    count = 1_000 if quick else 20_000
    leaked = asyncio.run(leaks(count))
    yield Row(
        f"characters that left although a judge failed them, {count:,} streams", "", leaked, goal="0", met=not leaked
    )
    yield from asyncio.run(delay(1 if quick else 5))
    yield from asyncio.run(growth((500, 1_000) if quick else (500, 1_000, 2_000, 4_000, 8_000)))
    yield from asyncio.run(revision(100 if quick else 1_000))
    yield from asyncio.run(crowd(200 if quick else 1_000))


if __name__ == "__main__":
    run("guard", measure)
