"""A chat model with an answer cache that streams read and fill; identical calls at one moment are one call."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, PrivateAttr

from taleward.stores.caches.answers import AnswerCache


class CachedChat(BaseChatModel):
    """A chat model in front of another, with the same name, parameters and answers.

    LangChain asks a cache in `invoke` alone; this asks it in `stream` too, and keeps what a stream gave once it ended.
    Identical calls that arrive while one is under way wait for it and share its answer, which is as fresh and as
    unjudged for each of them as a call of their own would be. Only what is read from the cache must have passed. Calls
    that are to differ need different seeds.

    Attributes:
        model: The chat model that answers.
        answers: The cache.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: BaseChatModel
    answers: AnswerCache
    cache: Any = False
    _flights: dict[tuple[str, str], Future[ChatResult]] = PrivateAttr(default_factory=dict)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return self.model._llm_type

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return dict(self.model._identifying_params)

    @property
    def completion_only(self) -> bool:
        """Whether the model continues text instead of following orders."""
        return bool(getattr(self.model, "completion_only", False))

    @property
    def takes_requests(self) -> bool:
        """Whether the wrapped model answers a person's turn, where it follows no instructions."""
        return bool(getattr(self.model, "takes_requests", False))

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return self.model._get_ls_params(stop=stop, **kwargs)

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return self.model._get_invocation_params(stop=stop, **kwargs)

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """As the model binds them; what calls tools is not cached."""
        return self.model.bind_tools(tools, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        key = self._question(messages, stop, kwargs)
        if found := self._held(key):
            return found
        while True:
            flight, mine = self._join(key)
            if mine:
                break
            with suppress(_Abandoned):
                return _copy(flight.result())
        with _Leading(self, key, flight):
            result = self.model._generate(messages, stop=stop, run_manager=run_manager, **kwargs)
            self.answers.update(*key, result.generations)
            flight.set_result(result)
        return _copy(result)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        key = self._question(messages, stop, kwargs)
        if found := await asyncio.to_thread(self._held, key):
            return found
        while True:
            flight, mine = self._join(key)
            if mine:
                break
            with suppress(_Abandoned):
                # A waiter that is cancelled must not cancel the call that others wait for.
                return _copy(await asyncio.shield(asyncio.wrap_future(flight)))
        with _Leading(self, key, flight):
            result = await self.model._agenerate(messages, stop=stop, run_manager=run_manager, **kwargs)
            await asyncio.to_thread(self.answers.update, *key, result.generations)
            flight.set_result(result)
        return _copy(result)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        key = self._question(messages, stop, kwargs)
        if found := self._held(key):
            yield _as_chunk(found, run_manager)
            return
        if type(self.model)._stream is BaseChatModel._stream:
            yield _as_chunk(self._generate(messages, stop, run_manager, **kwargs), run_manager)
            return
        parts: list[str] = []
        plain = True
        for chunk in self.model._stream(messages, stop=stop, run_manager=run_manager, **kwargs):
            plain = plain and _is_plain(chunk)
            parts.append(chunk.text)
            yield chunk
        self._keep_stream(key, parts, plain)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        key = self._question(messages, stop, kwargs)
        kind = type(self.model)
        found = await asyncio.to_thread(self._held, key)
        if not found and kind._astream is BaseChatModel._astream and kind._stream is BaseChatModel._stream:
            found = await self._agenerate(messages, stop, run_manager, **kwargs)
        if found:
            chunk = _as_chunk(found, None)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk
            return
        parts: list[str] = []
        plain = True
        async for chunk in self.model._astream(messages, stop=stop, run_manager=run_manager, **kwargs):
            plain = plain and _is_plain(chunk)
            parts.append(chunk.text)
            yield chunk
        await asyncio.to_thread(self._keep_stream, key, parts, plain)

    def _question(self, messages: list[BaseMessage], stop: list[str] | None, options: Any) -> tuple[str, str]:
        said = [message.model_dump(include={"type", "content", "name", "tool_calls"}) for message in messages]
        return json.dumps(said, sort_keys=True, default=str), self.model._get_llm_string(stop=stop, **options)

    def _held(self, key: tuple[str, str]) -> ChatResult | None:
        found = self.answers.lookup(*key)
        generations = [g for g in found or () if isinstance(g, ChatGeneration)]
        return ChatResult(generations=generations) if generations else None

    def _keep_stream(self, key: tuple[str, str], parts: list[str], plain: bool) -> None:
        if plain:
            self.answers.update(*key, [ChatGeneration(message=AIMessage(content="".join(parts)))])

    def _join(self, key: tuple[str, str]) -> tuple[Future[ChatResult], bool]:
        """The call under way for this question, and whether it is the caller's to make."""
        with self._lock:
            if key in self._flights:
                return self._flights[key], False
            flight = self._flights[key] = Future()
            return flight, True


class _Abandoned(Exception):
    """The call that others waited for was cancelled: one of them makes it."""


class _Leading:
    """Lands a flight whatever happens: who waits gets the result, or the leader's error."""

    def __init__(self, chat: CachedChat, key: tuple[str, str], flight: Future[ChatResult]) -> None:
        self._chat, self._key, self._flight = chat, key, flight

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: Any, error: BaseException | None, at: Any) -> None:
        with self._chat._lock:
            self._chat._flights.pop(self._key, None)
        if error is not None and not self._flight.done():
            self._flight.set_exception(error if isinstance(error, Exception) else _Abandoned())


def _copy(result: ChatResult) -> ChatResult:
    """For each caller its own, so that none changes another's."""
    return result.model_copy(deep=True)


def _is_plain(chunk: ChatGenerationChunk) -> bool:
    return isinstance(chunk.message.content, str) and not getattr(chunk.message, "tool_call_chunks", None)


def _as_chunk(found: ChatResult, run_manager: CallbackManagerForLLMRun | None) -> ChatGenerationChunk:
    message = found.generations[0].message
    about = message.response_metadata
    chunk = ChatGenerationChunk(message=AIMessageChunk(content=message.content, response_metadata=about))
    if run_manager:
        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
    return chunk
