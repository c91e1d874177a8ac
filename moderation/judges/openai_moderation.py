"""OpenAI's moderation endpoint: scores in thirteen categories, free of charge.

Source: the API reference on moderations, model `omni-moderation-latest`.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from taleward.core.errors import MissingKey
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy, Probability
from taleward.core.redaction import remember_secret
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.hazard_codes import assessment_from_codes, category_scores
from taleward.moderation.judges.strict_parsing import Unparsable, first_problem, strict_json

_TAXONOMY = "openai-moderation"
_TIMEOUT_S = 30.0


class _ModerationResult(BaseModel):
    model_config = ConfigDict(strict=True)

    flagged: bool
    categories: dict[str, bool] = Field(min_length=1)
    category_scores: dict[str, Probability] = Field(min_length=1)


class _ModerationResponse(BaseModel):
    model_config = ConfigDict(strict=True)

    results: list[_ModerationResult] = Field(min_length=1, max_length=1)


class OpenAIModerationJudge(Judge):
    """Judge with OpenAI's moderation endpoint; the text is sent to the server, the context is not.

    A policy category gets the highest score of the codes mapped to it. A text fails if the endpoint flags it, or if a
    score reaches the policy's threshold.

    Args:
        model: The endpoint's model; empty for `omni-moderation-latest`.
        policy: A policy, or the name or path of one.
        band: An age band of the policy.
        base_url: A server with the same API, up to and including `/v1`. Defaults to `OPENAI_BASE_URL`.

    Raises:
        MissingKey: If `OPENAI_API_KEY` is not set and no other server is given.
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
                f"{self.spec} needs a key, and OPENAI_API_KEY is not set.",
                hint="Set OPENAI_API_KEY; the endpoint is free. 'embedded:judge' needs no key.",
            )
        # A password in the URL is secret as well.
        self._base_url = None if base_url is None else SecretStr(base_url)
        self._key = SecretStr(key or "no-key")
        for secret in (self._key, urlsplit(base_url or "").password):
            if secret is not None:
                remember_secret(secret)

    @property
    def base_url(self) -> str | None:
        """The server's URL, which may contain a password; `None` for OpenAI's own."""
        return None if self._base_url is None else self._base_url.get_secret_value()

    def assess(self, passage: Passage) -> Assessment:
        """Send the text to the endpoint."""
        from openai import OpenAI

        with OpenAI(**self.client_options()) as client:
            response = client.moderations.with_raw_response.create(model=self.model, input=passage.text)
        return self.parse(response.text)

    async def aassess(self, passage: Passage) -> Assessment:
        """Send the text to the endpoint without blocking the event loop."""
        from openai import AsyncOpenAI

        async with AsyncOpenAI(**self.client_options()) as client:
            response = await client.moderations.with_raw_response.create(model=self.model, input=passage.text)
        return self.parse(response.text)

    def client_options(self) -> dict[str, Any]:
        """Return the options of a client for the server; they contain the key."""
        return {
            "base_url": self.base_url,
            "api_key": self._key.get_secret_value(),
            "timeout": _TIMEOUT_S,
            "max_retries": 1,
        }

    def parse(self, response: str) -> Assessment:
        """Turn the endpoint's JSON into an assessment; `unparsable` if it is incomplete or contradicts itself."""
        # The raw body, since the client's own types accept missing and unknown fields without an error.
        try:
            [result] = _ModerationResponse.model_validate(strict_json(response)).results
        except Unparsable as error:
            return _unparsable(str(error))
        except ValidationError as error:
            return _unparsable(first_problem(error))
        if set(result.categories) != set(result.category_scores):
            return _unparsable("categories and category_scores name different categories")
        if result.flagged != any(result.categories.values()):
            return _unparsable("flagged and categories contradict each other")
        mapped = self.policy.codes.get(_TAXONOMY, FrozenDict())
        missing = sorted(set(mapped) - set(result.categories))
        if missing:
            return _unparsable(f"the response lacks {', '.join(missing)}, which {self.policy.id} maps")
        flagged = {
            code: f"OpenAI moderation: {code} (score {score:.2f})"
            for code, score in result.category_scores.items()
            if result.categories[code]
            or score >= self.policy.threshold(mapped[code].category if code in mapped else "", self.band)
        }
        scores = category_scores(self.policy, self.band, _TAXONOMY, result.category_scores)
        return assessment_from_codes(self.policy, _TAXONOMY, flagged, scores=scores, cost_usd=0.0)


def _unparsable(reason: str) -> Assessment:
    return Assessment(outcome="unparsable", detail=f"{_TAXONOMY}: {reason}", cost_usd=0.0)
