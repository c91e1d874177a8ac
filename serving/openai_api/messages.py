"""A conversation from the wire: OpenAI's messages as LangChain's, and the text in them that is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage, SystemMessage, convert_to_messages

from taleward.core.surrogates import join_surrogates
from taleward.moderation.guard.input_checks import mask
from taleward.serving.errors import ApiError

_ROLES = ("system", "developer", "user", "assistant", "tool")
_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}


@dataclass(frozen=True, slots=True)
class WireMessage:
    """One message, with its text in one piece.

    Attributes:
        role: Who says it.
        text: What is said.
        fields: The other fields, such as the calls of tools.
    """

    role: str
    text: str
    fields: Mapping[str, Any]


def read_messages(
    messages: Sequence[Mapping[str, Any]], *, mask_personal_data: bool, param: str = "messages"
) -> list[WireMessage]:
    """Read the messages of a request.

    Args:
        messages: Messages in OpenAI's form.
        mask_personal_data: Whether personal data in what users say is replaced by its kind.
        param: The parameter that holds them.

    Raises:
        ApiError: If one is not a message of text, or the last one is not to be answered.
    """
    read = [_read(message, f"{param}[{number}]", mask_personal_data) for number, message in enumerate(messages)]
    if read[-1].role not in ("user", "tool"):
        raise ApiError(
            400, "The last message must be from the user, or a tool's result.", code="invalid_value", param=param
        )
    return read


def new_text(messages: Sequence[WireMessage]) -> str:
    """Return what the user has said since the last answer.

    Earlier turns were judged when they were new. If they were judged again, one message that was turned down would end
    the conversation, since clients keep it in the history.
    """
    texts: list[str] = []
    for message in reversed(messages):
        if message.role == "assistant":
            break
        if message.role == "user":
            texts.append(message.text)
    return "\n".join(reversed(texts))


def last_user_text(messages: Sequence[WireMessage]) -> str:
    """Return the last thing that the user has said, which is the request for a story."""
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


def to_langchain(messages: Sequence[WireMessage], system_prompt: str, param: str = "messages") -> list[BaseMessage]:
    """Return the messages for a chat model.

    Args:
        messages: The messages.
        system_prompt: What the operator of the server tells the model before all else; may be empty.
        param: The parameter that holds them.

    Raises:
        ApiError: If LangChain cannot read them.
    """
    plain = [{**message.fields, "role": message.role, "content": message.text} for message in messages]
    try:
        converted = convert_to_messages(plain)
    except (ValueError, TypeError, KeyError) as error:
        text = f"The messages cannot be read: {type(error).__name__}."
        raise ApiError(400, text, code="invalid_value", param=param) from error
    return [SystemMessage(system_prompt), *converted] if system_prompt else converted


def _read(message: Mapping[str, Any], place: str, mask_personal_data: bool) -> WireMessage:
    role = message.get("role")
    if role not in _ROLES:
        raise ApiError(
            400, f"The role of {place} must be one of {', '.join(_ROLES)}.", code="invalid_value", param=f"{place}.role"
        )
    text = join_surrogates(_text_of(message.get("content"), f"{place}.content"))
    if role == "user" and mask_personal_data:
        text = mask(text)
    names = {"assistant": ("tool_calls", "name"), "tool": ("tool_call_id",)}.get(str(role), ("name",))
    if role == "assistant" and not text:
        text = str(message.get("refusal") or "")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        param = f"{place}.tool_call_id"
        raise ApiError(400, f"{param} is missing.", code="invalid_value", param=param)
    return WireMessage(str(role), text, {n: message[n] for n in names if message.get(n) is not None})


def _text_of(content: Any, place: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ApiError(400, f"{place} must be text or a list of parts.", code="invalid_value", param=place)
    texts = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get(_TEXT_PARTS[kind]) if isinstance(part, Mapping) and kind in _TEXT_PARTS else None
        if not isinstance(text, str):
            message = f"{place}[{number}] is not text; the judge reads text only."
            raise ApiError(400, message, code="unsupported_value", param=f"{place}[{number}]")
        texts.append(text)
    return "\n".join(texts)
