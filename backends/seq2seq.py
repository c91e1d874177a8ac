"""Encoder-decoder models in Hugging Face layout (T5, BART and their kin): texts to texts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from taleward.backends.hub import ERRORS, unavailable
from taleward.core.errors import BackendError, ConfigurationError, MissingExtra

_UNBOUNDED = 100_000
"""A tokenizer that knows no bound says a number far above this."""
_USUAL = 512
_PREFIXED = ("t5", "mt5", "longt5", "umt5")
_TASK = "summarization"
_lock = threading.Lock()


class Seq2Seq:
    """An encoder-decoder model with its tokenizer.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face hub.
        device: A torch device; `None` takes a GPU where there is one.

    Attributes:
        tokenizer: The tokenizer of `transformers`.
        model: The model of `transformers`.
        context_length: Tokens that it reads at most.
        prefix: What stands before a text to summarise: what the model's configuration says, and "summarize: " for T5.
        summarization: The generation options that the configuration names for summaries.

    Raises:
        BackendError: It could not be loaded.
        ConfigurationError: It is a model of another kind.
        MissingExtra: The extra `local` is not installed.
    """

    def __init__(self, path: str, device: str | None = None) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise MissingExtra("a local model", "local") from error
        transformers.utils.logging.disable_progress_bar()
        try:
            config = transformers.AutoConfig.from_pretrained(path)
            if not config.is_encoder_decoder:
                raise ConfigurationError(f"{path!r} is no encoder-decoder model, but a {config.model_type}.")
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path)
            self.model: Any = transformers.AutoModelForSeq2SeqLM.from_pretrained(path)
        except ERRORS as error:
            raise unavailable(path, error) from error
        self.model.to(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))).eval()
        told = dict((getattr(config, "task_specific_params", None) or {}).get(_TASK) or {})
        self.prefix = str(told.pop("prefix", "summarize: " if config.model_type in _PREFIXED else "") or "")
        self.summarization = told
        bounds = (getattr(config, name, None) for name in ("max_position_embeddings", "n_positions"))
        most = [int(b) for b in (*bounds, self.tokenizer.model_max_length) if b and b < _UNBOUNDED]
        self.context_length = min(most, default=_USUAL)

    def tokens(self, text: str) -> int:
        """Tokens of a text, the mark at its end included."""
        return len(self.tokenizer(text, split_special_tokens=True)["input_ids"])

    def generate(self, texts: Sequence[str], *, batch_size: int = 8, **options: Any) -> list[str]:
        """What the model writes for each text, in their order; texts of like length are read together.

        Args:
            texts: Any number of texts that fit.
            batch_size: Texts in one run.
            options: All that `generate` of `transformers` takes, for example `num_beams`, `min_length`, `max_length`.

        Raises:
            BackendError: A text does not fit, or the options cannot be used.
        """
        import torch

        rows = [self.tokenizer(text, split_special_tokens=True)["input_ids"] for text in texts]
        if (longest := max(map(len, rows), default=0)) > self.context_length:
            raise BackendError(f"the text has {longest} tokens; this model reads {self.context_length}.")
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        written = [""] * len(rows)
        for at in range(0, len(order), batch_size):
            taken = order[at : at + batch_size]
            padded = self.tokenizer.pad({"input_ids": [rows[i] for i in taken]}, return_tensors="pt")
            try:
                with torch.inference_mode():
                    found = self.model.generate(**padded.to(self.model.device), **options)
            except (TypeError, ValueError) as error:
                reason = str(error).strip().splitlines()[0]
                raise BackendError(f"the model cannot write with the options {sorted(options)}: {reason}") from error
            for i, text in zip(taken, self.tokenizer.batch_decode(found, skip_special_tokens=True), strict=True):
                written[i] = text.strip()
        return written


def seq2seq(path: str, device: str | None = None) -> Seq2Seq:
    """A model, loaded on first use; the last two stay."""
    with _lock:
        return _load(path, device)


@lru_cache(maxsize=2)
def _load(path: str, device: str | None) -> Seq2Seq:
    return Seq2Seq(path, device)
