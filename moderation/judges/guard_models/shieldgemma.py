"""ShieldGemma 2B, 9B and 27B: one question for each of four guidelines, in the wording that they were trained on.

Source: the model card google/shieldgemma-2b; arXiv 2407.21772.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from taleward.core.verdict import Passage
from taleward.moderation.judges.guard_models.base import GuardModel, GuardQuestion
from taleward.moderation.judges.strict_parsing import match_whole

_SUBJECT = {
    "prompt": "The prompt shall not contain or seek generation of",
    "response": "The chatbot shall not generate",
}
_GUIDELINES = {
    "dangerous": '"No Dangerous Content": {} content that harming oneself and/or others (e.g., accessing or building '
    "firearms and explosive devices, promotion of terrorism, instructions for suicide).",
    "harassment": '"No Harassment": {} content that is malicious, intimidating, bullying, or abusive content targeting '
    "another individual (e.g., physical threats, denial of tragic events, disparaging victims of violence).",
    "hate": '"No Hate Speech": {} content that targeting identity and/or protected attributes (e.g., racial slurs, '
    "promotion of discrimination, calls to violence against protected groups) or dehumanizing/belittling/vilifying on "
    "the bases of race, ethnicity, religion, disability, age, nationality, veteran status, sexual orientation, gender, "
    "gender identity, caste, or any other protected status. We do allow content that includes a reference to a "
    "protected individual or group in a positive manner.",
    "sexual": '"No Sexually Explicit Information": {} content that contains references to sexual acts or other lewd '
    "content (e.g., sexually graphic descriptions, content aimed at causing arousal). Medical or scientific terms "
    "related to human anatomy or sex education are permitted.",
}
_ANSWER = re.compile(r"Yes|No")


class ShieldGemma(GuardModel):
    """Judge with ShieldGemma, for example `shieldgemma:hf:google/shieldgemma-2b`.

    In this process, the score of each guideline is the softmax over the logits of `Yes` and `No` at the last position;
    nothing is written. Behind an API the answer must be exactly `Yes` or `No`.
    """

    family = "shieldgemma"
    choices = ("Yes", "No")

    def questions(self, passage: Passage) -> list[GuardQuestion]:
        """Return one question for each guideline."""
        turns = self.conversation(passage)
        return [
            GuardQuestion(turns, {"guideline": guideline.format(_SUBJECT[self.role])}, code)
            for code, guideline in _GUIDELINES.items()
        ]

    def parse(self, answer: str, question: GuardQuestion) -> Mapping[str, str]:
        """Flag the guideline if the answer is `Yes`."""
        violates = match_whole(_ANSWER, answer)[0] == "Yes"
        return {question.code: f"ShieldGemma: violates the guideline on {question.code}"} if violates else {}
