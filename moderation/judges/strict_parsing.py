"""Strict parsing of a judge's answers: match the whole answer or reject it.

Parsers that search an answer fail open: "Not safe." contains "safe". So nothing here searches, repairs or guesses, and
what is rejected becomes the outcome `unparsable`, which releases nothing.
"""

from __future__ import annotations

import json
import re
from typing import Any, Protocol, TypeVar

from langchain_core.messages import AIMessage, BaseMessage
from pydantic import ValidationError


class Unparsable(ValueError):
    """An answer that its grammar does not accept."""


class AnswerWithId(Protocol):
    """A Pydantic model of an answer that repeats the random id of its prompt, so that no judged text can dictate it."""

    id: str

    @classmethod
    def model_validate(cls, obj: Any, /) -> Any:
        """Validate the parsed JSON."""


AnswerT = TypeVar("AnswerT", bound=AnswerWithId)


# Chat templates and servers leave spaces and newlines around an answer. Other white space, such as "\r" or U+00A0,
# belongs to no format and may be a disguise, so it is not stripped.
_PADDING = " \n"


def match_whole(pattern: re.Pattern[str], answer: str) -> re.Match[str]:
    """Match a pattern against all of an answer, ignoring spaces and newlines around it.

    Raises:
        Unparsable: If the pattern does not match all of it.
    """
    match = pattern.fullmatch(answer.strip(_PADDING))
    if match is None:
        raise Unparsable(
            f"the answer does not match the expected format; it has {len(answer)} characters and starts with "
            f"{answer[:40]!r}"
        )
    return match


def strict_json(answer: str) -> dict[str, Any]:
    """Parse an answer that is exactly one JSON object (RFC 8259), without duplicate keys, `NaN` or infinities.

    Raises:
        Unparsable: If it is anything else.
    """
    # Python keeps the last of two equal keys: {"verdict": "fail", "verdict": "pass"} would read as a pass. RFC 8259
    # leaves their meaning open, so such an answer has no meaning. RecursionError: deep nesting in an answer is hostile.
    try:
        data = json.loads(
            answer.strip(_PADDING), object_pairs_hook=_reject_duplicate_keys, parse_constant=_reject_constant
        )
    except (ValueError, RecursionError) as error:
        raise Unparsable(f"not a single JSON object: {error}") from error
    if not isinstance(data, dict):
        raise Unparsable(f"not a single JSON object, but a {type(data).__name__}")
    return data


def parse_answer(message: BaseMessage, answer_type: type[AnswerT], answer_id: str) -> AnswerT:
    """Parse a model's answer that is exactly one JSON object, complete and with the id of its prompt.

    Args:
        message: The answer.
        answer_type: A strict Pydantic model of it.
        answer_id: The id of the prompt.

    Raises:
        Unparsable: If it is anything else.
    """
    if isinstance(message, AIMessage) and message.response_metadata.get("finish_reason") == "length":
        raise Unparsable("the answer was cut off at the token limit")
    try:
        answer: AnswerT = answer_type.model_validate(strict_json(message.text))
    except ValidationError as error:
        raise Unparsable(first_problem(error)) from error
    if answer.id != answer_id:
        raise Unparsable("the answer does not repeat the id of its prompt")
    return answer


def first_problem(error: ValidationError) -> str:
    """Return the path and message of the first problem in a validation error, without the value that came."""
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        msg = "a key occurs twice"
        raise ValueError(msg)
    return dict(pairs)


def _reject_constant(name: str) -> Any:
    msg = f"{name} is not a JSON number"
    raise ValueError(msg)
