"""Encoder-decoder models in Hugging Face layout (T5, BART)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig, RunnableSerializable
from langchain_core.runnables.config import get_config_list
from pydantic import Field

from taleward.backends.base.option_validation import build_model
from taleward.backends.engine.single_pass_batcher import Batcher
from taleward.backends.transformers.single_pass_model import TransformersModel, hub_path, load_once, pad_batch
from taleward.core.errors import ConfigurationError

_GENERATE_NAMES = {"num_beams": "num_beams", "min_tokens": "min_new_tokens", "max_tokens": "max_new_tokens"}
_DEFAULT_MAX_TOKENS = 512
_RESERVED_OPTIONS = frozenset({"input_ids", "attention_mask", "inputs", "streamer", "output_scores"})
"""Options of `generate` that the batch sets itself, or that do not work in a batch."""


def seq2seq_model(model: str, **options: Any) -> Seq2SeqModel:
    """Create the encoder-decoder model for a spec.

    Args:
        model: `hf:` followed by a folder or the name of a repository, for example `hf:google-t5/t5-small`.
        options: See `Seq2SeqModel`.

    Raises:
        ConfigurationError: If the spec does not name a local model, an option is unknown, or a value is invalid.
    """
    return build_model(Seq2SeqModel, model, hub_path(model, "an encoder-decoder model"), options)


class Seq2SeqModel(RunnableSerializable[str, str]):
    """An encoder-decoder model as a Runnable from text to text; concurrent callers share its batches.

    `invoke(text, num_beams=4)` and `bind` set `num_beams`, `min_tokens`, `max_tokens` and `generation` for a call.

    Attributes:
        spec: The model's spec.
        path: A local folder, or the name of a repository on the Hugging Face Hub.
        num_beams: Number of beams; this and the next two default to the model's own generation settings.
        min_tokens: Minimum number of tokens to generate.
        max_tokens: Maximum number of tokens to generate; 512 if the model has no setting.
        generation: Further options of transformers' `generate`, for example `{"length_penalty": 2.0}`.
        prefix: Prepended to each text, for example `"summarize: "`.
        truncate: Whether to cut a text that is too long at its end instead of raising.
        device: A torch device; `None` uses a GPU if there is one.
        load: Options of transformers' `from_pretrained`.
    """

    spec: str
    path: str
    num_beams: int | None = Field(default=None, ge=1)
    min_tokens: int | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    generation: dict[str, Any] = Field(default_factory=dict)
    prefix: str = ""
    truncate: bool = False
    device: str | None = None
    load: dict[str, Any] = Field(default_factory=dict)

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of a text, the end token included; 1,048,576 for models without a limit."""
        return self._loaded.max_tokens

    def get_num_tokens(self, text: str) -> int:
        """Return the number of tokens of prefix and text, begin and end tokens included."""
        return self._loaded.count(self.prefix + text)

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """Return the text that the model generates for a text."""
        return self._call_with_config(lambda text: self._generate([text], kwargs)[0], input, config, run_type="llm")

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """Async version of `invoke`."""

        async def generate(text: str) -> str:
            key = self._batch_key(kwargs)
            model, token_lists = await asyncio.to_thread(self._load_and_encode, [text])
            return (await model.batcher.arun(token_lists, key))[0]

        return await self._acall_with_config(generate, input, config, run_type="llm")

    def batch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Generate for many texts, in batches of similar length."""
        if return_exceptions:
            return super().batch(inputs, config, return_exceptions=True, **kwargs)
        first_config = get_config_list(config, len(inputs))[0] if inputs else None
        return self._call_with_config(  # type: ignore[return-value]
            lambda texts: self._generate(texts, kwargs),  # type: ignore[arg-type]
            inputs,  # type: ignore[arg-type]
            first_config,
            run_type="llm",
        )

    def _generate(self, texts: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        key = self._batch_key(options)
        model, token_lists = self._load_and_encode(texts)
        return model.batcher.run(token_lists, key)

    def _load_and_encode(self, texts: Sequence[str]) -> tuple[_LoadedSeq2Seq, Sequence[Sequence[int]]]:
        model = self._loaded
        return model, model.encode([self.prefix + text for text in texts], truncate=self.truncate)

    def _batch_key(self, call_options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
        """Return a call's options of `generate`; only texts with equal options share a batch.

        Raises:
            ConfigurationError: If an option is unknown or reserved.
        """
        options = {**self.generation, **call_options.get("generation", {})}
        rejected = sorted(set(call_options) - {*_GENERATE_NAMES, "generation"}) or sorted(
            _RESERVED_OPTIONS & set(options)
        )
        if rejected:
            raise ConfigurationError(
                f"{self.spec} does not accept {rejected}; it accepts {', '.join(_GENERATE_NAMES)}, and options of "
                "transformers' generate as generation={...}."
            )
        for name, generate_name in _GENERATE_NAMES.items():
            value = call_options.get(name, getattr(self, name))
            if value is not None:
                options[generate_name] = value
        return tuple(sorted((name, _HashableOption(value)) for name, value in options.items()))

    @property
    def _loaded(self) -> _LoadedSeq2Seq:
        return load_once(_LoadedSeq2Seq, self.path, self.device, self.load)


class _HashableOption:
    """An option's value as part of a batch key, whatever its type: some options are lists or dicts."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _HashableOption) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(repr(self.value))


class _LoadedSeq2Seq(TransformersModel):
    def __init__(self, path: str, device: str | None, load: Mapping[str, Any]) -> None:
        super().__init__(path, "AutoModelForSeq2SeqLM", device, load)
        self.batcher: Batcher[str] = Batcher(_batch_function(self.model, self.tokenizer), max_batch=32)


def _batch_function(network: Any, tokenizer: Any) -> Callable[[list[Sequence[int]], Any], list[str]]:
    # A closure over network and tokenizer, not a method: the batcher must not hold a reference to its owner.
    def run(token_lists: list[Sequence[int]], key: Any) -> list[str]:
        import torch

        options = {name: option.value for name, option in key}
        defaults = network.generation_config
        if "max_new_tokens" not in options and defaults.max_new_tokens is None and defaults.max_length is None:
            options["max_new_tokens"] = _DEFAULT_MAX_TOKENS
        with torch.inference_mode():
            ids = network.generate(**pad_batch(token_lists, tokenizer.pad_token_id, network.device), **options)
        per_text = len(ids) // len(token_lists)  # num_return_sequences; the first of a text's sequences is the best
        return [text.strip() for text in tokenizer.batch_decode(ids[::per_text], skip_special_tokens=True)]

    return run
