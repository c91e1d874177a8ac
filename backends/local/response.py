"""From tokens to an answer: text, stop sequences, tool calls, log-probabilities, usage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from taleward.backends.engine.request import GenerationRequest, TokenSequence
from taleward.backends.engine.sampling import Score
from taleward.backends.local.tools import ParsedToolCalls, ToolText


class ChatRequest(NamedTuple):
    """What an answer is made of.

    Attributes:
        spec: What the model is called.
        order: What its engine is asked for.
        stops: Texts before which the answer ends.
        tools: The names of the tools that it may call.
        forced: Whether the answer is a call and nothing else.
        parsed: Whether the answer is JSON that goes with it as an object, as from OpenAI's `response_format`.
    """

    spec: str
    order: GenerationRequest
    stops: Sequence[str] = ()
    tools: frozenset[str] = frozenset()
    forced: bool = False
    parsed: bool = False


class ResponseBuilder:
    """One answer under way.

    Args:
        wish: What was asked for.
        text: The text that is being written.
        decode: From tokens to text.
    """

    def __init__(self, wish: ChatRequest, text: TokenSequence, decode: Callable[[Sequence[int]], str]) -> None:
        self._wish, self._text, self._decode = wish, text, decode
        self._decoder, self._cut = Decoder(decode), StopText(wish.stops)
        self._calls = ToolText(wish.tools, forced=wish.forced) if wish.tools else None
        self._read = self._scored = 0
        self._said = ""

    @property
    def stopped(self) -> bool:
        """Whether a stop sequence has come."""
        return self._cut.stopped

    def push(self, token: int) -> ChatGenerationChunk | None:
        """The text that a token lets out; `None` where it is held, or is none."""
        self._read += 1
        return self._chunk(self._shown(self._cut.push(self._decoder.push(token))))

    def finish(self) -> Iterator[ChatGenerationChunk]:
        """What was held, then the last chunk with the usage."""
        rest = "" if self.stopped else self._cut.push(self._decoder.finish()) + self._cut.finish()
        shown, calls = self._shown(rest), ParsedToolCalls()
        if self._calls is not None:
            held, calls = self._calls.finish()
            shown += held
        if shown and (chunk := self._chunk(shown)):
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
        """The answer, all of it at once."""
        written = self._text.written
        if self._wish.stops:
            shown = ""
            for token in written:
                shown += chunk.text if (chunk := self.push(token)) else ""
                if self.stopped:
                    break
        else:
            shown, self._read = self._shown(self._decode(written)), len(written)
            self._said = shown
        chunks = [chunk.message for chunk in self.finish()]
        last, self._scored = chunks[-1], 0
        message = AIMessage(
            content=shown + "".join(str(chunk.content) for chunk in chunks),
            additional_kwargs=last.additional_kwargs,
            tool_calls=getattr(last, "tool_calls", []),
            invalid_tool_calls=getattr(last, "invalid_tool_calls", []),
            usage_metadata=getattr(last, "usage_metadata", None),
            response_metadata={**last.response_metadata, **self._logprobs()},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _shown(self, piece: str) -> str:
        return piece if self._calls is None else self._calls.push(piece)

    def _chunk(self, text: str) -> ChatGenerationChunk | None:
        if not text:
            return None
        if self._wish.parsed:
            self._said += text
        return ChatGenerationChunk(message=AIMessageChunk(content=text, response_metadata=self._logprobs()))

    def _parsed(self) -> dict[str, Any]:
        try:
            return {"parsed": json.loads(self._said)} if self._wish.parsed else {}
        except ValueError:  # a stop sequence cut it off
            return {}

    def _usage(self) -> UsageMetadata:
        read = len(self._wish.order.prompt)
        return UsageMetadata(input_tokens=read, output_tokens=self._read, total_tokens=read + self._read)

    def _metadata(self, calls: ParsedToolCalls) -> dict[str, Any]:
        ended = self.stopped or self._text.ended
        reason = "tool_calls" if calls.made else "stop" if ended else "length"
        return {"finish_reason": reason, "model_name": self._wish.spec}

    def _logprobs(self) -> dict[str, Any]:
        """Those of the tokens since the last time, as OpenAI gives them."""
        if self._wish.order.logprobs is None:
            return {}
        scores, self._scored = self._text.scores[self._scored : self._read], self._read
        return {"logprobs": {"content": [self._told(score) for score in scores]}}

    def _told(self, score: Score) -> dict[str, Any]:
        likeliest = [self._token(token, logprob) for token, logprob in score.likeliest]
        return {**self._token(score.token, score.logprob), "top_logprobs": likeliest}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._decode([token])
        return {"token": text, "bytes": None if "\ufffd" in text else list(text.encode()), "logprob": logprob}


class Decoder:
    """Token numbers to text, piece by piece; a character is given out when all its bytes are there."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._start = 0  # tokens before this one are not decoded again
        self._given = 0  # tokens before this one were given out

    def push(self, token: int) -> str:
        """The text that a token lets out."""
        self._ids.append(token)
        before, now = self._texts()
        if now.endswith("\ufffd"):
            return ""
        self._start, self._given = self._given, len(self._ids)
        return now[len(before) :]

    def finish(self) -> str:
        """What was held back, once no more tokens can come."""
        before, now = self._texts()
        return now[len(before) :]

    def _texts(self) -> tuple[str, str]:
        before = self._decode(self._ids[self._start : self._given])
        return before, self._decode(self._ids[self._start :])


class StopText:
    """Cuts a text at the first stop sequence, also where it is spread over several pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(s for s in stops if s)
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """What may be given out now: everything that cannot be the beginning of a stop sequence."""
        self._held += piece
        found = [at for at in (self._held.find(s) for s in self._stops) if at >= 0]
        if found:
            self.stopped = True
            out, self._held = self._held[: min(found)], ""
            return out
        keep = max((n for s in self._stops for n in range(1, len(s)) if self._held.endswith(s[:n])), default=0)
        cut = len(self._held) - keep
        out, self._held = self._held[:cut], self._held[cut:]
        return out

    def finish(self) -> str:
        """What was held back, once no more text can come."""
        out, self._held = self._held, ""
        return out
