"""The objects of `/v1/chat/completions`: completions, chunks, and what Taleward says beside OpenAI's fields."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from taleward.moderation.judges import Judge
from taleward.serving.config import RefusalForm
from taleward.serving.openai_api.answers import AnswerEnd
from taleward.serving.openai_api.moderation_fields import moderation_field

# Clients append chunks: words that follow released text stand apart from it.
_GAP = "\n\n"


class ChatObjects:
    """Builds the objects of one request.

    Args:
        model: The name of the served model.
        judge: Its judge.
        refusal_as: Where the words for the child are if nothing is released.
        input_verdict: The verdict on the request; `None` if it was not judged.
        ignored_messages: Messages of the request that the model does not read.
    """

    def __init__(
        self, model: str, judge: Judge, *, refusal_as: RefusalForm, input_verdict: Any, ignored_messages: int
    ) -> None:
        self._model, self._judge, self._refusal_as = model, judge, refusal_as
        self._input_verdict, self._ignored = input_verdict, ignored_messages
        self._id, self._created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())

    def completion(self, answers: Sequence[tuple[str, AnswerEnd]]) -> dict[str, Any]:
        """Return a complete answer.

        Args:
            answers: The text and the end of each choice.
        """
        choices = []
        for index, (text, end) in enumerate(answers):
            content, refusal = (text or None, None) if end.refusal is None else self._refusal(end.refusal)
            message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": refusal}
            if end.tool_calls:
                message["tool_calls"] = list(end.tool_calls)
            choice = {"index": index, "message": message, "logprobs": None, "finish_reason": end.finish_reason}
            choices.append({**choice, "taleward": self._details(end)})
        ends = [end for _, end in answers]
        return {
            **self._base("chat.completion", choices),
            "usage": usage_of(ends),
            "moderation": self._moderation(ends),
        }

    def role_chunk(self, index: int) -> dict[str, Any]:
        """Return the first chunk of a choice, which is sent before anything was written."""
        return self._chunk(index, {"role": "assistant", "content": "", "refusal": None})

    def text_chunk(self, index: int, text: str) -> dict[str, Any]:
        """Return a chunk with released text."""
        return self._chunk(index, {"content": text})

    def last_chunks(self, index: int, end: AnswerEnd) -> list[dict[str, Any]]:
        """Return the chunks that end a choice: a refusal or tool calls, and the reason with the verdict."""
        chunks = []
        if end.refusal is not None:
            content, refusal = self._refusal(end.refusal)
            words = {"refusal": refusal} if content is None else {"content": (_GAP if end.sent_chars else "") + content}
            chunks.append(self._chunk(index, words))
        if end.tool_calls:
            calls = [{"index": number, **call} for number, call in enumerate(end.tool_calls)]
            chunks.append(self._chunk(index, {"tool_calls": calls}))
        last = self._chunk(index, {}, end.finish_reason)
        last["choices"][0]["taleward"] = self._details(end)
        last["moderation"] = self._moderation([end])
        return [*chunks, last]

    def usage_chunk(self, ends: Iterable[AnswerEnd]) -> dict[str, Any]:
        """Return the chunk that counts the tokens of all choices."""
        return {**self._base("chat.completion.chunk", []), "usage": usage_of(ends)}

    def _chunk(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._base("chat.completion.chunk", [choice])

    def _base(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model, "choices": choices}

    def _refusal(self, words: str) -> tuple[str | None, str | None]:
        return (None, words) if self._refusal_as == "refusal" else (words, None)

    def _moderation(self, ends: Sequence[AnswerEnd]) -> dict[str, Any]:
        return moderation_field(self._input_verdict, [end.verdict for end in ends], self._judge)

    def _details(self, end: AnswerEnd) -> dict[str, Any]:
        details: dict[str, Any] = {"released": end.refusal is None, "attempts": end.attempts}
        if end.verdict is not None:
            details |= {"outcome": end.verdict.outcome, "policy": end.verdict.policy, "band": end.verdict.band}
        if end.tale_id is not None:
            details["tale_id"] = end.tale_id
        if end.sent_chars:
            gap = len(_GAP) if self._refusal_as == "content" else 0
            details["retraction"] = {"start": 0, "end": end.sent_chars + gap}
        if self._ignored:
            details["ignored_messages"] = self._ignored
        return details


def usage_of(ends: Iterable[AnswerEnd]) -> dict[str, int]:
    """Return the tokens of all choices together, drafts that were rejected included; 0 if a model does not say.

    OpenAI's types allow `null`, and clients such as the command `llm` break on it.
    """
    counts = [end.usage for end in ends]
    known = [count for count in counts if count is not None] if None not in counts else []
    prompt, completion = (sum(count[part] for count in known) for part in (0, 1))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
