"""Causal language models in Hugging Face layout, run by transformers."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taleward.backends.engine.engine import Engine
from taleward.backends.engine.likelihood import ScoringWindow, TokenScores, score_in_batches
from taleward.backends.engine.sampling import Sampling
from taleward.backends.transformers.decoding_batch import TorchBatch, cache_argument
from taleward.backends.transformers.devices import check_device_map, torch_device
from taleward.backends.transformers.hub_files import (
    LOAD_ERRORS,
    load_weights,
    loading_options,
    model_unavailable,
    translate_load_errors,
)
from taleward.backends.transformers.tokenizer import HubTokenizer
from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SMALL_PARAMETERS = 100_000_000
"""Below this number of parameters, a model on a CPU processes few tokens on one thread."""
_FEW_TOKENS = 8
_SCORING_TOKENS_CPU, _SCORING_TOKENS_GPU = 512, 16384
"""Maximum number of tokens scored together."""
_MAX_LOGITS = 1 << 28
"""Maximum number of logits in memory at once; a single window may exceed it."""
_OTHER_HEADS = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM")


class HubCausalLM(HubTokenizer):
    """A causal language model with its tokenizer; concurrent callers share its batches.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face Hub.
        device: A torch device; `None` uses a GPU if there is one.
        load: Options of `from_pretrained`, such as `dtype`, `device_map`, `quantization_config` or
            `attn_implementation`. `dtype` defaults to bfloat16 on a GPU and to float32 on a CPU.

    Attributes:
        context_length: Maximum number of tokens in prompt and answer together.
        defaults: The model's own generation settings.
        engine: Generates text.

    Raises:
        BackendError: If the model could not be loaded.
        ConfigurationError: If it is not a causal language model, the device does not exist, or the options do not fit.
        MissingExtra: If the extra `local` is not installed.
    """

    def __init__(self, path: str, device: str | None = None, load: Mapping[str, Any] | None = None) -> None:
        super().__init__(path, load)
        import torch
        import transformers

        options = dict(load or {})
        self._device = torch_device(device)
        check_device_map(options)
        options.setdefault("dtype", torch.float32 if self._device.type == "cpu" else torch.bfloat16)
        hub_options = loading_options(path, load)
        try:
            config = transformers.AutoConfig.from_pretrained(path, **hub_options)
        except LOAD_ERRORS as error:
            raise model_unavailable(path, error) from error
        _check_architecture(config, path)
        with translate_load_errors(path, load or {}):
            self._model = load_weights("AutoModelForCausalLM", path, {**hub_options, **options})
            if not {"device_map", "quantization_config"} & set(options):
                self._model.to(self._device)
        self._device = self._model.device
        self._is_small = self._device.type == "cpu" and self._model.num_parameters() < _SMALL_PARAMETERS
        generation = self._model.generation_config
        # As in transformers: without `do_sample`, a model decodes greedily whatever temperature it lists.
        do_sample = bool(generation.do_sample)
        self.defaults = Sampling(
            temperature=(generation.temperature or 1.0) if do_sample else 0.0,
            top_p=generation.top_p or 1.0,
            top_k=(generation.top_k or 0) if do_sample else 0,
            repetition_penalty=generation.repetition_penalty or 1.0,
            no_repeat_ngram_size=generation.no_repeat_ngram_size or 0,
            max_tokens=generation.max_new_tokens or 512,
        )
        eos = generation.eos_token_id if generation.eos_token_id is not None else self._tokenizer.eos_token_id
        self._eos_token_ids = frozenset(eos if isinstance(eos, list) else [] if eos is None else [eos])
        text_config = self._model.config.get_text_config()
        positions = getattr(text_config, "max_position_embeddings", 0)
        self.context_length = int(positions or self._tokenizer.model_max_length)
        self._vocabulary_size = int(text_config.vocab_size)
        self.engine = Engine(
            [_ThreadLimitedBatch(self._model, self._is_small)],
            eos_token_ids=self._eos_token_ids,
            vocabulary=lambda: self.vocabulary(self._vocabulary_size, [*self._eos_token_ids]),
        )

    def step(self, tokens: Sequence[int], cache: Any = None) -> tuple[npt.NDArray[np.float32], Any]:
        """Run one forward pass over tokens that follow those in `cache`.

        Args:
            tokens: One or more tokens.
            cache: The cache that an earlier step returned, which is left unchanged; `None` starts a new text.

        Returns:
            The next token's logits, shape (vocabulary,), and the cache of all tokens so far.
        """
        import torch
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config) if cache is None else copy.deepcopy(cache)
        with torch.inference_mode(), _single_threaded(self._is_small and len(tokens) <= _FEW_TOKENS):
            output = self._model(
                input_ids=torch.tensor([list(tokens)], device=self._device),
                **{cache_argument(self._model): cache},
                use_cache=True,
                logits_to_keep=1,
            )
            return output.logits[0, -1].float().cpu().numpy(), cache

    def read(self, windows: Sequence[ScoringWindow]) -> list[TokenScores]:
        """Score the tokens of each window."""
        max_tokens = _SCORING_TOKENS_CPU if self._device.type == "cpu" else _SCORING_TOKENS_GPU
        return score_in_batches(windows, min(max_tokens, _MAX_LOGITS // self._vocabulary_size), self._score_batch)

    def _score_batch(self, windows: Sequence[ScoringWindow]) -> list[TokenScores]:
        import torch

        width, scores = max(len(window.tokens) for window in windows), []
        padded = [[*window.tokens, *[0] * (width - len(window.tokens))] for window in windows]
        ids = torch.tensor(padded, device=self._device)
        is_token = [[position < len(window.tokens) for position in range(width)] for window in windows]
        mask = torch.tensor(is_token, device=self._device)
        with torch.inference_mode():
            logits = self._model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
            for row, window in enumerate(windows):
                end = len(window.tokens)
                # The logits at one position predict the token at the next.
                predicted = logits[row, end - 1 - window.scored : end - 1].float()
                target = ids[row, end - window.scored : end]
                logprobs = predicted.gather(1, target[:, None])[:, 0] - predicted.logsumexp(1)
                is_best = predicted.argmax(1) == target
                scores.append(TokenScores(logprobs.double().cpu().numpy(), is_best.cpu().numpy()))
        return scores


class _ThreadLimitedBatch(TorchBatch):
    """A batch whose small steps run on one thread, if the model is small."""

    def __init__(self, model: Any, is_small: bool) -> None:
        super().__init__(model)
        self._is_small = is_small

    def advance(self, first: int, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        with _single_threaded(self._is_small and sum(map(len, tokens)) <= _FEW_TOKENS):
            return super().advance(first, tokens, lengths)


@contextlib.contextmanager
def _single_threaded(enabled: bool) -> Iterator[None]:
    """Limit torch to one thread: for few tokens, on a busy machine, the threads wait longer than they compute."""
    import torch

    threads = torch.get_num_threads()
    if not enabled or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_architecture(config: Any, path: str) -> None:
    architectures = config.architectures or []
    if config.is_encoder_decoder:
        raise ConfigurationError(
            f"{path!r} is an encoder-decoder model ({config.model_type}), not a causal language model.",
            hint=f"Load it with taleward.seq2seq_model('hf:{path}').",
        )
    if architectures and all(architecture.endswith(_OTHER_HEADS) for architecture in architectures):
        raise ConfigurationError(
            f"{path!r} does not generate text: {', '.join(architectures)}.",
            hint=f"Load it with taleward.classifier('hf:{path}') or taleward.embeddings('hf:{path}').",
        )
