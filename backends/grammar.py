"""Texts that must follow a grammar: a JSON schema, a regular expression, or one of several choices.

At each token the library `llguidance` says which tokens the grammar allows; all others cannot be drawn. A text that nears
its limit of tokens is brought to its shortest end, so that it is whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from taleward.core.errors import BackendError, ConfigurationError, MissingExtra

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Grammar = type[BaseModel] | Mapping[str, Any] | str | Sequence[str]
"""A Pydantic model or JSON schema, a regular expression, or choices."""

_LONGEST_END = 1024


def compile_grammar(given: Grammar) -> str:
    """A grammar in the language of llguidance.

    Args:
        given: A Pydantic model or a JSON schema; a regular expression, which the whole text must match; or choices.

    Raises:
        ConfigurationError: It is none of these, or llguidance cannot follow it.
    """
    matcher = _library().LLMatcher
    if isinstance(given, type) and issubclass(given, BaseModel):
        given = given.model_json_schema()
    if isinstance(given, Mapping):
        made = matcher.grammar_from_json_schema(json.dumps(given), overrides={"whitespace_flexible": False})
    elif isinstance(given, str):
        made = matcher.grammar_from_regex(given)
    elif isinstance(given, Sequence) and given and all(isinstance(choice, str) and choice for choice in given):
        made = matcher.grammar_from_regex("|".join(f"(?:{_escaped(choice)})" for choice in given))
    else:
        raise ConfigurationError(
            f"a grammar is a Pydantic model, a JSON schema, a regular expression or a list of choices; got {given!r}."
        )
    if problem := matcher.validate_grammar(made):
        raise ConfigurationError(f"the grammar cannot be followed: {problem.strip()}")
    return str(made)


def _escaped(choice: str) -> str:
    """A text as a regular expression of Rust, which takes no escaped spaces or letters."""
    return re.sub(r"([\\.+*?()|\[\]{}^$#&~/-])", r"\\\1", choice)


class Vocabulary:
    """A model's tokens as the grammars see them.

    Args:
        tokenizer: The tokenizer's `tokenizer.json`.
        size: How many logits the model gives.
        ends: The tokens that end a text.
    """

    def __init__(self, tokenizer: str, size: int, ends: Sequence[int]) -> None:
        import numpy

        library = _library()
        try:
            self.inner = library.LLTokenizer(tokenizer, n_vocab=size, eos_token=sorted(ends))
        except ValueError as error:
            raise BackendError(f"this model's tokenizer cannot follow a grammar: {error}") from error
        self.size = size
        # Lower ends a text sooner: the end, then closing marks, many at once; what goes on comes last, short before long.
        ranks = numpy.full(size, 1000.0)
        for token in range(size):
            text = self.inner.decode_bytes([token])
            if token in ends:
                ranks[token] = 0
            elif text and not text.strip(b'"}]'):
                ranks[token] = 100 - len(text)
            elif text:
                ranks[token] = (200 if text[:1] in b'"}],' else 300) + len(text)
        self.ranks = ranks

    def matcher(self, grammar: str, most: int) -> Matcher:
        """The state of a new text of at most so many tokens.

        Raises:
            BackendError: The grammar needs more tokens.
        """
        return Matcher(self, grammar, most)


class Matcher:
    """How far one text has come in its grammar."""

    def __init__(self, vocabulary: Vocabulary, grammar: str, most: int) -> None:
        self._vocabulary = vocabulary
        self._inner = _library().LLMatcher(vocabulary.inner, grammar)
        shortest = self._tokens_to_the_end()
        if shortest > most:
            raise BackendError(
                f"the grammar needs {shortest} tokens at least; there is room for {most}.",
                hint="Give a higher max_tokens, or a shorter prompt.",
            )
        self._look = shortest + (most - shortest) // 2
        self._closing = False

    @property
    def complete(self) -> bool:
        """Whether no further token is taken."""
        return bool(self._inner.is_stopped())

    def allowed(self, left: int) -> npt.NDArray[np.bool_]:
        """Which tokens may come next, shape (vocabulary,); `left` tokens may be written in all."""
        import numpy

        if not self._closing and left <= self._look:
            end = self._tokens_to_the_end()
            self._closing = left <= end + 1
            self._look = min(left - 1, end + 1 + (left - end) // 2)
        if not self._closing:
            return _mask(self._inner, self._vocabulary.size)
        one = numpy.zeros(self._vocabulary.size, dtype=bool)
        one[self._closest(self._inner)] = True
        return one

    def take(self, token: int) -> None:
        """Add a token to the text."""
        if not self._inner.consume_token(token):
            raise BackendError(f"the grammar broke off: {self._inner.get_error()}")

    def _tokens_to_the_end(self) -> int:
        ahead, count = self._inner.deep_copy(), 0
        while not ahead.is_stopped() and count < _LONGEST_END:
            ahead.consume_token(self._closest(ahead))
            count += 1
        return count

    def _closest(self, inner: Any) -> int:
        """The token that brings the text nearest to its end."""
        import numpy

        mask = _mask(inner, self._vocabulary.size)
        forced = inner.compute_ff_tokens()
        if forced and mask[forced[0]]:
            return int(forced[0])
        return int(numpy.where(mask, self._vocabulary.ranks, numpy.inf).argmin())


def _mask(inner: Any, size: int) -> npt.NDArray[np.bool_]:
    import numpy

    bits = numpy.zeros((size + 31) // 32, dtype=numpy.int32)
    inner.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
    if inner.is_error():
        raise BackendError(f"the grammar broke off: {inner.get_error()}")
    return numpy.unpackbits(bits.view(numpy.uint8), bitorder="little")[:size].astype(bool)


@lru_cache(maxsize=1)
def _library() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise MissingExtra("a grammar", "local") from error
    return llguidance
