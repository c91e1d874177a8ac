"""Chat models that run in this process, whatever runs them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict
from operator import itemgetter
from typing import Any, Literal, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import Runnable, RunnableConfig, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel, Field, model_validator

from taleward.backends.engine.grammar import closed, compile_grammar, response_schema
from taleward.backends.engine.likelihood import TextScores, likelihood
from taleward.backends.engine.request import GenerationRequest
from taleward.backends.engine.sampling import Sampling
from taleward.backends.local.language_model import LanguageModel
from taleward.backends.local.loading import is_loaded, load
from taleward.backends.local.messages import instructed, plain, turn
from taleward.backends.local.questions import Question, QuestionResult, answered
from taleward.backends.local.response import ChatRequest, ResponseBuilder
from taleward.backends.local.tools import call_schema, chosen_tools, tools_told
from taleward.core.concurrency.batch_config import with_max_concurrency
from taleward.core.errors import ConfigurationError, ContextTooLong

_AT_ONCE = 256
_SAMPLING = ("temperature", "top_p", "top_k", "repetition_penalty", "no_repeat_ngram_size", "max_tokens")
_CALL = ("grammar", "response_format", "tools", "tool_choice", "instruction", "template")
_OPTIONS = frozenset({*_SAMPLING, "seed", "timeout", "logprobs", "top_logprobs", *_CALL})


class LocalChat(BaseChatModel):
    """A causal language model that runs in this process, as a LangChain chat model.

    A model with a chat template gets the messages through it; where the last one is the model's own (`AIMessage`), it
    goes on from there. One without is a completion model (`completion_only`): it continues the messages' texts, joined
    by empty lines.

    Callers at the same time share the model's batches, each with its own settings. What a call does not need any more
    is not computed: closing a stream, cancelling a task and a deadline that passes free its place.

    Beside the settings below, a call takes `stop`; `logprobs=True` and `top_logprobs=N`, which come in OpenAI's form in
    `response_metadata["logprobs"]`; `grammar`, a Pydantic model, a JSON schema, a regular expression or a list of
    choices that the answer must follow, or a schema in OpenAI's form as `response_format`; `tools` and `tool_choice`,
    see `bind_tools`; and `template`, what the chat template takes, such as `{"enable_thinking": False}`. `bind` sets
    any of them for good.

    Attributes:
        spec: What the model is called, for example `hf:Qwen/Qwen3-0.6B`.
        path: A local folder, or the name of a repository on the Hugging Face hub.
        engine: What runs it: `onnx`, models of the Llama family (Llama, SmolLM, Mistral, Qwen2, Qwen3) on a CPU,
            without torch; `transformers`, every architecture, and a GPU; `auto` takes the first where it can and there
            is no GPU, and where neither `device` nor `load` is given.
        precision: `int8` is faster and takes a quarter of the memory, and its texts are not quite the same, see
            `Graph.linear_int8`; it is one of the engine `onnx`, which `auto` then takes.
        temperature: See `Sampling`; this and the next five default to the model's own generation settings.
        top_p: See `Sampling`.
        top_k: See `Sampling`.
        repetition_penalty: See `Sampling`.
        no_repeat_ngram_size: See `Sampling`.
        max_tokens: See `Sampling`.
        seed: With the same seed the same prompt gives the same text; 0 is a seed, `None` draws one.
        timeout: Seconds that an answer may take, waiting included; `None` waits as long as it takes.
        device: A torch device such as `cuda` for the engine `transformers`; `None` takes a GPU where there is one.
        load: Options of transformers' `from_pretrained`: `dtype`, `device_map`, `quantization_config` and so on.
    """

    spec: str
    path: str
    engine: Literal["auto", "onnx", "transformers"] = "auto"
    precision: Literal["float32", "int8"] = "float32"
    temperature: float | None = Field(default=None, ge=0.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    top_k: int | None = Field(default=None, ge=0)
    repetition_penalty: float | None = Field(default=None, gt=0.0)
    no_repeat_ngram_size: int | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=0)
    timeout: float | None = Field(default=None, gt=0.0)
    device: str | None = None
    load: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_its_engine(self) -> Self:
        given = {name: value for name in ("device", "load") if (value := getattr(self, name))}
        if given and (self.engine == "onnx" or self.precision == "int8"):
            raise ConfigurationError(
                f"{self.spec} would run on the engine 'onnx', on the CPU, which takes no {' and no '.join(given)}; got "
                f"{given}.",
                hint="For a GPU, or options of from_pretrained, take engine='transformers' and precision='float32'.",
            )
        if self.engine == "transformers" and self.precision != "float32":
            raise ConfigurationError(
                f"the engine 'transformers' has no precision {self.precision!r}, which is one of the engine 'onnx'.",
                hint="For fewer bits there, give load={'quantization_config': ...} or load={'dtype': 'bfloat16'}.",
            )
        return self

    @property
    def _llm_type(self) -> str:
        return "taleward-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"spec": self.spec, "precision": self.precision, **{k: getattr(self, k) for k in (*_SAMPLING, "seed")}}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        provider, _, model = self.spec.partition(":")
        return LangSmithParams(ls_provider=provider, ls_model_name=model, ls_model_type="chat")

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        chosen = {**asdict(self._sampling(kwargs)), "seed": kwargs.get("seed", self.seed)}
        return {**super()._get_invocation_params(stop, **kwargs), **chosen}

    @property
    def completion_only(self) -> bool:
        """Whether the model continues text, or answers requests in its one way, instead of following instructions.

        So does one without a chat template, and one whose `config.json` says `"follows_instructions": false`.
        """
        return not self._loaded.follows_instructions

    @property
    def takes_requests(self) -> bool:
        """Whether a person's turn is a request to answer, through the chat template, and not text to continue."""
        return self._loaded.chat_template

    @property
    def context_length(self) -> int:
        """Tokens that prompt and answer have together."""
        return self._loaded.context_length

    def likelihood(
        self, texts: Sequence[str], *, context: int | None = None, stride: int | None = None
    ) -> list[TextScores]:
        """The log-probability of every token of each text, see `taleward.backends.engine.likelihood`."""
        return likelihood(self._loaded, texts, context=context, stride=stride)

    def get_num_tokens(self, text: str) -> int:
        """Tokens of a text, without the tokens that begin and end one."""
        return len(self._loaded.encode(text))

    @property
    def _loaded(self) -> LanguageModel:
        return load(*self._named)

    @property
    def _named(self) -> tuple[str, str, str, str | None, dict[str, Any]]:
        return self.path, self.engine, self.precision, self.device, self.load

    async def aload(self) -> None:
        """Load the model where it is not here yet, without blocking the event loop."""
        if not is_loaded(*self._named):
            await asyncio.to_thread(lambda: self._loaded)

    async def agenerate(self, messages: list[list[BaseMessage]], *args: Any, **kwargs: Any) -> LLMResult:
        """As LangChain's, which asks for the model's settings on the event loop."""
        await self.aload()
        return await super().agenerate(messages, *args, **kwargs)

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """As LangChain's, which asks for the model's settings on the event loop."""
        await self.aload()
        stream: Any = super().astream(input, config, stop=stop, **kwargs)
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                yield chunk

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools that it may call.

        Args:
            tools: Functions, Pydantic models, LangChain tools, or OpenAI's form.
            tool_choice: `None` or "auto" leaves it to the model; "any" makes it call one, and a name that one: such
                calls are forced by a grammar and always parse.
            kwargs: Further options of a call.
        """
        told = [convert_to_openai_tool(tool) for tool in tools]
        chosen_tools(told, tool_choice)
        return self.bind(tools=told, tool_choice=tool_choice, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Literal["json_schema", "json_mode", "function_calling"] = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """The model with answers of a schema, which a grammar forces: they always parse.

        A model with a chat template is told the schema; a completion model is not.

        Args:
            schema: A Pydantic model, whose objects come out; or a TypedDict or JSON schema, for which dicts do.
            include_raw: Give `{"raw": message, "parsed": object, "parsing_error": None}`.
            method: Taken for what LangChain's other models do; here all are the same.
            strict: As `method`.
            kwargs: Further options of a call.
        """
        parser: BaseOutputParser[Any] = JsonOutputParser()
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            form, parser = closed(schema.model_json_schema()), PydanticOutputParser(pydantic_object=schema)
        else:
            form = closed(convert_to_json_schema(schema))
        answers = self.bind(
            grammar=form,
            instruction=_in_words(form),
            ls_structured_output_format={"kwargs": {"method": method}, "schema": form},
            **kwargs,
        )
        if not include_raw:
            return answers | parser
        read = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=answers) | read.with_fallbacks([failed], exception_key="parsing_error")

    def decide(
        self, text: str | Sequence[BaseMessage], questions: Mapping[str, Question | str]
    ) -> dict[str, QuestionResult]:
        """Answers to questions about a text, each with its probabilities; nothing is written.

        The text is read once for all questions. A question that is a plain text is answered with yes or no:
        `model.decide(story, {"scary": "Is the story frightening?"})["scary"].yes`.

        Args:
            text: A text, or messages.
            questions: `YesNo`, `Choice` and `Scale`, by names of one's own.
        """
        return answered(self._loaded, text, questions)

    async def adecide(
        self, text: str | Sequence[BaseMessage], questions: Mapping[str, Question | str]
    ) -> dict[str, QuestionResult]:
        """As `decide`, without blocking the event loop."""
        return await asyncio.to_thread(self.decide, text, questions)

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answers to all of them, written together; `max_concurrency` bounds how many at once, 256 by default."""
        configs = with_max_concurrency(config, len(inputs), _AT_ONCE)
        return super().batch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        model = self._loaded
        wish = self._wish(model, messages, stop, kwargs)
        if not stop:
            return ResponseBuilder(wish, model.engine.write(wish.order), model.decode).result()
        with model.engine.open(wish.order) as text:
            answer = ResponseBuilder(wish, text, model.decode)
            for token in text:
                answer.push(token)
                if answer.stopped:
                    break
        return ResponseBuilder(wish, text, model.decode).result()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        model = self._loaded
        wish = self._wish(model, messages, stop, kwargs)
        with model.engine.open(wish.order) as text:
            answer = ResponseBuilder(wish, text, model.decode)
            for token in text:
                if chunk := answer.push(token):
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
                if answer.stopped:
                    break
        for chunk in answer.finish():
            if run_manager and chunk.text:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        model, wish = await self._awish(messages, stop, kwargs)
        if not stop:
            return ResponseBuilder(wish, await model.engine.awrite(wish.order), model.decode).result()
        async with await model.engine.aopen(wish.order) as text:
            answer = ResponseBuilder(wish, text, model.decode)
            async for token in text:
                answer.push(token)
                if answer.stopped:
                    break
        return ResponseBuilder(wish, text, model.decode).result()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        model, wish = await self._awish(messages, stop, kwargs)
        async with await model.engine.aopen(wish.order) as text:
            answer = ResponseBuilder(wish, text, model.decode)
            async for token in text:
                if chunk := answer.push(token):
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
                if answer.stopped:
                    break
        for chunk in answer.finish():
            if run_manager and chunk.text:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _awish(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> tuple[LanguageModel, ChatRequest]:
        """As `_wish`; loading, long prompts and grammars do not hold the event loop up."""

        def make() -> tuple[LanguageModel, ChatRequest]:
            return (model := self._loaded), self._wish(model, messages, stop, given)

        return await asyncio.to_thread(make)

    def _wish(
        self, model: LanguageModel, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> ChatRequest:
        unknown = sorted(set(given) - _OPTIONS)
        if unknown:
            taken = ", ".join(sorted(_OPTIONS))
            raise ConfigurationError(f"{self.spec} does not take {unknown}; it takes {taken} and stop.")
        timeout = given["timeout"] if given.get("timeout") is not None else self.timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        tools, forced = chosen_tools(given.get("tools") or (), given.get("tool_choice"))
        form = response_schema(given.get("response_format"))
        if form is not None:
            given = {"grammar": form, "instruction": _in_words(form), **given}
        grammar = call_schema(tools) if forced else given.get("grammar")
        prompt = self._prompt(model, messages, tools, given)
        room = model.context_length - len(prompt)
        if room < 1:
            raise ContextTooLong(
                f"the prompt has {len(prompt)} tokens; {self.spec} holds {model.context_length} in all.",
                hint="Shorten the prompt, or take a model with a longer context.",
            )
        sampling = self._sampling(given)
        seed = given["seed"] if given.get("seed") is not None else self.seed
        likeliest = given.get("top_logprobs") or 0
        for name, value in (("seed", seed or 0), ("top_logprobs", likeliest)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ConfigurationError(f"{name} is a whole number from 0; got {value!r}.")
        order = GenerationRequest(
            prompt,
            sampling,
            seed,
            min(room, sampling.max_tokens),
            grammar=None if grammar is None else compile_grammar(grammar),
            logprobs=likeliest if given.get("logprobs") or likeliest else None,
            deadline=deadline,
        )
        stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
        names = frozenset(tool["function"]["name"] for tool in tools)
        return ChatRequest(self.spec, order, stops, names, forced, parsed=form is not None and not forced)

    def _prompt(
        self,
        model: LanguageModel,
        messages: list[BaseMessage],
        tools: Sequence[Mapping[str, Any]],
        given: Mapping[str, Any],
    ) -> list[int]:
        turns = [turn(told) for told in convert_to_openai_messages(messages, text_format="string")]
        template = dict(given.get("template") or {})
        if messages and isinstance(messages[-1], AIMessage) and not messages[-1].tool_calls:
            template["continue_final_message"] = True
        told = [given["instruction"]] if given.get("instruction") and model.follows_instructions else []
        if tools and model.takes_tools:
            template["tools"] = list(tools)
        elif tools:
            turns = [plain(each) for each in turns]
            if model.follows_instructions:
                told.append(tools_told(tools))
        return model.prompt(instructed(turns, told), **template)

    def _sampling(self, given: Mapping[str, Any]) -> Sampling:
        defaults = self._loaded.defaults
        chosen = {name: given.get(name) if given.get(name) is not None else getattr(self, name) for name in _SAMPLING}
        return Sampling(**{k: v if v is not None else getattr(defaults, k) for k, v in chosen.items()})


def _in_words(form: Mapping[str, Any]) -> str:
    return f"Answer with a JSON object that follows this schema: {json.dumps(form)}"
