"""Qwen3Guard-Gen 0.6B, 4B and 8B: three lines with a level, its categories, and whether the text is a refusal.

Source: QwenLM/Qwen3Guard and arXiv 2510.14276.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel

from taleward.core.errors import ConfigurationError
from taleward.core.verdict import Passage
from taleward.moderation.judges.guard_models.base import GuardModel, Question
from taleward.moderation.judges.strict_parsing import Unparsable, whole

_CATEGORIES = (
    "Violent",
    "Non-violent Illegal Acts",
    "Sexual Content or Sexual Acts",
    "PII",
    "Suicide & Self-Harm",
    "Unethical Acts",
    "Politically Sensitive Topics",
    "Copyright Violation",
    "Jailbreak",
)
_NAME = "|".join(map(re.escape, _CATEGORIES))
_HEAD = (
    rf"(?:<think>\s*</think>\s*)?Safety: (Safe|Unsafe|Controversial)\nCategories: (None|(?:{_NAME})(?:, (?:{_NAME}))*)"
)
_PROMPT = re.compile(_HEAD)
_RESPONSE = re.compile(rf"{_HEAD}\nRefusal: (?:Yes|No)")


class Qwen3Guard(GuardModel):
    """Judges with Qwen3Guard-Gen, for example `qwen3guard:hf:Qwen/Qwen3Guard-Gen-0.6B`.

    It publishes no score: the answer is always read.

    Args:
        model: A model spec, or a LangChain chat model.
        mode: `strict` takes what is controversial for unsafe, `loose` for safe.
        options: See `GuardModel`.
    """

    family = "qwen3guard"

    def __init__(
        self, model: str | BaseChatModel, *, mode: Literal["strict", "loose"] = "strict", **options: Any
    ) -> None:
        if mode not in ("strict", "loose"):
            raise ConfigurationError(f"mode is 'strict' or 'loose'; got {mode!r}.")
        super().__init__(model, **options)
        self.mode = mode

    def questions(self, passage: Passage) -> list[Question]:
        """One question, about all categories; the template says itself where the answer begins."""
        return [Question(self.conversation(passage), {"add_generation_prompt": False})]

    def read(self, answer: str, question: Question) -> Mapping[str, str]:
        """The categories of an unsafe text; level and categories must agree, and none stands twice."""
        match = whole(_PROMPT if self.role == "prompt" else _RESPONSE, answer)
        level, names = match[1], [] if match[2] == "None" else match[2].split(", ")
        if len(set(names)) != len(names) or (level == "Safe") != (not names):
            raise Unparsable(f"the level {level!r} and the categories {match[2]!r} contradict each other")
        if level == "Safe" or (level == "Controversial" and self.mode == "loose"):
            return {}
        return {name: f"Qwen3Guard: {level.lower()}, {name}" for name in names}
