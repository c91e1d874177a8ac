"""A chat model whose output is moderated on every path: `invoke`, `stream`, events, tools, structured output."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool
from pydantic import Field

from taleward.backends.capabilities import ChatModelWrapper
from taleward.core.concurrency.event_loop import iterate_async
from taleward.core.concurrency.sync_async import iterate_in_thread, run_in_thread, run_sync
from taleward.core.errors import ConfigurationError, Refused
from taleward.moderation.chat.messages import MARK, is_refusal, tool_words, without_retracted
from taleward.moderation.chat.response_moderation import GuardedResponse
from taleward.moderation.guard.text_size_limits import MAX_DRAFT_CHARS, check_max_chars
from taleward.moderation.judges.base import Judge, check_judge, check_timeout


class GuardedChat(BaseChatModel, ChatModelWrapper):
    """Wrap any LangChain chat model so that a judge moderates its output before anyone sees it.

    `invoke`, `ainvoke`, `batch` and `abatch` judge the complete message before they return it. `stream`, `astream`,
    `stream_events` and `astream_events` yield it sentence by sentence, each after its own verdict, and judge the
    complete message once more at the end. Words in the arguments of tool calls are judged with it, and leave at the
    end. Text that begins like JSON leaves in one piece, and is also judged as it reads once parsed. Only text
    and tool calls leave: reasoning, images, audio, citations and server-side tool results are dropped, because no judge
    has seen them.

    A message that does not pass ends in a refusal: its content is a message for the child, repeated in
    `additional_kwargs["refusal"]` as OpenAI does; `finish_reason` is `content_filter`; there are no tool calls.
    `response_metadata["taleward"]` of every message has `released`, and the verdict's `outcome`, `categories`,
    `scores`, `judge`, `policy` and `band`; a refusal also has the `reason`, and in `retraction` the `start` and `end`
    of streamed content that is to be taken back, if there is any. A judge that raises, hangs or returns anything but a
    verdict releases nothing; an exception of the model reaches the caller.

    The wrapped model runs with muted callbacks: tracers see its output; all other callbacks, including those it was
    created with, see only what was released. Messages are not cached here, since a verdict depends on the judge; the
    wrapped model may have a cache of its own.

    Args:
        inner: The chat model.
        judge: The judge.
        timeout_s: Time limit of one call in seconds, for model and judge together; `None` for none.
        max_chars: Characters in a message's text; a longer one is stopped and refused.
        kwargs: LangChain's own fields, such as `tags` and `callbacks`.

    Raises:
        ConfigurationError: If `inner` is not a chat model, `judge` is not a judge, or `timeout_s` or `max_chars` is not
            positive.
    """

    inner: BaseChatModel = Field(exclude=True)
    judge: Judge = Field(exclude=True)
    timeout_s: float | None = 120.0
    max_chars: int = MAX_DRAFT_CHARS
    bound: Runnable[LanguageModelInput, AIMessage] | None = Field(default=None, exclude=True, repr=False)
    declared: frozenset[str] = Field(default=frozenset(), exclude=True, repr=False)

    def __init__(
        self,
        inner: BaseChatModel,
        judge: Judge,
        *,
        timeout_s: float | None = 120.0,
        max_chars: int = MAX_DRAFT_CHARS,
        **kwargs: Any,
    ) -> None:
        if not isinstance(inner, BaseChatModel):
            raise ConfigurationError(
                f"a guarded chat needs a LangChain chat model; got {type(inner).__name__}.",
                hint="Create one with taleward.chat_model('openai:gpt-5-mini').",
            )
        check_judge("a guarded chat", judge)
        check_timeout(timeout_s)
        check_max_chars("max_chars", max_chars)
        # The model's own callbacks move to the guarded chat, where they see only what was released.
        if inner.callbacks:
            kwargs.setdefault("callbacks", inner.callbacks)
            inner = inner.model_copy(update={"callbacks": None})
        # LangChain's global cache does not know the judge: it would return what another judge released.
        kwargs.setdefault("cache", False)
        kwargs.update(inner=inner, judge=judge, timeout_s=timeout_s, max_chars=max_chars)
        super().__init__(**kwargs)

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Return the message or a refusal; text that was streamed to callbacks and then retracted is not in it."""
        return without_retracted(super().invoke(input, config, stop=stop, **kwargs))

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Async version of `invoke`."""
        return without_retracted(await super().ainvoke(input, config, stop=stop, **kwargs))

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return a guarded chat whose model has these tools."""
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        bound = self.inner.bind_tools(tools, **kwargs)
        return self.model_copy(update={"bound": bound, "declared": tool_words(tools)})

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a Runnable whose output are objects of a schema, judged by all the words in them.

        Args:
            schema: A Pydantic model, a TypedDict or a JSON schema, as the wrapped model takes it.
            include_raw: Whether to return a dict with `raw`, `parsed` and `parsing_error` instead of the object. A
                refusal then is the `raw` message, with the `Refused` exception as `parsing_error`.
            kwargs: Further arguments of the wrapped model's `with_structured_output`.

        Returns:
            A Runnable that raises `Refused` if the object does not pass, unless `include_raw` is set.
        """
        structured = self.inner.with_structured_output(schema, include_raw=True, **kwargs)
        declared = tool_words([schema])
        return RunnableLambda(
            partial(self._structured, structured, declared, include_raw),
            partial(self._astructured, structured, declared, include_raw),
            name="GuardedStructuredOutput",
        )

    def _structured(
        self, structured: Runnable[Any, Any], declared: frozenset[str], include_raw: bool, input: LanguageModelInput
    ) -> Any:
        output: dict[str, Any] = {}

        async def call_model(config: RunnableConfig) -> AIMessage:
            output.update(await run_in_thread(partial(structured.invoke, input, config)))
            raw: AIMessage = output["raw"]
            return raw

        response = GuardedResponse(
            self.judge, self.timeout_s, declared=declared, max_chars=self.max_chars, blocking=True
        )
        return _structured_result(run_sync(lambda: response.respond(call_model)), output, include_raw=include_raw)

    async def _astructured(
        self, structured: Runnable[Any, Any], declared: frozenset[str], include_raw: bool, input: LanguageModelInput
    ) -> Any:
        output: dict[str, Any] = {}

        async def call_model(config: RunnableConfig) -> AIMessage:
            output.update(await structured.ainvoke(input, config))
            raw: AIMessage = output["raw"]
            return raw

        chunk = await GuardedResponse(self.judge, self.timeout_s, declared=declared, max_chars=self.max_chars).respond(
            call_model
        )
        return _structured_result(chunk, output, include_raw=include_raw)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        def call_model(config: RunnableConfig) -> Awaitable[AIMessage]:
            return run_in_thread(partial(self._model.invoke, messages, config, **_options(stop, kwargs)))

        response = self._guarded_response(run_manager, blocking=True)
        return _chat_result(run_sync(lambda: response.respond(call_model)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        def call_model(config: RunnableConfig) -> Awaitable[AIMessage]:
            return self._model.ainvoke(messages, config, **_options(stop, kwargs))

        return _chat_result(await self._guarded_response(run_manager).respond(call_model))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        def stream_model(config: RunnableConfig) -> AsyncIterator[AIMessage]:
            return iterate_in_thread(self._model.stream(messages, config, **_options(stop, kwargs)))

        response = self._guarded_response(run_manager, blocking=True)
        for chunk in iterate_async(lambda: response.stream(stream_model)):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        def stream_model(config: RunnableConfig) -> AsyncIterator[AIMessage]:
            return self._model.astream(messages, config, **_options(stop, kwargs))

        async with aclosing(self._guarded_response(run_manager).stream(stream_model)) as chunks:
            async for chunk in chunks:
                yield ChatGenerationChunk(message=chunk)

    def _guarded_response(self, run: BaseRunManager | None, *, blocking: bool = False) -> GuardedResponse:
        return GuardedResponse(
            self.judge,
            self.timeout_s,
            declared=self.declared,
            model_name=self.model_name,
            max_chars=self.max_chars,
            run=run,
            blocking=blocking,
        )

    @property
    def _model(self) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bound or self.inner

    @property
    def model_name(self) -> str | None:
        """The wrapped model's name, from which LangChain infers its capabilities; `None` if it has none."""
        names = (getattr(self.inner, field, None) for field in ("model_name", "model", "model_id"))
        return next((name for name in names if isinstance(name, str)), None)

    @property
    def wrapped_model(self) -> BaseChatModel:
        """The model that is guarded. Options of a call that ask for more than text do not count as its abilities."""
        return self.inner

    def _resolve_model_profile(self) -> ModelProfile | None:
        return self.inner.profile

    @property
    def _llm_type(self) -> str:
        return f"guarded-{self.inner._llm_type}"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        judge = {"judge": self.judge.spec, "policy": self.judge.policy.id, "band": self.judge.band}
        return {**self.inner._identifying_params, **judge}

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return self.inner._get_invocation_params(stop=stop, **kwargs)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return self.inner._get_ls_params(stop=stop, **kwargs)

    def get_token_ids(self, text: str) -> list[int]:
        """Return the wrapped model's token ids of a text."""
        return self.inner.get_token_ids(text)


def _chat_result(chunk: AIMessageChunk) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message_chunk_to_message(chunk))])


def _options(stop: list[str] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
    return kwargs if stop is None else {**kwargs, "stop": stop}


def _structured_result(chunk: AIMessageChunk, output: dict[str, Any], *, include_raw: bool) -> Any:
    raw, parsed, error = message_chunk_to_message(chunk), output.get("parsed"), output.get("parsing_error")
    if is_refusal(raw):
        mark = raw.response_metadata[MARK]
        categories = ", ".join(mark.get("categories", ())) or "no category named"
        hint = "Use include_raw=True and show the content of the raw message, which is written for the child."
        parsed, error = None, Refused(f"the object was not released ({mark['reason']}): {categories}", hint=hint)
    if include_raw:
        return {"raw": raw, "parsed": parsed, "parsing_error": error}
    if error is not None:
        raise error
    return parsed
