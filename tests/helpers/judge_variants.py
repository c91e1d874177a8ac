"""Every judge that reads a model's answer, and the outcome of an answer without any model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage

from taleward.core.verdict import Outcome, Passage
from taleward.moderation.judges import Judge, judge
from taleward.moderation.judges.guard_models.base import Answer, GuardModel
from taleward.moderation.judges.llm import LLMJudge, random_delimiter
from taleward.moderation.judges.openai_moderation import OpenAIModeration

NUMBER = "{number}"
"""What stands in an answer for the number of the question, so that it is the right one."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-guard": ("llama-guard", {}),
    "llama-guard, prompt": ("llama-guard", {"role": "prompt"}),
    "shieldgemma": ("shieldgemma", {}),
    "shieldgemma, prompt": ("shieldgemma", {"role": "prompt"}),
    "granite-guardian 3.2": ("granite-guardian", {"version": "3.2"}),
    "granite-guardian 3.3": ("granite-guardian", {"version": "3.3"}),
    "granite-guardian 4.1": ("granite-guardian", {"version": "4.1"}),
    "qwen3guard, strict": ("qwen3guard", {"mode": "strict"}),
    "qwen3guard, loose": ("qwen3guard", {"mode": "loose"}),
    "qwen3guard, prompt": ("qwen3guard", {"role": "prompt"}),
    "wildguard": ("wildguard", {}),
    "wildguard, prompt": ("wildguard", {"role": "prompt"}),
    "gpt-oss-safeguard": ("gpt-oss-safeguard", {}),
    "nemotron": ("nemotron", {}),
    "nemotron, prompt": ("nemotron", {"role": "prompt"}),
    "nemotron 8B": ("nemotron", {"taxonomy_prompt": True}),
    "openai-moderation": ("openai-moderation", {}),
    "any chat model": ("", {}),
}


def made(variant: str, **options: Any) -> Judge:
    """A judge behind an API that nobody asks."""
    name, own = VARIANTS[variant]
    spec = {"": "openai:guard", "openai-moderation": name}.get(name, f"{name}:openai:guard")
    return judge(spec, base_url="http://127.0.0.1:9/v1", **own, **options)


def reader(variant: str) -> Callable[..., Outcome]:
    """A function from an answer (and a text) to the outcome of the verdict."""
    asked = made(variant)

    def outcome(answer: str, text: str = "A calm day by the sea.") -> Outcome:
        passage = Passage(text=text)
        if isinstance(asked, GuardModel):
            questions = asked.questions(passage)
            found = asked.conclude(questions, [Answer(answer.replace(NUMBER, q.code)) for q in questions])
        elif isinstance(asked, LLMJudge):
            number = random_delimiter(passage)
            found = asked._read(AIMessage(answer.replace(NUMBER, number)), passage, number)
        else:
            assert isinstance(asked, OpenAIModeration)
            found = asked.read(answer)
        return asked._verdict(found, 0.0).outcome

    return outcome
