"""A person's feedback on a tale, and its values as MLflow stores them."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import AwareDatetime, Field, model_validator

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel

FeedbackField = Literal[
    "rating",
    "kid_friendly",
    "makes_sense",
    "categories",
    "spans",
    "comment",
    "correction",
    "for_training",
    "requested_by_child",
    "guardian_consent",
]
"""The fields of a feedback; in MLflow each is an assessment of that name on the tale's trace."""

FIELDS: tuple[FeedbackField, ...] = get_args(FeedbackField)

_BOOLEAN_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_SPAN_PATTERN = re.compile(r"(\d+)-(\d+)(?:\s+([\w-]+))?")


class MarkedSpan(FrozenModel):
    """A passage of a tale that a person marked.

    Attributes:
        start: Offset of its first character, in Unicode code points from 0.
        end: Offset after its last character.
        category: What is wrong with it, if the person said so.
    """

    start: int = Field(ge=0)
    end: int = Field(ge=1)
    category: str | None = None

    @model_validator(mode="after")
    def _in_order(self) -> MarkedSpan:
        if self.end <= self.start:
            msg = f"the end of a span must be greater than its start; got {self.start}-{self.end}"
            raise ValueError(msg)
        return self


class Feedback(FrozenModel):
    """One person's current feedback on one tale; overridden answers are in `FeedbackStore.history`.

    Attributes:
        tale_id: The tale's id.
        person: Who gave it, by name or by pseudonym.
        rating: From 1 (poor) to 5 (very good).
        kid_friendly: Whether the tale suits children of its age band. Only this answer calibrates a judge.
        makes_sense: Whether the tale makes sense, which says nothing about whether it suits children.
        categories: The problems that the person found; empty if the person looked for problems and found none.
        spans: The marked passages.
        comment: Free text.
        correction: The whole tale as the person would have it.
        for_training: Whether this feedback and the tale may be used to train models; `None`, which counts as no, if the
            person did not say. See `feedback_for_training`.
        requested_by_child: Whether a child wrote the request for the tale, such as the template's values.
        guardian_consent: Whether a parent or guardian consents to training on the child's request.
        at: When it was last changed.
        unparsed: Assessments that could not be parsed, by field: they were entered by hand in MLflow's UI, which
            accepts any value.
        rationales: The reasons given in MLflow's UI, by the name of the assessment.
        other: Assessments of other names, which people added in MLflow's UI, by name.
    """

    tale_id: str = Field(min_length=1)
    person: str = Field(min_length=1)
    rating: int | None = Field(default=None, ge=1, le=5)
    kid_friendly: bool | None = None
    makes_sense: bool | None = None
    categories: tuple[str, ...] | None = None
    spans: tuple[MarkedSpan, ...] | None = None
    comment: str | None = None
    correction: str | None = Field(default=None, min_length=1)
    for_training: bool | None = None
    requested_by_child: bool | None = None
    guardian_consent: bool | None = None
    at: AwareDatetime
    unparsed: FrozenMapping[str, str] = FrozenDict()
    rationales: FrozenMapping[str, str] = FrozenDict()
    other: FrozenMapping[str, str] = FrozenDict()

    @property
    def reviewed(self) -> bool:
        """Whether the review is complete: `kid_friendly` is the last question and the only required one."""
        return self.kid_friendly is not None


def pseudonym(name: str, secret: str) -> str:
    """Return a pseudonym for a person: HMAC-SHA256 of the name, the same whenever the secret is the same.

    Args:
        name: Who it is, such as a mail address.
        secret: A secret; whoever knows it can find out who is behind a pseudonym by trying names.

    Raises:
        ConfigurationError: If the secret is empty, because then anyone could try names.
    """
    if not secret:
        raise ConfigurationError(
            "a pseudonym needs a secret; got an empty one.",
            hint="Use a random text, and do not keep it in the store with the feedback.",
        )
    return f"reader-{hmac.new(secret.encode(), name.encode(), hashlib.sha256).hexdigest()[:12]}"


def to_assessment_value(field: FeedbackField, answer: Any, text: str) -> Any:
    """Convert an answer to the plain value of its MLflow assessment.

    Args:
        field: The field that is answered.
        answer: The answer; for `spans` a list of `MarkedSpan` or of quotes from the text.
        text: The tale's text.

    Raises:
        ConfigurationError: If the field does not accept the answer.
    """
    match field:
        case "rating":
            # In Python, True is equal to 1.
            if isinstance(answer, bool) or answer not in (1, 2, 3, 4, 5):
                raise ConfigurationError(f"rating must be 1, 2, 3, 4 or 5; got {answer!r}.")
            return int(answer)
        case "kid_friendly" | "makes_sense" | "for_training" | "requested_by_child" | "guardian_consent":
            if not isinstance(answer, bool):
                raise ConfigurationError(f"{field} must be True or False; got {answer!r}.")
            return answer
        case "categories":
            if isinstance(answer, str):
                raise ConfigurationError(f"categories must be a list of names; got the text {answer!r}.")
            return list(dict.fromkeys(answer))
        case "spans":
            return [_span_value(span, text) for span in answer]
        case "comment":
            if not isinstance(answer, str):
                raise ConfigurationError(f"comment must be text; got {answer!r}.")
            return answer
        case "correction":
            if not isinstance(answer, str) or not answer.strip():
                raise ConfigurationError(f"correction must be the whole corrected text; got {answer!r}.")
            return answer.strip()


def parse_assessment_value(field: str, value: Any) -> Any:
    """Parse the value of an MLflow assessment, including what people type in MLflow's UI.

    There a rating may be `4.0` or `"4"`, a Boolean is a word such as `yes`, categories are separated by commas, and
    spans are JSON or `12-18 frightening; 30-41`.

    Args:
        field: The name of the assessment.
        value: Its value.

    Returns:
        The value for the field of `Feedback`.

    Raises:
        ValueError: If the field does not accept the value.
    """
    match field:
        case "rating":
            number = float(value) if not isinstance(value, bool) else 0.0
            if number not in (1.0, 2.0, 3.0, 4.0, 5.0):
                raise ValueError(value)
            return int(number)
        case "kid_friendly" | "makes_sense" | "for_training" | "requested_by_child" | "guardian_consent":
            answer = value if isinstance(value, bool) else _BOOLEAN_WORDS.get(str(value).strip().lower())
            if answer is None:
                raise ValueError(value)
            return answer
        case "categories":
            names = [str(name).strip() for name in _split_list(value, ",")]
            return tuple(dict.fromkeys(name for name in names if name))
        case "spans":
            return tuple(_parse_span(item) for item in _split_list(value, ";") if item)
        case "correction":
            if not str(value).strip():
                raise ValueError(value)
            return str(value).strip()
    return str(value)


def _split_list(value: Any, separator: str) -> list[Any]:
    # MLflow's UI offers a text field, in which some people type JSON and others a plain list.
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = json.loads(value)
    if isinstance(value, str):
        return [item.strip() for item in value.split(separator)]
    if not isinstance(value, list):
        raise ValueError(value)
    return value


def _parse_span(value: Any) -> MarkedSpan:
    if isinstance(value, Mapping):
        return MarkedSpan(start=int(value["start"]), end=int(value["end"]), category=value.get("category") or None)
    match = _SPAN_PATTERN.fullmatch(str(value))
    if not match:
        raise ValueError(value)
    return MarkedSpan(start=int(match[1]), end=int(match[2]), category=match[3])


def _span_value(span: MarkedSpan | str, text: str) -> dict[str, Any]:
    if isinstance(span, str):
        start = text.find(span)
        if not span or start < 0:
            raise ConfigurationError(
                f"spans: {span!r} does not occur in the tale.",
                hint="Quote the text exactly, or pass a MarkedSpan with offsets.",
            )
        span = MarkedSpan(start=start, end=start + len(span))
    if span.end > len(text):
        raise ConfigurationError(
            f"spans: {span.start}-{span.end} is outside the tale, which has {len(text)} characters."
        )
    # Only people who look at the assessment in MLflow need the quote; reading it back uses the offsets.
    return {
        "start": span.start,
        "end": span.end,
        "category": span.category or "",
        "quote": text[span.start : span.end],
    }
