"""What several tests use: fake writers and judges, and values for the first template."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

from taleward.core.verdict import Finding, Passage
from taleward.moderation.judges.base import Assessment, Judge

os.environ.setdefault("HF_HUB_OFFLINE", "1")

VALUES = {
    "setting": "enchanted forest",
    "character": "brave adventurer",
    "mysterious_object": "glowing map",
    "magical_properties": "the power to show hidden places",
    "action": "follow the map",
    "outcome": "a new friendship",
}


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


@pytest.fixture
def values() -> dict[str, str]:
    return dict(VALUES)


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
