"""A tiny ShieldGemma 2 with random weights: the real architecture and processor, small."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.tiny_models import tiny_tokenizer

_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>user\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<start_of_image>{% else %}{{ part['text'] }} Yes or No?{% endif %}"
    "{% endfor %}<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
)
_CONTROL = (
    "<bos>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<image_soft_token>",
    "<end_of_image>",
    "<eos>",
)
_SIDE, _PATCH = 28, 14
_IMAGE_TOKENS = (_SIDE // _PATCH) ** 2


def save_tiny_shieldgemma2(folder: Path, *, says_yes: bool) -> str:
    """Save a model that answers Yes (the picture breaks the policy) or No to every question."""
    import torch
    from transformers import (
        Gemma3ImageProcessor,
        ShieldGemma2Config,
        ShieldGemma2ForImageClassification,
        ShieldGemma2Processor,
    )

    tokenizer = tiny_tokenizer(
        _CONTROL,
        words=("Yes", "No"),
        bos_token="<bos>",
        extra_special_tokens={
            "boi_token": "<start_of_image>",
            "image_token": "<image_soft_token>",
            "eoi_token": "<end_of_image>",
        },
    )
    size = {"height": _SIDE, "width": _SIDE}
    processor = ShieldGemma2Processor(
        Gemma3ImageProcessor(size=size), tokenizer, chat_template=_TEMPLATE, image_seq_length=_IMAGE_TOKENS
    )
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in (*_CONTROL, "Yes", "No")}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "pad_token_id": ids["<eos>"],
        "bos_token_id": ids["<bos>"],
        "eos_token_id": ids["<eos>"],
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": _SIDE,
        "patch_size": _PATCH,
    }
    config = ShieldGemma2Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=_IMAGE_TOKENS,
        boi_token_index=ids["<start_of_image>"],
        eoi_token_index=ids["<end_of_image>"],
        image_token_index=ids["<image_soft_token>"],
        yes_token_index=ids["Yes"],
        no_token_index=ids["No"],
    )
    torch.manual_seed(0)
    model = ShieldGemma2ForImageClassification(config)
    with torch.no_grad():
        # Whatever the last state is, one of the two words is far ahead: its embedding is a multiple of the other's.
        head = model.model.get_output_embeddings().weight
        question = processor(images=[_gray()], policies=["sexual"], return_tensors="pt")
        states = model.model(**question, output_hidden_states=True).hidden_states[-1][0, -1]
        wanted, other = ("Yes", "No") if says_yes else ("No", "Yes")
        head[ids[wanted]], head[ids[other]] = states * 2, -states * 2
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def _gray() -> object:
    from PIL import Image

    return Image.new("RGB", (_SIDE, _SIDE), "gray")
