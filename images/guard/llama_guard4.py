"""Llama Guard 4, which takes pictures: one answer about the MLCommons hazards S1 to S14.

Its own card gives a recall of 41 % and 9 % false alarms on single pictures: one judge of several, not the only one.
"""

from __future__ import annotations

import re
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage

from taleward.backends.chat_models import chat_model
from taleward.core.policy import Policy
from taleward.images.guard.picture_judge import PictureJudge, views
from taleward.images.guard.picture_llm_judge import image_block
from taleward.images.picture import Picture
from taleward.moderation.judges.base import Assessment
from taleward.moderation.judges.hazard_codes import assessment_from_codes
from taleward.moderation.judges.strict_parsing import Unparsable, match_whole

_CODE = r"S(?:[1-9]|1[0-4])"
_ANSWER = re.compile(rf"safe|unsafe\n({_CODE}(?:,{_CODE})*)")
_MAX_TOKENS = 32
_MAX_SIDE = 1024


class LlamaGuard4Judge(PictureJudge):
    """Ask Llama Guard 4 about a picture, behind a server that applies its chat template, such as vLLM's.

    Args:
        model: A model spec such as `openai:meta-llama/Llama-Guard-4-12B`, or a LangChain chat model.
        policy: A policy, or the name or path of one; its codes `llama-guard` say what S1 to S14 mean.
        band: An age band of the policy.
        options: Options of the model, such as `base_url`.
    """

    def __init__(
        self, model: str | BaseChatModel, *, policy: Policy | str = "kids", band: str = "6-8", **options: Any
    ) -> None:
        if isinstance(model, str):
            options = {"temperature": 0, "max_tokens": _MAX_TOKENS, **options}
        self.model = chat_model(model, **options)
        name = model if isinstance(model, str) else type(model).__name__
        super().__init__(f"llama-guard-4:{name}", policy=policy, band=band)

    def assess(self, picture: Picture) -> Assessment:
        """Ask once about all hazards; of a transparent picture, how it looks on white and on black."""
        blocks: list[str | dict[str, Any]] = [image_block(view) for view in views(picture, _MAX_SIDE)]
        message = self.model.invoke([HumanMessage(content=blocks)])
        return self.parse(message.text)

    def parse(self, answer: str) -> Assessment:
        """Read an answer: `safe`, or `unsafe` with codes on the second line; anything else is `unparsable`."""
        try:
            codes = (match_whole(_ANSWER, answer)[1] or "").split(",")
        except Unparsable as error:
            return Assessment(outcome="unparsable", detail=str(error))
        if len(set(codes)) != len(codes):
            return Assessment(outcome="unparsable", detail="a code occurs twice")
        flagged = {code: f"Llama Guard 4: {code}" for code in codes if code}
        return assessment_from_codes(self.policy, "llama-guard", flagged)
