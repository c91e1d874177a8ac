"""Tokens of a prompt in which only the frame speaks control tokens, never the texts that it holds.

A chat template is text, and so is what a story says: `<|eot_id|>` in a story, put into a rendered template and encoded
with it, would end the turn. Here the template is rendered around stand-ins, so that no text can steer it, and the
control tokens of the whole must be those of the frame, in their order.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from taleward.core.errors import BackendError


class Instruction(str):
    """What a turn says where the program wrote it itself: control tokens in it count, as in the template."""

    __slots__ = ()


Render = Callable[[Sequence[str]], str]
"""From the contents of the turns to the rendered prompt."""


def frame(tokenizer: Any, render: Render, contents: Sequence[str]) -> list[int]:
    """The tokens of a rendered prompt; what looks like a control token in a content is text.

    A prompt without such a content has exactly the tokens that the tokenizer gives it.

    Args:
        tokenizer: A tokenizer of `transformers`.
        render: Puts contents into the prompt; called with stand-ins.
        contents: The texts.

    Raises:
        BackendError: The prompt leaves out a content, or a content cannot be told from a control token.
    """
    stand_ins = _stand_ins(contents)
    rendered = render(stand_ins)
    if not all(stand_in in rendered for stand_in in stand_ins):
        raise BackendError(
            f"the prompt's template leaves out some of its {len(contents)} texts, so the model would not read them.",
            hint="Take a model whose chat template takes these turns.",
        )
    texts = dict(zip(stand_ins, contents, strict=True))
    parts = re.split(f"({'|'.join(stand_ins)})", rendered) if stand_ins else [rendered]
    control = _control(tokenizer)
    wanted = _of(control, _encode(tokenizer, rendered))
    whole = _encode(tokenizer, "".join(texts.get(part, part) for part in parts))
    if _of(control, whole) == wanted:
        return whole
    pieces = [
        token
        for part in parts
        for token in (encode_text(tokenizer, texts[part]) if part in texts else _encode(tokenizer, part))
    ]
    if _of(control, pieces) != wanted:
        raise BackendError("a text holds what this tokenizer reads as a control token, however it is encoded.")
    return pieces


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """A text's tokens; every name of an added token in it is cut in two, so that it is read as letters."""
    names = "|".join(map(re.escape, control_names(tokenizer)))
    cuts = [m.start() + 1 for m in re.finditer(f"(?=({names}))", text)] if names else []
    edges = [0, *cuts, len(text)]
    return [
        token
        for start, end in pairwise(edges)
        for token in tokenizer.encode(
            text[start:end], add_special_tokens=False, split_special_tokens=True, verbose=False
        )
    ]


def control_names(tokenizer: Any) -> list[str]:
    """How the tokens that steer a model are written, the longest first."""
    return sorted(_added(tokenizer).values(), key=len, reverse=True)


def _stand_ins(contents: Sequence[str]) -> list[str]:
    """Words of random letters and digits that are in no content and do not hold each other."""
    while True:
        mark = f"x{secrets.token_hex(8)}"
        if not any(mark in content for content in contents):
            return [f"{mark}n{number}n" for number in range(len(contents))]


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


@lru_cache(maxsize=8)
def _added(tokenizer: Any) -> dict[int, str]:
    """Added tokens that steer a model: all but those of white space, of one character, and for unknown words."""
    return {
        number: token.content
        for number, token in tokenizer.added_tokens_decoder.items()
        if len(token.content.strip()) > 1 and number != tokenizer.unk_token_id
    }


def _control(tokenizer: Any) -> frozenset[int]:
    return frozenset(_added(tokenizer))


def _of(control: frozenset[int], tokens: Sequence[int]) -> list[int]:
    return [token for token in tokens if token in control]
