"""A chat model behind an API: the vendor's own class, its calls made by `ModelCaller`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from pydantic import Field

from taleward.backends.hosted.call import Asked, ModelCaller
from taleward.backends.hosted.ignored_options import OptionSupport
from taleward.backends.hosted.subclass import as_class, joined_class
from taleward.core.concurrency.batch_config import with_max_concurrency
from taleward.core.concurrency.event_loop import EventLoopThread
from taleward.core.errors import ConfigurationError

BRIDGE = EventLoopThread("taleward-hosted")
"""Calls of vendors' clients run here: their connections belong to one event loop."""


class HostedChat(BaseChatModel):
    """What a vendor's chat model gets from us: limits, retries, deadlines, fallbacks, our errors, costs.

    All calls run on one event loop in a thread of their own, so that a model can be used from several event loops, and
    from none, over the same connections.

    Attributes:
        calls: How its calls are made.
        honoured: Which options its server honours; `None` for a vendor's own server, which honours all.
        pid: The process it was made in.
    """

    vendor: ClassVar[type[BaseChatModel]]
    calls: Any = Field(default=None, exclude=True, repr=False)
    honoured: Any = Field(default=None, exclude=True, repr=False)
    pid: int = Field(default=0, exclude=True, repr=False)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """No: how calls are made is no text."""
        return False

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Many answers, as many at the same time as the model's `concurrency` lets."""
        configs = with_max_concurrency(config, len(inputs), self.calls.attempts.terms.concurrency)
        return super().batch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return BRIDGE.call(lambda: self._answer(messages, stop, kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await BRIDGE.acall(lambda: self._answer(messages, stop, kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in BRIDGE.iterate(lambda: self._pieces(messages, stop, kwargs)):
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
        async with aclosing(BRIDGE.aiterate(lambda: self._pieces(messages, stop, kwargs))) as chunks:
            async for chunk in chunks:
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _answer(
        self, messages: list[BaseMessage], stop: list[str] | None, options: Mapping[str, Any]
    ) -> ChatResult:
        calls: ModelCaller = self.calls
        plain = self._plain(options)
        if self.honoured is None:
            return await calls.answer(plain, Asked(messages, stop, options))
        honoured: OptionSupport = self.honoured

        async def ask(messages: list[BaseMessage], options: Mapping[str, Any]) -> ChatResult:
            return await calls.answer(plain, Asked(messages, stop, options))

        own = {name: value for name in ("n", "logprobs") if (value := getattr(self, name, None))}
        return await honoured.answer(ask, messages, {**own, **options})

    async def _pieces(self, messages: list[BaseMessage], stop: list[str] | None, options: Mapping[str, Any]) -> Any:
        calls: ModelCaller = self.calls
        plain = self._plain(options)
        whole = not (_has(plain, "_astream") or _has(plain, "_stream"))
        if whole or (self.honoured is not None and self.honoured.must_see(options)):
            result = await self._answer(messages, stop, options)
            for generation in result.generations:
                message = AIMessageChunk(**generation.message.model_dump(exclude={"type"}), chunk_position="last")
                yield ChatGenerationChunk(message=message, generation_info=generation.generation_info)
            return
        async with aclosing(calls.pieces(plain, Asked(messages, stop, options))) as chunks:
            async for chunk in chunks:
                yield chunk

    def _plain(self, options: Mapping[str, Any]) -> BaseChatModel:
        """The same model as its vendor made it: its methods do not come back to ours."""
        if os.getpid() != self.pid:
            raise ConfigurationError(
                f"{self.calls.spec} was made before this process was forked, and its connections are the parent's.",
                hint="Make the model in the child: call chat_model there.",
            )
        plain: BaseChatModel = as_class(self.vendor, self)
        if "response_format" in options and getattr(self, "include_response_headers", False):
            # ChatOpenAI cannot have both in a stream, and says so each time.
            object.__setattr__(plain, "__dict__", {**plain.__dict__, "include_response_headers": False})
        return plain


def hosted(model: BaseChatModel, calls: ModelCaller, honoured: OptionSupport | None = None) -> BaseChatModel:
    """A vendor's chat model, its calls made by `calls`; it is still an instance of the vendor's class."""
    made: BaseChatModel = as_class(joined_class(HostedChat, type(model)), model)
    object.__setattr__(made, "__dict__", {**model.__dict__, "calls": calls, "honoured": honoured, "pid": os.getpid()})
    return made


def _has(model: BaseChatModel, method: str) -> bool:
    return getattr(type(model), method) is not getattr(BaseChatModel, method)
