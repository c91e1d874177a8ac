"""ShieldGemma 2B, 9B and 27B: one question for each of four guidelines, worded as the models were trained.

Source: the model card google/shieldgemma-2b; arXiv 2407.21772.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from taleward.core.verdict import Passage
from taleward.moderation.judges.guard_models.base import GuardModel, Question
from taleward.moderation.judges.strict_parsing import whole

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
    """Judges with ShieldGemma, for example `shieldgemma:hf:google/shieldgemma-2b`.

    Run here, a score is the softmax of `Yes` and `No` at the last position, one for each guideline; nothing is written.
    Behind an API an answer must be `Yes` or `No` and nothing more.
    """

    family = "shieldgemma"
    choices = ("Yes", "No")

    def questions(self, passage: Passage) -> list[Question]:
        """One question for each guideline."""
        turns = self.conversation(passage)
        return [
            Question(turns, {"guideline": text.format(_SUBJECT[self.role])}, code) for code, text in _GUIDELINES.items()
        ]

    def read(self, answer: str, question: Question) -> Mapping[str, str]:
        """`Yes` violates the guideline."""
        violates = whole(_ANSWER, answer)[0] == "Yes"
        return {question.code: f"ShieldGemma: against the guideline on {question.code}"} if violates else {}
