"""Hold-back: a text that is being written leaves sentence by sentence, each behind its verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from taleward.core.verdict import Passage, Verdict
from taleward.moderation.text.sentences import MAX_SENTENCE_CHARS, SentenceSplitter

AHEAD = 4
"""Sentences that may wait for their verdicts; the writer is not read any further until one has left."""

CONTEXT = 600
"""Characters before a sentence that its judge is shown; bounded, so that judging grows with the text's length alone."""

Ask = Callable[[Passage], Awaitable[Verdict]]
_Answer = tuple[Verdict, float]


@dataclass(frozen=True, slots=True)
class Piece:
    """A sentence with its verdict.

    Attributes:
        text: The sentence with the white space behind it.
        start: Offset of its first character.
        verdict: The judge's answer.
        held_s: Seconds from the sentence's end to the verdict.
    """

    text: str
    start: int
    verdict: Verdict
    held_s: float

    @property
    def end(self) -> int:
        """Offset behind its last character."""
        return self.start + len(self.text)


async def hold_back(
    chunks: AsyncIterator[Any], ask: Ask, *, before: str = "", ahead: int = AHEAD, longest: int = MAX_SENTENCE_CHARS
) -> AsyncGenerator[Piece, None]:
    """Sentences in their order, each when its verdict is there, while the next ones are written and judged.

    Nothing decides here: whoever reads the pieces stops at the first that may not leave. Closing this iterator stops
    the writer and the judges, and waits until they have stopped.

    Args:
        chunks: The text as it is written, in pieces of any size.
        ask: The judge; an exception of it reaches the caller.
        before: The text that it goes on from; offsets count from its beginning.
        ahead: Sentences that wait for verdicts at most, 1 or more.
        longest: Characters in a sentence at most.
    """
    ready: asyncio.Queue[tuple[str, int, asyncio.Task[_Answer]] | None] = asyncio.Queue(ahead)
    asked: set[asyncio.Task[_Answer]] = set()

    async def judged(passage: Passage, since: float) -> _Answer:
        return await ask(passage), time.monotonic() - since

    async def write() -> None:
        cutter, text = SentenceSplitter(longest), before

        async def hold(sentences: list[str]) -> None:
            nonlocal text
            for sentence in sentences:
                passage = Passage(text=sentence, context=text[-CONTEXT:])
                task = asyncio.ensure_future(judged(passage, time.monotonic()))
                asked.add(task)
                start, text = len(text), text + sentence
                await ready.put((sentence, start, task))

        async for chunk in chunks:
            if not isinstance(chunk, str):
                msg = f"a writer must give text (str); it gave {type(chunk).__name__}"
                raise TypeError(msg)
            await hold(cutter.push(chunk))
        await hold(cutter.finish())

    async def write_and_end() -> None:
        try:
            await write()
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
            # After an error too: what was cut before it still gets its verdict. Nobody waits after a cancellation.
            if not asyncio.current_task().cancelling():  # type: ignore[union-attr]
                await ready.put(None)

    writing = asyncio.ensure_future(write_and_end())
    try:
        while (held := await ready.get()) is not None:
            sentence, start, task = held
            verdict, held_s = await task
            asked.discard(task)
            yield Piece(sentence, start, verdict, held_s)
        await writing
    finally:
        for running in (writing, *asked):
            running.cancel()
        await asyncio.gather(writing, *asked, return_exceptions=True)
