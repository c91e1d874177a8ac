"""Chat models that run in this process, whatever runs them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list
from pydantic import Field

from taleward.backends.sampling import Sampling
from taleward.core.errors import BackendError, ConfigurationError

_AT_ONCE = 256
_OPTIONS = frozenset({"temperature", "top_p", "repetition_penalty", "max_tokens", "seed"})


class LanguageModel(Protocol):
    """A loaded model with its tokenizer; safe to use from several threads at once.

    Attributes:
        context_length: Tokens that prompt and answer have together.
        chat_template: Whether it was trained to answer turns of a conversation.
        defaults: The model's own generation settings.
    """

    @property
    def context_length(self) -> int: ...  # noqa: D102
    @property
    def chat_template(self) -> bool: ...  # noqa: D102
    @property
    def defaults(self) -> Sampling: ...  # noqa: D102

    def encode(self, text: str) -> list[int]:
        """A text's tokens; what looks like a control token is text."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of some tokens; bytes that are no whole character become U+FFFD."""

    def prompt(self, turns: Sequence[Mapping[str, Any]]) -> list[int]:
        """A conversation's tokens, in the chat template where there is one."""

    def write(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> list[int]:
        """All tokens after the prompt, up to the model's end token (not given out) or `most` of them."""

    async def awrite(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> list[int]:
        """As `write`, without blocking the event loop."""

    def tokens(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> Iterator[int]:
        """As `write`, token by token."""

    def atokens(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> AsyncIterator[int]:
        """As `tokens`, without blocking the event loop."""


@lru_cache(maxsize=4)
def _load(engine: str, path: str, device: str | None) -> LanguageModel:
    if engine == "onnx":
        from taleward.backends.llama import Llama

        return Llama(Path(path))
    from taleward.backends.huggingface import HuggingFace

    return HuggingFace(path, device)


_lock = threading.Lock()


class LocalChat(BaseChatModel):
    """A causal language model that runs in this process, as a LangChain chat model.

    A model with a chat template gets the messages through it. One without is a completion model
    (`completion_only`): it continues the messages' texts, joined by empty lines.

    Attributes:
        spec: What the model is called, for example `hf:Qwen/Qwen3-0.6B`.
        path: A local folder, or, with the engine `transformers`, the name of a repository on the Hugging Face hub.
        engine: What runs it: `transformers` takes every architecture and a GPU, `onnx` small Llamas on a CPU, without
            torch.
        temperature: See `Sampling`; this and the next three default to the model's own generation settings.
        top_p: See `Sampling`.
        repetition_penalty: See `Sampling`.
        max_tokens: See `Sampling`.
        seed: With the same seed the same prompt gives the same text; 0 is a seed, `None` draws one.
        device: A torch device such as `cuda` for the engine `transformers`; `None` takes a GPU where there is one.
    """

    spec: str
    path: str
    engine: Literal["onnx", "transformers"] = "transformers"
    temperature: float | None = Field(default=None, ge=0.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    repetition_penalty: float | None = Field(default=None, gt=0.0)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=0)
    device: str | None = None

    @property
    def _llm_type(self) -> str:
        return "taleward-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"spec": self.spec, **{k: getattr(self, k) for k in sorted(_OPTIONS)}}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        provider, _, model = self.spec.partition(":")
        return LangSmithParams(ls_provider=provider, ls_model_name=model, ls_model_type="chat")

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        chosen = {**asdict(self._sampling(kwargs)), "seed": kwargs.get("seed", self.seed)}
        return {**super()._get_invocation_params(stop, **kwargs), **chosen}

    @property
    def completion_only(self) -> bool:
        """Whether the model has no chat template, so that it continues text instead of following orders."""
        return not self._loaded.chat_template

    @property
    def context_length(self) -> int:
        """Tokens that prompt and answer have together."""
        return self._loaded.context_length

    def get_num_tokens(self, text: str) -> int:
        """Tokens of a text, without the tokens that begin and end one."""
        return len(self._loaded.encode(text))

    @property
    def _loaded(self) -> LanguageModel:
        with _lock:
            return _load(self.engine, self.path, self.device)

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answers to all of them, written together; `max_concurrency` bounds how many at once, 256 by default."""
        configs: list[RunnableConfig] = get_config_list(config, len(inputs))
        for each in configs:
            each.setdefault("max_concurrency", _AT_ONCE)
        return super().batch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if stop:
            return _joined(list(self._stream(messages, stop, **kwargs)))
        job = self._job(messages, stop, kwargs)
        return job.result(self._loaded.write(*job.order))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        job = self._job(messages, stop, kwargs)
        for token in self._loaded.tokens(*job.order):
            if chunk := job.push(token):
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
            if job.stopped:
                break
        for chunk in job.finish():
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
        if stop:
            return _joined([chunk async for chunk in self._astream(messages, stop, **kwargs)])
        model = await asyncio.to_thread(lambda: self._loaded)
        job = self._job(messages, stop, kwargs)
        return job.result(await model.awrite(*job.order))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        model = await asyncio.to_thread(lambda: self._loaded)
        job = self._job(messages, stop, kwargs)
        running: Any = model.atokens(*job.order)
        async with aclosing(running) as tokens:
            async for token in tokens:
                if chunk := job.push(token):
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
                if job.stopped:
                    break
        for chunk in job.finish():
            if run_manager and chunk.text:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _job(self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]) -> _Job:
        unknown = sorted(set(given) - _OPTIONS)
        if unknown:
            taken = ", ".join(sorted(_OPTIONS))
            raise ConfigurationError(f"{self.spec} does not take {unknown}; it takes {taken} and stop.")
        prompt = self._loaded.prompt(convert_to_openai_messages(messages, text_format="string"))
        room = self.context_length - len(prompt)
        if room < 1:
            raise BackendError(
                f"the prompt has {len(prompt)} tokens; {self.spec} holds {self.context_length} in all.",
                hint="Shorten the prompt, or take a model with a longer context.",
            )
        sampling = self._sampling(given)
        seed = given["seed"] if given.get("seed") is not None else self.seed
        if seed is not None and seed < 0:
            raise ConfigurationError(f"seed must be 0 or more; got {seed}.")
        return _Job(self.spec, prompt, sampling, seed, min(room, sampling.max_tokens), stop or (), self._loaded.decode)

    def _sampling(self, given: dict[str, Any]) -> Sampling:
        defaults = self._loaded.defaults
        chosen = {
            name: given.get(name) if given.get(name) is not None else getattr(self, name)
            for name in ("temperature", "top_p", "repetition_penalty", "max_tokens")
        }
        return Sampling(**{k: v if v is not None else getattr(defaults, k) for k, v in chosen.items()})


class _Job:
    """One answer under way: tokens become text, up to a stop sequence.

    Attributes:
        order: What the model is asked for: prompt, sampling, seed, tokens at most.
        stopped: Whether a stop sequence has come.
    """

    def __init__(
        self,
        spec: str,
        prompt: list[int],
        sampling: Sampling,
        seed: int | None,
        most: int,
        stops: Sequence[str],
        decode: Callable[[Sequence[int]], str],
    ) -> None:
        self.order = (prompt, sampling, seed, most)
        self._spec, self._decode, self._written = spec, decode, 0
        self._decoder, self._text = _Decoder(decode), _StopText(stops)

    @property
    def stopped(self) -> bool:
        return self._text.stopped

    def push(self, token: int) -> ChatGenerationChunk | None:
        """The text that a token lets out; `None` where it is held, or is none."""
        self._written += 1
        return _chunk(self._text.push(self._decoder.push(token)))

    def finish(self) -> Iterator[ChatGenerationChunk]:
        """What was held, then the last chunk with the usage."""
        if not self.stopped and (chunk := _chunk(self._text.push(self._decoder.finish()) + self._text.finish())):
            yield chunk
        usage, metadata = self._end()
        message = AIMessageChunk(content="", usage_metadata=usage, response_metadata=metadata, chunk_position="last")
        yield ChatGenerationChunk(message=message)

    def result(self, tokens: Sequence[int]) -> ChatResult:
        """The answer whose tokens came all at once; for a job without stop sequences."""
        self._written = len(tokens)
        usage, metadata = self._end()
        message = AIMessage(content=self._decode(tokens), usage_metadata=usage, response_metadata=metadata)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _end(self) -> tuple[UsageMetadata, dict[str, Any]]:
        prompt, _, _, most = self.order
        read, written = len(prompt), self._written
        usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
        reason = "stop" if self.stopped or written < most else "length"
        return usage, {"finish_reason": reason, "model_name": self._spec}


def _joined(chunks: Sequence[ChatGenerationChunk]) -> ChatResult:
    """The chunks of a stream as one answer; the last one has the usage."""
    last = chunks[-1].message
    message = AIMessage(
        content="".join(chunk.text for chunk in chunks),
        usage_metadata=getattr(last, "usage_metadata", None),
        response_metadata=last.response_metadata,
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


def _chunk(text: str) -> ChatGenerationChunk | None:
    return ChatGenerationChunk(message=AIMessageChunk(content=text)) if text else None


class _Decoder:
    """Token numbers to text, piece by piece; a character is given out when all its bytes are there."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._start = 0  # tokens before this one are not decoded again
        self._given = 0  # tokens before this one were given out

    def push(self, token: int) -> str:
        self._ids.append(token)
        before, now = self._texts()
        if now.endswith("\ufffd"):
            return ""
        self._start, self._given = self._given, len(self._ids)
        return now[len(before) :]

    def finish(self) -> str:
        before, now = self._texts()
        return now[len(before) :]

    def _texts(self) -> tuple[str, str]:
        before = self._decode(self._ids[self._start : self._given])
        return before, self._decode(self._ids[self._start :])


class _StopText:
    """Cuts a text at the first stop sequence, also where it is spread over several pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(s for s in stops if s)
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """What may be given out now: everything that cannot be the beginning of a stop sequence."""
        self._held += piece
        found = [at for at in (self._held.find(s) for s in self._stops) if at >= 0]
        if found:
            self.stopped = True
            out, self._held = self._held[: min(found)], ""
            return out
        keep = max((n for s in self._stops for n in range(1, len(s)) if self._held.endswith(s[:n])), default=0)
        cut = len(self._held) - keep
        out, self._held = self._held[:cut], self._held[cut:]
        return out

    def finish(self) -> str:
        """What was held back, once no more text can come."""
        out, self._held = self._held, ""
        return out
