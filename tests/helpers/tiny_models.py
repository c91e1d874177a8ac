"""Tiny models with random weights, made from a configuration: the real architectures and tokenizers, small."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 16384,
}


def tiny_tokenizer(
    control: Sequence[str], *, words: Sequence[str] = (), chat_template: str | None = None, **options: Any
) -> Any:
    """A byte-level BPE tokenizer: one token a byte, those words, and the control tokens.

    Args:
        control: Control tokens, the end token last.
        words: Words of ASCII letters that are one token each.
        chat_template: A Jinja template.
        options: Of the tokenizer, for example `bos_token`.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary, merges = {c: i for i, c in enumerate(letters)}, []
    for word in words:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = len(vocabulary)
                merges.append((word[: end - 1], word[end - 1]))
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=control[-1], pad_token=control[-1], **options)
    tokenizer.chat_template = chat_template
    return tokenizer


def save_causal(folder: Path, config: Any, tokenizer: Any, *, seed: int = 0) -> str:
    """A causal language model of that configuration with its tokenizer in a folder; its `hf:` spec."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config.vocab_size = len(tokenizer)
    config.bos_token_id = config.pad_token_id = None
    config.eos_token_id = tokenizer.eos_token_id
    model = AutoModelForCausalLM.from_config(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"hf:{folder}"
