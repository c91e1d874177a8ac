"""OpenAI's moderation endpoint for pictures: nudity, violence and self-harm, free of charge.

Source: the API reference on moderations. Of the thirteen categories six apply to pictures; `sexual/minors`, hate,
harassment and illicit acts are judged in text only.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from taleward.core.policy import Policy
from taleward.images.guard.picture_judge import PictureJudge, views
from taleward.images.guard.picture_llm_judge import image_data_url
from taleward.images.picture import Picture
from taleward.moderation.judges.base import Assessment
from taleward.moderation.judges.openai_moderation import OpenAIModerationJudge
from taleward.moderation.judges.strict_parsing import Unparsable, first_problem, strict_json

_FOR_PICTURES = frozenset(
    {"self-harm", "self-harm/intent", "self-harm/instructions", "sexual", "violence", "violence/graphic"}
)
_MAX_SIDE = 1024


class _InputTypes(BaseModel):
    model_config = ConfigDict(strict=True)

    category_applied_input_types: dict[str, list[str]] = Field(min_length=1)


class _TypedResponse(BaseModel):
    model_config = ConfigDict(strict=True)

    results: list[_InputTypes] = Field(min_length=1, max_length=1)


class OmniModerationJudge(PictureJudge):
    """Judge a picture with OpenAI's moderation endpoint; its pixels are sent to the server, nothing else.

    An answer that does not say that the categories for pictures were applied to a picture is `unparsable`.

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
        super().__init__(f"omni-moderation:{model}" if model else "omni-moderation", policy=policy, band=band)
        self._text_judge = OpenAIModerationJudge(model, policy=policy, band=band, base_url=base_url)

    def assess(self, picture: Picture) -> Assessment:
        """Send the picture to the endpoint; of a transparent one, how it looks on white and on black."""
        assessments = [self._assess(image_data_url(view)) for view in views(picture, _MAX_SIDE)]
        # The worst counts: no answer before a failure, a failure before a pass.
        return max(assessments, key=lambda a: (a.outcome is not None, self._decide(a) == "fail"))

    def _assess(self, data_url: str) -> Assessment:
        from openai import OpenAI

        parts: Any = [{"type": "image_url", "image_url": {"url": data_url}}]
        with OpenAI(**self._text_judge.client_options()) as client:
            response = client.moderations.with_raw_response.create(model=self._text_judge.model, input=parts)
        return self.parse(response.text)

    def parse(self, response: str) -> Assessment:
        """Turn the endpoint's JSON into an assessment; `unparsable` if it was not about a picture."""
        assessment = self._text_judge.parse(response)
        if assessment.outcome == "unparsable":
            return assessment
        try:
            [result] = _TypedResponse.model_validate(strict_json(response)).results
        except Unparsable as error:
            return Assessment(outcome="unparsable", detail=str(error))
        except ValidationError as error:
            return Assessment(outcome="unparsable", detail=first_problem(error))
        applied = {c for c, kinds in result.category_applied_input_types.items() if "image" in kinds}
        if missing := sorted(_FOR_PICTURES - applied):
            detail = f"the answer does not apply {', '.join(missing)} to the picture"
            return Assessment(outcome="unparsable", detail=detail)
        return assessment.model_copy(update={"detail": f"applied to the picture: {', '.join(sorted(applied))}"})
