"""Calls of a hosted model: what comes of them is a whole answer, a fallback's, or an error."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from taleward.backends.hosted.errors import AGAIN, map_vendor_error
from taleward.backends.hosted.pricing import ListedPrice, TokenPrice
from taleward.backends.hosted.retries import Attempts
from taleward.core.errors import BackendError, ContentFiltered, DeadlineExceeded, RequestRejected

_log = logging.getLogger(__name__)
_WRITTEN = 256
"""Tokens that are taken into account for an answer of unknown length."""
_CHARACTERS = 4
"""Of a token, about."""
COST = "cost_usd"
"""Key of `response_metadata` that says what an answer cost."""
ANSWERED_BY = "answered_by"
"""Key of `response_metadata` that names the fallback which answered."""

_ENDED = ("finish_reason", "stop_reason", "done_reason", "status")
_FILTERED = frozenset(
    {
        "content_filter",  # OpenAI and its kin
        "refusal",  # Anthropic
        "content_filtered",  # Amazon
        *("safety", "recitation", "blocklist", "prohibited_content", "spii", "image_safety"),  # Google
    }
)
"""Reasons, in lower case, for which vendors cut an answer off or keep it back."""
_NO_ANSWER = "which are no whole answer"


class Asked(NamedTuple):
    """What a model is asked.

    Attributes:
        messages: The messages.
        stop: Where it stops.
        options: For the call.
    """

    messages: list[BaseMessage]
    stop: list[str] | None
    options: Mapping[str, Any]


class ModelCaller:
    """Makes the calls of one model.

    Args:
        attempts: Makes the attempts.
        price: What the model costs, `None` where that is not known.
        fallbacks: Models that are asked in turn where this one cannot answer.
        ends: Whether its server says why an answer ended, so that one without a reason was cut off.
    """

    def __init__(
        self,
        attempts: Attempts,
        *,
        price: TokenPrice | ListedPrice | None = None,
        fallbacks: Sequence[BaseChatModel] = (),
        ends: bool = False,
    ) -> None:
        self.price, self.fallbacks, self.ends = price, tuple(fallbacks), ends
        self.spec, self.attempts = attempts.spec, attempts

    async def answer(self, model: BaseChatModel, asked: Asked) -> ChatResult:
        """A whole answer.

        Args:
            model: The model as its vendor made it.
            asked: What it is asked.

        Raises:
            BackendError: Neither it nor a fallback answered.
        """

        async def ask() -> ChatResult:
            result = await model._agenerate(asked.messages, asked.stop, None, **asked.options)
            self._see_whole(result)
            return result

        try:
            async with self.attempts.place() as ends_at:
                result = await self.attempts.insist(ask, _size(model, asked), ends_at)
        except BackendError as error:
            return await self._fallen_back(error, asked)
        for generation in result.generations:
            self.learn(generation.message, generation.generation_info)
            if (cost := self.cost(_usage(generation.message))) is not None:
                generation.message.response_metadata[COST] = cost
        return result

    async def pieces(self, model: BaseChatModel, asked: Asked) -> AsyncGenerator[ChatGenerationChunk, None]:
        """An answer as it comes. Until its first word a call is made again, or of a fallback; then it cannot be.

        Raises:
            BackendError: As for `answer`; or the stream broke off, so that what came is no whole answer.
        """
        begun = False
        try:
            async with self.attempts.place() as ends_at:
                opening = _size(model, asked), ends_at
                stream = await self.attempts.insist(lambda: _Stream(self, model, asked).open(), *opening)
                try:
                    while (chunk := await self._step(stream, ends_at)) is not None:
                        begun = True
                        yield chunk
                finally:
                    await stream.aclose()
        except BackendError as error:
            if begun:
                raise
            failed = error
        else:
            return
        async for chunk in self._fallen_back_on(failed, asked):
            yield chunk

    async def _step(self, stream: _Stream, ends_at: float) -> ChatGenerationChunk | None:
        """The next piece, in time."""
        left = min(self.attempts.terms.timeout_s, ends_at - time.monotonic())
        try:
            async with asyncio.timeout(max(0.0, left)):
                return await stream.following()
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{self.spec} broke off: nothing came for {left:.1f} s behind {stream.characters} characters, "
                f"{_NO_ANSWER}.",
                hint="Ask again, or give a larger timeout.",
            ) from error

    async def _fallen_back(self, error: BackendError, asked: Asked) -> ChatResult:
        """A fallback's answer."""
        for model in self._others(error):
            try:
                result = await model._agenerate(asked.messages, asked.stop, None, **asked.options)
            except Exception as later:  # noqa: BLE001  such as an option that it does not take: the first error counts
                error.add_note(f"{_name(model)} did not answer either: {later}")
            else:
                for generation in result.generations:
                    generation.message.response_metadata.setdefault(ANSWERED_BY, _name(model))
                return result
        raise error

    async def _fallen_back_on(self, error: BackendError, asked: Asked) -> AsyncGenerator[ChatGenerationChunk, None]:
        """A fallback's answer as it comes."""
        for model in self._others(error):
            begun = False
            try:
                async for chunk in model._astream(asked.messages, asked.stop, None, **asked.options):
                    if not begun:
                        chunk.message.response_metadata.setdefault(ANSWERED_BY, _name(model))
                    begun = True
                    yield chunk
            except Exception as later:
                if begun:
                    raise
                error.add_note(f"{_name(model)} did not answer either: {later}")
            else:
                return
        raise error

    def _others(self, error: BackendError) -> Sequence[BaseChatModel]:
        """The models to ask in place of this one: none where the request itself is at fault."""
        if isinstance(error, RequestRejected | ContentFiltered) or not self.fallbacks:
            return ()
        _log.warning("%s cannot answer, a fallback is asked: %s", self.spec, error)
        return self.fallbacks

    def _see_whole(self, result: ChatResult) -> None:
        if not result.generations:
            raise BackendError(f"{self.spec} answered with nothing at all.", hint=AGAIN, retryable=True)
        for generation in result.generations:
            self.see_refusal(generation.message)
            self.see_end({**(generation.generation_info or {}), **generation.message.response_metadata})

    def see_refusal(self, message: BaseMessage) -> None:
        """OpenAI's models may decline in a field of its own, beside an empty text.

        Raises:
            ContentFiltered: This one did.
        """
        if refusal := message.additional_kwargs.get("refusal"):
            raise ContentFiltered(f"{self.spec} declined to answer: {refusal}", hint="Ask for something else.")

    def see_end(self, metadata: Mapping[str, Any]) -> bool:
        """Whether an answer's metadata say that it has ended.

        Raises:
            ContentFiltered: It was cut off by the vendor's filter.
        """
        reasons = [str(metadata[name]) for name in _ENDED if metadata.get(name)]
        reasons += [str(reason) for reason in (metadata.get("incomplete_details") or {}).values()]
        if filtered := [reason for reason in reasons if reason.lower() in _FILTERED]:
            raise ContentFiltered(
                f"{self.spec} was stopped by its vendor's filter ({filtered[0]}): its answer is cut off.",
                hint="Ask for something else.",
            )
        return bool(reasons)

    def learn(self, message: BaseMessage, info: dict[str, Any] | None) -> None:
        """Learn from the headers, which are then dropped."""
        for told in (info or {}, message.response_metadata):
            if headers := told.pop("headers", None):
                self.attempts.pace.learn({str(name).lower(): str(value) for name, value in headers.items()})

    def cost(self, usage: UsageMetadata | None) -> float | None:
        """What an answer cost, in US dollars; `None` where nobody says."""
        return None if usage is None or self.price is None else self.price.cost_usd(usage)


class _Stream:
    """A stream; once it is open its first words are here.

    Attributes:
        characters: How many were given on.
    """

    def __init__(self, calls: ModelCaller, model: BaseChatModel, asked: Asked) -> None:
        self._calls, self._ended, self.characters = calls, False, 0
        self._chunks: Any = model._astream(asked.messages, asked.stop, None, **asked.options)
        self._held: list[ChatGenerationChunk] = []
        self._usage: UsageMetadata | None = None

    async def open(self) -> _Stream:
        """Wait for the first words, or the end."""
        try:
            while (chunk := await self._next()) is not None:
                self._held.append(chunk)
                if chunk.text or getattr(chunk.message, "tool_call_chunks", None):
                    break
        except BaseException:
            await self.aclose()
            raise
        return self

    async def following(self) -> ChatGenerationChunk | None:
        """The next piece; `None` at the end."""
        try:
            chunk = self._held.pop(0) if self._held else await self._next()
        except BackendError:
            raise
        except Exception as error:
            found = map_vendor_error(error, self._calls.spec)
            if found is None:
                raise
            raise self._broken(str(found)) from error
        self.characters += len(chunk.text) if chunk is not None else 0
        return chunk

    async def _next(self) -> ChatGenerationChunk | None:
        chunk: ChatGenerationChunk | None = await anext(self._chunks, None)
        if chunk is None:
            if self._calls.ends and not self._ended:
                raise self._broken("the stream ended without saying so, as one that was cut off does.")
            cost, self._usage = self._calls.cost(self._usage), None
            if cost is None:
                return None
            # Some vendors report tokens chunk by chunk, and LangChain cannot add up a number in the metadata of two
            # chunks; so the cost of all of them comes once, in a last chunk.
            return ChatGenerationChunk(message=AIMessageChunk(content="", response_metadata={COST: cost}))
        self._calls.see_refusal(chunk.message)
        self._ended |= self._calls.see_end({**(chunk.generation_info or {}), **chunk.message.response_metadata})
        self._calls.learn(chunk.message, chunk.generation_info)
        if (usage := _usage(chunk.message)) is not None:
            self._usage = add_usage(self._usage, usage)
        return chunk

    def _broken(self, why: str) -> BackendError:
        if not self.characters:
            told = f"{self._calls.spec} did not answer: {why}"
            return BackendError(told, hint="Ask again; look whether base_url ends in /v1.", retryable=True)
        told = f"{self._calls.spec} broke off behind {self.characters} characters, {_NO_ANSWER}: {why}"
        return BackendError(told, hint="Ask again.", retryable=True)

    async def aclose(self) -> None:
        """End it; the server is told by the connection's end."""
        await self._chunks.aclose()


def _name(model: BaseChatModel) -> str:
    """What a fallback is called."""
    return getattr(model, "spec", "") or getattr(getattr(model, "calls", None), "spec", type(model).__name__)


def _usage(message: BaseMessage) -> UsageMetadata | None:
    return message.usage_metadata if isinstance(message, AIMessage) else None


def _size(model: BaseChatModel, asked: Asked) -> int:
    """About how many tokens a call takes from the budget."""
    most = asked.options.get("max_tokens") or getattr(model, "max_tokens", None) or _WRITTEN
    return sum(len(message.text) for message in asked.messages) // _CHARACTERS + int(most)
