"""OpenAI's moderation endpoint: scores in thirteen categories, free of charge.

Source: the API reference on moderations, model `omni-moderation-latest`.
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from taleward.core.errors import MissingKey
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy, Probability
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.hazard_codes import assessed, highest
from taleward.moderation.judges.strict_parsing import Unparsable, strict_json

_TAXONOMY = "openai-moderation"
_TIMEOUT_S = 30.0


class _Result(BaseModel):
    model_config = ConfigDict(strict=True)

    flagged: bool
    categories: dict[str, bool] = Field(min_length=1)
    category_scores: dict[str, Probability] = Field(min_length=1)


class _Response(BaseModel):
    model_config = ConfigDict(strict=True)

    results: list[_Result] = Field(min_length=1, max_length=1)


class OpenAIModeration(Judge):
    """Judges with the moderation endpoint; the text leaves this machine.

    A category of the policy has the highest score of the codes that belong to it. What the endpoint flags fails, and so
    does a score from the policy's threshold up. The context is left out.

    Args:
        model: The endpoint's model; empty for `omni-moderation-latest`.
        policy: A policy, or the name or path of one.
        band: A band of the policy.
        base_url: A server with the same API, up to and including `/v1`; `OPENAI_BASE_URL` where it is not given.

    Raises:
        MissingKey: OpenAI itself is meant and `OPENAI_API_KEY` is not set.
    """

    def __init__(
        self, model: str = "", *, policy: Policy | str = "kids", band: str = "6-8", base_url: str | None = None
    ) -> None:
        self.model = model or "omni-moderation-latest"
        super().__init__(f"{_TAXONOMY}:{self.model}" if model else _TAXONOMY, policy=policy, band=band)
        base_url = base_url or os.environ.get("OPENAI_BASE_URL")
        key = os.environ.get("OPENAI_API_KEY")
        if not key and base_url is None:
            raise MissingKey(
                f"{self.spec} needs a key: the environment has no OPENAI_API_KEY.",
                hint="Set OPENAI_API_KEY; the endpoint is free. 'embedded:judge' needs none.",
            )
        self._made: dict[str, Any] = {
            "base_url": base_url,
            "api_key": key or "no-key",
            "timeout": _TIMEOUT_S,
            "max_retries": 1,
        }

    def assess(self, passage: Passage) -> Assessment:
        """Ask once."""
        from openai import OpenAI

        with OpenAI(**self._made) as client:
            answer = client.moderations.with_raw_response.create(model=self.model, input=passage.text)
        return self.read(answer.text)

    async def aassess(self, passage: Passage) -> Assessment:
        """Ask once, without blocking the event loop."""
        from openai import AsyncOpenAI

        async with AsyncOpenAI(**self._made) as client:
            answer = await client.moderations.with_raw_response.create(model=self.model, input=passage.text)
        return self.read(answer.text)

    def read(self, answer: str) -> Assessment:
        """The assessment from the endpoint's JSON; `unparsable` where that is not whole or contradicts itself."""
        try:
            [result] = _Response.model_validate(strict_json(answer)).results
        except Unparsable as error:
            return _unparsable(str(error))
        except ValidationError as error:
            first = error.errors()[0]
            return _unparsable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        if set(result.categories) != set(result.category_scores):
            return _unparsable("categories and category_scores name different categories")
        if result.flagged != any(result.categories.values()):
            return _unparsable("flagged and categories contradict each other")
        known = self.policy.codes.get(_TAXONOMY, FrozenDict())
        missing = sorted(set(known) - set(result.categories))
        if missing:
            return _unparsable(f"there is no word on {', '.join(missing)}, which {self.policy.id} maps")
        flagged = {
            code: f"OpenAI moderation: {code} (score {score:.2f})"
            for code, score in result.category_scores.items()
            if result.categories[code]
            or score >= self.policy.threshold(known[code].category if code in known else "", self.band)
        }
        scores = highest(self.policy, self.band, _TAXONOMY, result.category_scores)
        return assessed(self.policy, _TAXONOMY, flagged, scores=scores, cost_usd=0.0)


def _unparsable(why: str) -> Assessment:
    return Assessment(outcome="unparsable", detail=f"{_TAXONOMY}: {why}", cost_usd=0.0)
