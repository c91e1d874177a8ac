"""Language models of the Llama family on ONNX Runtime (Touvron et al. 2023, arXiv 2302.13971).

Llama, SmolLM, Mistral, Qwen2 and Qwen3 share one network and differ only in biases and norms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from taleward.backends.engine.engine import Engine
from taleward.backends.engine.grammar import Vocabulary
from taleward.backends.engine.likelihood import ScoringWindow, TokenScores, score_in_batches
from taleward.backends.engine.sampling import Sampling
from taleward.backends.onnx.graph import Session
from taleward.backends.onnx.llama_graph import llama_session, scoring_session, unsupported_reason
from taleward.backends.onnx.quantized_weights import WeightPrecision, weight_files
from taleward.backends.transformers.tokenizer import HubTokenizer
from taleward.core.concurrency.cores import usable_cores
from taleward.core.errors import BackendError, MissingExtra

_CACHE_BYTES = 1 << 29
"""Memory for a replica's key-value caches; a single text may exceed it."""
_MIN_CACHE_TOKENS = 128
REQUEST, STORY = "<|request|>", "<|story|>"
"""The small storyteller's control tokens, before a request and before the story that answers it."""
_TURN_START, _TURN_END = "<|im_start|>", "<|im_end|>"
"""Control tokens of ChatML, before and after each message."""
_SCORING_BATCH_TOKENS = 512
"""Maximum number of tokens scored together; larger batches do not fit into the processor's caches and are slower."""


class LlamaModel:
    """A model of the Llama family in Hugging Face layout, on the CPU; concurrent callers share its batches.

    Args:
        folder: Folder with `config.json`, the weights in safetensors files, and optionally `generation_config.json`.
        precision: `int8` quantizes the weights and inputs of the linear layers, see `Graph.linear_int8`; the quantized
            weights are cached, see `int8_weights`.
        replicas: Number of batches that run in parallel, one thread each; defaults to one per core, at most four. They
            share the weights.
        rows: Maximum number of texts in a replica's batch.

    Attributes:
        context_length: Maximum number of tokens in prompt and answer together.
        defaults: The model's own generation settings.
        engine: Generates text.

    Raises:
        BackendError: If a file is missing, or the architecture is not supported.
        MissingExtra: If the extra `onnx` is not installed.
    """

    def __init__(
        self, folder: Path, *, precision: WeightPrecision = "float32", replicas: int | None = None, rows: int = 32
    ) -> None:
        try:
            self._config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            generation_file = folder / "generation_config.json"
            generation = json.loads(generation_file.read_text(encoding="utf-8")) if generation_file.is_file() else {}
        except (OSError, ValueError) as error:
            raise BackendError(f"the model in {folder} could not be loaded: {error}") from error
        if reason := unsupported_reason(self._config):
            raise BackendError(
                f"the model in {folder} is not supported by the engine 'onnx': {reason}.",
                hint=f"Load it with transformers: chat_model('hf:{folder}', engine='transformers').",
            )
        self._folder, self._precision = folder, precision
        self.context_length = int(self._config["max_position_embeddings"])
        # As in transformers: without `do_sample`, a model decodes greedily whatever temperature it lists.
        do_sample = bool(generation.get("do_sample"))
        self.defaults = Sampling(
            temperature=(generation.get("temperature") or 1.0) if do_sample else 0.0,
            top_p=generation.get("top_p") or 1.0,
            top_k=(generation.get("top_k") or 0) if do_sample else 0,
            repetition_penalty=generation.get("repetition_penalty") or 1.0,
            no_repeat_ngram_size=generation.get("no_repeat_ngram_size") or 0,
            max_tokens=generation.get("max_new_tokens") or 512,
        )
        eos = generation.get("eos_token_id", self._config.get("eos_token_id"))
        self._eos_token_ids = frozenset(eos if isinstance(eos, list) else [] if eos is None else [eos])
        self._session = llama_session(self._config, weight_files(folder), precision)
        batches = [LlamaBatch(self._session, self._config, rows) for _ in range(replicas or min(4, usable_cores()))]
        size = int(self._config["vocab_size"])
        self.engine = Engine(
            batches,
            eos_token_ids=self._eos_token_ids,
            vocabulary=lambda: self.vocabulary(size, [*self._eos_token_ids]),
        )

    def vocabulary(self, size: int, eos_token_ids: Sequence[int]) -> Vocabulary:
        """Build the vocabulary for grammars; see `Vocabulary` for the arguments."""
        raise NotImplementedError

    def step(self, tokens: Sequence[int], cache: _KeyValueCache | None = None) -> tuple[Any, _KeyValueCache]:
        """Run one forward pass over tokens that follow those in `cache`.

        Args:
            tokens: One or more tokens.
            cache: The cache that an earlier step returned, which is left unchanged; `None` starts a new text.

        Returns:
            The next token's logits, shape (vocabulary,), and the cache of all tokens so far.
        """
        import numpy

        length = (cache.length if cache else 0) + len(tokens)
        heads, size = _key_heads_and_size(self._config)
        extended = {}
        for name in _cache_names(self._config):
            extended[name] = numpy.zeros((1, heads, length, size), dtype=numpy.float32)
            if cache:
                extended[name][:, :, : cache.length] = cache.states[name]
        logits = _forward(self._session, self._config, [tokens], [length], extended)
        return logits[0], _KeyValueCache(length, extended)

    def read(self, windows: Sequence[ScoringWindow]) -> list[TokenScores]:
        """Score the tokens of each window, in batches that run in parallel."""
        with ThreadPoolExecutor(min(4, usable_cores())) as pool:
            return score_in_batches(windows, _SCORING_BATCH_TOKENS, self._score_batch, pool.map)

    @cached_property
    def _scoring_session(self) -> Session:
        # A second session holds the weights a second time, so it is built only for models that score texts.
        return scoring_session(self._config, weight_files(self._folder), self._precision)

    def _score_batch(self, windows: Sequence[ScoringWindow]) -> list[TokenScores]:
        import numpy

        lengths = [len(w.tokens) - 1 for w in windows]  # a window's last token is only predicted
        padded = numpy.zeros((len(windows), max(lengths)), dtype=numpy.int64)
        picked = []
        for row, (window, length) in enumerate(zip(windows, lengths, strict=True)):
            padded[row, :length] = window.tokens[:-1]
            picked += [(row, position) for position in range(length - window.scored, length)]
        target = numpy.array([[t] for w in windows for t in w.tokens[len(w.tokens) - w.scored :]], dtype=numpy.int64)
        logprobs, best = self._scoring_session.run(
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


class EmbeddedLlama(LlamaModel):
    """An embedded model, with a tokenizer that needs no transformers.

    The chat template is written out in `prompt`, in two forms: requests and stories, or ChatML. It is that of the
    model's `tokenizer_config.json`.

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
            tokenizer_json = (folder / "tokenizer.json").read_text(encoding="utf-8")
        except OSError as error:
            raise BackendError(f"the model in {folder} could not be loaded: {error}") from error
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        # Control tokens in users' text become ordinary text, so that no story can end its turn or begin another.
        self._tokenizer.encode_special_tokens = True
        self._bos, self._eos = (int(self._config[name]) for name in ("bos_token_id", "eos_token_id"))
        self._vocabulary = self._tokenizer.get_vocab()

    @property
    def story_prompts(self) -> bool:
        """Whether the model was tuned on prompts that name an age band and ask for a story."""
        return bool(self._config.get("story_prompts", False))

    @property
    def start(self) -> int:
        """The token that begins a text, see `taleward.backends.engine.likelihood`."""
        return self._bos

    def encode(self, text: str) -> list[int]:
        """Tokenize text; what looks like a control token stays ordinary text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, tokens: Sequence[int], *, control: bool = False) -> str:
        """Decode tokens; bytes that do not form a whole character become U+FFFD.

        Args:
            tokens: Token ids.
            control: Whether control tokens are included in the text.
        """
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=not control)
        return text

    def prompt(self, turns: Sequence[Mapping[str, Any]], **template: Any) -> list[int]:
        """Tokenize a conversation with the chat template: requests, and the stories that answer them.

        If the last message is the model's own, generation continues it.

        Args:
            turns: Messages with `role` and `content`.
            template: Ignored; other models pass it to their chat templates.
        """
        return self._request_prompt(turns) if REQUEST in self._vocabulary else self._chatml_prompt(turns)

    def _request_prompt(self, turns: Sequence[Mapping[str, Any]]) -> list[int]:
        request_token, story_token = self._vocabulary[REQUEST], self._vocabulary[STORY]
        ids, last = [self._bos], len(turns) - 1
        for number, turn in enumerate(turns):
            content = self.encode(str(turn["content"]))
            if turn["role"] == "assistant":
                ids += content if number == last else [*content, self._eos]
            else:
                ids += [request_token, *content, story_token]
        return ids

    def _chatml_prompt(self, turns: Sequence[Mapping[str, Any]]) -> list[int]:
        start_token, end_token = self._vocabulary[_TURN_START], self._vocabulary[_TURN_END]
        ids = list[int]()
        for turn in turns:
            ids += [start_token, *self.encode(f"{turn['role']}\n{turn['content']}"), end_token, *self.encode("\n")]
        if turns and turns[-1]["role"] == "assistant":
            return ids[: -1 - len(self.encode("\n"))]
        return [*ids, start_token, *self.encode("assistant\n")]

    def vocabulary(self, size: int, eos_token_ids: Sequence[int]) -> Vocabulary:
        """Build the vocabulary for grammars; see `Vocabulary` for the arguments."""
        return Vocabulary(self._tokenizer.to_str(), size, eos_token_ids)


class HubLlama(HubTokenizer, LlamaModel):
    """A Llama-family model with the tokenizer and chat template in its folder, which need transformers.

    Args:
        folder: See `LlamaModel`.
        options: See `LlamaModel`.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        HubTokenizer.__init__(self, str(folder))
        LlamaModel.__init__(self, folder, **options)


class LlamaBatch:
    """The texts of one replica, as rows of key-value caches that the network extends in place; a `DecodingBatch`.

    Args:
        session: The network; replicas share it.
        config: The model's `config.json`.
        max_batch: Maximum number of rows.
    """

    def __init__(self, session: Session, config: Mapping[str, Any], max_batch: int) -> None:
        self.max_batch = max_batch
        self.context_length = int(config["max_position_embeddings"])
        self._session, self._config = session, config
        self._names, (self._heads, self._size) = _cache_names(config), _key_heads_and_size(config)
        self.token_capacity = _CACHE_BYTES // (len(self._names) * self._heads * self._size * 4)
        self._cache: dict[str, Any] = {}
        self._allocated = self._rows = 0

    def advance(self, first: int, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        """Read new tokens into the rows from `first` on.

        Args:
            first: Number of the first of these rows.
            tokens: Each row's new tokens, at least one; more than one only for a row that begins.
            lengths: Each row's total number of tokens, the new ones included.

        Returns:
            The logits after each row's last token, float32, shape (rows, vocabulary).
        """
        self._allocate(max(lengths))
        self._rows = end = first + len(tokens)
        rows = {name: cache[first:end] for name, cache in self._cache.items()}
        return _forward(self._session, self._config, tokens, lengths, rows)

    def move(self, row: int, to: int, length: int) -> None:
        """Copy a row that holds `length` tokens over another row."""
        for cache in self._cache.values():
            cache[to, :, :length] = cache[row, :, :length]

    def release(self) -> None:
        """Free the caches; allocating them again takes no measurable time."""
        self._cache = {}
        self._allocated = self._rows = 0

    def _allocate(self, length: int) -> None:
        """Make the caches long enough for `length` tokens; their length doubles, up to the context length."""
        import numpy

        if length <= self._allocated:
            return
        copied = self._allocated
        self._allocated = min(self.context_length, max(length, 2 * self._allocated, _MIN_CACHE_TOKENS))
        for name in self._names:
            # The operating system maps zeroed pages only when they are written, so unused rows take no memory.
            longer = numpy.zeros((self.max_batch, self._heads, self._allocated, self._size), dtype=numpy.float32)
            if copied:
                longer[: self._rows, :, :copied] = self._cache[name][: self._rows]
            self._cache[name] = longer


class _KeyValueCache(NamedTuple):
    """Keys and values of one text."""

    length: int
    states: dict[str, Any]


def _forward(
    session: Session,
    config: Mapping[str, Any],
    tokens: Sequence[Sequence[int]],
    lengths: Sequence[int],
    caches: Mapping[str, Any],
) -> Any:
    """Run the network over new tokens, extend the caches in place, and return the next tokens' logits."""
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


def _cache_names(config: Mapping[str, Any]) -> list[str]:
    return [f"{part}{layer}" for layer in range(int(config["num_hidden_layers"])) for part in ("key", "value")]


def _key_heads_and_size(config: Mapping[str, Any]) -> tuple[int, int]:
    heads = int(config["num_attention_heads"])
    size = config.get("head_dim") or config["hidden_size"] // heads
    return int(config.get("num_key_value_heads") or heads), int(size)
