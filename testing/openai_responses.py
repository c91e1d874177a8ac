"""Chat completions as OpenAI's API words them: whole, and in pieces."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from taleward.testing.fake_embeddings import WordEmbeddings

_PLAIN: dict[str, Any] = {"string": "tale", "integer": 1, "number": 1.0, "boolean": True, "null": None}


@dataclass(frozen=True)
class Completion:
    """An answer.

    Attributes:
        model: The model that was asked for.
        text: What is said; empty where a tool is called.
        call: A tool's name and its arguments as JSON.
        choices: How many times it is said.
        logprobs: Whether log-probabilities come with it.
        finish: Why it ended.
        read: Words of the request.
    """

    model: str
    text: str
    call: tuple[str, str] | None
    choices: int
    logprobs: bool
    finish: str
    read: int

    def filtered(self) -> Completion:
        """The same, cut off by a content filter."""
        return replace(self, text=self.text[: len(self.text) // 2], finish="content_filter")

    def without_choices(self) -> Completion:
        """Nothing said at all."""
        return replace(self, choices=0)

    def whole(self) -> dict[str, Any]:
        """The answer to a request that is no stream."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.call is not None:
            message["tool_calls"] = [self._tool_call()]
        choices = [
            {"index": at, "message": message, "finish_reason": self.finish, "logprobs": self._scores(self.text)}
            for at in range(self.choices)
        ]
        return {**self._envelope("chat.completion"), "choices": choices, "usage": self._usage()}

    def pieces(self, size: int, *, usage: bool) -> Iterator[dict[str, Any]]:
        """The answer to a request that is a stream, so many characters a piece."""
        kind = "chat.completion.chunk"
        if self.choices:
            yield {**self._envelope(kind), "choices": [self._delta({"role": "assistant", "content": ""})]}
            for at in range(0, len(self.text), size):
                piece = self.text[at : at + size]
                yield {**self._envelope(kind), "choices": [self._delta({"content": piece}, scores=self._scores(piece))]}
            if self.call is not None:
                called = {"tool_calls": [{"index": 0, **self._tool_call()}]}
                yield {**self._envelope(kind), "choices": [self._delta(called)]}
            yield {**self._envelope(kind), "choices": [self._delta({}, finish=self.finish)]}
        if usage:
            yield {**self._envelope(kind), "choices": [], "usage": self._usage()}

    def _delta(self, delta: dict[str, Any], finish: str | None = None, scores: Any = None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": scores}

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": "chatcmpl-fake", "object": kind, "created": 1, "model": self.model}

    def _tool_call(self) -> dict[str, Any]:
        name, arguments = self.call or ("", "")
        return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}

    def _scores(self, text: str) -> dict[str, Any] | None:
        if not self.logprobs:
            return None
        return {"content": [{"token": w, "logprob": -0.5, "bytes": None, "top_logprobs": []} for w in text.split()]}

    def _usage(self) -> dict[str, int]:
        wrote = max(1, len(self.text.split())) * self.choices
        return {"prompt_tokens": self.read, "completion_tokens": wrote, "total_tokens": self.read + wrote}


def written(request: Mapping[str, Any], text: str) -> Completion:
    """What a model that says `text` answers to a request.

    A forced tool is called, and a JSON schema filled in, with the plainest values that fit, unless the text itself is
    JSON.
    """
    call, finish = None, "stop"
    if (tool := _forced(request)) is not None:
        call, finish = (tool["name"], _filled(text, tool.get("parameters", {}))), "tool_calls"
        text = ""
    elif (schema := _schema(request)) is not None:
        text = _filled(text, schema)
    words = text.split(" ")
    most = request.get("max_completion_tokens") or request.get("max_tokens")
    if most and len(words) > most:
        text, finish = " ".join(words[:most]), "length"
    return Completion(
        model=str(request.get("model")),
        text=text,
        call=call,
        choices=int(request.get("n") or 1),
        logprobs=bool(request.get("logprobs")),
        finish=finish,
        read=sum(len(str(m.get("content")).split()) for m in request.get("messages", [])),
    )


def embedded(request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request for embeddings."""
    given = request["input"] if isinstance(request["input"], list) else [request["input"]]
    rows = WordEmbeddings(int(request.get("dimensions") or 64)).embed_documents([str(text) for text in given])
    wanted = request.get("encoding_format") == "base64"
    told = [base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode() if wanted else row for row in rows]
    read = sum(len(str(text).split()) for text in given)
    return {
        "object": "list",
        "model": str(request.get("model")),
        "data": [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(told)],
        "usage": {"prompt_tokens": read, "total_tokens": read},
    }


def _forced(request: Mapping[str, Any]) -> dict[str, Any] | None:
    choice, tools = request.get("tool_choice"), [t["function"] for t in request.get("tools", [])]
    if isinstance(choice, Mapping):
        return next((t for t in tools if t["name"] == choice["function"]["name"]), None)
    return tools[0] if choice == "required" and tools else None


def _schema(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    form = request.get("response_format") or {}
    if form.get("type") == "json_schema":
        found: Mapping[str, Any] = form["json_schema"]["schema"]
        return found
    return {"type": "object"} if form.get("type") == "json_object" else None


def _filled(text: str, schema: Mapping[str, Any]) -> str:
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(_instance(schema, schema))
    return text


def _instance(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """The plainest value of a schema."""
    if "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return _instance(found, root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _instance(schema[key][0], root)
    kind = schema.get("type", "object")
    if kind == "array":
        return [_instance(schema.get("items", {"type": "string"}), root)] * int(schema.get("minItems", 0))
    if kind == "object":
        return {name: _instance(value, root) for name, value in schema.get("properties", {}).items()}
    return _PLAIN[kind]
