"""StoryChain: write a story from the values of a prompt template, or from a request in free words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeAlias

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig

from taleward.backends.capabilities import capabilities
from taleward.backends.chat_models import chat_model
from taleward.backends.local.chat import LocalChat
from taleward.chains.model_kind import model_name
from taleward.chains.story_prompts import free_request, opening_request, storyteller_request, value_list
from taleward.chains.template import Template, load_template
from taleward.core.concurrency.batch_config import with_max_concurrency
from taleward.core.errors import InvalidInputs
from taleward.core.policy import Policy
from taleward.moderation.guard.revision_context import Revision, revision_of
from taleward.moderation.policies.load import load_policy

StoryInput: TypeAlias = Mapping[str, Any] | str
"""The values of a template, or a request in free words."""


class StoryChain(Runnable[StoryInput, str]):
    """A Runnable that writes a story. The story is unmoderated: see `Guard`.

    From a mapping, it writes a story with the values of the prompt template. A chat model is instructed to write the
    story for the age band, with the template's guidance for it. The embedded storyteller was tuned on prompts that name
    the age band and list the template's values. Another model that takes requests and no instructions, such as
    `embedded:storyteller-mini`, gets the template's `request`, or its `text` if it has none; it does not know age
    bands. A completion model continues the filled-in opening for the band, which is then the beginning of the story.

    From a string, such as "a story about a fox who finds a key", it writes the story that the request asks for, without
    a template. A completion model takes no requests; `taleward.chains.values_from_request` finds values in one.

    Args:
        model: A model spec, or a LangChain chat model.
        template: A template's name, or a `Template`.
        templates: A folder with your own templates.
        policy: The policy whose age band says how to write: a `Policy`, or the name or path of one.
        band: The age band to write for.
        seed: Makes runs repeatable with models that support it: the same values then give the same story. Each further
            attempt of a guard adds 1. 0 is a valid seed.
        call_options: Options for each call of the model, such as `temperature` or `stop`; unlike `options` they go
            with a model that exists already.
        options: Options for the model, see `chat_model`.

    Attributes:
        continues: Always True: tells a streaming guard that the chain can continue from the text released so far.

    Raises:
        ConfigurationError: If the model, template, policy or band is unknown or invalid.
    """

    continues = True

    def __init__(
        self,
        model: str | BaseChatModel,
        template: str | Template = "adventure",
        *,
        templates: str | Path | None = None,
        policy: Policy | str = "kids",
        band: str = "6-8",
        seed: int | None = None,
        call_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.model = chat_model(model, **options)
        self.template = load_template(template, templates)
        self.policy = load_policy(policy) if isinstance(policy, str) else policy
        self._band_rules = self.policy.band(band)
        self.band = band
        self.seed = seed
        self.call_options = dict(call_options or {})

    @property
    def display_settings(self) -> dict[str, str]:
        """The settings that a notebook shows for a guard with this writer, by name."""
        seed = {} if self.seed is None else {"seed": str(self.seed)}
        template = f"{self.template.name}@{self.template.version}"
        return {"model": model_name(self.model), "template": template, "band": self.band, **seed}

    def invoke(self, input: StoryInput, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """Write a story.

        Raises:
            InvalidInputs: If the values do not fit the template, or a request is blank or more than the model can take.
        """
        return self._call_with_config(self._write, input, self._with_metadata(input, config), run_type="chain")

    async def ainvoke(self, input: StoryInput, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """Async version of `invoke`."""
        return await self._acall_with_config(self._awrite, input, self._with_metadata(input, config), run_type="chain")

    def batch(
        self,
        inputs: list[StoryInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Write several stories; `max_concurrency` limits how many run at a time, 64 by default."""
        configs = with_max_concurrency(config, len(inputs))
        return super().batch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    def stream(self, input: StoryInput, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[str]:
        """Stream a story; the joined pieces are what `invoke` returns. Nothing is judged here."""
        yield from self._transform_stream_with_config(
            iter([input]), self._stream_pieces, self._with_metadata(input, config), run_type="chain"
        )

    async def astream(
        self, input: StoryInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        """Async version of `stream`."""

        async def single_input() -> AsyncIterator[StoryInput]:
            yield input

        stream: Any = self._atransform_stream_with_config(
            single_input(), self._astream_pieces, self._with_metadata(input, config), run_type="chain"
        )
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                yield piece

    def messages_for(self, input: StoryInput) -> list[BaseMessage]:
        """Return what the model is sent for a first draft.

        Raises:
            InvalidInputs: If the values do not fit the template, or a request is blank or more than the model can take.
        """
        return list(self._model_call(input, {}).messages)

    def _with_metadata(self, input: StoryInput, config: RunnableConfig | None) -> RunnableConfig:
        config = config or {}
        if isinstance(input, str):
            return config  # no template is used
        metadata = {"prompt_name": self.template.name, "prompt_version": self.template.version}
        return {**config, "metadata": {**(config.get("metadata") or {}), **metadata}}

    def _write(self, input: StoryInput, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> str:
        call = self._model_call(input, config)
        return call.complete(self.model.invoke(call.messages, config, **call.options).text)

    async def _awrite(
        self, input: StoryInput, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> str:
        await self._ensure_loaded()
        call = self._model_call(input, config)
        return call.complete((await self.model.ainvoke(call.messages, config, **call.options)).text)

    def _stream_pieces(
        self, inputs: Iterator[StoryInput], run_manager: CallbackManagerForChainRun, config: RunnableConfig
    ) -> Iterator[str]:
        call = self._model_call(next(inputs), config)
        if call.lead:
            yield call.lead
        for chunk in self.model.stream(call.messages, config, **call.options):
            if piece := call.push(chunk.text):
                yield piece

    async def _astream_pieces(
        self,
        inputs: AsyncIterator[StoryInput],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
    ) -> AsyncIterator[str]:
        values = await anext(inputs)
        await self._ensure_loaded()
        call = self._model_call(values, config)
        if call.lead:
            yield call.lead
        stream: Any = self.model.astream(call.messages, config, **call.options)
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                if piece := call.push(chunk.text):
                    yield piece

    async def _ensure_loaded(self) -> None:
        # Reading `completion_only` of a local model loads it, which would block the event loop.
        if isinstance(self.model, LocalChat):
            await self.model.aload()

    def _model_call(self, input: StoryInput, config: RunnableConfig) -> _StoryCall:
        revision, can = revision_of(config) or Revision(attempt=1), capabilities(self.model)
        is_request = isinstance(input, str)
        opening = self._checked_request(input) if isinstance(input, str) else self.template.render(input, self.band)
        # With the same seed a model without instructions would write the rejected draft again.
        seed = {} if self.seed is None else {"seed": self.seed + revision.attempt - 1}
        options: dict[str, Any] = {**self.call_options, **seed}
        if can.follows_instructions:
            request = free_request(opening, revision) if is_request else opening_request(opening, revision)
            messages: list[BaseMessage] = [SystemMessage(self._system_prompt()), HumanMessage(request)]
            return _StoryCall(messages, options, lead="", preceding=revision.released)
        released, takes_requests = revision.released.rstrip(), can.takes_requests
        if revision.closing:
            # A completion model cannot be told to stop; these words make it write an ending.
            lead = _join(revision.released, "In the end,")
        else:
            lead = "" if released or takes_requests else opening
        if can.story_prompts:
            request = opening if isinstance(input, str) else value_list(self.template.checked_values(input))
            asked = storyteller_request(request, self.band)
        else:
            asked = _as_sentence(opening) if isinstance(input, str) else self.template.render_request(input)
        messages = [HumanMessage(asked)] if takes_requests else []
        if released + lead:
            messages.append(AIMessage(released + lead))
        return _StoryCall(messages, options, lead=lead, preceding=revision.released + lead)

    def _checked_request(self, request: str) -> str:
        """Return a request in free words, without space around it.

        Raises:
            InvalidInputs: If it is blank, or the model takes no requests.
        """
        if not request.strip():
            hint = "Say what the story is about, for example: a story about a fox who finds a key."
            raise InvalidInputs(None, ["the request is blank"], hint=hint)
        if not capabilities(self.model).takes_requests:
            raise InvalidInputs(
                None,
                [f"{model_name(self.model)} only continues text and takes no request"],
                hint="Pass values of the template; taleward.chains.values_from_request finds some in a request.",
            )
        return request.strip()

    def _system_prompt(self) -> str:
        youngest, oldest = self._band_rules.ages
        guidance = f"{text}\n" if (text := self.template.guidance_for(self.band)) else ""
        return (
            f"You write stories for children of {youngest} to {oldest} years. {self._band_rules.writing}\n"
            f"{guidance}Reply with the story only: no title, and no remarks before or after it."
        )


class _StoryCall:
    """One call of the model, and how its output joins the text before it.

    Args:
        messages: The messages to send.
        options: Options for the call.
        lead: Words of the story that come before the model's own.
        preceding: All text before the model's own words.
    """

    def __init__(
        self, messages: Sequence[BaseMessage], options: Mapping[str, Any], *, lead: str, preceding: str
    ) -> None:
        self.messages, self.options, self.lead = messages, options, lead
        self._preceding = preceding
        self._started = False
        self._pending_space = ""  # Whitespace is held back until a word follows it.

    def complete(self, response: str) -> str:
        """Return the story from a response that is not streamed."""
        return self.lead + self.push(response)

    def push(self, text: str) -> str:
        """Add a piece of the response and return what can be released: joined to the text before, no trailing space."""
        text = self._pending_space + text
        piece = text.rstrip()
        if not piece:
            self._pending_space = text
            return ""
        self._pending_space = text[len(piece) :]
        if self._started:
            return piece
        self._started = True
        return _join(self._preceding, piece)


def _join(preceding: str, text: str) -> str:
    """Return `text` with exactly one gap between it and `preceding`, or none at the beginning."""
    if not preceding or preceding[-1].isspace():
        return text.lstrip()
    return text if text[0].isspace() else f" {text}"


def _as_sentence(request: str) -> str:
    """Return a request with a capital letter and a full stop, as the embedded storyteller has learned them."""
    return request[0].upper() + request[1:] + ("" if request[-1] in '.!?"”' else ".")
