"""Tokenize documents and pack them into training rows."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor

from taleward.backends.onnx.llama import REQUEST as REQUEST_TEXT, STORY as STORY_TEXT
from training.storyteller_mini.make_requests import extract, phrase_request, request_for_story, with_opening
from training.storyteller_mini.sources import Document
from training.storyteller_mini.vary_stories import vary_story

BOS, EOS, PAD, REQUEST, STORY = range(5)
BOS_TEXT, EOS_TEXT, PAD_TEXT = "<s>", "</s>", "<pad>"
OPENING_SHARE, REQUEST_SHARE, MIDDLE_SHARE = 0.1, 0.7, 0.05
"""Shares of the stories that follow an opening, follow a request (if one can be built), or start in the middle."""
# Share of the stories after a request in which some things are replaced by others.
_VARIED_SHARE = 0.6
# Sources whose stories are never cut into pieces.
_UNCUT_SOURCES = ("tinystories", "child", "bedtime")


def make_tokenizer(documents: Sequence[Document], vocab: int) -> Any:
    """Train a byte-level BPE tokenizer, which can encode any text without an unknown token.

    It puts `<s>` before every text it encodes, and no `</s>` after it.

    Args:
        documents: The texts to learn from.
        vocab: Number of tokens.

    Returns:
        A `tokenizers.Tokenizer`.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[BOS_TEXT, EOS_TEXT, PAD_TEXT, REQUEST_TEXT, STORY_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((document.text for document in documents), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS_TEXT} $A", special_tokens=[(BOS_TEXT, BOS)])
    return tokenizer


def epoch_rows(documents: Sequence[Document], tokenizer: Any, *, length: int, seed: str) -> Tensor:
    """Return the training rows of one epoch, shape (rows, length + 1), padded with `PAD`.

    Openings, requests and the order are drawn from `seed`. A document that fits stays in one row, so most rows start
    with the beginning of a text. Picture books and fairy tales that are too long are cut into pieces, of which only the
    last ends with `EOS`; other long stories are left out, so that the model learns to end within the length.
    """
    rng = random.Random(seed)
    order = list(documents)
    rng.shuffle(order)
    texts = [_training_text(document, rng) for document in order]
    pieces: list[list[int]] = []
    for document, encoding in zip(order, tokenizer.encode_batch(texts, add_special_tokens=False), strict=True):
        ids = encoding.ids + ([EOS] if document.ends else [])
        if len(ids) > length and document.source in _UNCUT_SOURCES:
            continue
        pieces += [[BOS, *ids[start : start + length]] for start in range(0, len(ids), length)]
    rows = _pack(pieces, length + 1)
    rng.shuffle(rows)
    return torch.tensor([row + [PAD] * (length + 1 - len(row)) for row in rows], dtype=torch.int64)


def _training_text(document: Document, rng: random.Random) -> str:
    text, draw = document.text, rng.random()
    if document.source in _UNCUT_SOURCES and document.ends and draw < OPENING_SHARE:
        return with_opening(text, rng) or text
    if document.source in _UNCUT_SOURCES and document.ends and draw < OPENING_SHARE + REQUEST_SHARE:
        parts = extract(text)
        if parts is not None and rng.random() < _VARIED_SHARE:
            text, parts = vary_story(text, parts, rng)
            return f"{REQUEST_TEXT}{phrase_request(parts, rng)}{STORY_TEXT}{text}"
        request = request_for_story(document.title, parts, rng)
        return text if request is None else f"{REQUEST_TEXT}{request}{STORY_TEXT}{text}"
    if draw > 1 - MIDDLE_SHARE:
        sentences = text.split(". ")
        return ". ".join(sentences[rng.randrange(max(1, len(sentences) // 2)) :])
    return text


def _pack(pieces: Sequence[list[int]], size: int) -> list[list[int]]:
    """Pack pieces into rows by first fit over the 64 newest open rows, in time linear in the number of pieces."""
    full_rows: list[list[int]] = []
    open_rows: list[list[int]] = []
    for piece in pieces:
        for row in open_rows:
            if len(row) + len(piece) <= size:
                row.extend(piece)
                break
        else:
            open_rows.append(list(piece))
            # Closing the fullest row keeps the search short; little fits in it anyway.
            if len(open_rows) > 64:
                fullest = max(range(len(open_rows)), key=lambda i: len(open_rows[i]))
                full_rows.append(open_rows.pop(fullest))
    return full_rows + open_rows


def inputs_and_targets(batch: Tensor) -> tuple[Tensor, Tensor]:
    """Split a batch of rows into inputs and targets, both of shape (batch, length).

    The target is -100, which the loss ignores, for padding, the start of the next text, and requests: these are given
    to the model, which never writes them.
    """
    targets = batch[:, 1:].clone()
    in_request = (batch == REQUEST).cumsum(1) - (batch == STORY).cumsum(1) > 0
    targets[(targets == PAD) | (targets == BOS) | in_request[:, 1:] | (targets == STORY)] = -100
    return batch[:, :-1], targets
