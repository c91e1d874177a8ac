"""Answers with pictures in OpenAI's shape, with verdicts beside, and refusals."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any, Literal, NoReturn

from taleward.core.verdict import Verdict
from taleward.images.convert import convert_picture
from taleward.images.guard.guarded_picture import GuardedPicture, JudgedPicture
from taleward.images.picture import Picture
from taleward.images.picture_formats import MediaType, value_ranges
from taleward.images.picture_metadata import labeled
from taleward.serving.errors import ApiError
from taleward.serving.input_check import raise_judge_unavailable, raise_timeout
from taleward.serving.openai_api.image_request import ImageFields
from taleward.serving.server_sent_events import format_event

EventKind = Literal["image_generation", "image_edit"]
_MEDIA_TYPES: dict[str, MediaType] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "svg": "image/svg+xml",
}
_HALF_OPAQUE = 128
"""Edges of a painted picture may be a little transparent where its size is no whole number of its units."""
_NO_USAGE = (0, 0, 0)


class ImageObjects:
    """Makes the objects of one answer. They are large, and pictures are converted, so call it in a thread.

    Args:
        body: The request.
        kind: What the events are about.
    """

    def __init__(self, body: ImageFields, kind: EventKind) -> None:
        self._body, self._kind = body, kind
        self._created = int(time.time())

    def response(self, result: GuardedPicture) -> bytes:
        """Return the body of an answer with all released pictures."""
        data = [self._item(result, picture) for picture in result.pictures]
        body = {
            "created": self._created,
            "data": data,
            **self._shape(result.picture),
            **({} if (usage := _usage(result)) is None else {"usage": _usage_object(*usage)}),
            "taleward": _account(result),
        }
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")

    def events(self, result: GuardedPicture) -> Iterator[str]:
        """Yield an event for each released picture; the last one has the usage of all."""
        last = len(result.pictures) - 1
        for number, picture in enumerate(result.pictures):
            usage = (_usage(result) or _NO_USAGE) if number == last else _NO_USAGE
            event = {
                "type": f"{self._kind}.completed",
                **self._item(result, picture),
                "created_at": self._created,
                **self._shape(picture),
                "usage": _usage_object(*usage),
            }
            event["taleward"] |= {"index": number, **_account(result)}
            yield format_event(event, event["type"])

    def _item(self, result: GuardedPicture, picture: Picture) -> dict[str, Any]:
        media_type = _MEDIA_TYPES[self._body.file_format]
        file = labeled(convert_picture(picture, media_type, quality=self._body.output_compression))
        [judged] = [each for each in result.attempts[-1].pictures if each.sha256 == picture.sha256][:1]
        return {
            "b64_json": base64.b64encode(file).decode("ascii"),
            "revised_prompt": result.attempts[-1].prompt.prompt,
            "taleward": _about(picture, judged),
        }

    def _shape(self, picture: Picture) -> dict[str, str]:
        is_transparent = self._body.file_format != "jpeg" and _is_transparent(picture)
        return {
            "background": "transparent" if is_transparent else "opaque",
            "output_format": self._body.file_format,
            "quality": self._body.answered_quality,
            "size": f"{picture.width}x{picture.height}",
        }


def raise_refusal(result: GuardedPicture) -> NoReturn:
    """Raise the error for a result without pictures, in OpenAI's shape of a refusal."""
    refusal = result.refusal
    if refusal is None:
        msg = "a result with pictures is no refusal; this is a bug in taleward"
        raise RuntimeError(msg)
    if refusal.reason == "timeout":
        raise_timeout()
    if refusal.reason == "unjudged":
        raise_judge_unavailable()
    failed = next((v for v in result.input_verdicts if not v.passed), result.verdict)
    categories = list(refusal.categories or (failed.categories if failed else ()))
    stage = "input" if refusal.reason == "input" else "output"
    details: dict[str, Any] = {
        "type": "image_generation_user_error",
        "moderation_details": {"moderation_stage": stage, "categories": categories},
        "taleward": {"id": result.id, "attempts": len(result.attempts), **({} if failed is None else _verdict(failed))},
    }
    raise ApiError(400, refusal.child_message, code="moderation_blocked", details=details)


def _about(picture: Picture, judged: JudgedPicture) -> dict[str, Any]:
    return {
        "sha256": picture.sha256,
        "model": picture.lineage.model,
        "seed": picture.seed,
        "alt_text": picture.alt_text,
        "credits": list(picture.credits),
        "verdicts": [_verdict(verdict) for verdict in judged.verdicts],
    }


def _account(result: GuardedPicture) -> dict[str, Any]:
    """What became of the request: its own verdicts, and how many pictures were held back."""
    drawn = sum(len(attempt.pictures) for attempt in result.attempts)
    asked = [verdict for verdict in (result.prompt_verdict, *result.input_verdicts) if verdict is not None]
    return {
        "id": result.id,
        "drawer": result.drawer,
        "attempts": len(result.attempts),
        "withheld": drawn - len(result.released_pictures),
        "input_verdicts": [_verdict(verdict) for verdict in asked],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "outcome": verdict.outcome,
        "judge": verdict.judge,
        "policy": verdict.policy,
        "band": verdict.band,
        "categories": list(verdict.categories),
        "category_scores": {category: round(score, 6) for category, score in verdict.scores.items()},
    }


def _is_transparent(picture: Picture) -> bool:
    if picture.media_type == "image/svg+xml":
        return False  # only the collage draws them, and it paints everything
    image = picture.to_pil()
    if image.mode == "P":
        image = image.convert("RGBA")
    return "A" in image.getbands() and value_ranges(image.getchannel("A"))[0][0] < _HALF_OPAQUE


def _usage(result: GuardedPicture) -> tuple[int, int, int] | None:
    """The tokens of all that was drawn: of the prompt, of pictures sent, of pictures drawn; `None` if unknown."""
    counts = [judged.lineage.tokens for attempt in result.attempts for judged in attempt.pictures]
    if not any(counts):
        return None
    text, image, drawn = (sum(c.get(kind, 0) for c in counts) for kind in ("input_text", "input_image", "output_image"))
    return text, image, drawn


def _usage_object(text: int, image: int, drawn: int) -> dict[str, Any]:
    return {
        "input_tokens": text + image,
        "input_tokens_details": {"text_tokens": text, "image_tokens": image},
        "output_tokens": drawn,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": drawn},
        "total_tokens": text + image + drawn,
    }
