"""Fake writers and judges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.runnables import RunnableLambda

from taleward.core.verdict import Finding, Passage
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
