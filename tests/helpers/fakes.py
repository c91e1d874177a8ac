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
    """Fails a text that holds `bad`; or does what `answer` does."""

    def __init__(self, answer: Callable[[Passage], Assessment] | None = None) -> None:
        super().__init__("fake", policy="kids", band="6-8")
        self.answer = answer
        self.asked: list[str] = []

    def assess(self, passage: Passage) -> Assessment:
        self.asked.append(passage.text)
        if self.answer:
            return self.answer(passage)
        at = passage.text.find("bad")
        if at < 0:
            return Assessment(scores={"violence": 0.0})
        finding = Finding(category="violence", severity="severe", quote="bad", start=at, end=at + 3, rationale="bad")
        return Assessment(scores={"violence": 1.0}, findings=(finding,))


class Writer:
    """Gives one text after the other, the last one again and again; notes what it was told."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.configs: list[Any] = []

    def runnable(self) -> RunnableLambda[Any, str]:
        def write(inputs: Any, config: Any) -> str:
            self.configs.append(config)
            return self.texts[min(len(self.configs), len(self.texts)) - 1]

        return RunnableLambda(write)


class Teller(Runnable[Any, str]):
    """A writer that streams; each script is one run's pieces, the last one is used again and again.

    Attributes:
        continues: Whether it says that it goes on from the told text.
        asked: The revisions that the runs were told.
        given: How many pieces it gave, in all.
        stopped: How many of its runs were ended before their time.
    """

    def __init__(self, *scripts: Sequence[str], continues: bool = True, pause: float = 0.0) -> None:
        self.scripts, self.continues, self.pause = list(scripts), continues, pause
        self.asked: list[Revision] = []
        self.given = self.stopped = 0

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        return "".join(self._next(config))

    def _next(self, config: RunnableConfig | None) -> Sequence[str]:
        revision = revision_of(config or {})
        assert revision is not None
        self.asked.append(revision)
        return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[str]:
        try:
            for piece in self._next(config):
                await asyncio.sleep(self.pause)
                self.given += 1
                yield piece
        except (GeneratorExit, asyncio.CancelledError):
            self.stopped += 1
            raise
