"""A vendor's chat model whose calls go through `ModelCaller`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from pydantic import Field

from taleward.backends.hosted.call import CallInput, ModelCaller
from taleward.backends.hosted.option_fallbacks import OptionSupport
from taleward.backends.hosted.subclass import SecretFreeRepr, as_class, joined_class
from taleward.core.concurrency.batch_config import with_max_concurrency
from taleward.core.concurrency.event_loop import EventLoopThread
from taleward.core.errors import ConfigurationError

HOSTED_LOOP = EventLoopThread("taleward-hosted")
"""Runs the calls of vendors' clients, whose connections belong to one event loop."""


class HostedChat(SecretFreeRepr, BaseChatModel):
    """A mixin that adds rate limits, retries, deadlines, fallbacks, error mapping and costs to a vendor's chat model.

    All calls run on one event loop in a background thread, so that one model, with its connections, works from several
    event loops and from synchronous code.

    Attributes:
        caller: Makes the model's calls.
        option_support: Which options the server supports; `None` for a vendor's own server, which supports all.
        pid: The process that made the model.
    """

    vendor: ClassVar[type[BaseChatModel]]
    caller: Any = Field(default=None, exclude=True, repr=False)
    option_support: Any = Field(default=None, exclude=True, repr=False)
    pid: int = Field(default=0, exclude=True, repr=False)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """`False`: `caller` cannot be serialized."""
        return False

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer many inputs, as many at a time as the model's `concurrency` allows."""
        configs = with_max_concurrency(config, len(inputs), self.caller.retrier.settings.concurrency)
        return super().batch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return HOSTED_LOOP.call(lambda: self._generate_result(messages, stop, kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await HOSTED_LOOP.acall(lambda: self._generate_result(messages, stop, kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in HOSTED_LOOP.iterate(lambda: self._stream_chunks(messages, stop, kwargs)):
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with aclosing(HOSTED_LOOP.aiterate(lambda: self._stream_chunks(messages, stop, kwargs))) as chunks:
            async for chunk in chunks:
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _generate_result(
        self, messages: list[BaseMessage], stop: list[str] | None, options: Mapping[str, Any]
    ) -> ChatResult:
        caller: ModelCaller = self.caller
        vendor_model = self._vendor_model(options)
        if self.option_support is None:
            return await caller.generate(vendor_model, CallInput(messages, stop, options))
        option_support: OptionSupport = self.option_support

        async def generate(messages: list[BaseMessage], options: Mapping[str, Any]) -> ChatResult:
            return await caller.generate(vendor_model, CallInput(messages, stop, options))

        defaults = {name: value for name in ("n", "logprobs") if (value := getattr(self, name, None))}
        return await option_support.generate(generate, messages, {**defaults, **options})

    async def _stream_chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, options: Mapping[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        caller: ModelCaller = self.caller
        vendor_model = self._vendor_model(options)
        can_stream = _overrides(vendor_model, "_astream") or _overrides(vendor_model, "_stream")
        if not can_stream or (self.option_support is not None and self.option_support.needs_whole_answer(options)):
            result = await self._generate_result(messages, stop, options)
            for generation in result.generations:
                message = AIMessageChunk(**generation.message.model_dump(exclude={"type"}), chunk_position="last")
                yield ChatGenerationChunk(message=message, generation_info=generation.generation_info)
            return
        async with aclosing(caller.stream(vendor_model, CallInput(messages, stop, options))) as chunks:
            async for chunk in chunks:
                yield chunk

    def _vendor_model(self, options: Mapping[str, Any]) -> BaseChatModel:
        """The same model as an instance of the vendor's class, whose methods do not call back into this one."""
        if os.getpid() != self.pid:
            raise ConfigurationError(
                f"{self.caller.spec} was made before this process was forked; its connections belong to the parent.",
                hint="Call chat_model in the child process.",
            )
        vendor_model: BaseChatModel = as_class(self.vendor, self)
        if "response_format" in options and getattr(self, "include_response_headers", False):
            # ChatOpenAI does not support both in a stream, and warns on every call.
            object.__setattr__(vendor_model, "__dict__", {**vendor_model.__dict__, "include_response_headers": False})
        return vendor_model


def as_hosted_chat(
    model: BaseChatModel, caller: ModelCaller, option_support: OptionSupport | None = None
) -> BaseChatModel:
    """Make a vendor's chat model call its server through `caller`; it stays an instance of the vendor's class."""
    hosted_model: BaseChatModel = as_class(joined_class(HostedChat, type(model)), model)
    fields = {"caller": caller, "option_support": option_support, "pid": os.getpid()}
    object.__setattr__(hosted_model, "__dict__", {**model.__dict__, **fields})
    return hosted_model


def _overrides(model: BaseChatModel, method: str) -> bool:
    return getattr(type(model), method) is not getattr(BaseChatModel, method)
