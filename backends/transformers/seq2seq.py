"""Encoder-decoder models in Hugging Face layout (T5, BART): texts to texts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig, RunnableSerializable
from langchain_core.runnables.config import get_config_list
from pydantic import Field

from taleward.backends.base.options import build_model
from taleward.backends.engine.batcher import Batcher
from taleward.backends.transformers.encoder import TorchModel, hub_path, loaded_once, padded
from taleward.core.errors import ConfigurationError

_NAMED = {"num_beams": "num_beams", "min_tokens": "min_new_tokens", "max_tokens": "max_new_tokens"}
_MOST = 512
_TAKEN_BY_MODEL = frozenset({"input_ids", "attention_mask", "inputs", "streamer", "output_scores"})


def seq2seq_model(model: str, **options: Any) -> Seq2SeqModel:
    """The encoder-decoder model behind a spec.

    Args:
        model: `hf:` and a folder or the name of a repository, for example `hf:google-t5/t5-small`.
        options: See `Seq2SeqModel`.

    Raises:
        ConfigurationError: The spec is none of a model that runs here, or an option is not taken.
    """
    return build_model(Seq2SeqModel, model, hub_path(model, "an encoder-decoder model"), options)


class Seq2SeqModel(RunnableSerializable[str, str]):
    """An encoder-decoder model as a Runnable from text to text; callers at the same time share its batches.

    `invoke(text, num_beams=4)` and `bind` set any of the next four for a call.

    Attributes:
        spec: What the model is called.
        path: A local folder, or the name of a repository on the Hugging Face hub.
        num_beams: Beams of the search; this and the next two default to the model's own generation settings.
        min_tokens: Tokens that are written at least.
        max_tokens: Tokens that are written at most, 512 where the model says nothing.
        generation: Any further option of transformers' `generate`, for example `{"length_penalty": 2.0}`.
        prefix: Put before each text, for example `summarize: `.
        cut: Whether a text that is too long is cut at its end; else it is an error.
        device: A torch device; `None` takes a GPU where there is one.
        load: Options of transformers' `from_pretrained`.
    """

    spec: str
    path: str
    num_beams: int | None = Field(default=None, ge=1)
    min_tokens: int | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    generation: dict[str, Any] = Field(default_factory=dict)
    prefix: str = ""
    cut: bool = False
    device: str | None = None
    load: dict[str, Any] = Field(default_factory=dict)

    @property
    def context_length(self) -> int:
        """Tokens that a text may have, the end token included; models without a limit say 1,048,576."""
        return self._loaded.longest

    def get_num_tokens(self, text: str) -> int:
        """Tokens of a text behind the prefix, with those that begin and end it."""
        return self._loaded.count(self.prefix + text)

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """The text that the model makes of a text."""
        return self._call_with_config(lambda text: self._write([text], kwargs)[0], input, config, run_type="llm")

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """As `invoke`, without blocking the event loop."""

        async def write(text: str) -> str:
            key = self._key(kwargs)
            model, tokens = await asyncio.to_thread(self._read, text)
            return (await model.batcher.arun(tokens, key))[0]

        return await self._acall_with_config(write, input, config, run_type="llm")

    def batch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """The texts that the model makes of texts, computed in batches of like length."""
        if return_exceptions:
            return super().batch(inputs, config, return_exceptions=True, **kwargs)
        first = get_config_list(config, len(inputs))[0] if inputs else None
        return self._call_with_config(lambda texts: self._write(texts, kwargs), inputs, first, run_type="llm")  # type: ignore[arg-type, return-value]

    def _write(self, texts: Sequence[str], given: Mapping[str, Any]) -> list[str]:
        model, key = self._loaded, self._key(given)
        return model.batcher.run(self._tokens(model, texts), key)

    def _read(self, text: str) -> tuple[_Loaded, Sequence[Sequence[int]]]:
        """Loads the model where it is not here."""
        return (model := self._loaded), self._tokens(model, [text])

    def _tokens(self, model: _Loaded, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        return model.encode([self.prefix + text for text in texts], cut=self.cut)

    def _key(self, given: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
        """The options of a call, which only texts with the same ones share a batch."""
        unknown = sorted(set(given) - {*_NAMED, "generation"})
        options = {**self.generation, **given.get("generation", {})}
        if unknown or _TAKEN_BY_MODEL & set(options):
            raise ConfigurationError(
                f"{self.spec} does not take {unknown or sorted(_TAKEN_BY_MODEL & set(options))}; it takes "
                f"{', '.join(_NAMED)}, and transformers' own options as generation={{...}}."
            )
        for name, theirs in _NAMED.items():
            value = given.get(name, getattr(self, name))
            if value is not None:
                options[theirs] = value
        return tuple(sorted((name, _Option(value)) for name, value in options.items()))

    @property
    def _loaded(self) -> _Loaded:
        return loaded_once(_Loaded, self.path, self.device, self.load)


class _Option:
    """A value that need not be hashable as part of a key."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Option) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(repr(self.value))


class _Loaded(TorchModel):
    def __init__(self, path: str, device: str | None, load: Mapping[str, Any]) -> None:
        super().__init__(path, "AutoModelForSeq2SeqLM", device, load)
        self.batcher: Batcher[str] = Batcher(_runner(self.model, self.tokenizer), max_batch=32)


def _runner(network: Any, tokenizer: Any) -> Callable[[list[Sequence[int]], Any], list[str]]:
    def run(lists: list[Sequence[int]], key: Any) -> list[str]:
        import torch

        options = {name: option.value for name, option in key}
        own = network.generation_config
        if "max_new_tokens" not in options and own.max_new_tokens is None and own.max_length is None:
            options["max_new_tokens"] = _MOST
        with torch.inference_mode():
            ids = network.generate(**padded(lists, tokenizer.pad_token_id, network.device), **options)
        many = len(ids) // len(lists)  # num_return_sequences: the best one is given out
        return [text.strip() for text in tokenizer.batch_decode(ids[::many], skip_special_tokens=True)]

    return run
