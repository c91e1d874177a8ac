"""Chat models that run in this process, whatever runs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

from taleward.backends.sampling import Sampling
from taleward.core.errors import BackendError, ConfigurationError

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

    def tokens(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> Iterator[int]:
        """Tokens after the prompt, up to the model's end token (not given out) or `most` of them."""


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

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        pieces = list(self._stream(messages, stop, run_manager, **kwargs))
        whole = pieces[0].message
        for piece in pieces[1:]:
            whole = whole + piece.message
        message = AIMessage(
            content=whole.text,
            usage_metadata=getattr(whole, "usage_metadata", None),
            response_metadata=whole.response_metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        unknown = sorted(set(kwargs) - _OPTIONS)
        if unknown:
            taken = ", ".join(sorted(_OPTIONS))
            raise ConfigurationError(f"{self.spec} does not take {unknown}; it takes {taken} and stop.")
        sampling, seed = self._sampling(kwargs), kwargs.get("seed", self.seed)
        prompt = self._loaded.prompt(convert_to_openai_messages(messages, text_format="string"))
        room = self.context_length - len(prompt)
        if room < 1:
            raise BackendError(
                f"the prompt has {len(prompt)} tokens; {self.spec} holds {self.context_length} in all.",
                hint="Shorten the prompt, or take a model with a longer context.",
            )
        written = 0
        reason = "length"
        text = _StopText(stop or ())
        decoder = _Decoder(self._loaded.decode)
        for token in self._loaded.tokens(prompt, sampling, seed, min(room, sampling.max_tokens)):
            written += 1
            piece = text.push(decoder.push(token))
            if text.stopped:
                reason = "stop"
            if piece:
                yield self._piece(piece, run_manager)
            if text.stopped:
                break
        else:
            if written < min(room, sampling.max_tokens):
                reason = "stop"
            rest = text.push(decoder.finish()) + text.finish()
            if rest:
                yield self._piece(rest, run_manager)
        usage = UsageMetadata(input_tokens=len(prompt), output_tokens=written, total_tokens=len(prompt) + written)
        metadata = {"finish_reason": reason, "model_name": self.spec}
        yield ChatGenerationChunk(
            message=AIMessageChunk(content="", usage_metadata=usage, response_metadata=metadata, chunk_position="last")
        )

    @staticmethod
    def _piece(text: str, run_manager: CallbackManagerForLLMRun | None) -> ChatGenerationChunk:
        chunk = ChatGenerationChunk(message=AIMessageChunk(content=text))
        if run_manager:
            run_manager.on_llm_new_token(text, chunk=chunk)
        return chunk

    def _sampling(self, given: dict[str, Any]) -> Sampling:
        defaults = self._loaded.defaults
        chosen = {
            name: given.get(name) if given.get(name) is not None else getattr(self, name)
            for name in ("temperature", "top_p", "repetition_penalty", "max_tokens")
        }
        return Sampling(**{k: v if v is not None else getattr(defaults, k) for k, v in chosen.items()})


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
