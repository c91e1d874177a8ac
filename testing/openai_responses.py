"""Response bodies of OpenAI's API, whole and in chunks."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from taleward.testing.fake_embeddings import WordEmbeddings

_EXAMPLE_VALUES: dict[str, Any] = {"string": "tale", "integer": 1, "number": 1.0, "boolean": True, "null": None}


@dataclass(frozen=True)
class Completion:
    """A chat completion.

    Attributes:
        model: The name of the requested model.
        text: The content; empty if a tool is called.
        tool_call: The tool's name, and its arguments as JSON.
        choices: The number of choices, all of them equal.
        logprobs: Whether the choices have log-probabilities.
        finish_reason: Why the completion ended.
        prompt_words: The number of words in the request, counted as tokens.
    """

    model: str
    text: str
    tool_call: tuple[str, str] | None
    choices: int
    logprobs: bool
    finish_reason: str
    prompt_words: int

    def filtered(self) -> Completion:
        """Return this completion cut off by a content filter."""
        return replace(self, text=self.text[: len(self.text) // 2], finish_reason="content_filter")

    def without_choices(self) -> Completion:
        """Return this completion without any choices."""
        return replace(self, choices=0)

    def body(self) -> dict[str, Any]:
        """Return the response body without streaming."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.tool_call is not None:
            message["tool_calls"] = [self._tool_call_body()]
        logprobs = self._logprobs_body(self.text)
        choices = [
            {"index": index, "message": message, "finish_reason": self.finish_reason, "logprobs": logprobs}
            for index in range(self.choices)
        ]
        return {**self._envelope("chat.completion"), "choices": choices, "usage": self._usage()}

    def chunks(self, size: int, *, usage: bool) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a stream.

        Args:
            size: The number of characters per chunk.
            usage: Whether to end with a chunk that reports the token counts.
        """
        kind = "chat.completion.chunk"
        if self.choices:
            yield {**self._envelope(kind), "choices": [_delta_choice({"role": "assistant", "content": ""})]}
            for start in range(0, len(self.text), size):
                text = self.text[start : start + size]
                choice = _delta_choice({"content": text}, logprobs=self._logprobs_body(text))
                yield {**self._envelope(kind), "choices": [choice]}
            if self.tool_call is not None:
                delta = {"tool_calls": [{"index": 0, **self._tool_call_body()}]}
                yield {**self._envelope(kind), "choices": [_delta_choice(delta)]}
            yield {**self._envelope(kind), "choices": [_delta_choice({}, finish_reason=self.finish_reason)]}
        if usage:
            yield {**self._envelope(kind), "choices": [], "usage": self._usage()}

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": "chatcmpl-fake", "object": kind, "created": 1, "model": self.model}

    def _tool_call_body(self) -> dict[str, Any]:
        name, arguments = self.tool_call or ("", "")
        return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}

    def _logprobs_body(self, text: str) -> dict[str, Any] | None:
        if not self.logprobs:
            return None
        return {"content": [{"token": w, "logprob": -0.5, "bytes": None, "top_logprobs": []} for w in text.split()]}

    def _usage(self) -> dict[str, int]:
        completion_words = max(1, len(self.text.split())) * self.choices
        return {
            "prompt_tokens": self.prompt_words,
            "completion_tokens": completion_words,
            "total_tokens": self.prompt_words + completion_words,
        }


def completion_for(request: Mapping[str, Any], text: str) -> Completion:
    """Return the completion of a model that answers a request with a text.

    If the request forces a tool call or sets a JSON schema, the arguments or the content are the simplest values that
    fit the schema, unless the text itself is JSON.

    Args:
        request: The JSON of the request.
        text: The text of the answer.
    """
    tool_call, finish_reason = None, "stop"
    if (tool := _forced_tool(request)) is not None:
        tool_call = (tool["name"], _json_or_example(text, tool.get("parameters", {})))
        text, finish_reason = "", "tool_calls"
    elif (schema := _response_schema(request)) is not None:
        text = _json_or_example(text, schema)
    words = text.split(" ")
    max_words = request.get("max_completion_tokens") or request.get("max_tokens")
    if max_words and len(words) > max_words:
        text, finish_reason = " ".join(words[:max_words]), "length"
    return Completion(
        model=str(request.get("model")),
        text=text,
        tool_call=tool_call,
        choices=int(request.get("n") or 1),
        logprobs=bool(request.get("logprobs")),
        finish_reason=finish_reason,
        prompt_words=sum(len(str(m.get("content")).split()) for m in request.get("messages", [])),
    )


def embeddings_body(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response body of a request for embeddings; the vectors are those of `WordEmbeddings`."""
    inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
    vectors = WordEmbeddings(int(request.get("dimensions") or 64)).embed_documents([str(text) for text in inputs])
    as_base64 = request.get("encoding_format") == "base64"
    encoded = [
        base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if as_base64 else vector
        for vector in vectors
    ]
    prompt_words = sum(len(str(text).split()) for text in inputs)
    return {
        "object": "list",
        "model": str(request.get("model")),
        "data": [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(encoded)],
        "usage": {"prompt_tokens": prompt_words, "total_tokens": prompt_words},
    }


def _delta_choice(delta: dict[str, Any], finish_reason: str | None = None, logprobs: Any = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}


def _forced_tool(request: Mapping[str, Any]) -> dict[str, Any] | None:
    choice, tools = request.get("tool_choice"), [t["function"] for t in request.get("tools", [])]
    if isinstance(choice, Mapping):
        return next((t for t in tools if t["name"] == choice["function"]["name"]), None)
    return tools[0] if choice == "required" and tools else None


def _response_schema(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    response_format = request.get("response_format") or {}
    if response_format.get("type") == "json_schema":
        schema: Mapping[str, Any] = response_format["json_schema"]["schema"]
        return schema
    return {"type": "object"} if response_format.get("type") == "json_object" else None


def _json_or_example(text: str, schema: Mapping[str, Any]) -> str:
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(_example_value(schema, schema))
    return text


def _example_value(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Return the simplest value that fits a JSON schema; `root` resolves its references."""
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return _example_value(target, root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _example_value(schema[key][0], root)
    kind = schema.get("type", "object")
    if kind == "array":
        return [_example_value(schema.get("items", {"type": "string"}), root)] * int(schema.get("minItems", 0))
    if kind == "object":
        return {name: _example_value(value, root) for name, value in schema.get("properties", {}).items()}
    return _EXAMPLE_VALUES[kind]
