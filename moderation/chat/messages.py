"""What a chat model's answer says to people, and what is left of it once it was judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import UsageMetadata
from langchain_core.utils.json import parse_json_markdown

from taleward.core.tale import RefusalReason
from taleward.core.verdict import Verdict

MARK = "taleward"
"""Key of `response_metadata` under which an answer says what became of it."""

REFUSAL_WORDS: dict[RefusalReason, str] = {
    "failed": "I would rather not say that. Shall we talk about something else?",
    "unjudged": "I am not sure about my answer, so I keep it to myself. Please ask again in a little while.",
    "timeout": "I am too slow today. Please ask again in a little while.",
    "input": "I would rather not talk about that. Shall we talk about something else?",
}
_STRUCTURED = "{[`"
_KEPT = ("model_name", "model", "model_provider", "finish_reason", "stop_reason", "system_fingerprint", "service_tier")


def text_of(message: AIMessage) -> str:
    """The words of an answer, those of the model's own refusal among them; reasoning is none of them."""
    blocks = message.content if isinstance(message.content, list) else []
    refusals = [b.get("refusal") for b in blocks if isinstance(b, dict) and b.get("type") == "refusal"]
    refusals.append(message.additional_kwargs.get("refusal"))
    return "".join([str(message.text), *(r for r in refusals if isinstance(r, str))])


def looks_structured(text: str) -> bool:
    """Whether a text that is not blank begins like JSON or a fence: such a text says other words once it is parsed."""
    return text.lstrip()[0] in _STRUCTURED


def strings(value: object) -> Iterator[str]:
    """All strings in a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)


def names_in(tools: Iterable[Any]) -> frozenset[str]:
    """The words that tools bring along, such as their names and those of their arguments: no model wrote them."""
    from langchain_core.utils.function_calling import convert_to_openai_tool

    described = (tool if isinstance(tool, dict) else convert_to_openai_tool(tool) for tool in tools)
    return frozenset(word for description in described for word in strings(description))


def further_words(message: AIMessage, text: str, declared: frozenset[str]) -> list[str]:
    """What an answer says besides its text: words in tool calls, and those in a JSON text as they read once parsed.

    Args:
        message: The answer.
        text: Its text.
        declared: Names that were there before the model answered; as a name or key they are not the model's words.
    """
    found: list[str] = []
    for call in message.tool_calls:
        found += _words({call["name"]: call["args"]}, declared)
    for broken in message.invalid_tool_calls:
        found += strings([broken["name"], broken["args"], broken["error"]])
    if "\\" in text:
        with suppress(ValueError):  # no JSON: its words are those that stand there
            found += (word for word in strings(parse_json_markdown(text)) if word not in text)
    return [word for word in found if word.strip()]


def _words(value: object, declared: frozenset[str]) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in declared:
                yield str(key)
            yield from _words(item, declared)
    elif isinstance(value, list):
        for item in value:
            yield from _words(item, declared)
    elif isinstance(value, str):
        yield value


def joined(parts: Sequence[AIMessage]) -> AIMessage:
    """The whole answer from what a model streamed; a model that cannot stream gives one whole message.

    Raises:
        TypeError: Something else than chunks of an answer came.
    """
    if not parts:
        return AIMessage("")
    first, *rest = parts
    if not rest and not isinstance(first, AIMessageChunk):
        return first
    whole: object = message_chunk_to_message(first + rest)  # type: ignore[arg-type]
    if not isinstance(whole, AIMessage):
        msg = f"a chat model must give chunks of an AIMessage; it gave {[type(part).__name__ for part in parts[:3]]}"
        raise TypeError(msg)
    return whole


def released(message: AIMessage, text: str, verdict: Verdict | None) -> AIMessageChunk:
    """The end of an answer that passed.

    Args:
        message: The answer.
        text: What of its text was not said yet.
        verdict: The judge's word on all of it; `None` where there were no words, only a call of a tool.
    """
    return AIMessageChunk(
        content=text,
        tool_calls=message.tool_calls,
        invalid_tool_calls=message.invalid_tool_calls,
        usage_metadata=_usage(message),
        response_metadata={**_metadata(message), MARK: _mark(verdict, released=True)},
        chunk_position="last",
    )


def refused(
    reason: RefusalReason, verdict: Verdict | None, *, told: str = "", message: AIMessage | None = None
) -> AIMessageChunk:
    """The end of an answer that did not pass: words for the child, and nothing of the answer.

    Args:
        reason: Why.
        verdict: The judge's word, where there is one.
        told: What was said before, which is to be withdrawn.
        message: The answer, where it is known whole.
    """
    words, gap = REFUSAL_WORDS[reason], "\n\n" if told else ""
    mark = _mark(verdict, released=False)
    mark["reason"] = reason
    if told:
        mark["retraction"] = {"start": 0, "end": len(told + gap)}
    metadata = _metadata(message) if message else {}
    return AIMessageChunk(
        content=gap + words,
        additional_kwargs={"refusal": words},
        usage_metadata=_usage(message) if message else None,
        response_metadata={**metadata, "finish_reason": "content_filter", MARK: mark},
        chunk_position="last",
    )


def is_refusal(message: object) -> bool:
    """Whether a message is an answer that was refused here."""
    mark = message.response_metadata.get(MARK) if isinstance(message, AIMessage) else None
    return isinstance(mark, dict) and mark.get("released") is False


def without_retracted(message: AIMessage) -> AIMessage:
    """The message as it is kept: of a refused one nothing but the refusal's words."""
    if not is_refusal(message):
        return message
    return message.model_copy(update={"content": message.additional_kwargs["refusal"]})


def _mark(verdict: Verdict | None, *, released: bool) -> dict[str, Any]:
    mark: dict[str, Any] = {"released": released}
    if verdict is not None:
        mark |= {"outcome": verdict.outcome, "categories": list(verdict.categories)}
        mark |= {"judge": verdict.judge, "policy": verdict.policy, "band": verdict.band}
    return mark


def _usage(message: AIMessage) -> UsageMetadata | None:
    """The tokens of an answer; LangChain's cache gives answers with a cost and no counts, which says nothing here."""
    usage = message.usage_metadata
    return usage if usage and {"input_tokens", "output_tokens", "total_tokens"} <= usage.keys() else None


def _metadata(message: AIMessage) -> dict[str, Any]:
    """What a provider says of the answer and what holds no words of it, as token probabilities would."""
    given = message.response_metadata
    return {key: given[key] for key in _KEPT if isinstance(given.get(key), str)}
