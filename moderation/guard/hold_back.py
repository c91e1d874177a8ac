"""Hold back streamed text: each sentence leaves only with its verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from taleward.core.verdict import Passage, Verdict
from taleward.moderation.text.sentences import MAX_SENTENCE_CHARS, SentenceSplitter

MAX_PENDING = 4
"""Sentences that may wait for their verdicts; the writer pauses until one of them has left."""

CONTEXT_CHARACTERS = 600
"""Characters of preceding text that a judge gets with a sentence; bounded, so that the cost stays linear."""

_SLICE_CHARACTERS = 2000
"""Characters that are split into sentences at a time: a chunk of megabytes must not hold the loop of other streams."""

AskJudge: TypeAlias = Callable[[Passage], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class JudgedSentence:
    """A sentence with its verdict.

    Attributes:
        text: The sentence with the white space after it.
        start: Offset of its first character.
        verdict: The judge's verdict.
        held_s: Seconds from the end of the sentence to the verdict.
    """

    text: str
    start: int
    verdict: Verdict
    held_s: float

    @property
    def end(self) -> int:
        """Offset after its last character."""
        return self.start + len(self.text)


async def hold_back(
    chunks: AsyncIterator[str],
    ask_judge: AskJudge,
    *,
    preceding: str = "",
    max_pending: int = MAX_PENDING,
    longest: int = MAX_SENTENCE_CHARS,
) -> AsyncGenerator[JudgedSentence, None]:
    """Yield sentences in order, each once it is judged, while the next ones are written and judged.

    This function decides nothing: stop reading at the first sentence that must not be released. Closing the generator
    cancels the writer and the judge calls, and waits for them to end.

    Args:
        chunks: The text as it is written, in chunks of any size.
        ask_judge: Asks the judge; its exceptions reach the caller.
        preceding: The text that `chunks` continues; offsets count from its beginning.
        max_pending: Sentences that may wait for their verdicts, 1 or more.
        longest: Characters in a sentence at most.
    """
    pending: asyncio.Queue[tuple[str, int, asyncio.Task[tuple[Verdict, float]]] | None] = asyncio.Queue(max_pending)
    running: set[asyncio.Task[tuple[Verdict, float]]] = set()

    async def timed_verdict(passage: Passage, cut_at: float) -> tuple[Verdict, float]:
        return await ask_judge(passage), time.monotonic() - cut_at

    async def write() -> None:
        splitter = SentenceSplitter(longest)
        length, context = len(preceding), preceding[-CONTEXT_CHARACTERS:]

        async def submit(sentences: list[str]) -> None:
            nonlocal length, context
            for sentence in sentences:
                passage = Passage(text=sentence, context=context)
                task = asyncio.ensure_future(timed_verdict(passage, time.monotonic()))
                running.add(task)
                start, length = length, length + len(sentence)
                context = (context + sentence)[-CONTEXT_CHARACTERS:]
                await pending.put((sentence, start, task))

        async for chunk in chunks:
            for start in range(0, len(chunk), _SLICE_CHARACTERS):
                await submit(splitter.push(chunk[start : start + _SLICE_CHARACTERS]))
                await asyncio.sleep(0)
        await submit(splitter.finish())

    async def write_and_end() -> None:
        try:
            await write()
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
            # After an error too, so that the sentences before it still get their verdicts. After a cancellation nobody
            # reads the queue, and `put` could wait forever.
            if not asyncio.current_task().cancelling():  # type: ignore[union-attr]
                await pending.put(None)

    writing = asyncio.ensure_future(write_and_end())
    try:
        while (next_sentence := await pending.get()) is not None:
            sentence, start, task = next_sentence
            verdict, held_s = await task
            running.discard(task)
            yield JudgedSentence(sentence, start, verdict, held_s)
        await writing
    finally:
        for task_or_writer in (writing, *running):
            task_or_writer.cancel()
        await asyncio.gather(writing, *running, return_exceptions=True)
