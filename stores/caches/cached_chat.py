"""A chat model with an answer cache that also covers streams and merges identical concurrent calls."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, ClassVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, PrivateAttr

from taleward.backends.capabilities import ChatModelWrapper
from taleward.stores.caches.answers import AnswerCache


class CachedChat(BaseChatModel, ChatModelWrapper):
    """A chat model that answers from a cache and otherwise calls the model it wraps.

    LangChain consults a cache in `invoke` alone. This class does in `stream` too, and stores a streamed answer once it
    is complete. Identical calls that arrive while one is running wait for it and share its answer. A shared answer is
    fresh, and unmoderated like that of any call; only answers read from the cache must have passed. To get different
    answers to identical calls, give them different seeds.

    Attributes:
        model: The chat model to call.
        answers: The cache.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    passes_call_options: ClassVar[bool] = True

    model: BaseChatModel
    answers: AnswerCache
    cache: Any = False  # keeps LangChain from asking a global cache as well
    _in_flight: dict[tuple[str, str], Future[ChatResult]] = PrivateAttr(default_factory=dict)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return self.model._llm_type

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return dict(self.model._identifying_params)

    @property
    def wrapped_model(self) -> BaseChatModel:
        """The model that answers what is not in the cache."""
        return self.model

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return self.model._get_ls_params(stop=stop, **kwargs)

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return self.model._get_invocation_params(stop=stop, **kwargs)

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Bind tools to the wrapped model; its calls are not cached."""
        return self.model.bind_tools(tools, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        key = self._cache_key(messages, stop, kwargs)
        if cached := self._cached_result(key):
            return cached
        while True:
            future, is_leader = self._join_call(key)
            if is_leader:
                break
            with suppress(_LeaderCanceled):
                return _copy(future.result())
        with _LeaderCall(self, key, future):
            result = self.model._generate(messages, stop=stop, run_manager=run_manager, **kwargs)
            self.answers.update(*key, result.generations)
            future.set_result(result)
        return _copy(result)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        key = self._cache_key(messages, stop, kwargs)
        if cached := await asyncio.to_thread(self._cached_result, key):
            return cached
        while True:
            future, is_leader = self._join_call(key)
            if is_leader:
                break
            with suppress(_LeaderCanceled):
                # A canceled waiter must not cancel the call that others wait for.
                return _copy(await asyncio.shield(asyncio.wrap_future(future)))
        with _LeaderCall(self, key, future):
            result = await self.model._agenerate(messages, stop=stop, run_manager=run_manager, **kwargs)
            await asyncio.to_thread(self.answers.update, *key, result.generations)
            future.set_result(result)
        return _copy(result)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        key = self._cache_key(messages, stop, kwargs)
        if cached := self._cached_result(key):
            yield _as_chunk(cached, run_manager)
            return
        # A model without a stream of its own shares identical calls like `invoke`.
        if type(self.model)._stream is BaseChatModel._stream:
            yield _as_chunk(self._generate(messages, stop, run_manager, **kwargs), run_manager)
            return
        texts: list[str] = []
        is_plain = True
        for chunk in self.model._stream(messages, stop=stop, run_manager=run_manager, **kwargs):
            is_plain = is_plain and _is_plain_text(chunk)
            texts.append(chunk.text)
            yield chunk
        self._store_stream(key, texts, is_plain)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        key = self._cache_key(messages, stop, kwargs)
        model_type = type(self.model)
        result = await asyncio.to_thread(self._cached_result, key)
        can_stream = (
            model_type._astream is not BaseChatModel._astream or model_type._stream is not BaseChatModel._stream
        )
        if not result and not can_stream:
            result = await self._agenerate(messages, stop, run_manager, **kwargs)
        if result:
            chunk = _as_chunk(result, None)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk
            return
        texts: list[str] = []
        is_plain = True
        async for chunk in self.model._astream(messages, stop=stop, run_manager=run_manager, **kwargs):
            is_plain = is_plain and _is_plain_text(chunk)
            texts.append(chunk.text)
            yield chunk
        await asyncio.to_thread(self._store_stream, key, texts, is_plain)

    def _cache_key(self, messages: list[BaseMessage], stop: list[str] | None, options: Any) -> tuple[str, str]:
        contents = [message.model_dump(include={"type", "content", "name", "tool_calls"}) for message in messages]
        return json.dumps(contents, sort_keys=True, default=str), self.model._get_llm_string(stop=stop, **options)

    def _cached_result(self, key: tuple[str, str]) -> ChatResult | None:
        generations = [g for g in self.answers.lookup(*key) or () if isinstance(g, ChatGeneration)]
        return ChatResult(generations=generations) if generations else None

    def _store_stream(self, key: tuple[str, str], texts: list[str], is_plain: bool) -> None:
        if is_plain:
            self.answers.update(*key, [ChatGeneration(message=AIMessage(content="".join(texts)))])

    def _join_call(self, key: tuple[str, str]) -> tuple[Future[ChatResult], bool]:
        """Return the future of the call for this key, and whether the caller must make that call."""
        with self._lock:
            if key in self._in_flight:
                return self._in_flight[key], False
            future = self._in_flight[key] = Future()
            return future, True


class _LeaderCanceled(Exception):
    """The call that others waited for was canceled, so one of them must make it."""


class _LeaderCall:
    """Settle the future of a call however it ends, so that nobody waits forever."""

    def __init__(self, chat: CachedChat, key: tuple[str, str], future: Future[ChatResult]) -> None:
        self._chat, self._key, self._future = chat, key, future

    def __enter__(self) -> None:
        """Enter the context."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        with self._chat._lock:
            self._chat._in_flight.pop(self._key, None)
        if error is not None and not self._future.done():
            # Passing a CancelledError on would cancel the waiters, who were not canceled.
            self._future.set_exception(error if isinstance(error, Exception) else _LeaderCanceled())


def _copy(result: ChatResult) -> ChatResult:
    """Copy a result, so that no caller can change another's."""
    return result.model_copy(deep=True)


def _is_plain_text(chunk: ChatGenerationChunk) -> bool:
    return isinstance(chunk.message.content, str) and not getattr(chunk.message, "tool_call_chunks", None)


def _as_chunk(result: ChatResult, run_manager: CallbackManagerForLLMRun | None) -> ChatGenerationChunk:
    message = result.generations[0].message
    chunk = ChatGenerationChunk(
        message=AIMessageChunk(content=message.content, response_metadata=message.response_metadata)
    )
    if run_manager:
        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
    return chunk
