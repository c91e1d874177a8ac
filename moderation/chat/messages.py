"""Read the words of a chat model's messages, and build the released message or the refusal."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import UsageMetadata

from taleward.core.surrogates import join_surrogates
from taleward.core.tale import RefusalReason
from taleward.core.verdict import Verdict

MARK = "taleward"
"""Key of `response_metadata` under which a message says whether it was released, and why not."""

REFUSAL_WORDS: dict[RefusalReason, str] = {
    "failed": "I would rather not say that. Shall we talk about something else?",
    "unjudged": "I am not sure about my answer, so I keep it to myself. Please ask again in a little while.",
    "timeout": "I am too slow today. Please ask again in a little while.",
    "input": "I would rather not talk about that. Shall we talk about something else?",
}
_JSON_STARTS = "{[`"
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_END_REASONS = re.compile(
    "stop|length|tool_calls|function_call|content_filter|end_turn|max_tokens|stop_sequence|tool_use|pause_turn|refusal|"
    "STOP|MAX_TOKENS|SAFETY|RECITATION|completed|incomplete|eos|load|model_length|error"
)
# An allow-list of keys and values: a server's other metadata, such as log-probabilities, may hold the model's words.
_SAFE_METADATA = {
    "finish_reason": _END_REASONS,
    "stop_reason": _END_REASONS,
    "model_name": re.compile(r"[\w.:/@+-]{1,100}"),
    "model": re.compile(r"[\w.:/@+-]{1,100}"),
    "model_provider": re.compile(r"[a-z][a-z0-9_-]{0,30}"),
    "system_fingerprint": re.compile(r"(?:fp_)?[0-9a-f]{6,64}"),
    "service_tier": re.compile("auto|default|flex|priority|scale|standard|batch"),
}
_MODEL_KEYS = ("model_name", "model")
_VERSION = re.compile(r"(?:[-.:@_]?(?:\d[\d.-]*|latest|preview|exp|it|instruct|chat))*")
# The random ids of servers; one that could be read as words is replaced.
_RANDOM_ID = re.compile(r"(?:(?:call|tool|toolu|tooluse|fc|chatcmpl-tool)[_-])?(?=(?:.*\d){2})[A-Za-z0-9-]{6,64}")
_TOKEN_COUNTS = ("input_tokens", "output_tokens", "total_tokens")
_TOKEN_DETAILS = {
    "input_token_details": ("audio", "cache_creation", "cache_read"),
    "output_token_details": ("audio", "reasoning"),
}


def text_of(message: AIMessage) -> str:
    """Return the text of a message, with the words of the model's own refusal and without its reasoning."""
    blocks = message.content if isinstance(message.content, list) else []
    refusals = [b.get("refusal") for b in blocks if isinstance(b, dict) and b.get("type") == "refusal"]
    refusals.append(message.additional_kwargs.get("refusal"))
    text = "".join([str(message.text), *(refusal for refusal in refusals if isinstance(refusal, str))])
    return join_surrogates(text)


def looks_structured(text: str) -> bool:
    """Whether a text that is not blank begins like JSON or a code fence, and so may say other words once parsed."""
    return text.lstrip()[0] in _JSON_STARTS


def strings(value: object) -> Iterator[str]:
    """Yield all strings in a JSON value, keys too."""
    yield from _strings(value, frozenset())


def _strings(value: object, declared: frozenset[str]) -> Iterator[str]:
    """Yield all strings in a JSON value, keys too unless they are declared; a model may nest values without end."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            for key, inner in reversed(item.items()):
                left += [inner] if key in declared else [inner, str(key)]
        elif isinstance(item, list | tuple):
            left += reversed(item)


def tool_words(tools: Iterable[Any]) -> frozenset[str]:
    """Return the words in the definitions of tools, such as their names and their arguments' names."""
    from langchain_core.utils.function_calling import convert_to_openai_tool

    definitions = (tool if isinstance(tool, dict) else convert_to_openai_tool(tool) for tool in tools)
    return frozenset(word for definition in definitions for word in strings(definition))


def words_beyond_text(message: AIMessage, text: str, declared: frozenset[str]) -> list[str]:
    """Return the words of a message that are not in its text: those in tool calls, and those of parsed JSON.

    Args:
        message: The model's message.
        text: Its text.
        declared: Words of the tools' definitions; as a name or key they are not the model's own words.
    """
    words: list[str] = []
    for call in message.tool_calls:
        words += _strings({call["name"]: call["args"]}, declared)
    for invalid in message.invalid_tool_calls:
        words += strings([invalid["name"], invalid["args"], invalid["error"]])
    if "\\" in text:  # an escape such as \u0062 hides a word from a judge that reads the raw text
        unescaped = _unescape(text)
        words += [unescaped] if unescaped != text else []
    return [join_surrogates(word) for word in words if word.strip()]


def _unescape(text: str) -> str:
    """Return a text as it reads once all escapes of JSON in it are decoded, whether it is valid JSON or not.

    Parsers repair what is cut off or wrong in many ways; this holds the strings that any of them finds.
    """
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _ESCAPED.get(m[2], m[2]), text)


def join_chunks(parts: Sequence[AIMessage]) -> AIMessage:
    """Return the complete message of a stream; a model that cannot stream yields one complete message.

    Raises:
        TypeError: The parts are not chunks of an `AIMessage`.
    """
    if not parts:
        return AIMessage("")
    first, *rest = parts
    if not rest and not isinstance(first, AIMessageChunk):
        return first
    message: object = message_chunk_to_message(first + rest)  # type: ignore[arg-type]
    if not isinstance(message, AIMessage):
        types = [type(part).__name__ for part in parts[:3]]
        msg = f"a chat model must stream chunks of an AIMessage; it streamed {types}"
        raise TypeError(msg)
    return message


def released_chunk(
    message: AIMessage, text: str, verdict: Verdict | None, model_name: str | None = None
) -> AIMessageChunk:
    """Return the last chunk of a message that passed.

    Args:
        message: The model's message.
        text: The part of its text that has not been released yet.
        verdict: The verdict on the complete message; `None` for a tool call without any words.
        model_name: The name by which the model was asked for, if it has one; the server may report a version of it.
    """
    return AIMessageChunk(
        content=text,
        tool_calls=[{**call, "id": _wordless_id(call["id"])} for call in message.tool_calls],
        invalid_tool_calls=[{**call, "id": _wordless_id(call["id"])} for call in message.invalid_tool_calls],
        usage_metadata=_usage(message),
        response_metadata={**_metadata(message, model_name), MARK: _mark(verdict, released=True)},
        chunk_position="last",
    )


def refusal_chunk(
    reason: RefusalReason,
    verdict: Verdict | None,
    *,
    released_text: str = "",
    message: AIMessage | None = None,
    model_name: str | None = None,
) -> AIMessageChunk:
    """Return the last chunk of a message that did not pass: words for the child, and nothing of the message.

    Args:
        reason: Why the message is refused.
        verdict: The verdict on it, if there is one.
        released_text: The text that was streamed already and is to be retracted.
        message: The model's message, if it is complete.
        model_name: As for `released_chunk`.
    """
    # Clients append chunks, so the refusal needs a gap after the streamed text; the retraction covers the gap as well.
    words, gap = REFUSAL_WORDS[reason], "\n\n" if released_text else ""
    mark = _mark(verdict, released=False)
    mark["reason"] = reason
    if released_text:
        mark["retraction"] = {"start": 0, "end": len(released_text + gap)}
    metadata = _metadata(message, model_name) if message else {}
    return AIMessageChunk(
        content=gap + words,
        additional_kwargs={"refusal": words},
        usage_metadata=_usage(message) if message else None,
        response_metadata={**metadata, "finish_reason": "content_filter", MARK: mark},
        chunk_position="last",
    )


def is_refusal(message: object) -> bool:
    """Whether a message is a guard's refusal."""
    mark = message.response_metadata.get(MARK) if isinstance(message, AIMessage) else None
    return isinstance(mark, dict) and mark.get("released") is False


def without_retracted(message: AIMessage) -> AIMessage:
    """Return the message without retracted text: of a refusal, only the refusal's words stay."""
    if not is_refusal(message):
        return message
    return message.model_copy(update={"content": message.additional_kwargs["refusal"]})


def _mark(verdict: Verdict | None, *, released: bool) -> dict[str, Any]:
    mark: dict[str, Any] = {"released": released}
    if verdict is not None:
        mark |= {"outcome": verdict.outcome, "categories": list(verdict.categories), "scores": dict(verdict.scores)}
        mark |= {"judge": verdict.judge, "policy": verdict.policy, "band": verdict.band}
    return mark


def _usage(message: AIMessage) -> UsageMetadata | None:
    """Return the token counts; LangChain's cache returns messages with a cost and no counts, which are left out."""
    usage: Mapping[str, Any] = message.usage_metadata or {}
    counts: dict[str, Any] = {name: usage[name] for name in _TOKEN_COUNTS if isinstance(usage.get(name), int)}
    if len(counts) < len(_TOKEN_COUNTS):
        return None
    for name, keys in _TOKEN_DETAILS.items():
        details = usage.get(name)
        if isinstance(details, Mapping):
            counts[name] = {key: details[key] for key in keys if isinstance(details.get(key), int)}
    return cast("UsageMetadata", counts)


def _metadata(message: AIMessage, model_name: str | None) -> dict[str, Any]:
    """Return the provider's metadata with known values only, since no judge reads them."""
    reported = message.response_metadata
    metadata = {
        key: reported[key]
        for key, known in _SAFE_METADATA.items()
        if isinstance(reported.get(key), str) and known.fullmatch(reported[key])
    }
    if model_name:
        for key in _MODEL_KEYS:
            if key in metadata and not _is_version_of(metadata[key], model_name):
                metadata[key] = model_name
    return metadata


def _is_version_of(reported: str, model_name: str) -> bool:
    return reported.startswith(model_name) and _VERSION.fullmatch(reported, len(model_name)) is not None


def _wordless_id(call_id: str | None) -> str | None:
    """Return the id of a tool call, or one derived from it if it could hold words of the model."""
    if call_id is None or _RANDOM_ID.fullmatch(call_id):
        return call_id
    return f"call_{hashlib.sha256(call_id.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"
