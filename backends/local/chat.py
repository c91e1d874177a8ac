"""Chat models that run in this process, on any engine."""

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
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    MessageLikeRepresentation,
    convert_to_openai_messages,
)
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import Runnable, RunnableConfig, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel, Field, model_validator

from taleward.backends.engine.grammar import compile_grammar, forbid_extra_properties, response_schema
from taleward.backends.engine.likelihood import TextScores, likelihood
from taleward.backends.engine.request import GenerationRequest
from taleward.backends.engine.sampling import Sampling
from taleward.backends.local.language_model import LanguageModel
from taleward.backends.local.loading import is_loaded, load_model
from taleward.backends.local.messages import add_instructions, to_template_turn, tool_calls_as_text
from taleward.backends.local.questions import Question, QuestionResult, answer_questions
from taleward.backends.local.response import ChatRequest, ResponseBuilder
from taleward.backends.local.tools import describe_tools, resolve_tool_choice, tool_call_schema
from taleward.core.concurrency.batch_config import with_max_concurrency
from taleward.core.errors import ConfigurationError, ContextTooLong

# LangChain's default of a few threads per core would leave the engine's batches unfilled.
_BATCH_CONCURRENCY = 256
_SAMPLING_OPTIONS = ("temperature", "top_p", "top_k", "repetition_penalty", "no_repeat_ngram_size", "max_tokens")
_FORMAT_OPTIONS = ("grammar", "response_format", "tools", "tool_choice", "instruction", "template")
_CALL_OPTIONS = frozenset({*_SAMPLING_OPTIONS, "seed", "timeout", "logprobs", "top_logprobs", *_FORMAT_OPTIONS})


class LocalChat(BaseChatModel):
    """A causal language model that runs in this process, as a LangChain chat model.

    Messages go through the model's chat template. If the last message is the model's own (`AIMessage`), generation
    continues it. A model without a chat template is a completion model (`completion_only`): it continues the messages'
    texts, joined by blank lines.

    Concurrent calls share the model's batches, each with its own settings. Closing a stream, canceling a task or
    passing a deadline stops the computation and frees its place in the batch.

    Besides the settings below, a call accepts the following options, and `bind` sets any of them for good:

    * `stop`: stop sequences.
    * `logprobs=True`, `top_logprobs=N`: log-probabilities in OpenAI's format in `response_metadata["logprobs"]`.
    * `grammar`: what the answer must match: a Pydantic model, a JSON schema, a regular expression or a list of choices.
    * `response_format`: a schema in OpenAI's format.
    * `tools`, `tool_choice`: see `bind_tools`.
    * `template`: variables for the chat template, such as `{"enable_thinking": False}`.

    Attributes:
        spec: The model's spec, for example `hf:Qwen/Qwen3-0.6B`.
        path: A local folder, or the name of a repository on the Hugging Face Hub.
        engine: `onnx` runs the Llama family (Llama, SmolLM, Mistral, Qwen2, Qwen3) on the CPU, without torch;
            `transformers` runs every architecture, also on a GPU. `auto` uses `onnx` if it supports the model, there is
            no GPU, and neither `device` nor `load` is set.
        precision: `int8` is faster and needs a quarter of the memory, and its texts differ slightly, see
            `Graph.linear_int8`. Only the engine `onnx` supports it; `auto` then uses that engine.
        temperature: See `Sampling`. This and the next five default to the model's own generation settings.
        top_p: See `Sampling`.
        top_k: See `Sampling`.
        repetition_penalty: See `Sampling`.
        no_repeat_ngram_size: See `Sampling`.
        max_tokens: See `Sampling`.
        seed: The same seed and prompt give the same text. 0 is a seed; `None` draws one.
        timeout: Maximum seconds for an answer, including waiting; `None` sets no limit.
        device: A torch device such as `cuda`, for the engine `transformers`. `None` uses a GPU if there is one.
        load: Options of transformers' `from_pretrained`, such as `dtype`, `device_map` or `quantization_config`.

    Raises:
        ConfigurationError: If `device` or `load` is combined with the engine `onnx`, or `int8` with `transformers`.
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
    def _check_engine_options(self) -> Self:
        torch_options = {name: value for name in ("device", "load") if (value := getattr(self, name))}
        if torch_options and (self.engine == "onnx" or self.precision == "int8"):
            raise ConfigurationError(
                f"{self.spec} uses the engine 'onnx', which runs on the CPU and does not accept "
                f"{' or '.join(torch_options)}; got {torch_options}.",
                hint="For a GPU or options of from_pretrained, set engine='transformers' and precision='float32'.",
            )
        if self.engine == "transformers" and self.precision != "float32":
            raise ConfigurationError(
                f"the engine 'transformers' does not support precision {self.precision!r}; the engine 'onnx' does.",
                hint="To quantize, set load={'quantization_config': ...} or load={'dtype': 'bfloat16'}.",
            )
        return self

    @property
    def _llm_type(self) -> str:
        return "taleward-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "spec": self.spec,
            "precision": self.precision,
            **{name: getattr(self, name) for name in (*_SAMPLING_OPTIONS, "seed")},
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        provider, _, model = self.spec.partition(":")
        return LangSmithParams(ls_provider=provider, ls_model_name=model, ls_model_type="chat")

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        settings = {**asdict(self._sampling(kwargs)), "seed": kwargs.get("seed", self.seed)}
        return {**super()._get_invocation_params(stop, **kwargs), **settings}

    @property
    def completion_only(self) -> bool:
        """Whether the model continues text or performs one fixed task, instead of following instructions.

        True for a model without a chat template, and for one whose `config.json` says `"follows_instructions": false`.
        """
        return not self._loaded.follows_instructions

    @property
    def takes_requests(self) -> bool:
        """Whether the model answers a user message, through its chat template, instead of continuing it."""
        return self._loaded.chat_template

    @property
    def story_prompts(self) -> bool:
        """Whether the model was tuned on prompts that name an age band and ask for a story."""
        return self._loaded.story_prompts

    @property
    def context_length(self) -> int:
        """Maximum number of tokens in prompt and answer together."""
        return self._loaded.context_length

    def likelihood(
        self, texts: Sequence[str], *, context: int | None = None, stride: int | None = None
    ) -> list[TextScores]:
        """The log-probability of every token of each text; see `taleward.backends.engine.likelihood`."""
        return likelihood(self._loaded, texts, context=context, stride=stride)

    def get_num_tokens(self, text: str) -> int:
        """Number of tokens in a text, without begin and end tokens."""
        return len(self._loaded.encode(text))

    @property
    def _loaded(self) -> LanguageModel:
        # Not kept on the instance: chat models stay cheap to copy and serialize, a fork loads its own, and all chat
        # models on one path share one engine.
        return load_model(*self._load_arguments)

    @property
    def _load_arguments(self) -> tuple[str, str, str, str | None, dict[str, Any]]:
        return self.path, self.engine, self.precision, self.device, self.load

    async def aload(self) -> None:
        """Load the model, unless it is loaded already, without blocking the event loop."""
        if not is_loaded(*self._load_arguments):
            await asyncio.to_thread(lambda: self._loaded)

    async def agenerate(self, messages: list[list[BaseMessage]], *args: Any, **kwargs: Any) -> LLMResult:
        """As LangChain's, but the model is loaded first: LangChain reads its settings on the event loop."""
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
        """As LangChain's, but the model is loaded first: LangChain reads its settings on the event loop."""
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
        """Give the model tools to call.

        Args:
            tools: Functions, Pydantic models, LangChain tools, or tool definitions in OpenAI's format.
            tool_choice: `None` or "auto" lets the model decide; "any" requires a call, and a tool's name requires that
                call. A grammar enforces required calls, so they always parse.
            kwargs: Further options of a call.

        Raises:
            UnknownName: If `tool_choice` is not the name of a tool.
        """
        definitions = [convert_to_openai_tool(tool) for tool in tools]
        resolve_tool_choice(definitions, tool_choice)
        return self.bind(tools=definitions, tool_choice=tool_choice, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Literal["json_schema", "json_mode", "function_calling"] = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Make the model answer in a schema. A grammar enforces it, so answers always parse.

        The schema is also added to the prompt of a model that follows instructions.

        Args:
            schema: A Pydantic model, which gives its instances; or a TypedDict or JSON schema, which give dicts.
            include_raw: Return `{"raw": message, "parsed": object, "parsing_error": None}`.
            method: Accepted for compatibility with other LangChain models; all methods are the same here.
            strict: As `method`.
            kwargs: Further options of a call.
        """
        parser: BaseOutputParser[Any] = JsonOutputParser()
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            json_schema, parser = (
                forbid_extra_properties(schema.model_json_schema()),
                PydanticOutputParser(pydantic_object=schema),
            )
        else:
            json_schema = forbid_extra_properties(convert_to_json_schema(schema))
        structured = self.bind(
            grammar=json_schema,
            instruction=_schema_instruction(json_schema),
            ls_structured_output_format={"kwargs": {"method": method}, "schema": json_schema},
            **kwargs,
        )
        if not include_raw:
            return structured | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=structured) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    def decide(
        self, text: str | Sequence[MessageLikeRepresentation], questions: Mapping[str, Question | str]
    ) -> dict[str, QuestionResult]:
        """Answer questions about a text, with the probability of each answer; nothing is generated.

        The text is read once for all questions. A question given as a string is a yes-no question:
        `model.decide(story, {"scary": "Is the story frightening?"})["scary"].yes`.

        Args:
            text: A text, or messages.
            questions: `YesNo`, `MultipleChoice` and `Scale`, by names of your choice.

        Raises:
            ConfigurationError: If there are no questions.
            ContextTooLong: If text and question are longer than the model's context.
        """
        return answer_questions(self._loaded, text, questions)

    async def adecide(
        self, text: str | Sequence[MessageLikeRepresentation], questions: Mapping[str, Question | str]
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
        """Answer many inputs in shared batches; `max_concurrency` bounds how many at a time, 256 by default."""
        configs = with_max_concurrency(config, len(inputs), _BATCH_CONCURRENCY)
        return super().batch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        model = self._loaded
        request = self._chat_request(model, messages, stop, kwargs)
        if not stop:
            return ResponseBuilder(request, model.engine.write(request.generation), model.decode).result()
        with model.engine.open(request.generation) as sequence:
            response = ResponseBuilder(request, sequence, model.decode)
            for token in sequence:
                response.push(token)
                if response.stopped:
                    break
        # `result` reads the sequence from its first token, which takes a builder that has seen none.
        return ResponseBuilder(request, sequence, model.decode).result()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        model = self._loaded
        request = self._chat_request(model, messages, stop, kwargs)
        with model.engine.open(request.generation) as sequence:
            response = ResponseBuilder(request, sequence, model.decode)
            for token in sequence:
                if chunk := response.push(token):
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
                if response.stopped:
                    break
        for chunk in response.finish():
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
        model, request = await self._achat_request(messages, stop, kwargs)
        if not stop:
            return ResponseBuilder(request, await model.engine.awrite(request.generation), model.decode).result()
        async with await model.engine.aopen(request.generation) as sequence:
            response = ResponseBuilder(request, sequence, model.decode)
            async for token in sequence:
                response.push(token)
                if response.stopped:
                    break
        return ResponseBuilder(request, sequence, model.decode).result()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        model, request = await self._achat_request(messages, stop, kwargs)
        async with await model.engine.aopen(request.generation) as sequence:
            response = ResponseBuilder(request, sequence, model.decode)
            async for token in sequence:
                if chunk := response.push(token):
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
                if response.stopped:
                    break
        for chunk in response.finish():
            if run_manager and chunk.text:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _achat_request(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> tuple[LanguageModel, ChatRequest]:
        """As `_chat_request`, in a thread: loading, long prompts and grammars would block the event loop."""

        def make() -> tuple[LanguageModel, ChatRequest]:
            return (model := self._loaded), self._chat_request(model, messages, stop, options)

        return await asyncio.to_thread(make)

    def _chat_request(
        self, model: LanguageModel, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> ChatRequest:
        if unknown := sorted(set(options) - _CALL_OPTIONS):
            accepted = ", ".join(sorted(_CALL_OPTIONS))
            raise ConfigurationError(f"{self.spec} does not accept {unknown}; it accepts {accepted} and stop.")
        timeout = options["timeout"] if options.get("timeout") is not None else self.timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        tools, is_call_required = resolve_tool_choice(options.get("tools") or (), options.get("tool_choice"))
        schema = response_schema(options.get("response_format"))
        if schema is not None:
            options = {"grammar": schema, "instruction": _schema_instruction(schema), **options}
        grammar = tool_call_schema(tools) if is_call_required else options.get("grammar")
        prompt = self._prompt_tokens(model, messages, tools, options)
        available = model.context_length - len(prompt)
        if available < 1:
            raise ContextTooLong(
                f"the prompt has {len(prompt)} tokens, and the context of {self.spec} is {model.context_length} tokens "
                "for prompt and answer.",
                hint="Shorten the prompt, or use a model with a longer context.",
            )
        sampling = self._sampling(options)
        seed = options["seed"] if options.get("seed") is not None else self.seed
        top_logprobs = options.get("top_logprobs") or 0
        for name, value in (("seed", seed or 0), ("top_logprobs", top_logprobs)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ConfigurationError(f"{name} must be a non-negative integer; got {value!r}.")
        generation = GenerationRequest(
            prompt,
            sampling,
            seed,
            min(available, sampling.max_tokens),
            grammar=None if grammar is None else compile_grammar(grammar),
            logprobs=top_logprobs if options.get("logprobs") or top_logprobs else None,
            deadline=deadline,
        )
        return ChatRequest(
            self.spec,
            generation,
            stop_sequences=(stop,) if isinstance(stop, str) else tuple(stop or ()),
            tool_names=frozenset(tool["function"]["name"] for tool in tools),
            is_call_required=is_call_required,
            parses_json=schema is not None and not is_call_required,
        )

    def _prompt_tokens(
        self,
        model: LanguageModel,
        messages: list[BaseMessage],
        tools: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
    ) -> list[int]:
        turns = [to_template_turn(message) for message in convert_to_openai_messages(messages, text_format="string")]
        template = dict(options.get("template") or {})
        if messages and isinstance(messages[-1], AIMessage) and not messages[-1].tool_calls:
            # Without it, the template would close the model's turn and open a new one.
            template["continue_final_message"] = True
        instruction = options.get("instruction")
        instructions = [instruction] if instruction and model.follows_instructions else []
        if tools and model.takes_tools:
            template["tools"] = list(tools)
        elif tools:
            turns = [tool_calls_as_text(turn) for turn in turns]
            if model.follows_instructions:
                instructions.append(describe_tools(tools))
        return model.prompt(add_instructions(turns, instructions), **template)

    def _sampling(self, options: Mapping[str, Any]) -> Sampling:
        defaults = self._loaded.defaults
        values: dict[str, Any] = {}
        for name in _SAMPLING_OPTIONS:
            candidates = (options.get(name), getattr(self, name), getattr(defaults, name))
            values[name] = next((value for value in candidates if value is not None), None)
        return Sampling(**values)


def _schema_instruction(schema: Mapping[str, Any]) -> str:
    return f"Answer with a JSON object that follows this schema: {json.dumps(schema)}"
