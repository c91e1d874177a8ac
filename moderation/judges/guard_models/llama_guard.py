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
from taleward.moderation.judges.guard_models.base import GuardModel, Question
from taleward.moderation.judges.hazard_codes import assessed, highest
from taleward.moderation.judges.strict_parsing import Unparsable, whole

if TYPE_CHECKING:
    from taleward.backends.local.hub_models import HubModel

_CODE = r"S(?:[1-9]|1[0-4])"
_ANSWER = re.compile(rf"safe|unsafe\n({_CODE}(?:,{_CODE})*)")


class LlamaGuard(GuardModel):
    """Judges with Llama Guard, for example `llama-guard:hf:meta-llama/Llama-Guard-3-1B`.

    Run here, the score is P(unsafe) in {safe, unsafe} where the answer begins, for every category: none can be
    likelier. Where it reaches a threshold the model writes, for the codes. Behind an API the answer is read: `safe`,
    or `unsafe` and on a second line its codes.
    """

    family = "llama-guard"
    choices = ("unsafe", "safe")
    max_tokens = 32

    def questions(self, passage: Passage) -> list[Question]:
        """One question, about all hazards."""
        return [Question(self.conversation(passage), {"add_generation_prompt": False})]

    def tokens(self, local: HubModel, question: Question) -> list[int]:
        """The template's tokens and, where it does not end with one, the empty line with which the model begins."""
        prompt, line = super().tokens(local, question), local.encode("\n\n")
        return prompt if prompt[-len(line) :] == line else [*prompt, *line]

    def read(self, answer: str, question: Question) -> Mapping[str, str]:
        """See the class."""
        codes = (whole(_ANSWER, answer)[1] or "").split(",")
        if len(set(codes)) != len(codes):
            raise Unparsable("a code stands twice")
        return {code: f"Llama Guard: {code}" for code in codes if code}

    def decided(self, local: HubModel, questions: Sequence[Question]) -> Assessment:
        """See the class."""
        decisions = self.decide(local, questions)
        if decisions is None:
            return self.undecided()
        unsafe = decisions[0].probabilities[0]
        scores = highest(self.policy, self.band, self.family, dict.fromkeys(self.codes, unsafe))
        limits = [self.policy.band(self.band).threshold, *(self.policy.threshold(c, self.band) for c in scores)]
        if unsafe < min(limits):
            return assessed(self.policy, self.family, {}, scores=scores)
        written = self.conclude(questions, [self.written(local, questions[0])])
        if written.findings or written.outcome == "fail":
            named = {f.category: unsafe for f in written.findings if f.category in scores}
            return written.model_copy(update={"scores": FrozenDict(named)})
        return Assessment(
            outcome="fail",
            scores=FrozenDict(scores),
            detail=f"P(unsafe) is {unsafe:.2f}, and the model names no code",
        )
