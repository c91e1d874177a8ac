"""Language models of the Llama family on ONNX Runtime (Touvron et al. 2023, arXiv 2302.13971).

Llama, SmolLM, Mistral, Qwen2 and Qwen3 differ in biases and norms only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from taleward.backends.engine.engine import Engine
from taleward.backends.engine.grammar import Vocabulary
from taleward.backends.engine.likelihood import TokenScores, Window, in_groups
from taleward.backends.engine.sampling import Sampling
from taleward.backends.onnx.graph import Session
from taleward.backends.onnx.llama_graph import llama_session, reading_session, why_not
from taleward.backends.onnx.weights import Precision, weight_files
from taleward.backends.transformers.tokenizer import HubTokens
from taleward.core.errors import BackendError, MissingExtra

_ROOM = 1 << 29
"""Bytes of a replica's key and value caches, unless one text alone needs more."""
_GROWTH = 128
REQUEST, STORY = "<|request|>", "<|story|>"
"""The embedded storyteller's control tokens: around a request, before the story that answers it."""
_READ = 512
"""Tokens that are scored together: more of them leave the processor's caches."""


class LlamaModel:
    """A model of the Llama family in Hugging Face layout, on CPUs; callers at the same time share its batches.

    Args:
        folder: Holds `config.json` and the weights in safetensors files, and `generation_config.json` where there is
            one.
        precision: `int8` rounds weights and inputs of the linear layers, see `Graph.linear_int8`; the rounded weights
            are kept in the cache, see `int8_weights`.
        replicas: Copies at work at once, one thread each; `None` takes one a core, up to four. They share the weights.
        rows: Texts in a batch of a replica, at most.

    Attributes:
        context_length: Tokens that prompt and answer have together.
        defaults: The model's own generation settings.
        engine: Writes texts.

    Raises:
        BackendError: The folder lacks a file, or its architecture is another one.
        MissingExtra: The extra `onnx` is not installed.
    """

    def __init__(
        self, folder: Path, *, precision: Precision = "float32", replicas: int | None = None, rows: int = 32
    ) -> None:
        try:
            self._config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            own = folder / "generation_config.json"
            generation = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else {}
        except (OSError, ValueError) as error:
            raise BackendError(f"the model in {folder} could not be loaded: {error}") from error
        if reason := why_not(self._config):
            raise BackendError(
                f"the model in {folder} is no Llama that runs here: {reason}.",
                hint=f"Load it with transformers: chat_model('hf:{folder}', engine='transformers').",
            )
        self._folder, self._precision = folder, precision
        self.context_length = int(self._config["max_position_embeddings"])
        sampled = bool(generation.get("do_sample"))
        self.defaults = Sampling(
            temperature=(generation.get("temperature") or 1.0) if sampled else 0.0,
            top_p=generation.get("top_p") or 1.0,
            top_k=(generation.get("top_k") or 0) if sampled else 0,
            repetition_penalty=generation.get("repetition_penalty") or 1.0,
            no_repeat_ngram_size=generation.get("no_repeat_ngram_size") or 0,
            max_tokens=generation.get("max_new_tokens") or 512,
        )
        ends = generation.get("eos_token_id", self._config.get("eos_token_id"))
        self._ends = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        self._session = llama_session(self._config, weight_files(folder), precision)
        copies = [LlamaBatch(self._session, self._config, rows) for _ in range(replicas or min(4, os.cpu_count() or 1))]
        size = int(self._config["vocab_size"])
        self.engine = Engine(copies, ends=self._ends, vocabulary=lambda: self.vocabulary(size, [*self._ends]))

    def vocabulary(self, size: int, ends: Sequence[int]) -> Vocabulary:
        """What grammars need."""
        raise NotImplementedError

    def step(self, tokens: Sequence[int], cache: _Cache | None = None) -> tuple[Any, _Cache]:
        """What the model expects behind some tokens.

        Args:
            tokens: One or more tokens that follow those in the cache.
            cache: What an earlier step gave back; it is left as it was. `None` begins anew.

        Returns:
            The logits of the next token, shape (vocabulary,), and the cache of all tokens so far.
        """
        import numpy

        length = (cache.length if cache else 0) + len(tokens)
        heads, size = _heads(self._config)
        grown = {}
        for name in _names(self._config):
            grown[name] = numpy.zeros((1, heads, length, size), dtype=numpy.float32)
            if cache:
                grown[name][:, :, : cache.length] = cache.states[name]
        return _run(self._session, self._config, [tokens], [length], grown)[0], _Cache(length, grown)

    def read(self, windows: Sequence[Window]) -> list[TokenScores]:
        """The scores of each window's tokens, some windows on each core."""
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            return in_groups(windows, _READ, self._read, pool.map)

    @cached_property
    def _reading(self) -> Session:
        return reading_session(self._config, weight_files(self._folder), self._precision)

    def _read(self, windows: Sequence[Window]) -> list[TokenScores]:
        import numpy

        lengths = [len(w.tokens) - 1 for w in windows]
        padded = numpy.zeros((len(windows), max(lengths)), dtype=numpy.int64)
        picked = []
        for row, (window, length) in enumerate(zip(windows, lengths, strict=True)):
            padded[row, :length] = window.tokens[:-1]
            picked += [(row, place) for place in range(length - window.scored, length)]
        target = numpy.array([[t] for w in windows for t in w.tokens[len(w.tokens) - w.scored :]], dtype=numpy.int64)
        logprobs, best = self._reading.run(
            {
                "tokens": padded,
                "last": numpy.asarray(lengths, dtype=numpy.int32) - numpy.int32(1),
                "length": numpy.asarray(max(lengths), dtype=numpy.int32),
                "picked": numpy.array(picked, dtype=numpy.int64),
                "target": target,
            }
        )
        ends = numpy.cumsum([w.scored for w in windows])[:-1]
        parts = numpy.split(logprobs[:, 0].astype(float), ends), numpy.split((best == target)[:, 0], ends)
        return [TokenScores(*part) for part in zip(*parts, strict=True)]


class Llama(LlamaModel):
    """An embedded model, whose tokenizer is read from `tokenizer.json`; transformers is not needed.

    Its chat template, written out here, is that of its `tokenizer_config.json`.

    Args:
        folder: See `LlamaModel`; with `tokenizer.json`.
        options: See `LlamaModel`.
    """

    chat_template = True
    follows_instructions = False
    takes_tools = False

    def __init__(self, folder: Path, **options: Any) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtra("an embedded model", "onnx") from error
        super().__init__(folder, **options)
        try:
            text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        except OSError as error:
            raise BackendError(f"the model in {folder} could not be loaded: {error}") from error
        self._tokenizer = Tokenizer.from_str(text)
        # Text from people must never be read as a control token.
        self._tokenizer.encode_special_tokens = True
        self._start, self._end = (int(self._config[name]) for name in ("bos_token_id", "eos_token_id"))
        known = self._tokenizer.get_vocab()
        self._marks = known[REQUEST], known[STORY]

    @property
    def start(self) -> int:
        """The token before a text, see `taleward.backends.engine.likelihood`."""
        return self._start

    def encode(self, text: str) -> list[int]:
        """A text's tokens."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, tokens: Sequence[int], *, control: bool = False) -> str:
        """The text of some tokens; bytes that are no whole character become U+FFFD."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=not control)
        return text

    def prompt(self, turns: Sequence[Mapping[str, Any]], **template: Any) -> list[int]:
        """The chat template's tokens: requests, and the stories that answer them; the last story, if any, goes on."""
        request, story = self._marks
        ids, last = [self._start], len(turns) - 1
        for place, turn in enumerate(turns):
            said = self.encode(str(turn["content"]))
            if turn["role"] == "assistant":
                ids += said if place == last else [*said, self._end]
            else:
                ids += [request, *said, story]
        return ids

    def vocabulary(self, size: int, ends: Sequence[int]) -> Vocabulary:
        """What grammars need."""
        return Vocabulary(self._tokenizer.to_str(), size, ends)


class HubLlama(HubTokens, LlamaModel):
    """A model with the tokenizer and chat template of its folder.

    Args:
        folder: See `LlamaModel`.
        options: See `LlamaModel`.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        HubTokens.__init__(self, str(folder))
        LlamaModel.__init__(self, folder, **options)


class LlamaBatch:
    """Texts under way in one replica: row after row of the key and value caches, which the network writes in place.

    Args:
        session: The network; replicas share it.
        config: The model's `config.json`.
        max_batch: Rows at most.
    """

    def __init__(self, session: Session, config: Mapping[str, Any], max_batch: int) -> None:
        self.max_batch = max_batch
        self.context_length = int(config["max_position_embeddings"])
        self._session, self._config = session, config
        self._names, (self._heads, self._size) = _names(config), _heads(config)
        self.room = _ROOM // (len(self._names) * self._heads * self._size * 4)
        self._cache: dict[str, Any] = {}
        self._space = self._used = 0

    def advance(self, first: int, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        """Read new tokens into the rows from `first` on.

        Args:
            first: The first of the rows.
            tokens: Each row's new tokens, at least one; more than one only for a row that begins.
            lengths: Each row's tokens in all, the new ones included.

        Returns:
            The logits behind each row's last token, float32, shape (rows, vocabulary).
        """
        self._fit(max(lengths))
        self._used = end = first + len(tokens)
        rows = {name: cache[first:end] for name, cache in self._cache.items()}
        return _run(self._session, self._config, tokens, lengths, rows)

    def move(self, row: int, to: int, length: int) -> None:
        """Put a row of so many tokens in the place of another."""
        for cache in self._cache.values():
            cache[to, :, :length] = cache[row, :, :length]

    def rest(self) -> None:
        """Give all memory back; it is had again in no time."""
        self._cache = {}
        self._space = self._used = 0

    def _fit(self, length: int) -> None:
        """Make room for texts of so many tokens; it doubles, up to the context length."""
        import numpy

        if length <= self._space:
            return
        before, self._space = self._space, min(self.context_length, max(length, 2 * self._space, _GROWTH))
        for name in self._names:
            # The system hands out pages of zeros when they are written, so rows that are not used take nothing.
            grown = numpy.zeros((self.max_batch, self._heads, self._space, self._size), dtype=numpy.float32)
            if before:
                grown[: self._used, :, :before] = self._cache[name][: self._used]
            self._cache[name] = grown


class _Cache(NamedTuple):
    """Keys and values of one text."""

    length: int
    states: dict[str, Any]


def _run(
    session: Session,
    config: Mapping[str, Any],
    tokens: Sequence[Sequence[int]],
    lengths: Sequence[int],
    caches: Mapping[str, Any],
) -> Any:
    import numpy

    count, new = len(tokens), max(map(len, tokens))
    padded = numpy.zeros((count, new), dtype=numpy.int64)
    for row, ids in enumerate(tokens):
        padded[row, : len(ids)] = ids
    logits = numpy.empty((count, int(config["vocab_size"])), dtype=numpy.float32)
    inputs = {
        "tokens": padded,
        "last": numpy.asarray(lengths, dtype=numpy.int32) - numpy.int32(1),
        "length": numpy.asarray(max(lengths), dtype=numpy.int32),
        "picked": numpy.array([[len(ids) - 1] for ids in tokens], dtype=numpy.int64),
        **{f"past_{name}": cache for name, cache in caches.items()},
    }
    session.run_into(inputs, {"logits": logits, **caches})
    return logits


def _names(config: Mapping[str, Any]) -> list[str]:
    return [f"{part}{layer}" for layer in range(int(config["num_hidden_layers"])) for part in ("key", "value")]


def _heads(config: Mapping[str, Any]) -> tuple[int, int]:
    heads = int(config["num_attention_heads"])
    size = config.get("head_dim") or config["hidden_size"] // heads
    return int(config.get("num_key_value_heads") or heads), int(size)
