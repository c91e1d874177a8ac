"""Build an answer from generated tokens: text, stop sequences, tool calls, log-probabilities and usage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from taleward.backends.engine.request import GenerationRequest, TokenSequence
from taleward.backends.engine.sampling import TokenLogprob
from taleward.backends.local.tools import ParsedToolCalls, ToolCallParser

_REPLACEMENT = "\ufffd"
"""What a tokenizer decodes the bytes of an incomplete character to."""


class ChatRequest(NamedTuple):
    """The request that an answer is built for.

    Attributes:
        spec: The model's spec.
        generation: The engine's request.
        stop_sequences: Texts before which the answer ends.
        tool_names: Names of the tools that may be called.
        is_call_required: Whether the whole answer is a tool call.
        parses_json: Whether the answer is JSON and its object goes into `additional_kwargs["parsed"]`, as with OpenAI's
            `response_format`.
    """

    spec: str
    generation: GenerationRequest
    stop_sequences: Sequence[str] = ()
    tool_names: frozenset[str] = frozenset()
    is_call_required: bool = False
    parses_json: bool = False


class ResponseBuilder:
    """Builds one answer: with `push` and `finish` while tokens arrive, or with `result` from a finished sequence.

    Args:
        request: The request.
        sequence: The tokens being generated.
        decode: Converts tokens to text.
    """

    def __init__(self, request: ChatRequest, sequence: TokenSequence, decode: Callable[[Sequence[int]], str]) -> None:
        self._request, self._sequence, self._decode = request, sequence, decode
        self._decoder, self._stop_filter = IncrementalDecoder(decode), StopSequenceFilter(request.stop_sequences)
        self._call_parser: ToolCallParser | None = None
        if request.tool_names:
            self._call_parser = ToolCallParser(request.tool_names, is_call_required=request.is_call_required)
        self._token_count = self._scored_count = 0
        self._json_text = ""

    @property
    def stopped(self) -> bool:
        """Whether a stop sequence was generated."""
        return self._stop_filter.stopped

    def push(self, token: int) -> ChatGenerationChunk | None:
        """Add a token, and return the text that it releases, if any."""
        self._token_count += 1
        return self._chunk(self._without_calls(self._stop_filter.push(self._decoder.push(token))))

    def finish(self) -> Iterator[ChatGenerationChunk]:
        """End the answer: the text that was held back, then a last chunk with tool calls and usage."""
        rest = "" if self.stopped else self._stop_filter.push(self._decoder.finish()) + self._stop_filter.finish()
        text, calls = self._without_calls(rest), ParsedToolCalls()
        if self._call_parser is not None:
            remaining, calls = self._call_parser.finish()
            text += remaining
        if text and (chunk := self._chunk(text)):
            yield chunk
        message = AIMessageChunk(
            content="",
            additional_kwargs=self._parsed(),
            tool_call_chunks=[*calls.chunks()],
            usage_metadata=self._usage(),
            response_metadata={**self._metadata(calls), **self._logprobs()},
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=message)

    def result(self) -> ChatResult:
        """Build the whole answer from a finished sequence."""
        tokens = self._sequence.written
        if self._request.stop_sequences:
            text = ""
            for token in tokens:
                text += chunk.text if (chunk := self.push(token)) else ""
                if self.stopped:
                    break
        else:
            text, self._token_count = self._without_calls(self._decode(tokens)), len(tokens)
            self._json_text = text
        chunks = [chunk.message for chunk in self.finish()]
        # `finish` reported only the last log-probabilities; the message gets all of them.
        last, self._scored_count = chunks[-1], 0
        message = AIMessage(
            content=text + "".join(str(chunk.content) for chunk in chunks),
            additional_kwargs=last.additional_kwargs,
            tool_calls=getattr(last, "tool_calls", []),
            invalid_tool_calls=getattr(last, "invalid_tool_calls", []),
            usage_metadata=getattr(last, "usage_metadata", None),
            response_metadata={**last.response_metadata, **self._logprobs()},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _without_calls(self, text: str) -> str:
        return text if self._call_parser is None else self._call_parser.push(text)

    def _chunk(self, text: str) -> ChatGenerationChunk | None:
        if not text:
            return None
        if self._request.parses_json:
            self._json_text += text
        return ChatGenerationChunk(message=AIMessageChunk(content=text, response_metadata=self._logprobs()))

    def _parsed(self) -> dict[str, Any]:
        try:
            return {"parsed": json.loads(self._json_text)} if self._request.parses_json else {}
        except ValueError:  # a stop sequence cut it off
            return {}

    def _usage(self) -> UsageMetadata:
        prompt = len(self._request.generation.prompt)
        return UsageMetadata(
            input_tokens=prompt, output_tokens=self._token_count, total_tokens=prompt + self._token_count
        )

    def _metadata(self, calls: ParsedToolCalls) -> dict[str, Any]:
        has_ended = self.stopped or self._sequence.ended
        reason = "tool_calls" if calls.calls else "stop" if has_ended else "length"
        return {"finish_reason": reason, "model_name": self._request.spec}

    def _logprobs(self) -> dict[str, Any]:
        """The log-probabilities of the tokens since the last call, in OpenAI's format."""
        if self._request.generation.logprobs is None:
            return {}
        scores = self._sequence.logprobs[self._scored_count : self._token_count]
        self._scored_count = self._token_count
        return {"logprobs": {"content": [self._format_score(score) for score in scores]}}

    def _format_score(self, score: TokenLogprob) -> dict[str, Any]:
        top = [self._format_token(token, logprob) for token, logprob in score.top_logprobs]
        return {**self._format_token(score.token, score.logprob), "top_logprobs": top}

    def _format_token(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._decode([token])
        return {"token": text, "bytes": None if _REPLACEMENT in text else list(text.encode()), "logprob": logprob}


class IncrementalDecoder:
    """Decodes tokens one at a time; a character is returned once all of its bytes have arrived."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        # The last returned tokens are decoded again with the new ones, because the text of a token may depend on those
        # before it.
        self._context_start = 0
        self._returned_count = 0

    def push(self, token: int) -> str:
        """Add a token, and return the text that it completes."""
        self._tokens.append(token)
        before, text = self._decoded()
        if text.endswith(_REPLACEMENT):
            return ""
        self._context_start, self._returned_count = self._returned_count, len(self._tokens)
        return text[len(before) :]

    def finish(self) -> str:
        """The text of incomplete characters, once no more tokens can arrive."""
        before, text = self._decoded()
        return text[len(before) :]

    def _decoded(self) -> tuple[str, str]:
        before = self._decode(self._tokens[self._context_start : self._returned_count])
        return before, self._decode(self._tokens[self._context_start :])


class StopSequenceFilter:
    """Ends a text before its first stop sequence, even one that is split over several pieces.

    Attributes:
        stopped: Whether a stop sequence was found.
    """

    def __init__(self, stop_sequences: Sequence[str]) -> None:
        self._stop_sequences = tuple(stop for stop in stop_sequences if stop)
        self._buffer = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """Add a piece of text, and return all that cannot be the beginning of a stop sequence."""
        self._buffer += piece
        positions = [at for at in (self._buffer.find(stop) for stop in self._stop_sequences) if at >= 0]
        if positions:
            self.stopped = True
            text, self._buffer = self._buffer[: min(positions)], ""
            return text
        held_back = max(
            (n for stop in self._stop_sequences for n in range(1, len(stop)) if self._buffer.endswith(stop[:n])),
            default=0,
        )
        end = len(self._buffer) - held_back
        text, self._buffer = self._buffer[:end], self._buffer[end:]
        return text

    def finish(self) -> str:
        """The text that was held back, once no more can arrive."""
        text, self._buffer = self._buffer, ""
        return text
