"""What models that read a whole text at once share: loading, tokens, padding."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from taleward.backends.engine.model_cache import ModelCache
from taleward.backends.transformers.devices import check_map, device_of
from taleward.backends.transformers.hub import ERRORS, expanded, fetching, loading, unavailable
from taleward.core.errors import ConfigurationError, ContextTooLong, MissingExtra

_UNBOUNDED = 1 << 20
M = TypeVar("M")


class Tokens(list[int]):
    """A text's tokens.

    Attributes:
        types: Of which of two texts each token is, where the model wants to know.
    """

    types: list[int] | None = None


class TorchModel:
    """A model of `transformers` with its tokenizer.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face hub.
        kind: The class of transformers that loads it, for example `AutoModelForSequenceClassification`.
        device: A torch device; `None` takes a GPU where there is one.
        load: Options of `from_pretrained`.

    Attributes:
        tokenizer: The tokenizer.
        model: The model, on its device.
        longest: Tokens that it reads at most, those included that begin and end a text.

    Raises:
        BackendError: It could not be loaded.
        ConfigurationError: It is a model of another kind, there is no such device, or the options do not fit.
        MissingExtra: The extra `local` is not installed.
    """

    def __init__(self, path: str, kind: str, device: str | None, load: Mapping[str, Any]) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise MissingExtra("a local model", "local") from error
        transformers.utils.logging.disable_progress_bar()
        # How it cuts and what it reads are states of the tokenizer, which threads would change under each other.
        self._turn = threading.Lock()
        place = device_of(device)
        check_map(load)
        options = {"dtype": torch.float32 if place.type == "cpu" else torch.bfloat16, **load}
        path = expanded(path)
        known = fetching(path)
        try:
            config = transformers.AutoConfig.from_pretrained(path, **known)
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path, **known)
        except ERRORS as error:
            raise unavailable(path, error) from error
        _check(config, kind, path)
        with loading(path, load):
            self.model: Any = getattr(transformers, kind).from_pretrained(path, **known, **options).eval()
            if not {"device_map", "quantization_config"} & set(options):
                self.model.to(place)
        places = getattr(config, "max_position_embeddings", None) or _UNBOUNDED
        if getattr(config, "position_embedding_type", "") == "" and config.model_type in ("roberta", "xlm-roberta"):
            places -= 2  # its first places are for padding
        self.longest = min(int(places), int(self.tokenizer.model_max_length), _UNBOUNDED)

    def count(self, text: str) -> int:
        """A text's tokens, with those that begin and end it, however many the model reads."""
        with self._turn:
            return len(self.tokenizer(text, truncation=False, split_special_tokens=True, verbose=False)["input_ids"])

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, cut: bool) -> list[Tokens]:
        """Each text's tokens with those that begin and end it; what looks like a control token is text.

        Args:
            texts: Texts.
            pairs: A second one behind each.
            cut: Whether a text that is too long is cut at its end; else it is an error.

        Raises:
            BackendError: One is too long.
            ValueError: There are not as many pairs as texts.
        """
        if pairs is not None and len(pairs) != len(texts):
            msg = f"each text needs its pair; got {len(texts)} texts and {len(pairs)} pairs"
            raise ValueError(msg)
        if not texts:
            return []
        with self._turn:
            told = self.tokenizer(
                list(texts),
                None if pairs is None else list(pairs),
                truncation=("only_first" if pairs is not None else True) if cut else False,
                max_length=self.longest if cut else None,
                split_special_tokens=True,
                verbose=False,
            )
        found = [Tokens(ids) for ids in told["input_ids"]]
        for tokens, types in zip(found, told.get("token_type_ids", ()), strict=False):
            tokens.types = types
        if (longest := max(map(len, found))) > self.longest:
            raise ContextTooLong(
                f"the text has {longest} tokens; the model reads {self.longest}.",
                hint="Split it, or set cut=True to read its beginning alone.",
            )
        return found


def padded(lists: Sequence[Sequence[int]], pad: int | None, device: Any) -> dict[str, Any]:
    """Token lists as a model takes them, padded behind their ends."""
    import torch

    longest = max(map(len, lists))
    ids = torch.full((len(lists), longest), pad or 0)
    mask, types = (torch.zeros((len(lists), longest), dtype=torch.long) for _ in range(2))
    typed = False
    for row, tokens in enumerate(lists):
        ids[row, : len(tokens)] = torch.tensor(list(tokens))
        mask[row, : len(tokens)] = 1
        if isinstance(tokens, Tokens) and tokens.types is not None:
            types[row, : len(tokens)] = torch.tensor(tokens.types)
            typed = True
    inputs = {"input_ids": ids, "attention_mask": mask, **({"token_type_ids": types} if typed else {})}
    return {name: tensor.to(device) for name, tensor in inputs.items()}


_kept: ModelCache[Any] = ModelCache()


def loaded_once(make: Callable[..., M], *arguments: Any) -> M:
    """What `make` makes of the arguments; the last four stay."""
    made: M = _kept.get(make, *arguments)
    return made


def hub_path(spec: str, what: str) -> str:
    """The folder or repository of an `hf:` spec.

    Raises:
        ConfigurationError: The spec is none.
    """
    from taleward.backends.base.spec import parse_spec

    parsed = parse_spec(spec)
    if parsed.provider != "hf":
        raise ConfigurationError(
            f"{what} runs here; {spec!r} does not.", hint="Give 'hf:REPOSITORY' or 'hf:FOLDER', in Hugging Face layout."
        )
    return parsed.model


def _check(config: Any, kind: str, path: str) -> None:
    kinds = config.architectures or []
    if kind == "AutoModelForSeq2SeqLM" and not config.is_encoder_decoder:
        raise ConfigurationError(
            f"{path!r} is no encoder-decoder model ({', '.join(kinds) or config.model_type}).",
            hint=f"A language model that goes on from a prompt is taleward.chat_model('hf:{path}').",
        )
    if kind == "AutoModelForSequenceClassification" and not any(k.endswith("ForSequenceClassification") for k in kinds):
        # transformers would put a head with random weights on it.
        raise ConfigurationError(
            f"{path!r} has no head that classifies ({', '.join(kinds) or config.model_type}).",
            hint="Give a sequence classifier, for example one trained on natural language inference.",
        )
