"""A chat model that says nothing unjudged, on whatever path it is asked."""

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

from taleward.core.concurrency.event_loop import iterate_async
from taleward.core.concurrency.threads import iterate_in_thread, run_in_thread, run_sync
from taleward.core.errors import ConfigurationError, Refused
from taleward.moderation.chat.messages import MARK, is_refusal, names_in, without_retracted
from taleward.moderation.chat.response import GuardedResponse
from taleward.moderation.judges.base import Judge, check_judge, check_timeout


class GuardedChat(BaseChatModel):
    """Any LangChain chat model behind a judge: each word leaves after its verdict, or never.

    `invoke`, `ainvoke`, `batch` and `abatch` judge the whole answer before they give it. `stream`, `astream`,
    `stream_events` and `astream_events` give it sentence by sentence, each after its own verdict, and judge the whole
    once more before the end. Judged with it are the words in the arguments of tool calls, which leave at the end. A
    text that begins like JSON is given whole, and judged as it reads once it is parsed, too. Only text and tool calls
    leave: reasoning, images, audio, citations and server-side tool results are dropped, since no judge has seen them.

    What does not pass ends with a refusal: a message with words for a child as its content, the same words in
    `additional_kwargs["refusal"]` as OpenAI has it, `finish_reason` `content_filter`, and no tool calls.
    `response_metadata["taleward"]` of every answer tells `released`, and of the verdict `outcome`, `categories`,
    `judge`, `policy` and `band`; of a refusal also the `reason`, and in `retraction` the `start` and `end` of the
    streamed content that is to be withdrawn, where there is any. A judge that raises, hangs, answers nonsense or
    nothing lets nothing pass; an exception of the model reaches the caller.

    The wrapped model is called where nobody listens. Tracers see its words; other callbacks, also those that it was
    made with, see the judged ones. Answers are not cached here, as a verdict depends on the judge; the wrapped model
    may have its own cache.

    Args:
        inner: The chat model.
        judge: A judge.
        timeout_s: Wall-clock budget of one call, for model and judge together; `None` for none.
        kwargs: LangChain's own fields, such as `tags` and `callbacks`.

    Raises:
        ConfigurationError: `inner` is no chat model, `judge` is no judge, or the budget is out of range.
    """

    inner: BaseChatModel = Field(exclude=True)
    judge: Judge = Field(exclude=True)
    timeout_s: float | None = 120.0
    bound: Runnable[LanguageModelInput, AIMessage] | None = Field(default=None, exclude=True, repr=False)
    declared: frozenset[str] = Field(default=frozenset(), exclude=True, repr=False)

    def __init__(self, inner: BaseChatModel, judge: Judge, *, timeout_s: float | None = 120.0, **kwargs: Any) -> None:
        if not isinstance(inner, BaseChatModel):
            raise ConfigurationError(
                f"a guarded chat needs a LangChain chat model; got {type(inner).__name__}.",
                hint="Make one with taleward.chat_model('openai:gpt-5-mini').",
            )
        check_judge("a guarded chat", judge)
        check_timeout(timeout_s)
        if inner.callbacks:
            kwargs.setdefault("callbacks", inner.callbacks)
            inner = inner.model_copy(update={"callbacks": None})
        kwargs.setdefault("cache", False)
        kwargs.update(inner=inner, judge=judge, timeout_s=timeout_s)
        super().__init__(**kwargs)

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """The answer, or a refusal; of what streamed to listeners and was withdrawn it holds nothing."""
        return without_retracted(super().invoke(input, config, stop=stop, **kwargs))

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """As `invoke`, without blocking the event loop."""
        return without_retracted(await super().ainvoke(input, config, stop=stop, **kwargs))

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """A guarded chat whose model has these tools."""
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        bound = self.inner.bind_tools(tools, **kwargs)
        return self.model_copy(update={"bound": bound, "declared": names_in(tools)})

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """A Runnable to objects of a schema, which are judged by all the words in them.

        A refusal raises `Refused`; with `include_raw` it is the `raw` message, with the exception as `parsing_error`.
        Arguments are those of the wrapped model's `with_structured_output`.
        """
        structured = self.inner.with_structured_output(schema, include_raw=True, **kwargs)
        names = names_in([schema])
        return RunnableLambda(
            partial(self._structured, structured, names, include_raw),
            partial(self._astructured, structured, names, include_raw),
            name="GuardedStructuredOutput",
        )

    def _structured(
        self, structured: Runnable[Any, Any], names: frozenset[str], include_raw: bool, input: LanguageModelInput
    ) -> Any:
        found: dict[str, Any] = {}

        async def ask(config: RunnableConfig) -> AIMessage:
            found.update(await run_in_thread(partial(structured.invoke, input, config)))
            raw: AIMessage = found["raw"]
            return raw

        answering = GuardedResponse(self.judge, self.timeout_s, declared=names, blocking=True)
        return _object(run_sync(lambda: answering.whole(ask)), found, include_raw=include_raw)

    async def _astructured(
        self, structured: Runnable[Any, Any], names: frozenset[str], include_raw: bool, input: LanguageModelInput
    ) -> Any:
        found: dict[str, Any] = {}

        async def ask(config: RunnableConfig) -> AIMessage:
            found.update(await structured.ainvoke(input, config))
            raw: AIMessage = found["raw"]
            return raw

        end = await GuardedResponse(self.judge, self.timeout_s, declared=names).whole(ask)
        return _object(end, found, include_raw=include_raw)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        def ask(config: RunnableConfig) -> Awaitable[AIMessage]:
            return run_in_thread(partial(self._model.invoke, messages, config, **_options(stop, kwargs)))

        answering = self._answering(run_manager, blocking=True)
        return _result(run_sync(lambda: answering.whole(ask)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        def ask(config: RunnableConfig) -> Awaitable[AIMessage]:
            return self._model.ainvoke(messages, config, **_options(stop, kwargs))

        return _result(await self._answering(run_manager).whole(ask))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        def ask(config: RunnableConfig) -> AsyncIterator[AIMessage]:
            return iterate_in_thread(self._model.stream(messages, config, **_options(stop, kwargs)))

        answering = self._answering(run_manager, blocking=True)
        for chunk in iterate_async(lambda: answering.streamed(ask)):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        def ask(config: RunnableConfig) -> AsyncIterator[AIMessage]:
            return self._model.astream(messages, config, **_options(stop, kwargs))

        async with aclosing(self._answering(run_manager).streamed(ask)) as chunks:
            async for chunk in chunks:
                yield ChatGenerationChunk(message=chunk)

    def _answering(self, run: BaseRunManager | None, *, blocking: bool = False) -> GuardedResponse:
        return GuardedResponse(self.judge, self.timeout_s, declared=self.declared, run=run, blocking=blocking)

    @property
    def _model(self) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bound or self.inner

    @property
    def model_name(self) -> str | None:
        """The wrapped model's name, by which LangChain knows what it can do; `None` where it has none."""
        names = (getattr(self.inner, field, None) for field in ("model_name", "model", "model_id"))
        return next((name for name in names if isinstance(name, str)), None)

    @property
    def completion_only(self) -> bool:
        """Whether the wrapped model continues text instead of following instructions."""
        return bool(getattr(self.inner, "completion_only", False))

    @property
    def takes_requests(self) -> bool:
        """Whether the wrapped model answers a person's turn, where it follows no instructions."""
        return bool(getattr(self.inner, "takes_requests", False))

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
        """The wrapped model's token ids of a text."""
        return self.inner.get_token_ids(text)


def _result(end: AIMessageChunk) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message_chunk_to_message(end))])


def _options(stop: list[str] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
    return kwargs if stop is None else {**kwargs, "stop": stop}


def _object(end: AIMessageChunk, found: dict[str, Any], *, include_raw: bool) -> Any:
    raw, parsed, error = message_chunk_to_message(end), found.get("parsed"), found.get("parsing_error")
    if is_refusal(raw):
        mark = raw.response_metadata[MARK]
        named = ", ".join(mark.get("categories", ())) or "no category named"
        hint = "Ask with include_raw=True and show the raw message: its words are for the child."
        parsed, error = None, Refused(f"the object was not released ({mark['reason']}): {named}", hint=hint)
    if include_raw:
        return {"raw": raw, "parsed": parsed, "parsing_error": error}
    if error is not None:
        raise error
    return parsed
