"""The objects and events of `/v1/responses`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

from taleward.core.verdict import Verdict
from taleward.moderation.judges import Judge
from taleward.serving.config import RefusalForm
from taleward.serving.openai_api.answers import AnswerEnd
from taleward.serving.openai_api.moderation_fields import response_moderation_field
from taleward.serving.openai_api.responses_request import ResponsesRequest


class ResponseObjects:
    """Builds the response of one request, and the events of its stream.

    Args:
        model: The name of the served model.
        judge: Its judge.
        body: The request, parts of which are repeated in the response.
        refusal_as: Where the words for the child are if nothing is released.
        input_verdict: The verdict on the request; `None` if it was not judged.
    """

    def __init__(
        self,
        model: str,
        judge: Judge,
        body: ResponsesRequest,
        *,
        refusal_as: RefusalForm,
        input_verdict: Verdict | None,
    ) -> None:
        self._model, self._judge, self._body = model, judge, body
        self._refusal_as, self._input_verdict = refusal_as, input_verdict
        self._id, self._created = f"resp_{uuid.uuid4().hex}", int(time.time())
        self._message_id = f"msg_{uuid.uuid4().hex}"
        self._sequence = 0
        self._text = ""
        self._is_open = False

    def response(self, text: str, end: AnswerEnd) -> dict[str, Any]:
        """Return the complete response.

        Args:
            text: The released text.
            end: The end of the answer.
        """
        status, incomplete = "completed", None
        if end.finish_reason in ("length", "content_filter"):
            reason = "max_output_tokens" if end.finish_reason == "length" else "content_filter"
            status, incomplete = "incomplete", {"reason": reason}
        response = self._base(status, self._output(text, end))
        details: dict[str, Any] = {"released": end.refusal is None, "attempts": end.attempts, "tale_id": end.tale_id}
        if end.sent_chars:
            details["retraction"] = {"start": 0, "end": end.sent_chars}
        return {
            **response,
            "incomplete_details": incomplete,
            "usage": _usage(end),
            "moderation": response_moderation_field(self._input_verdict, end.verdict, self._judge),
            "taleward": details,
        }

    def first_events(self) -> Iterator[dict[str, Any]]:
        """Yield the events before anything is written."""
        response = self._base("in_progress", [])
        yield self._event("response.created", response=response)
        yield self._event("response.in_progress", response=response)

    def text_events(self, text: str) -> Iterator[dict[str, Any]]:
        """Yield the events for released text."""
        if not self._is_open:
            yield from self._open(_text_part(""))
        self._text += text
        yield self._event("response.output_text.delta", **self._place(), delta=text, logprobs=[])

    def last_events(self, end: AnswerEnd) -> Iterator[dict[str, Any]]:
        """Yield the events that end the response."""
        response = self.response(self._text, end)
        if self._is_open:
            yield self._event("response.output_text.done", **self._place(), text=self._text, logprobs=[])
            yield self._event("response.content_part.done", **self._place(), part=_text_part(self._text))
        if end.refusal is not None:
            yield from self._refusal_events(end.refusal, content_index=1 if self._is_open else 0)
        for index, item in enumerate(response["output"]):
            if item["type"] == "function_call":
                started = {**item, "status": "in_progress", "arguments": ""}
                yield self._event("response.output_item.added", output_index=index, item=started)
                place = {"output_index": index, "item_id": item["id"]}
                arguments = item["arguments"]
                yield self._event("response.function_call_arguments.delta", **place, delta=arguments)
                yield self._event(
                    "response.function_call_arguments.done", **place, arguments=arguments, name=item["name"]
                )
            yield self._event("response.output_item.done", output_index=index, item=item)
        yield self._event(f"response.{response['status']}", response=response)

    def error_event(self, error: dict[str, Any]) -> dict[str, Any]:
        """Return the event for an error, in the form of this route and in the one that clients raise for."""
        fields = {name: error[name] for name in ("code", "message", "param")}
        return self._event("error", **fields, error=error)

    def _refusal_events(self, words: str, content_index: int) -> Iterator[dict[str, Any]]:
        as_text = self._refusal_as == "content"
        part = _text_part("") if as_text else {"type": "refusal", "refusal": ""}
        if self._is_open:
            yield self._event("response.content_part.added", **self._place(content_index), part=part)
        else:
            yield from self._open(part)
        place = self._place(content_index)
        if as_text:
            yield self._event("response.output_text.delta", **place, delta=words, logprobs=[])
            yield self._event("response.output_text.done", **place, text=words, logprobs=[])
            yield self._event("response.content_part.done", **place, part=_text_part(words))
        else:
            yield self._event("response.refusal.delta", **place, delta=words)
            yield self._event("response.refusal.done", **place, refusal=words)
            yield self._event("response.content_part.done", **place, part={"type": "refusal", "refusal": words})

    def _open(self, part: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self._is_open = True
        item = {**self._message([]), "status": "in_progress"}
        yield self._event("response.output_item.added", output_index=0, item=item)
        yield self._event("response.content_part.added", **self._place(), part=part)

    def _output(self, text: str, end: AnswerEnd) -> list[dict[str, Any]]:
        content = []
        if end.refusal is not None:
            as_text = self._refusal_as == "content"
            content.append(_text_part(end.refusal) if as_text else {"type": "refusal", "refusal": end.refusal})
        elif text:
            content.append(_text_part(text))
        calls = [
            {
                "type": "function_call",
                "id": f"fc_{call['id']}",
                "call_id": call["id"],
                "name": call["function"]["name"],
                "arguments": call["function"]["arguments"],
                "status": "completed",
            }
            for call in end.tool_calls
        ]
        return [*([self._message(content)] if content else []), *calls]

    def _message(self, content: list[dict[str, Any]]) -> dict[str, Any]:
        base = {"type": "message", "id": self._message_id, "role": "assistant"}
        return {**base, "status": "completed", "content": content}

    def _base(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        body = self._body
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": (body.model_extra or {}).get("metadata") or {},
            "model": self._model,
            "output": output,
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": None,
            "store": False,
            "temperature": body.temperature,
            "text": body.text or {"format": {"type": "text"}},
            "tool_choice": body.tool_choice or "auto",
            "tools": body.tools or [],
            "top_p": body.top_p,
            "truncation": "disabled",
            "usage": None,
        }

    def _place(self, content_index: int = 0) -> dict[str, Any]:
        return {"item_id": self._message_id, "output_index": 0, "content_index": content_index}

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        event = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return event


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(end: AnswerEnd) -> dict[str, Any]:
    read, written = end.usage or (0, 0)
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }
