"""Chat models that run here: any causal language model in Hugging Face layout."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

from taleward.backends.sampling import Sampling, choose
from taleward.core.errors import BackendError, ConfigurationError, MissingExtra

_SMALL = 100_000_000
"""Parameters below which a model on a CPU runs on one thread."""

_OPTIONS = frozenset({"temperature", "top_p", "repetition_penalty", "max_tokens", "seed"})


class HuggingFaceChat(BaseChatModel):
    """A causal language model of the `transformers` library as a LangChain chat model.

    A model with a chat template gets the messages through it. One without is a completion model
    (`completion_only`): it continues the messages' texts, joined by empty lines.

    Attributes:
        spec: What the model is called, for example `hf:Qwen/Qwen3-0.6B`.
        path: A local folder, or the name of a repository on the Hugging Face hub.
        temperature: See `Sampling`; this and the next three default to the model's own generation settings.
        top_p: See `Sampling`.
        repetition_penalty: See `Sampling`.
        max_tokens: See `Sampling`.
        seed: With the same seed the same prompt gives the same text; 0 is a seed, `None` draws one.
        device: A torch device such as `cuda`; `None` takes a GPU where there is one.
    """

    spec: str
    path: str
    temperature: float | None = Field(default=None, ge=0.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    repetition_penalty: float | None = Field(default=None, gt=0.0)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = None
    device: str | None = None

    @property
    def _llm_type(self) -> str:
        return "taleward-huggingface"

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
        return not self._loaded.tokenizer.chat_template

    @property
    def context_length(self) -> int:
        """Tokens that prompt and answer have together."""
        return int(self._loaded.model.config.max_position_embeddings)

    def get_num_tokens(self, text: str) -> int:
        """Tokens of a text, without the tokens that begin and end one."""
        return len(self._loaded.tokenizer.encode(text, add_special_tokens=False))

    @property
    def _loaded(self) -> _Loaded:
        return _load(self.path, self.device)

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
        prompt = self._prompt(messages)
        room = self.context_length - len(prompt)
        if room < 1:
            raise BackendError(
                f"the prompt has {len(prompt)} tokens; {self.spec} holds {self.context_length} in all.",
                hint="Shorten the prompt, or take a model with a longer context.",
            )
        written = 0
        reason = "length"
        text = _StopText(stop or ())
        decoder = _Decoder(self._loaded.tokenizer)
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
        own = self._loaded.model.generation_config
        defaults = Sampling(
            temperature=(own.temperature or 1.0) if own.do_sample else 0.0,
            top_p=own.top_p or 1.0,
            repetition_penalty=own.repetition_penalty or 1.0,
            max_tokens=own.max_new_tokens or 512,
        )
        chosen = {
            name: given.get(name) if given.get(name) is not None else getattr(self, name)
            for name in ("temperature", "top_p", "repetition_penalty", "max_tokens")
        }
        return Sampling(**{k: v if v is not None else getattr(defaults, k) for k, v in chosen.items()})

    def _prompt(self, messages: Sequence[BaseMessage]) -> list[int]:
        tokenizer = self._loaded.tokenizer
        if self.completion_only:
            text = "\n\n".join(m.text for m in messages)
            # Text from people must never be read as a control token.
            ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
            start = tokenizer.bos_token_id
            return [start, *ids] if start is not None else list(ids)
        turns = convert_to_openai_messages(messages)
        encoded = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)
        return list(encoded["input_ids"])


class _Loaded:
    """A model with its tokenizer; safe to use from several threads at once."""

    def __init__(self, path: str, device: str | None) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise MissingExtra("a local model", "local") from error
        transformers.utils.logging.disable_progress_bar()
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(path)
            model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype="auto")
        except (OSError, ValueError) as error:
            raise BackendError(
                f"the model {path!r} could not be loaded: {str(error).strip().splitlines()[0]}",
                hint="Give a folder with config.json, weights and tokenizer, or the name of a model on the hub "
                "that is downloaded or can be. 'embedded:storyteller' needs neither.",
            ) from error
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if self.device.type == "cpu":
            model = model.float()
        self.model = model.to(self.device).eval()
        self._small = self.device.type == "cpu" and self.model.num_parameters() < _SMALL

    @contextlib.contextmanager
    def _threads(self) -> Iterator[None]:
        """One thread for a small model: on a busy machine a second one waits longer than it helps."""
        import torch

        before = torch.get_num_threads()
        if not self._small or before == 1:
            yield
            return
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def tokens(self, prompt: list[int], sampling: Sampling, seed: int | None, most: int) -> Iterator[int]:
        """Tokens after the prompt, up to the model's end token (not given out) or `most` of them."""
        import torch
        from transformers import DynamicCache

        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        ends = self.model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        seen, fresh, cache = list(prompt), prompt, DynamicCache(config=self.model.config)
        for _ in range(most):
            with torch.inference_mode(), self._threads():
                out = self.model(
                    input_ids=torch.tensor([fresh], device=self.device),
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                token = choose(out.logits[0, -1], seen, sampling, generator)
            if token in ends:
                return
            yield token
            seen.append(token)
            fresh = [token]


_lock = threading.Lock()


def _load(path: str, device: str | None) -> _Loaded:
    with _lock:
        return _load_once(path, device)


@lru_cache(maxsize=4)
def _load_once(path: str, device: str | None) -> _Loaded:
    return _Loaded(path, device)


class _Decoder:
    """Token numbers to text, piece by piece; a character is given out when all its bytes are there."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
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
        decode = self._tokenizer.decode
        before = decode(self._ids[self._start : self._given], skip_special_tokens=True)
        return before, decode(self._ids[self._start :], skip_special_tokens=True)


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
