"""Requests and answers of a deployed guard in the shape of OpenAI's Responses API, as plain data."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any

from pydantic import Field, ValidationError

from taleward.core.errors import InvalidInputs, TalewardError
from taleward.core.frozen_model import FrozenMapping, FrozenModel
from taleward.core.tale import Tale

RETRACTION = "taleward.retraction"
"""The type of the event that withdraws words of a stream; the Responses API has none."""
_FILTERED = ("failed", "input")
_EXAMPLE = "For example 'a story about a fox who finds a key', or the template's values in custom_inputs."


class CustomInputs(FrozenModel):
    """What `custom_inputs` of a request may hold.

    Attributes:
        values: The values of the template, instead of a request in free words.
        band: The age band; by default the guard's.
        seed: The seed, with which a model that runs on the server writes the same tale again.
    """

    values: FrozenMapping[str, str] | None = None
    band: str | None = None
    seed: int | None = Field(default=None, ge=0)


def read_custom_inputs(data: dict[str, Any] | None) -> CustomInputs:
    """Check the `custom_inputs` of a request.

    Raises:
        InvalidInputs: If something in it is unknown or of the wrong type.
    """
    try:
        return CustomInputs.model_validate(data or {}, strict=True)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, ('custom_inputs', *e['loc'])))}: {e['msg']}" for e in error.errors()]
        hint = "custom_inputs may hold values (texts by name), band (text) and seed (a number from 0)."
        raise InvalidInputs(None, problems, hint=hint) from None


def writer_input(messages: Iterable[Any], custom: CustomInputs) -> dict[str, str] | str:
    """Return what a guard is to write: the template's values, or the last user message.

    Args:
        messages: The items of `input`. Earlier messages, and those of other roles, are not read.
        custom: The checked `custom_inputs`.

    Raises:
        InvalidInputs: If there is neither a request nor values, or both, or the message holds more than text.
    """
    request = next((_text(m) for m in reversed(list(messages)) if getattr(m, "role", None) == "user"), "")
    if custom.values is None:
        if not request.strip():
            raise InvalidInputs(None, ["there is no user message with a request"], hint=_EXAMPLE)
        return request
    if request.strip():
        problem = "there are a user message and values; a tale is written from one of them"
        raise InvalidInputs(None, [problem], hint="Send 'input': [] with custom_inputs.values.")
    return dict(custom.values)


def _text(message: Any) -> str:
    """Return the text of a message, whose content is a string or a list of parts."""
    if isinstance(message.content, str):
        return message.content
    parts = [part if isinstance(part, dict) else part.model_dump() for part in message.content]
    if others := sorted({str(part.get("type")) for part in parts} - {"input_text"}):
        raise InvalidInputs(None, [f"the user message holds {', '.join(others)}"], hint="Send text only.")
    return "\n".join(str(part["text"]) for part in parts)


def tale_item(tale: Tale) -> dict[str, Any]:
    """Return a tale as the item of an answer: the released text, or the refusal's message for the child."""
    if tale.refusal is None:
        content: dict[str, Any] = {"type": "output_text", "text": tale.text, "annotations": []}
    else:
        content = {"type": "refusal", "refusal": tale.refusal.child_message}
    return {"type": "message", "id": f"msg_{tale.id}", "role": "assistant", "content": [content]}


def tale_outputs(tale: Tale) -> dict[str, Any]:
    """Return what an app needs to know about a tale; nothing in it is for the child."""
    refusal = tale.refusal
    return {
        "released": tale.released,
        "tale_id": tale.id,
        "outcome": tale.verdict.outcome if tale.verdict else "not_judged",
        "reason": refusal.reason if refusal else "",
        "categories": list(refusal.categories) if refusal else [],
    }


def tale_response(tale: Tale) -> dict[str, Any]:
    """Return the answer for a tale. Its status is `completed` if the tale was released, else `incomplete`."""
    filtered = tale.refusal is not None and tale.refusal.reason in _FILTERED
    return {
        "id": f"resp_{tale.id}",
        "created_at": time.time(),
        "status": "completed" if tale.released else "incomplete",
        "incomplete_details": {"reason": "content_filter"} if filtered else None,
        "output": [tale_item(tale)],
        "custom_outputs": tale_outputs(tale),
    }


def error_response(error: Exception) -> dict[str, Any]:
    """Return the answer if no tale could be written: status `failed`, and no text."""
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "created_at": time.time(),
        "status": "failed",
        "error": error_data(error),
        "output": [],
        "custom_outputs": error_outputs(error),
    }


def error_data(error: Exception) -> dict[str, str]:
    """Return code and message of an error. The exception's own message may quote texts, so it is only logged."""
    return {
        "code": "server_error",
        "message": f"No tale could be written ({type(error).__name__}). The log of the server says why.",
    }


def error_outputs(error: Exception) -> dict[str, Any]:
    """Return `custom_outputs` of an answer without a tale."""
    return {
        "released": False,
        "tale_id": "",
        "outcome": "error",
        "reason": "error",
        "categories": [],
        "retryable": isinstance(error, TalewardError) and error.retryable,
    }
