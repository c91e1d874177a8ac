"""Call a hosted model, and return a complete answer, a fallback's answer, or an error."""

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

from taleward.backends.hosted.errors import RETRY_HINT, map_vendor_error
from taleward.backends.hosted.pricing import ListedPrice, TokenPrice
from taleward.backends.hosted.resilience import Retrier
from taleward.core.errors import BackendError, ContentFiltered, DeadlineExceeded, RequestRejected
from taleward.core.redaction import redact, without_secrets

_log = logging.getLogger(__name__)
_DEFAULT_OUTPUT_TOKENS = 256
"""Estimated length of an answer without `max_tokens`, for the rate limit."""
_CHARACTERS_PER_TOKEN = 4
COST_KEY = "cost_usd"
"""Key of `response_metadata` with an answer's cost in US dollars."""
ANSWERED_BY_KEY = "answered_by"
"""Key of `response_metadata` with the fallback that answered."""

_FINISH_REASON_KEYS = ("finish_reason", "stop_reason", "done_reason", "status")
_FILTER_REASONS = frozenset(
    {
        "content_filter",  # OpenAI and compatible servers
        "refusal",  # Anthropic
        "content_filtered",  # Amazon
        *("safety", "recitation", "blocklist", "prohibited_content", "spii", "image_safety"),  # Google
    }
)
"""Finish reasons, in lower case, of answers that the vendor's filter cut off or withheld."""
_INCOMPLETE = "so the answer is incomplete"


class CallInput(NamedTuple):
    """The input of one call.

    Attributes:
        messages: The messages.
        stop: Stop sequences.
        options: Further options of the call.
    """

    messages: list[BaseMessage]
    stop: list[str] | None
    options: Mapping[str, Any]


class ModelCaller:
    """Calls one hosted model, with retries and fallbacks, and checks that answers are complete.

    Args:
        retrier: Runs the calls.
        price: What the model costs, if known.
        fallbacks: Models to try in order if this one cannot answer.
        reports_finish_reason: Whether the server always says why an answer ended, so that a stream without a reason was
            cut off.
    """

    # Private: what is public identifies a judge in `judge_fingerprint`, and keys must not.
    _chat_options: Mapping[str, Any] | None = None

    def __init__(
        self,
        retrier: Retrier,
        *,
        price: TokenPrice | ListedPrice | None = None,
        fallbacks: Sequence[BaseChatModel] = (),
        reports_finish_reason: bool = False,
    ) -> None:
        self.price, self.fallbacks, self.reports_finish_reason = price, tuple(fallbacks), reports_finish_reason
        self.spec, self.retrier = retrier.spec, retrier

    @property
    def chat_options(self) -> Mapping[str, Any] | None:
        """The options that `chat_model` got, to make the model again; `None` without `chat_model`. May contain keys."""
        return self._chat_options

    @chat_options.setter
    def chat_options(self, options: Mapping[str, Any]) -> None:
        self._chat_options = options

    async def generate(self, model: BaseChatModel, call: CallInput) -> ChatResult:
        """Get a complete answer.

        Args:
            model: The model as its vendor made it.
            call: The input.

        Raises:
            BackendError: If neither the model nor a fallback answered.
        """

        async def attempt() -> ChatResult:
            result = await model._agenerate(call.messages, call.stop, None, **call.options)
            self._check_complete(result)
            return result

        try:
            async with self.retrier.slot() as deadline:
                result = await self.retrier.call_with_retries(attempt, _estimate_tokens(model, call), deadline)
        except BackendError as error:
            return await self._generate_with_fallbacks(error, call)
        for generation in result.generations:
            self.update_rate_limits(generation.message, generation.generation_info)
            if (cost := self.cost_usd(usage_of(generation.message))) is not None:
                generation.message.response_metadata[COST_KEY] = cost
        return result

    async def stream(self, model: BaseChatModel, call: CallInput) -> AsyncGenerator[ChatGenerationChunk, None]:
        """Stream an answer. The call can be retried or handed to a fallback only until its first text arrives.

        Raises:
            BackendError: As for `generate`, or if the stream broke off and the answer is incomplete.
        """
        has_begun = False
        try:
            async with self.retrier.slot() as deadline:
                stream = await self.retrier.call_with_retries(
                    lambda: _VendorStream(self, model, call).open(), _estimate_tokens(model, call), deadline
                )
                try:
                    while (chunk := await self._next_chunk(stream, deadline)) is not None:
                        has_begun = True
                        yield chunk
                finally:
                    await stream.aclose()
        except BackendError as error:
            if has_begun:
                raise
            first_error = error
        else:
            return
        async for chunk in self._stream_with_fallbacks(first_error, call):
            yield chunk

    async def _next_chunk(self, stream: _VendorStream, deadline: float) -> ChatGenerationChunk | None:
        timeout_s = max(0.0, min(self.retrier.settings.timeout_s, deadline - time.monotonic()))
        try:
            async with asyncio.timeout(timeout_s):
                return await stream.next_chunk()
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{self.spec} broke off: nothing came for {timeout_s:.1f} s after {stream.characters} characters, "
                f"{_INCOMPLETE}.",
                hint="Try again, or increase timeout.",
            ) from error

    async def _generate_with_fallbacks(self, error: BackendError, call: CallInput) -> ChatResult:
        """The first fallback's answer, or `error`."""
        for model in self._fallbacks_for(error):
            try:
                result = await model._agenerate(call.messages, call.stop, None, **call.options)
            # Any exception, such as one for an option the fallback does not accept: the first error is raised.
            except Exception as fallback_error:  # noqa: BLE001
                error.add_note(f"{_name_of(model)} did not answer either: {redact(str(fallback_error))}")
            else:
                for generation in result.generations:
                    generation.message.response_metadata.setdefault(ANSWERED_BY_KEY, _name_of(model))
                return result
        raise error

    async def _stream_with_fallbacks(
        self, error: BackendError, call: CallInput
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        """The first fallback's stream, or `error`."""
        for model in self._fallbacks_for(error):
            has_begun = False
            try:
                async for chunk in model._astream(call.messages, call.stop, None, **call.options):
                    if not has_begun:
                        chunk.message.response_metadata.setdefault(ANSWERED_BY_KEY, _name_of(model))
                    has_begun = True
                    yield chunk
            except Exception as fallback_error:
                if has_begun:
                    raise
                error.add_note(f"{_name_of(model)} did not answer either: {redact(str(fallback_error))}")
            else:
                return
        raise error

    def _fallbacks_for(self, error: BackendError) -> Sequence[BaseChatModel]:
        """The models to try instead; none if the request itself is at fault."""
        if isinstance(error, RequestRejected | ContentFiltered) or not self.fallbacks:
            return ()
        _log.warning("%s cannot answer, trying a fallback: %s", self.spec, error)
        return self.fallbacks

    def _check_complete(self, result: ChatResult) -> None:
        if not result.generations:
            raise BackendError(f"{self.spec} returned no answer.", hint=RETRY_HINT, retryable=True)
        for generation in result.generations:
            self.check_refusal(generation.message)
            self.has_finished({**(generation.generation_info or {}), **generation.message.response_metadata})

    def check_refusal(self, message: BaseMessage) -> None:
        """Check the `refusal` field, in which OpenAI's models decline beside an empty text.

        Raises:
            ContentFiltered: If the model declined.
        """
        if refusal := message.additional_kwargs.get("refusal"):
            raise ContentFiltered(f"{self.spec} refused to answer: {refusal}", hint="Ask for something else.")

    def has_finished(self, metadata: Mapping[str, Any]) -> bool:
        """Whether an answer's metadata hold a finish reason.

        Raises:
            ContentFiltered: If the vendor's filter cut the answer off.
        """
        reasons = [str(metadata[name]) for name in _FINISH_REASON_KEYS if metadata.get(name)]
        reasons += [str(reason) for reason in (metadata.get("incomplete_details") or {}).values()]
        if filter_reasons := [reason for reason in reasons if reason.lower() in _FILTER_REASONS]:
            raise ContentFiltered(
                f"{self.spec} was stopped by the vendor's content filter ({filter_reasons[0]}), {_INCOMPLETE}.",
                hint="Ask for something else.",
            )
        return bool(reasons)

    def update_rate_limits(self, message: BaseMessage, info: dict[str, Any] | None) -> None:
        """Adopt the limits in the response's headers, and drop the headers from the answer."""
        for metadata in (info or {}, message.response_metadata):
            if headers := metadata.pop("headers", None):
                self.retrier.rate_limiter.update({str(name).lower(): str(value) for name, value in headers.items()})

    def cost_usd(self, usage: UsageMetadata | None) -> float | None:
        """The cost of an answer in US dollars; `None` if its usage or the price is unknown."""
        return None if usage is None or self.price is None else self.price.cost_usd(usage)


class _VendorStream:
    """A vendor's stream, which counts as open once its first text has arrived.

    Attributes:
        characters: Number of characters returned so far.
    """

    def __init__(self, caller: ModelCaller, model: BaseChatModel, call: CallInput) -> None:
        self._caller, self._has_finished, self.characters = caller, False, 0
        self._chunks: Any = model._astream(call.messages, call.stop, None, **call.options)
        self._buffer: list[ChatGenerationChunk] = []
        self._usage: UsageMetadata | None = None

    async def open(self) -> _VendorStream:
        """Wait for the first text or tool call, or the end."""
        try:
            while (chunk := await self._read()) is not None:
                self._buffer.append(chunk)
                if chunk.text or getattr(chunk.message, "tool_call_chunks", None):
                    break
        except BaseException:
            await self.aclose()
            raise
        return self

    async def next_chunk(self) -> ChatGenerationChunk | None:
        """The next chunk; `None` at the end."""
        try:
            chunk = self._buffer.pop(0) if self._buffer else await self._read()
        except BackendError:
            raise
        except Exception as error:
            mapped = map_vendor_error(error, self._caller.spec)
            if mapped is None:
                raise
            raise self._broken_error(str(mapped)) from without_secrets(error)
        self.characters += len(chunk.text) if chunk is not None else 0
        return chunk

    async def _read(self) -> ChatGenerationChunk | None:
        chunk: ChatGenerationChunk | None = await anext(self._chunks, None)
        if chunk is None:
            if self._caller.reports_finish_reason and not self._has_finished:
                raise self._broken_error("the stream ended without a finish reason, so it was cut off.")
            cost, self._usage = self._caller.cost_usd(self._usage), None
            if cost is None:
                return None
            # Some vendors report tokens chunk by chunk, and LangChain cannot add up a number in the metadata of two
            # chunks; so the cost of all of them comes once, in a last chunk.
            return ChatGenerationChunk(message=AIMessageChunk(content="", response_metadata={COST_KEY: cost}))
        self._caller.check_refusal(chunk.message)
        self._has_finished |= self._caller.has_finished(
            {**(chunk.generation_info or {}), **chunk.message.response_metadata}
        )
        self._caller.update_rate_limits(chunk.message, chunk.generation_info)
        if (usage := usage_of(chunk.message)) is not None:
            self._usage = add_usage(self._usage, usage)
        return chunk

    def _broken_error(self, reason: str) -> BackendError:
        spec = self._caller.spec
        if not self.characters:
            message, hint = f"{spec} did not answer: {reason}", "Try again; check that base_url ends in /v1."
        else:
            message = f"{spec} broke off after {self.characters} characters, {_INCOMPLETE}: {reason}"
            hint = "Try again."
        return BackendError(message, hint=hint, retryable=True)

    async def aclose(self) -> None:
        """Close the connection, which makes the server stop generating."""
        await self._chunks.aclose()


def usage_of(message: BaseMessage) -> UsageMetadata | None:
    """The tokens that an answer or a chunk reports."""
    return message.usage_metadata if isinstance(message, AIMessage) else None


def _name_of(model: BaseChatModel) -> str:
    return getattr(model, "spec", "") or getattr(getattr(model, "caller", None), "spec", type(model).__name__)


def _estimate_tokens(model: BaseChatModel, call: CallInput) -> int:
    """About how many tokens a call takes from the rate limit."""
    output = call.options.get("max_tokens") or getattr(model, "max_tokens", None) or _DEFAULT_OUTPUT_TOKENS
    return sum(len(message.text) for message in call.messages) // _CHARACTERS_PER_TOKEN + int(output)
