"""From documents to rows of token numbers, and the tokenizer that makes them."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor

from taleward.backends.onnx.llama import REQUEST as REQUEST_TEXT, STORY as STORY_TEXT
from training.storyteller.openings import as_request, asked_for, extract, with_opening
from training.storyteller.sources import Document
from training.storyteller.variants import varied

BOS, EOS, PAD, REQUEST, STORY = range(5)
BOS_TEXT, EOS_TEXT, PAD_TEXT = "<s>", "</s>", "<pad>"
OPENING_SHARE, REQUEST_SHARE, MIDDLE_SHARE = 0.1, 0.7, 0.05
"""Shares of the stories that stand behind an opening or a request, where one can be made, or start in their middle."""
_VARIED_SHARE = 0.6
"""Share of the stories behind a request that are told of other things."""
_WHOLE = ("tinystories", "child", "bedtime")


def make_tokenizer(documents: Sequence[Document], vocab: int) -> Any:
    """A byte-level BPE tokenizer learned from the documents: it can write any text and needs no unknown token.

    It puts `<s>` before every text it encodes, and never `</s>` behind one.
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


def rows(documents: Sequence[Document], tokenizer: Any, *, length: int, seed: str) -> Tensor:
    """One epoch of training rows, shape (rows, length + 1), filled up with `PAD`.

    Openings, requests and the order are drawn anew from `seed`. Documents are laid into rows whole where they fit, so
    that most rows begin with a beginning. Of longer ones, picture books and fairy tales are cut into pieces, of which
    only the last ends with `EOS`; others are left out, so that what is learned is a length that ends.
    """
    rng = random.Random(seed)
    order = list(documents)
    rng.shuffle(order)
    texts = [_varied(document, rng) for document in order]
    pieces: list[list[int]] = []
    for document, encoding in zip(order, tokenizer.encode_batch(texts, add_special_tokens=False), strict=True):
        ids = encoding.ids + ([EOS] if document.ends else [])
        if len(ids) > length and document.source in _WHOLE:
            continue
        pieces += [[BOS, *ids[at : at + length]] for at in range(0, len(ids), length)]
    filled = _pack(pieces, length + 1)
    rng.shuffle(filled)
    return torch.tensor([row + [PAD] * (length + 1 - len(row)) for row in filled], dtype=torch.int64)


def _varied(document: Document, rng: random.Random) -> str:
    text, draw = document.text, rng.random()
    if document.source in _WHOLE and document.ends and draw < OPENING_SHARE:
        return with_opening(text, rng) or text
    if document.source in _WHOLE and document.ends and draw < OPENING_SHARE + REQUEST_SHARE:
        parts = extract(text)
        if parts is not None and rng.random() < _VARIED_SHARE:
            text, parts = varied(text, parts, rng)
            return f"{REQUEST_TEXT}{asked_for(parts, rng)}{STORY_TEXT}{text}"
        request = as_request(document.title, parts, rng)
        return text if request is None else f"{REQUEST_TEXT}{request}{STORY_TEXT}{text}"
    if draw > 1 - MIDDLE_SHARE:
        sentences = text.split(". ")
        return ". ".join(sentences[rng.randrange(max(1, len(sentences) // 2)) :])
    return text


def _pack(pieces: Sequence[list[int]], size: int) -> list[list[int]]:
    """First fit over the newest open rows: near-full rows in time linear in the number of pieces."""
    done: list[list[int]] = []
    open_rows: list[list[int]] = []
    for piece in pieces:
        for row in open_rows:
            if len(row) + len(piece) <= size:
                row.extend(piece)
                break
        else:
            open_rows.append(list(piece))
            if len(open_rows) > 64:
                fullest = max(range(len(open_rows)), key=lambda i: len(open_rows[i]))
                done.append(open_rows.pop(fullest))
    return done + open_rows


def split(batch: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a batch of rows.

    Not wanted as targets are padding, the start of the next text, and requests: these are given, never written.
    """
    targets = batch[:, 1:].clone()
    asking = (batch == REQUEST).cumsum(1) - (batch == STORY).cumsum(1) > 0
    targets[(targets == PAD) | (targets == BOS) | asking[:, 1:] | (targets == STORY)] = -100
    return batch[:, :-1], targets
