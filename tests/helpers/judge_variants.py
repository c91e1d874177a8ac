"""Every judge that parses a model's answer, and functions from an answer to a verdict's outcome without any model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage

from taleward.core.verdict import Outcome, Passage
from taleward.moderation.judges import Judge, judge
from taleward.moderation.judges.guard_models.base import GuardAnswer, GuardModel
from taleward.moderation.judges.llm import LLMJudge, random_delimiter
from taleward.moderation.judges.openai_moderation import OpenAIModerationJudge

ID_PLACEHOLDER = "{number}"
"""Stands in an answer for the random id of its prompt, so that the answer repeats the right one."""

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
"""Name of each variant to the judge's name (empty for a chat model) and its options."""


def make_variant(variant: str, **options: Any) -> Judge:
    """Make a judge behind an API that is never called."""
    name, variant_options = VARIANTS[variant]
    spec = {"": "openai:guard", "openai-moderation": name}.get(name, f"{name}:openai:guard")
    return judge(spec, base_url="http://127.0.0.1:9/v1", **variant_options, **options)


def outcome_reader(variant: str) -> Callable[..., Outcome]:
    """Return a function from an answer (and optionally a text) to the outcome of the verdict."""
    variant_judge = make_variant(variant)

    def outcome(answer: str, text: str = "A calm day by the sea.") -> Outcome:
        passage = Passage(text=text)
        if isinstance(variant_judge, GuardModel):
            questions = variant_judge.questions(passage)
            answers = [GuardAnswer(answer.replace(ID_PLACEHOLDER, q.code)) for q in questions]
            assessment = variant_judge.assess_answers(questions, answers)
        elif isinstance(variant_judge, LLMJudge):
            delimiter = random_delimiter(passage)
            message = AIMessage(answer.replace(ID_PLACEHOLDER, delimiter))
            assessment = variant_judge._parse(message, passage, delimiter)
        else:
            assert isinstance(variant_judge, OpenAIModerationJudge)
            assessment = variant_judge.parse(answer)
        return variant_judge._verdict(assessment, 0.0).outcome

    return outcome
