"""Prompt tokenization that prevents control-token injection.

A chat template is text, and so is a story: if a story contains `<|eot_id|>` and you tokenize the rendered template as a
whole, the story ends its own turn and can begin another. Here the template is rendered around placeholders, so no
content can influence the rendering, and the prompt must contain exactly the control tokens of the template, in order.
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
    """Message content written by the program itself: control tokens in it take effect, as in the template."""

    __slots__ = ()


PromptRenderer = Callable[[Sequence[str]], str]
"""From the contents of the messages to the rendered prompt."""


def encode_prompt(tokenizer: Any, render: PromptRenderer, contents: Sequence[str]) -> list[int]:
    """Tokenize a rendered prompt; what looks like a control token in a content stays ordinary text.

    A prompt whose contents contain nothing of the kind has exactly the tokens that the tokenizer gives it.

    Args:
        tokenizer: A tokenizer of `transformers`.
        render: Renders the prompt; called with placeholders instead of the contents.
        contents: Untrusted contents of the messages.

    Raises:
        BackendError: If the prompt leaves out a content, or a content cannot be encoded without a control token.
    """
    placeholders = _placeholders(contents)
    rendered = render(placeholders)
    # Some templates drop turns, such as a second system message. A judge must never judge a prompt without the text.
    if not all(placeholder in rendered for placeholder in placeholders):
        raise BackendError(
            f"the chat template leaves out some of the {len(contents)} messages, so the model would not see them.",
            hint="Use a model whose chat template supports these messages.",
        )
    content_by_placeholder = dict(zip(placeholders, contents, strict=True))
    parts = re.split(f"({'|'.join(placeholders)})", rendered) if placeholders else [rendered]
    control = _control_token_ids(tokenizer)
    expected = _only(control, _encode(tokenizer, rendered))
    # Whole first: tokenizers merge across the borders of contents, and a model expects the tokens it was trained on.
    tokens = _encode(tokenizer, "".join(content_by_placeholder.get(part, part) for part in parts))
    if _only(control, tokens) == expected:
        return tokens
    # A content added a control token, or broke one of the template's, so each part is encoded by itself.
    tokens = [
        token
        for part in parts
        for token in (
            encode_text(tokenizer, content_by_placeholder[part])
            if part in content_by_placeholder
            else _encode(tokenizer, part)
        )
    ]
    # Fail closed: tokenizers normalize text in ways of their own, so the result is checked, never assumed.
    if _only(control, tokens) != expected:
        raise BackendError(
            "a message contains what this tokenizer reads as a control token, however it is encoded.",
            hint="Remove names of control tokens, such as <|im_end|>, from the text.",
        )
    return tokens


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Tokenize untrusted text; every name of a control token in it is cut in two, so that it is read as letters."""
    names = "|".join(map(re.escape, control_token_names(tokenizer)))
    # A lookahead also finds names that overlap. `split_special_tokens` alone is not enough: it leaves added tokens that
    # are not marked as special, such as Qwen's `<tool_call>`.
    cuts = [match.start() + 1 for match in re.finditer(f"(?=({names}))", text)] if names else []
    edges = [0, *cuts, len(text)]
    return [
        token
        for start, end in pairwise(edges)
        for token in tokenizer.encode(
            text[start:end], add_special_tokens=False, split_special_tokens=True, verbose=False
        )
    ]


def control_token_names(tokenizer: Any) -> list[str]:
    """List how a tokenizer's control tokens are written, longest first."""
    return sorted(_control_tokens(tokenizer).values(), key=len, reverse=True)


def _placeholders(contents: Sequence[str]) -> list[str]:
    """Make up random words that are in no content, and of which none contains another.

    They are random so that a text cannot guess one and be taken for another message. Letters and digits pass through
    templates that trim or escape.
    """
    while True:
        prefix = f"x{secrets.token_hex(8)}"
        if not any(prefix in content for content in contents):
            return [f"{prefix}n{number}n" for number in range(len(contents))]


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


@lru_cache(maxsize=8)
def _control_tokens(tokenizer: Any) -> dict[int, str]:
    """Return ids and names of the added tokens that can steer a model.

    Left out are tokens of white space or a single character, which ordinary text consists of, and the unknown token,
    which any text may produce.
    """
    return {
        token_id: token.content
        for token_id, token in tokenizer.added_tokens_decoder.items()
        if len(token.content.strip()) > 1 and token_id != tokenizer.unk_token_id
    }


def _control_token_ids(tokenizer: Any) -> frozenset[int]:
    return frozenset(_control_tokens(tokenizer))


def _only(control: frozenset[int], tokens: Sequence[int]) -> list[int]:
    return [token for token in tokens if token in control]
