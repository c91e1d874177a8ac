"""Tiny models of each kind with random weights, and texts to classify and summarize."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.tiny_models import SMALL, save_causal, tiny_tokenizer

CHAT = (
    "<s>{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GOOD = "The waiter smiled, the pizza was delicious, and the view of the harbor was lovely."
BAD = "The soup was cold, the waiter was rude, and we waited for an hour."
FOX = (
    "A small fox lived by the sea. Her name was Mira, and she had lost her red kite in a storm. She asked the owl, and "
    "the owl had not seen it. She asked the crab, and the crab laughed. At last the kite came down in the garden of an "
    "old woman. The old woman gave it back to Mira with a piece of apple cake. They flew it together until it was dark."
)


def llama(folder: Path, *, context: int = 2048) -> str:
    """Save a Llama with a chat template and return its spec."""
    from transformers import LlamaConfig

    control = ["<s>", "<|im_start|>", "<|im_end|>"]
    config = LlamaConfig(**{**SMALL, "max_position_embeddings": context})
    return save_causal(folder, config, tiny_tokenizer(control, chat_template=CHAT))


def gpt2(folder: Path, *, context: int = 1024) -> str:
    """Save a GPT-2, a completion model, and return its spec."""
    from transformers import GPT2Config

    return save_causal(folder, GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=context), tiny_tokenizer(["<s>"]))


def nli(
    folder: Path, labels: tuple[str, ...] = ("contradiction", "neutral", "entailment"), *, length: int = 2048
) -> str:
    """Save a BERT that classifies pairs and return its spec.

    Its weights are large enough that its scores differ clearly from each other.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = pair_tokenizer(length)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=length,
        initializer_range=0.5,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"hf:{folder}"


def bert(folder: Path) -> str:
    """Save a BERT without a head, an embeddings model, and return its spec."""
    import torch
    from transformers import BertConfig, BertModel

    tokenizer = pair_tokenizer(256)
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokenizer), initializer_range=0.3, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"hf:{folder}"


def pair_tokenizer(length: int) -> Any:
    """Return a byte-level tokenizer that encodes pairs as BERT's does."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer(["[CLS]", "[PAD]", "[SEP]"], cls_token="[CLS]", sep_token="[SEP]")
    tokenizer.pad_token = "[PAD]"
    tokenizer.model_max_length = length
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    special_tokens = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special_tokens
    )
    return tokenizer


def t5(folder: Path) -> str:
    """Save a T5 whose configuration has options for summaries, and return its spec."""
    from transformers import T5Config

    config = T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, n_positions=256, decoder_start_token_id=0)
    config.task_specific_params = {"summarization": {"prefix": "summarize: ", "min_length": 5, "max_length": 12}}
    return _save_seq2seq(folder, config)


def bart(folder: Path) -> str:
    """Save a BART and return its spec."""
    from transformers import BartConfig

    sizes = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in _SIDE_SIZES.items()}
    return _save_seq2seq(folder, BartConfig(d_model=32, max_position_embeddings=256, **sizes))


_SIDE_SIZES = {"layers": 2, "attention_heads": 4, "ffn_dim": 64}


def _save_seq2seq(folder: Path, config: Any) -> str:
    import torch
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoModelForSeq2SeqLM

    tokenizer = tiny_tokenizer(["<s>", "<pad>", "</s>"])
    tokenizer.pad_token = "<pad>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.eos_token_id)]
    )
    config.vocab_size = len(tokenizer)
    config.pad_token_id, config.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
    config.bos_token_id = config.decoder_start_token_id = tokenizer.convert_tokens_to_ids("<s>")
    config.forced_eos_token_id = config.forced_bos_token_id = None
    torch.manual_seed(3)
    model = AutoModelForSeq2SeqLM.from_config(config)
    model.generation_config.max_length = 30
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"hf:{folder}"
