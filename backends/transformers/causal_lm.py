"""Any causal language model in Hugging Face layout, run by the library `transformers`."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taleward.backends.engine.engine import Engine
from taleward.backends.engine.likelihood import ScoringWindow, TokenScores, score_in_batches
from taleward.backends.engine.sampling import Sampling
from taleward.backends.transformers.batch import TorchBatch, cache_name
from taleward.backends.transformers.devices import check_map, device_of
from taleward.backends.transformers.hub import ERRORS, fetching, loading, unavailable
from taleward.backends.transformers.tokenizer import HubTokens
from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SMALL = 100_000_000
"""Parameters below which a model on a CPU reads few tokens on one thread."""
_FEW_TOKENS = 8
_READ, _READ_GPU = 512, 16384
"""Tokens that are scored together, on a CPU and on a GPU."""
_LOGITS = 1 << 28
"""Logits that are in memory at once, unless one window alone has more."""
_OTHERS = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM")


class HuggingFace(HubTokens):
    """A causal language model with its tokenizer; callers at the same time share its batches.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face hub.
        device: A torch device; `None` takes a GPU where there is one.
        load: Options of `from_pretrained`: `dtype`, `device_map`, `quantization_config`, `attn_implementation` and so
            on. On a GPU the `dtype` is bfloat16 unless it is given, on a CPU float32.

    Raises:
        BackendError: It could not be loaded.
        ConfigurationError: It is a model of another kind, there is no such device, or the options do not fit.
        MissingExtra: The extra `local` is not installed.
    """

    def __init__(self, path: str, device: str | None = None, load: Mapping[str, Any] | None = None) -> None:
        super().__init__(path)
        import torch
        import transformers

        options = dict(load or {})
        self._device = device_of(device)
        check_map(options)
        options.setdefault("dtype", torch.float32 if self._device.type == "cpu" else torch.bfloat16)
        try:
            config = transformers.AutoConfig.from_pretrained(path, **fetching(path))
        except ERRORS as error:
            raise unavailable(path, error) from error
        _check(config, path)
        with loading(path, load or {}):
            self._model = transformers.AutoModelForCausalLM.from_pretrained(path, **fetching(path), **options).eval()
            if not {"device_map", "quantization_config"} & set(options):
                self._model.to(self._device)
        self._device = self._model.device
        self._small = self._device.type == "cpu" and self._model.num_parameters() < _SMALL
        own = self._model.generation_config
        sampled = bool(own.do_sample)
        self.defaults = Sampling(
            temperature=(own.temperature or 1.0) if sampled else 0.0,
            top_p=own.top_p or 1.0,
            top_k=(own.top_k or 0) if sampled else 0,
            repetition_penalty=own.repetition_penalty or 1.0,
            no_repeat_ngram_size=own.no_repeat_ngram_size or 0,
            max_tokens=own.max_new_tokens or 512,
        )
        ends = own.eos_token_id if own.eos_token_id is not None else self._tokenizer.eos_token_id
        self._ends = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        text = self._model.config.get_text_config()
        self.context_length = int(getattr(text, "max_position_embeddings", 0) or self._tokenizer.model_max_length)
        size = int(text.vocab_size)
        self.engine = Engine(
            [_Rows(self._model, self._small)],
            eos_token_ids=self._ends,
            vocabulary=lambda: self.vocabulary(size, [*self._ends]),
        )

    def step(self, tokens: Sequence[int], cache: Any = None) -> tuple[npt.NDArray[np.float32], Any]:
        """What the model expects behind some tokens.

        Args:
            tokens: One or more tokens that follow those in the cache.
            cache: What an earlier step gave back; it is left as it was. `None` begins anew.

        Returns:
            The logits of the next token, shape (vocabulary,), and the cache of all tokens so far.
        """
        import torch
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config) if cache is None else copy.deepcopy(cache)
        with torch.inference_mode(), _threads(self._small and len(tokens) <= _FEW_TOKENS):
            out = self._model(
                input_ids=torch.tensor([list(tokens)], device=self._device),
                **{cache_name(self._model): cache},
                use_cache=True,
                logits_to_keep=1,
            )
            return out.logits[0, -1].float().cpu().numpy(), cache

    def read(self, windows: Sequence[ScoringWindow]) -> list[TokenScores]:
        """The scores of each window's tokens."""
        size = int(self._model.config.get_text_config().vocab_size)
        most = _READ if self._device.type == "cpu" else _READ_GPU
        return score_in_batches(windows, min(most, _LOGITS // size), self._read)

    def _read(self, windows: Sequence[ScoringWindow]) -> list[TokenScores]:
        import torch

        width, found = max(len(w.tokens) for w in windows), []
        rows = [[*w.tokens, *[0] * (width - len(w.tokens))] for w in windows]
        ids = torch.tensor(rows, device=self._device)
        seen = torch.tensor([[n < len(w.tokens) for n in range(width)] for w in windows], device=self._device)
        with torch.inference_mode():
            logits = self._model(input_ids=ids, attention_mask=seen.long(), use_cache=False).logits
            for row, window in enumerate(windows):
                end = len(window.tokens)
                told = logits[row, end - 1 - window.scored : end - 1].float()
                target = ids[row, end - window.scored : end]
                chosen = told.gather(1, target[:, None])[:, 0] - told.logsumexp(1)
                found.append(TokenScores(chosen.double().cpu().numpy(), (told.argmax(1) == target).cpu().numpy()))
        return found


class _Rows(TorchBatch):
    """Rows that go by the model's number of threads."""

    def __init__(self, model: Any, small: bool) -> None:
        super().__init__(model)
        self._small = small

    def advance(self, first: int, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        with _threads(self._small and sum(map(len, tokens)) <= _FEW_TOKENS):
            return super().advance(first, tokens, lengths)


@contextlib.contextmanager
def _threads(one: bool) -> Iterator[None]:
    """One thread for a small model and few tokens: on a busy machine a second one waits longer than it helps."""
    import torch

    before = torch.get_num_threads()
    if not one or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check(config: Any, path: str) -> None:
    kinds = config.architectures or []
    if config.is_encoder_decoder:
        raise ConfigurationError(
            f"{path!r} is an encoder-decoder model ({config.model_type}), which turns texts into texts.",
            hint=f"Load it with taleward.seq2seq_model('hf:{path}').",
        )
    if kinds and all(kind.endswith(_OTHERS) for kind in kinds):
        raise ConfigurationError(
            f"{path!r} is no language model that writes: {', '.join(kinds)}.",
            hint=f"Load it with taleward.classifier('hf:{path}') or taleward.embeddings('hf:{path}').",
        )
