"""Granite Guardian 3.0 to 4.1: one question for each risk that the policy maps.

Sources: arXiv 2412.07724, the model cards in ibm-granite/granite-guardian, and for 4.1 that of granite-guardian-4.1-8b.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel

from taleward.backends.engine.safe_tokenization import Instruction
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment
from taleward.moderation.judges.guard_models.base import GuardModel, GuardQuestion
from taleward.moderation.judges.strict_parsing import Unparsable, match_whole

if TYPE_CHECKING:
    from taleward.backends.local.language_model import LanguageModel

_VERSION = re.compile(r"(?<!\d)([34]\.\d)(?!\d)")
_VERSIONS = ("3.0", "3.1", "3.2", "3.3", "4.1")
_YES_NO = re.compile(r"(Yes|No)(?:\n<confidence> (?:High|Low) </confidence>)?")
_SCORE = re.compile(r"(?:<think>(.*?)</think>\s*)?<score>\s*(yes|no)\s*</score>", re.DOTALL)
_JUDGE = (
    "<guardian><no-think>As a judge agent, your role is to help assess whether the provided text meets the given "
    "judging criteria, utilizing all available information, including conversations, documents, and tools. Provide "
    "your score immediately without explanation. Output empty <think>\n</think> tags followed by your score in "
    "<score></score> tags.\n\n### Criteria: {criteria}\n\n### Scoring Schema: If the last {role}'s text meets the "
    "criteria, return 'yes'; otherwise, return 'no'."
)


class GraniteGuardian(GuardModel):
    """Judge with Granite Guardian, for example `granite-guardian:hf:ibm-granite/granite-guardian-3.2-5b`.

    Versions up to 3.2 answer `Yes` or `No`; in this process the score is read from the logits of these two. Later
    versions write `<score> yes </score>`, after their reasoning if there is any, and define no probability. Version 4.1
    is asked about the definition of the policy's own category.

    Args:
        model: A model spec, or a LangChain chat model.
        version: `3.0` to `4.1`. Defaults to the version in the model's name.
        options: Arguments of `GuardModel`.

    Raises:
        ConfigurationError: If the version is unknown, or the policy maps none of the model's risks.
    """

    family = "granite-guardian"
    choices = ("Yes", "No")
    max_tokens = 64

    def __init__(self, model: str | BaseChatModel, *, version: str | None = None, **options: Any) -> None:
        super().__init__(model, **options)
        match = _VERSION.search(self.spec)
        self.version = version or (match[1] if match else "")
        if self.version not in _VERSIONS:
            raise ConfigurationError(
                f"the version of {self.spec} is {self.version or 'not in its name'}; "
                f"supported are {', '.join(_VERSIONS)}.",
                hint="Pass it, for example version='3.2'.",
            )
        if not self.codes:
            raise ConfigurationError(
                f"policy {self.policy.id} maps no risk of {self.family}, so there is nothing to ask.",
                hint="Add codes: granite-guardian: to the policy, for example harm: {category: ..., severity: ...}.",
            )
        self._writes_score_tag = self.version in ("3.3", "4.1")

    def questions(self, passage: Passage) -> list[GuardQuestion]:
        """Return one question for each risk that the policy maps."""
        return [self._question(self.conversation(passage), risk) for risk in self.codes]

    def _question(self, turns: tuple[Mapping[str, str], ...], risk: str) -> GuardQuestion:
        if self.version == "4.1":
            criteria = self.policy.categories[self.codes[risk].category].definition
            role = "user" if self.role == "prompt" else "assistant"
            instruction = Instruction(_JUDGE.format(criteria=criteria, role=role))
            return GuardQuestion((*turns, {"role": "user", "content": instruction}), FrozenDict(), risk)
        if self.version == "3.3":
            return GuardQuestion(turns, {"guardian_config": {"criteria_id": risk}, "think": False}, risk)
        return GuardQuestion(turns, {"guardian_config": {"risk_name": risk}}, risk)

    def parse(self, answer: str, question: GuardQuestion) -> Mapping[str, str]:
        """Flag the risk if the answer is `Yes`, or the score is `yes`."""
        if self._writes_score_tag:
            match = match_whole(_SCORE, answer)
            reasoning = match[1] or ""
            # Of two scores it is unclear which counts, and the first may be a quote from the text.
            if "<score" in reasoning or "</score" in reasoning or "<think" in reasoning:
                raise Unparsable("the reasoning contains a score or further reasoning")
            is_present = match[2] == "yes"
        else:
            is_present = match_whole(_YES_NO, answer)[1] == "Yes"
        return {question.code: f"Granite Guardian: {question.code}"} if is_present else {}

    def assess_by_logits(self, local: LanguageModel, questions: Sequence[GuardQuestion]) -> Assessment:
        """Score by logits up to version 3.2; have later versions write their answer."""
        if self._writes_score_tag:
            return self.assess_answers(questions, [self.generate_answer(local, q) for q in questions])
        return super().assess_by_logits(local, questions)
