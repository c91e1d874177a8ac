"""Granite Guardian 3.0 to 4.1: one question for each risk that the policy maps.

Sources: arXiv 2412.07724, the model cards in ibm-granite/granite-guardian, and for 4.1 that of granite-guardian-4.1-8b.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel

from taleward.backends.engine.prompt_encoding import Instruction
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment
from taleward.moderation.judges.guard_models.base import GuardModel, Question
from taleward.moderation.judges.strict_parsing import Unparsable, whole

if TYPE_CHECKING:
    from taleward.backends.local.hub_models import HubModel

_VERSION = re.compile(r"(?<!\d)([34]\.\d)(?!\d)")
_VERSIONS = ("3.0", "3.1", "3.2", "3.3", "4.1")
_WORD = re.compile(r"(Yes|No)(?:\n<confidence> (?:High|Low) </confidence>)?")
_SCORE = re.compile(r"(?:<think>(.*?)</think>\s*)?<score>\s*(yes|no)\s*</score>", re.DOTALL)
_JUDGE = (
    "<guardian><no-think>As a judge agent, your role is to help assess whether the provided text meets the given "
    "judging criteria, utilizing all available information, including conversations, documents, and tools. Provide "
    "your score immediately without explanation. Output empty <think>\n</think> tags followed by your score in "
    "<score></score> tags.\n\n### Criteria: {criteria}\n\n### Scoring Schema: If the last {role}'s text meets the "
    "criteria, return 'yes'; otherwise, return 'no'."
)


class GraniteGuardian(GuardModel):
    """Judges with Granite Guardian, for example `granite-guardian:hf:ibm-granite/granite-guardian-3.2-5b`.

    Versions up to 3.2 answer `Yes` or `No`, which run here is a decision by logits at the answer's first position.
    Later ones write `<score> yes </score>`, behind their thoughts where they have some, and have no score of their own.
    From 4.1 on the criterion is the definition of the policy's own category.

    Args:
        model: A model spec, or a LangChain chat model.
        version: `3.0` to `4.1`; by default read from the model's name.
        options: See `GuardModel`.

    Raises:
        ConfigurationError: The version is unknown, or the policy maps none of the model's risks.
    """

    family = "granite-guardian"
    choices = ("Yes", "No")
    max_tokens = 64

    def __init__(self, model: str | BaseChatModel, *, version: str | None = None, **options: Any) -> None:
        super().__init__(model, **options)
        found = _VERSION.search(self.spec)
        self.version = version or (found[1] if found else "")
        if self.version not in _VERSIONS:
            raise ConfigurationError(
                f"the version of {self.spec} is {self.version or 'not in its name'}; "
                f"those known are {', '.join(_VERSIONS)}.",
                hint="Say which it is: version='3.2'.",
            )
        if not self.codes:
            raise ConfigurationError(
                f"policy {self.policy.id} maps no risk of {self.family}, so there is nothing to ask.",
                hint="Add codes: granite-guardian: to the policy, for example harm: {category: ..., severity: ...}.",
            )
        self._scored = self.version in ("3.3", "4.1")

    def questions(self, passage: Passage) -> list[Question]:
        """One question for each risk."""
        return [self._question(self.conversation(passage), risk) for risk in self.codes]

    def _question(self, turns: tuple[Mapping[str, str], ...], risk: str) -> Question:
        if self.version == "4.1":
            criteria = self.policy.categories[self.codes[risk].category].definition
            role = "user" if self.role == "prompt" else "assistant"
            order = Instruction(_JUDGE.format(criteria=criteria, role=role))
            return Question((*turns, {"role": "user", "content": order}), FrozenDict(), risk)
        if self.version == "3.3":
            return Question(turns, {"guardian_config": {"criteria_id": risk}, "think": False}, risk)
        return Question(turns, {"guardian_config": {"risk_name": risk}}, risk)

    def read(self, answer: str, question: Question) -> Mapping[str, str]:
        """`Yes`, or the score `yes`, means that the risk is there."""
        if self._scored:
            match = whole(_SCORE, answer)
            if "<score" in (match[1] or "") or "</score" in (match[1] or "") or "<think" in (match[1] or ""):
                raise Unparsable("the thoughts hold a score or further thoughts")
            there = match[2] == "yes"
        else:
            there = whole(_WORD, answer)[1] == "Yes"
        return {question.code: f"Granite Guardian: {question.code}"} if there else {}

    def decided(self, local: HubModel, questions: Sequence[Question]) -> Assessment:
        """By logits up to 3.2; later versions write."""
        if self._scored:
            return self.conclude(questions, [self.written(local, q) for q in questions])
        return super().decided(local, questions)
