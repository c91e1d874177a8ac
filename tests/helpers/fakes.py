"""Fake writers and judges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from taleward.core.verdict import Finding, Passage
from taleward.moderation.guard.revision import Revision, revision_of
from taleward.moderation.judges.base import Assessment, Judge


class FakeJudge(Judge):
    """A judge that fails every text with `bad` in it, or returns what a function returns.

    Attributes:
        answer: The function, if there is one.
        asked: The texts that it was asked about, in order.
    """

    def __init__(self, answer: Callable[[Passage], Assessment] | None = None) -> None:
        super().__init__("fake", policy="kids", band="6-8")
        self.answer = answer
        self.asked: list[str] = []

    def assess(self, passage: Passage) -> Assessment:
        self.asked.append(passage.text)
        if self.answer:
            return self.answer(passage)
        start = passage.text.find("bad")
        if start < 0:
            return Assessment(scores={"violence": 0.0})
        finding = Finding(
            category="violence", severity="severe", quote="bad", start=start, end=start + 3, rationale="bad"
        )
        return Assessment(scores={"violence": 1.0}, findings=(finding,))


class Writer:
    """A writer that returns one text after the other, and then the last one again and again.

    Attributes:
        texts: The texts.
        configs: The config of each run, in order.
    """

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.configs: list[Any] = []

    def runnable(self) -> RunnableLambda[Any, str]:
        def write(inputs: Any, config: Any) -> str:
            self.configs.append(config)
            return self.texts[min(len(self.configs), len(self.texts)) - 1]

        return RunnableLambda(write)


class Teller(Runnable[Any, str]):
    """A writer that streams; each script holds the chunks of one run, and the last script is used again and again.

    Attributes:
        continues: Whether it claims to continue the released text.
        revisions: The revision of each run, in order.
        chunks: How many chunks it has yielded in all runs.
        stopped: How many of its runs were stopped before their end.
    """

    def __init__(self, *scripts: Sequence[str], continues: bool = True, pause: float = 0.0) -> None:
        self.scripts, self.continues, self.pause = list(scripts), continues, pause
        self.revisions: list[Revision] = []
        self.chunks = self.stopped = 0

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        return "".join(self._next(config))

    def _next(self, config: RunnableConfig | None) -> Sequence[str]:
        revision = revision_of(config or {})
        assert revision is not None
        self.revisions.append(revision)
        return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[str]:
        try:
            for chunk in self._next(config):
                await asyncio.sleep(self.pause)
                self.chunks += 1
                yield chunk
        except (GeneratorExit, asyncio.CancelledError):
            self.stopped += 1
            raise
