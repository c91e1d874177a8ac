"""Qwen3Guard-Gen 0.6B, 4B and 8B: three lines with a safety level, categories, and whether the text is a refusal.

Source: QwenLM/Qwen3Guard and arXiv 2510.14276.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel

from taleward.core.errors import ConfigurationError
from taleward.core.verdict import Passage
from taleward.moderation.judges.guard_models.base import GuardModel, GuardQuestion
from taleward.moderation.judges.strict_parsing import Unparsable, match_whole

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
_CATEGORY = "|".join(map(re.escape, _CATEGORIES))
_CATEGORY_LIST = rf"None|(?:{_CATEGORY})(?:, (?:{_CATEGORY}))*"
_HEAD = rf"(?:<think>\s*</think>\s*)?Safety: (Safe|Unsafe|Controversial)\nCategories: ({_CATEGORY_LIST})"
_PROMPT = re.compile(_HEAD)
_RESPONSE = re.compile(rf"{_HEAD}\nRefusal: (?:Yes|No)")


class Qwen3Guard(GuardModel):
    """Judge with Qwen3Guard-Gen, for example `qwen3guard:hf:Qwen/Qwen3Guard-Gen-0.6B`.

    The model defines no score, so its written answer is always parsed.

    Args:
        model: A model spec, or a LangChain chat model.
        mode: Treat the level `Controversial` as unsafe (`strict`) or as safe (`loose`).
        options: Arguments of `GuardModel`.
    """

    family = "qwen3guard"
    verdict_form = re.compile(r"^\W*safety\W*:\W*(?:safe|unsafe|controversial)\b", re.MULTILINE)

    def __init__(
        self, model: str | BaseChatModel, *, mode: Literal["strict", "loose"] = "strict", **options: Any
    ) -> None:
        if mode not in ("strict", "loose"):
            raise ConfigurationError(f"mode must be 'strict' or 'loose'; got {mode!r}.")
        super().__init__(model, **options)
        self.mode = mode

    def questions(self, passage: Passage) -> list[GuardQuestion]:
        """Return one question about all categories."""
        # The template ends with the answer's header whether or not it is asked for one.
        return [GuardQuestion(self.conversation(passage), {"add_generation_prompt": False})]

    def parse(self, answer: str, question: GuardQuestion) -> Mapping[str, str]:
        """Flag the categories of an unsafe text; level and categories must agree, without duplicates."""
        match = match_whole(_PROMPT if self.role == "prompt" else _RESPONSE, answer)
        level, names = match[1], [] if match[2] == "None" else match[2].split(", ")
        if len(set(names)) != len(names) or (level == "Safe") != (not names):
            raise Unparsable(f"the level {level!r} and the categories {match[2]!r} contradict each other")
        if level == "Safe" or (level == "Controversial" and self.mode == "loose"):
            return {}
        return {name: f"Qwen3Guard: {level.lower()}, {name}" for name in names}
