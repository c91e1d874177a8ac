"""Loading, tokenization and padding for models that read a whole text at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from taleward.backends.base.spec import parse_spec
from taleward.backends.engine.model_cache import ModelCache
from taleward.backends.transformers.devices import check_device_map, torch_device
from taleward.backends.transformers.gguf_header import find_gguf
from taleward.backends.transformers.hub_files import (
    LOAD_ERRORS,
    expand_home,
    load_weights,
    loading_options,
    model_unavailable,
    translate_load_errors,
)
from taleward.core.errors import ConfigurationError, ContextTooLong, MissingExtra

_UNLIMITED = 1 << 20
M = TypeVar("M")


class EncodedText(list[int]):
    """The tokens of a text, or of a pair of texts.

    Attributes:
        token_type_ids: For each token the text of a pair that it belongs to, 0 or 1; `None` if the model does not
            distinguish them.
    """

    token_type_ids: list[int] | None = None


class TransformersModel:
    """A model of transformers with its tokenizer.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face Hub.
        auto_class: The class of transformers that loads it, for example `AutoModelForSequenceClassification`.
        device: A torch device; `None` uses a GPU if there is one.
        load: Options of `from_pretrained`.

    Attributes:
        tokenizer: The tokenizer.
        model: The model, on its device.
        max_tokens: Maximum number of tokens of a text, begin and end tokens included.

    Raises:
        BackendError: If the model could not be loaded.
        ConfigurationError: If it is a model of another kind, the device does not exist, or the options do not fit.
        MissingExtra: If the extra `local` is not installed.
    """

    def __init__(self, path: str, auto_class: str, device: str | None, load: Mapping[str, Any]) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise MissingExtra("a local model", "local") from error
        transformers.utils.logging.disable_progress_bar()
        # Truncation and `split_special_tokens` are states of the tokenizer, which concurrent calls would change under
        # each other.
        self._lock = threading.Lock()
        target_device = torch_device(device)
        check_device_map(load)
        options = {"dtype": torch.float32 if target_device.type == "cpu" else torch.bfloat16, **load}
        path = expand_home(path)
        if (gguf := find_gguf(path)) is not None:
            raise ConfigurationError(
                f"{str(gguf)!r} is a GGUF file, which only chat models are loaded from.",
                hint=f"Load it with taleward.chat_model('hf:{gguf}'), or pass a folder in Hugging Face layout.",
            )
        hub_options = loading_options(path, load)
        try:
            config = transformers.AutoConfig.from_pretrained(path, **hub_options)
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path, **hub_options)
        except LOAD_ERRORS as error:
            raise model_unavailable(path, error) from error
        _check_architecture(config, auto_class, path)
        with translate_load_errors(path, load):
            # Sentence encoders that average their tokens are often stored without the pooler, which is not used.
            optional = ("pooler.",) if auto_class == "AutoModel" else ()
            self.model: Any = load_weights(auto_class, path, {**hub_options, **options}, optional=optional)
            if not {"device_map", "quantization_config"} & set(options):
                self.model.to(target_device)
        positions = getattr(config, "max_position_embeddings", None) or _UNLIMITED
        if getattr(config, "position_embedding_type", "") == "" and config.model_type in ("roberta", "xlm-roberta"):
            positions -= 2  # RoBERTa reserves its first two positions for padding
        self.max_tokens = min(int(positions), int(self.tokenizer.model_max_length), _UNLIMITED)

    def count(self, text: str) -> int:
        """Return the number of a text's tokens, begin and end tokens included, without truncation."""
        with self._lock:
            return len(self.tokenizer(text, truncation=False, split_special_tokens=True, verbose=False)["input_ids"])

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, truncate: bool) -> list[EncodedText]:
        """Tokenize texts, with begin and end tokens; what looks like a control token stays ordinary text.

        Args:
            texts: Texts.
            pairs: A second text for each.
            truncate: Whether to cut a text that is too long at its end instead of raising; of a pair, the first text
                is cut.

        Raises:
            ContextTooLong: If a text is too long.
            ValueError: If there are not as many pairs as texts.
        """
        if pairs is not None and len(pairs) != len(texts):
            msg = f"each text needs its pair; got {len(texts)} texts and {len(pairs)} pairs"
            raise ValueError(msg)
        if not texts:
            return []
        with self._lock:
            encoding = self.tokenizer(
                list(texts),
                None if pairs is None else list(pairs),
                truncation=("only_first" if pairs is not None else True) if truncate else False,
                max_length=self.max_tokens if truncate else None,
                split_special_tokens=True,
                verbose=False,
            )
        encoded_texts = [EncodedText(ids) for ids in encoding["input_ids"]]
        # Models without token types have no such field, so the lists may differ in length.
        for encoded, token_type_ids in zip(encoded_texts, encoding.get("token_type_ids", ()), strict=False):
            encoded.token_type_ids = token_type_ids
        if (longest := max(map(len, encoded_texts))) > self.max_tokens:
            raise ContextTooLong(
                f"the text has {longest} tokens; the model reads at most {self.max_tokens}.",
                hint="Split it, or set truncate=True to read only its beginning.",
            )
        return encoded_texts


def pad_batch(token_lists: Sequence[Sequence[int]], pad_token_id: int | None, device: Any) -> dict[str, Any]:
    """Build a model's inputs from token lists, padded on the right."""
    import torch

    shape = len(token_lists), max(map(len, token_lists))
    input_ids = torch.full(shape, pad_token_id or 0)
    attention_mask, token_type_ids = (torch.zeros(shape, dtype=torch.long) for _ in range(2))
    has_types = False
    for row, tokens in enumerate(token_lists):
        input_ids[row, : len(tokens)] = torch.tensor(list(tokens))
        attention_mask[row, : len(tokens)] = 1
        if isinstance(tokens, EncodedText) and tokens.token_type_ids is not None:
            token_type_ids[row, : len(tokens)] = torch.tensor(tokens.token_type_ids)
            has_types = True
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
    if has_types:
        inputs["token_type_ids"] = token_type_ids
    return {name: tensor.to(device) for name, tensor in inputs.items()}


_models: ModelCache[Any] = ModelCache()


def load_once(load: Callable[..., M], *arguments: Any) -> M:
    """Return `load(*arguments)`; the last four models stay in memory."""
    model: M = _models.get(load, *arguments)
    return model


def hub_path(spec: str, what: str) -> str:
    """Return the folder or repository of an `hf:` spec.

    Args:
        spec: The spec.
        what: The kind of model, for the message, for example "a classifier".

    Raises:
        ConfigurationError: If the spec is malformed, or its provider is not `hf`.
    """
    parsed = parse_spec(spec)
    if parsed.provider != "hf":
        raise ConfigurationError(
            f"{what} must be a local model; got {spec!r}.",
            hint="Pass 'hf:REPOSITORY' or 'hf:FOLDER', a model in Hugging Face layout.",
        )
    return parsed.model


def _check_architecture(config: Any, auto_class: str, path: str) -> None:
    architectures = config.architectures or []
    description = ", ".join(architectures) or config.model_type
    if auto_class == "AutoModelForSeq2SeqLM" and not config.is_encoder_decoder:
        raise ConfigurationError(
            f"{path!r} is not an encoder-decoder model ({description}).",
            hint=f"Load a causal language model with taleward.chat_model('hf:{path}').",
        )
    # transformers would add a head with random weights, and only log a warning.
    if auto_class == "AutoModelForSequenceClassification" and not any(
        architecture.endswith("ForSequenceClassification") for architecture in architectures
    ):
        raise ConfigurationError(
            f"{path!r} has no classification head ({description}).",
            hint="Pass a sequence classifier, for example one trained on natural language inference.",
        )
