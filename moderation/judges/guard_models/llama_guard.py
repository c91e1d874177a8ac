"""Llama Guard 3 (1B, 8B) and 4 (12B): one answer about the MLCommons hazards S1 to S14.

Sources: the model cards in meta-llama/PurpleLlama (Llama-Guard3, Llama-Guard4); the score of the first token is from
arXiv 2407.21783, section 5.4.7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taleward.core.frozen_model import FrozenDict
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment
from taleward.moderation.judges.guard_models.base import GuardModel, GuardQuestion
from taleward.moderation.judges.hazard_codes import assessment_from_codes, category_scores
from taleward.moderation.judges.strict_parsing import Unparsable, match_whole

if TYPE_CHECKING:
    from taleward.backends.local.language_model import LanguageModel

_CODE = r"S(?:[1-9]|1[0-4])"
_ANSWER = re.compile(rf"safe|unsafe\n({_CODE}(?:,{_CODE})*)")


class LlamaGuard(GuardModel):
    """Judge with Llama Guard, for example `llama-guard:hf:meta-llama/Llama-Guard-3-1B`.

    In this process, every category gets the same score: the softmax probability of `unsafe` against `safe` as the
    first word of the answer, which no single category can exceed. If it reaches a threshold, the model writes its
    answer, which names the codes. Behind an API the answer is parsed: `safe`, or `unsafe` with the codes on the second
    line.
    """

    family = "llama-guard"
    choices = ("unsafe", "safe")
    verdict_form = re.compile(r"^\W*(?:un)?safe\W*$|^\W*s\d{1,2}(?:\W*s\d{1,2})*\W*$", re.MULTILINE)
    max_tokens = 32

    def questions(self, passage: Passage) -> list[GuardQuestion]:
        """Return one question about all hazards."""
        return [GuardQuestion(self.conversation(passage), {"add_generation_prompt": False})]

    def prompt_tokens(self, local: LanguageModel, question: GuardQuestion) -> list[int]:
        """Return the template's tokens, ending with the empty line that the model's answers start with."""
        # Some templates leave that line to the model. Then "\n\n" would be the first token to score, not the answer.
        prompt, line = super().prompt_tokens(local, question), local.encode("\n\n")
        return prompt if prompt[-len(line) :] == line else [*prompt, *line]

    def parse(self, answer: str, question: GuardQuestion) -> Mapping[str, str]:
        """Flag the codes of an `unsafe` answer."""
        codes = (match_whole(_ANSWER, answer)[1] or "").split(",")
        if len(set(codes)) != len(codes):
            raise Unparsable("a code occurs twice")
        return {code: f"Llama Guard: {code}" for code in codes if code}

    def assess_by_logits(self, local: LanguageModel, questions: Sequence[GuardQuestion]) -> Assessment:
        """Score by the first word of the answer; have the model name the codes if that reaches a threshold."""
        decisions = self.choice_probabilities(local, questions)
        if decisions is None:
            return self.low_mass_assessment()
        unsafe = decisions[0].probabilities[0]
        scores = category_scores(self.policy, self.band, self.family, dict.fromkeys(self.codes, unsafe))
        thresholds = [self.policy.band(self.band).threshold, *(self.policy.threshold(c, self.band) for c in scores)]
        if unsafe < min(thresholds):
            return assessment_from_codes(self.policy, self.family, {}, scores=scores)
        assessment = self.assess_answers(questions, [self.generate_answer(local, questions[0])])
        if assessment.findings or assessment.outcome == "fail":
            named_scores = {f.category: unsafe for f in assessment.findings if f.category in scores}
            return assessment.model_copy(update={"scores": FrozenDict(named_scores)})
        # The written answer is "safe" or unparsable, but the score reached a threshold: fail closed.
        return Assessment(
            outcome="fail",
            scores=FrozenDict(scores),
            detail=f"P(unsafe) is {unsafe:.2f}, and the model named no code",
        )
