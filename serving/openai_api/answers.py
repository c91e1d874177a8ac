"""Answers behind a guard, as parts that every route of OpenAI's sends in its own form."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables import Runnable

from taleward.chains.story import StoryInput
from taleward.core.tale import Tale
from taleward.core.verdict import Finding, Verdict
from taleward.moderation.chat.messages import MARK, is_refusal
from taleward.moderation.guard.guard import Guard
from taleward.moderation.guard.release import has_answer
from taleward.serving.config import ReleaseMode
from taleward.serving.errors import ApiError
from taleward.serving.input_check import raise_judge_unavailable, raise_timeout
from taleward.serving.operations.request_record import current_request


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of released text.

    Attributes:
        text: The text.
    """

    text: str


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The end of an answer.

    Attributes:
        finish_reason: OpenAI's reason.
        verdict: The verdict on the whole answer; `None` for a tool call without words.
        refusal: The words for the child if the answer was refused.
        sent_chars: Characters of text parts that are to be withdrawn, since the answer was refused in the end.
        tool_calls: The tool calls, in OpenAI's form.
        usage: Tokens in and out, of all drafts together; `None` if the model did not say.
        tale_id: Identifies a tale, for feedback.
        attempts: The drafts that were written.
    """

    finish_reason: str
    verdict: Verdict | None
    refusal: str | None = None
    sent_chars: int = 0
    tool_calls: tuple[dict[str, Any], ...] = ()
    usage: tuple[int, int] | None = None
    tale_id: str | None = None
    attempts: int = 1


AnswerPart: TypeAlias = TextPart | AnswerEnd
AnswerParts: TypeAlias = AsyncGenerator[AnswerPart, None]


async def tell_whole(guard: Guard, story_input: StoryInput, max_tokens: int | None) -> AnswerParts:
    """Yield a story that is judged whole; of several drafts the best, if the guard chooses."""
    tale = await guard.ainvoke(story_input)
    current_request().observe_tale(tale)
    if tale.released_text is not None:
        yield TextPart(tale.released_text)
    yield _end_of_tale(tale, max_tokens, None)


async def tell_streamed(guard: Guard, story_input: StoryInput, max_tokens: int | None) -> AnswerParts:
    """Yield a story sentence by sentence, each after its own verdict."""
    sent, verdict = 0, None
    stream: Any = guard.astream(story_input)
    async with aclosing(stream) as events:
        async for event in events:
            if event.type != "text":
                current_request().observe_event(event)
            match event.type:
                case "text":
                    sent += len(event.text)
                    yield TextPart(event.text)
                case "verdict":
                    verdict = event.verdict
                case "done":
                    yield _end_of_tale(event.tale, max_tokens, verdict, sent)


async def converse(
    chat: Runnable[LanguageModelInput, AIMessage], messages: Sequence[BaseMessage], options: Mapping[str, Any]
) -> AnswerParts:
    """Yield the answer of a guarded chat model, sentence by sentence, each after its own verdict.

    Args:
        chat: The guarded chat model, perhaps with tools.
        messages: The conversation.
        options: Options of the call.
    """
    sent = 0
    last: AIMessageChunk | None = None
    stream: Any = chat.astream(list(messages), **options)
    async with aclosing(stream) as chunks:
        async for chunk in chunks:
            # The last chunk carries the mark; LangChain may add an empty one after it.
            if MARK in chunk.response_metadata:
                last = chunk
                if is_refusal(chunk):
                    continue
            if chunk.text:
                sent += len(chunk.text)
                yield TextPart(str(chunk.text))
    if last is None:  # a guarded chat always ends with its mark
        raise_judge_unavailable(sent)
    yield _end_of_message(last, sent)


async def hold_until_judged(parts: AnswerParts, mode: ReleaseMode) -> AnswerParts:
    """Yield the parts; in the mode `whole` none before the check of the whole answer, and none of a refused one."""
    held: list[TextPart] = []
    async with aclosing(parts) as all_parts:
        try:
            async for part in all_parts:
                if isinstance(part, TextPart):
                    held.append(part)
                elif mode == "whole" and part.refusal is not None:
                    held, part = [], replace(part, sent_chars=0)
                if mode == "sentences" or isinstance(part, AnswerEnd):
                    for text in held:
                        current_request().observe_text(text.text)
                        yield text
                    held = []
                if isinstance(part, AnswerEnd):
                    yield part
        except ApiError as error:
            if mode == "whole":
                error.details.pop("taleward", None)  # nothing was sent that had to be withdrawn
            raise


async def whole_answer(parts: AnswerParts) -> tuple[str, AnswerEnd]:
    """Return the text and the end of an answer."""
    texts: list[str] = []
    async with aclosing(parts) as all_parts:
        async for part in all_parts:
            if isinstance(part, AnswerEnd):
                return "".join(texts), part
            texts.append(part.text)
    msg = "an answer ended without its end; this is a bug in taleward"
    raise RuntimeError(msg)


async def merge(answers: Sequence[AnswerParts]) -> AsyncGenerator[tuple[int, AnswerPart], None]:
    """Yield the parts of several answers as they come, each with the index of its answer."""
    queue: asyncio.Queue[tuple[int, AnswerPart] | Exception | None] = asyncio.Queue(maxsize=1)

    async def pump(index: int, answer: AnswerParts) -> None:
        try:
            async with aclosing(answer) as parts:
                async for part in parts:
                    await queue.put((index, part))
        except Exception as error:  # noqa: BLE001  raised where the parts are read
            await queue.put(error)
        else:
            await queue.put(None)

    tasks = [asyncio.create_task(pump(index, answer)) for index, answer in enumerate(answers)]
    try:
        left = len(tasks)
        while left:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _end_of_tale(tale: Tale, max_tokens: int | None, verdict: Verdict | None, sent: int = 0) -> AnswerEnd:
    last = tale.attempts[-1] if tale.attempts else None
    verdict = last.verdict if last else verdict
    calls = [call for attempt in tale.attempts for call in attempt.calls]
    counts = [(call.input_tokens, call.output_tokens) for call in calls]
    usage = None
    if counts and all(tokens is not None for pair in counts for tokens in pair):
        usage = sum(pair[0] or 0 for pair in counts), sum(pair[1] or 0 for pair in counts)
    end = AnswerEnd("stop", verdict, usage=usage, tale_id=tale.id, attempts=len(tale.attempts))
    if tale.refusal is None:
        cut = max_tokens is not None and calls and (calls[-1].output_tokens or 0) >= max_tokens
        return replace(end, finish_reason="length") if cut and tale.lineage.closed_by is None else end
    if tale.refusal.reason == "timeout":
        raise_timeout(sent)
    if tale.refusal.reason == "unjudged" and (verdict is None or not has_answer(verdict)):
        raise_judge_unavailable(sent)
    words = tale.refusal.child_message
    return replace(end, finish_reason="content_filter", refusal=words, sent_chars=sent)


def _end_of_message(message: AIMessageChunk, sent: int) -> AnswerEnd:
    mark: dict[str, Any] = message.response_metadata[MARK]
    verdict = _verdict_of(mark)
    usage, record = message.usage_metadata, current_request()
    if verdict is not None:
        record.observe_verdict(verdict)
    record.observe_usage(*((usage["input_tokens"], usage["output_tokens"]) if usage else ()))
    record.results.append(str(mark.get("reason", "released")))
    counts = (usage["input_tokens"], usage["output_tokens"]) if usage else None
    if is_refusal(message):
        if mark.get("reason") == "timeout":
            raise_timeout(sent)
        if mark.get("reason") == "unjudged" and (verdict is None or not has_answer(verdict)):
            raise_judge_unavailable(sent)
        words = message.additional_kwargs["refusal"]
        return AnswerEnd("content_filter", verdict, refusal=words, sent_chars=sent, usage=counts)
    calls = tuple(_tool_calls(message))
    reason = message.response_metadata.get("finish_reason")
    finish = "tool_calls" if calls else "length" if reason in ("length", "max_tokens", "MAX_TOKENS") else "stop"
    return AnswerEnd(finish, verdict, tool_calls=calls, usage=counts)


def _verdict_of(mark: Mapping[str, Any]) -> Verdict | None:
    if "outcome" not in mark:
        return None
    # The mark names the categories only; a message that failed breaks them all as far as its reader is concerned.
    severity: Any = "severe" if mark["outcome"] == "fail" else "mild"
    return Verdict(
        outcome=mark["outcome"],
        judge=mark["judge"],
        policy=mark["policy"],
        band=mark["band"],
        scores=mark.get("scores", {}),
        findings=tuple(Finding(category=category, severity=severity) for category in mark["categories"]),
    )


def _tool_calls(message: AIMessage) -> list[dict[str, Any]]:
    calls = [(call["id"], call["name"], json.dumps(call["args"])) for call in message.tool_calls]
    # Arguments that are not valid JSON: the client's own parser decides what to do with them.
    calls += [(call["id"], call["name"] or "", call["args"] or "") for call in message.invalid_tool_calls]
    return [
        {"id": call_id or f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (call_id, name, arguments) in enumerate(calls)
    ]
