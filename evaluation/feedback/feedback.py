"""What a person says of a tale."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel

FeedbackField = Literal["rating", "kid_friendly", "categories", "spans", "comment"]
"""The parts of a feedback; in MLflow each is an assessment of that name on the tale's trace."""

FIELDS: tuple[FeedbackField, ...] = ("rating", "kid_friendly", "categories", "spans", "comment")

_YES = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_PLACE = re.compile(r"(\d+)-(\d+)(?:\s+([\w-]+))?")


class MarkedSpan(FrozenModel):
    """A stretch of a tale that a person marked.

    Attributes:
        start: Offset of its first character, in Unicode code points from 0.
        end: Offset behind its last character.
        category: What it shows, where the person said so.
    """

    start: int = Field(ge=0)
    end: int = Field(ge=1)
    category: str | None = None

    @model_validator(mode="after")
    def _in_order(self) -> MarkedSpan:
        if self.end <= self.start:
            msg = f"a span ends behind its start; got {self.start}-{self.end}"
            raise ValueError(msg)
        return self


class Feedback(FrozenModel):
    """All that one person says of one tale now; earlier answers are in the history.

    Attributes:
        tale_id: Which tale.
        person: Who, by name or by pseudonym.
        rating: From 1 (poor) to 5 (very good).
        kid_friendly: Whether it is for children of the tale's age band.
        categories: What speaks against it; empty where the person looked and found nothing.
        spans: The stretches that were marked.
        comment: Free text.
        at: When it was last changed.
        unread: Assessments that cannot be read as what their name says, with their value: they were typed by hand in
            MLflow's own pages, where anything can be.
    """

    tale_id: str = Field(min_length=1)
    person: str = Field(min_length=1)
    rating: int | None = Field(default=None, ge=1, le=5)
    kid_friendly: bool | None = None
    categories: tuple[str, ...] | None = None
    spans: tuple[MarkedSpan, ...] | None = None
    comment: str | None = None
    at: AwareDatetime
    unread: FrozenMapping[str, str] = FrozenDict()

    @property
    def reviewed(self) -> bool:
        """Whether the person has said if it is for children; a review is finished by that."""
        return self.kid_friendly is not None


def pseudonym(name: str, secret: str) -> str:
    """A name that stands for a person and does not tell who: the same for the same secret, HMAC-SHA256.

    Args:
        name: Who it is, for example a mail address.
        secret: Known to those who may find out.

    Raises:
        ConfigurationError: The secret is empty, so that anybody could try names.
    """
    if not secret:
        raise ConfigurationError("a pseudonym needs a secret that is not empty.", hint="Keep it out of the store.")
    return f"reader-{hmac.new(secret.encode(), name.encode(), hashlib.sha256).hexdigest()[:12]}"


def to_value(field: FeedbackField, answer: Any, text: str) -> Any:
    """An answer as the plain value that its assessment holds.

    Args:
        field: Which part.
        answer: For `spans`, `MarkedSpan`s, or quotes of the text.
        text: The tale's text.

    Raises:
        ConfigurationError: The answer is not one that is taken.
    """
    match field:
        case "rating":
            if isinstance(answer, bool) or answer not in (1, 2, 3, 4, 5):
                raise ConfigurationError(f"rating: got {answer!r}; taken: 1, 2, 3, 4, 5.")
            return int(answer)
        case "kid_friendly":
            if not isinstance(answer, bool):
                raise ConfigurationError(f"kid_friendly: got {answer!r}; taken: True, False.")
            return answer
        case "categories":
            if isinstance(answer, str):
                raise ConfigurationError(f"categories: got the text {answer!r}; give a list of names.")
            return list(dict.fromkeys(answer))
        case "spans":
            return [_placed(span, text) for span in answer]
        case "comment":
            if not isinstance(answer, str):
                raise ConfigurationError(f"comment: got {answer!r}; taken: text.")
            return answer


def from_value(field: str, value: Any) -> Any:
    """What an assessment's value says: also as people type it in MLflow's pages.

    There a rating may be `4.0` or `"4"`, yes and no are words, categories are parted by commas, and spans are JSON or
    `12-18 frightening; 30-41`.

    Raises:
        ValueError: It says nothing that this part takes.
    """
    match field:
        case "rating":
            number = float(value) if not isinstance(value, bool) else 0.0
            if number not in (1.0, 2.0, 3.0, 4.0, 5.0):
                raise ValueError(value)
            return int(number)
        case "kid_friendly":
            found = value if isinstance(value, bool) else _YES.get(str(value).strip().lower())
            if found is None:
                raise ValueError(value)
            return found
        case "categories":
            return tuple(dict.fromkeys(str(v).strip() for v in _listed(value, ",") if str(v).strip()))
        case "spans":
            return tuple(_span(v) for v in _listed(value, ";") if v)
    return str(value)


def _listed(value: Any, mark: str) -> list[Any]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = json.loads(value)
    if isinstance(value, str):
        return [part.strip() for part in value.split(mark)]
    if not isinstance(value, list):
        raise ValueError(value)
    return value


def _span(value: Any) -> MarkedSpan:
    if isinstance(value, Mapping):
        return MarkedSpan(start=int(value["start"]), end=int(value["end"]), category=value.get("category") or None)
    found = _PLACE.fullmatch(str(value))
    if not found:
        raise ValueError(value)
    return MarkedSpan(start=int(found[1]), end=int(found[2]), category=found[3])


def _placed(span: MarkedSpan | str, text: str) -> dict[str, Any]:
    if isinstance(span, str):
        at = text.find(span)
        if not span or at < 0:
            raise ConfigurationError(
                f"spans: the tale does not say {span!r}.", hint="Quote it letter for letter, or give a MarkedSpan."
            )
        span = MarkedSpan(start=at, end=at + len(span))
    if span.end > len(text):
        raise ConfigurationError(f"spans: {span.start}-{span.end} ends behind the tale's {len(text)} characters.")
    # The quote is for people who read it in MLflow.
    return {
        "start": span.start,
        "end": span.end,
        "category": span.category or "",
        "quote": text[span.start : span.end],
    }
