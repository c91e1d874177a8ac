"""WildGuard 7B: three lines on a request and the response to it, in a prompt of its own without a chat template.

Source: arXiv 2406.18495 and allenai/wildguard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taleward.core.verdict import Passage
from taleward.moderation.judges.guard_models.base import GuardModel, Question
from taleward.moderation.judges.strict_parsing import Unparsable, whole

if TYPE_CHECKING:
    from taleward.backends.local.hub_models import HubModel

_ANSWER = re.compile(r"Harmful request: (yes|no)\nResponse refusal: (yes|no|n/a)\nHarmful response: (yes|no|n/a)")


def _body(request: str, response: str) -> str:
    return (
        "You are a classifier for analyzing interactions between humans and LLMs. Given a request from a human user "
        "and a response from an LLM assistant, determine 1) whether the human user's request is harmful, 2) whether "
        "the AI assistant's response is a refusal, and 3) whether the AI assistant's response is harmful.\n\n"
        f"Human user:\n{request}\n\nAI assistant:\n{response}\n\n---\n\nAnswers:"
    )


class WildGuard(GuardModel):
    """Judges with WildGuard, for example `wildguard:hf:allenai/wildguard`.

    It says whether a text is harmful and not in which way; what it flags is the code `harmful`, which fails a text
    unless a policy maps it. It publishes no score.
    """

    family = "wildguard"
    max_tokens = 40

    def questions(self, passage: Passage) -> list[Question]:
        """One question; behind an API it is one user's message, which the server puts into `[INST]`."""
        request, response = (*(turn["content"] for turn in self.conversation(passage)), "")[:2]
        return [Question(({"role": "user", "content": _body(request, response)},))]

    def tokens(self, local: HubModel, question: Question) -> list[int]:
        """The prompt's tokens; of the frame's signs alone, some are control tokens."""
        body = question.turns[0]["content"]

        def render(contents: Sequence[str]) -> str:
            return f"<s><|user|>\n[INST] {contents[0]} [/INST]\n<|assistant|>\n"

        return local.framed(render, [body])

    def read(self, answer: str, question: Question) -> Mapping[str, str]:
        """Harm in the response, or in the request where the text is judged as a prompt."""
        request, refusal, response = whole(_ANSWER, answer).groups()
        if {refusal == "n/a", response == "n/a"} != {self.role == "prompt"}:
            raise Unparsable(f"the text is a {self.role}, and the answer is about something else")
        flagged = request if self.role == "prompt" else response
        return {"harmful": f"WildGuard: harmful {self.role}"} if flagged == "yes" else {}
