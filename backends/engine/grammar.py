"""Texts that must follow a grammar: a JSON schema, a regular expression, or one of several choices.

At each token the library `llguidance` says which tokens the grammar allows; all others cannot be drawn. A text that
nears its limit of tokens is brought to its shortest end, so that it is whole.
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
_SLACK = 8
"""The same rest may be written in so many more tokens, where it was begun otherwise."""


def compile_grammar(given: Grammar) -> str:
    """A grammar in the language of llguidance.

    Args:
        given: A Pydantic model or a JSON schema; a regular expression, which the whole text must match; or choices.

    Raises:
        ConfigurationError: It is none of these, or llguidance cannot follow it.
    """
    matcher = _library().LLMatcher
    if isinstance(given, type) and issubclass(given, BaseModel):
        given = closed(given.model_json_schema())
    if isinstance(given, Mapping):
        made = matcher.grammar_from_json_schema(json.dumps(given), overrides={"whitespace_flexible": False})
    elif isinstance(given, str):
        made = _regex(given)
    elif isinstance(given, Sequence) and given and all(isinstance(choice, str) and choice for choice in given):
        made = _regex("|".join(f"(?:{_escaped(choice)})" for choice in given))
    else:
        raise ConfigurationError(
            f"a grammar is a Pydantic model, a JSON schema, a regular expression or a list of choices; got {given!r}."
        )
    if problem := matcher.validate_grammar(made):
        raise ConfigurationError(f"the grammar cannot be followed: {problem.strip()}")
    return str(made)


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without properties that it does not name, where it leaves them open: a model would make some up.

    Args:
        schema: A JSON schema; what it says of `additionalProperties` stays.
    """
    return {name: _closed(part, name) for name, part in _shut(schema).items()}


def response_schema(form: Any) -> dict[str, Any] | None:
    """The JSON schema of OpenAI's `response_format`; `None` where any text will do.

    Args:
        form: `{"type": "json_schema", "json_schema": {"schema": ...}}`, `{"type": "json_object"}`, `{"type": "text"}`,
            or a Pydantic model.

    Raises:
        ConfigurationError: It is none of these.
    """
    if isinstance(form, type) and issubclass(form, BaseModel):
        return closed(form.model_json_schema())
    kind = form.get("type") if isinstance(form, Mapping) else None
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    schema = (form.get("json_schema") or {}).get("schema") if isinstance(form, Mapping) else None
    if kind != "json_schema" or not isinstance(schema, Mapping):
        raise ConfigurationError(
            "response_format is a Pydantic model, or an object of type 'text', 'json_object' or 'json_schema', the "
            f"last with the schema as json_schema.schema; got {form!r}."
        )
    return closed(schema)


def _shut(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**({"additionalProperties": False} if schema.get("properties") else {}), **schema}


def _closed(part: Any, name: str) -> Any:
    """A part of a schema: `properties` and the like hold schemas by names that mean nothing themselves."""
    if name in ("const", "default", "enum", "examples"):
        return part
    if isinstance(part, list):
        return [_closed(each, "") for each in part]
    if not isinstance(part, Mapping):
        return part
    if name in ("properties", "$defs", "definitions", "patternProperties"):
        return {key: _closed(each, "") for key, each in part.items()}
    return closed(part)


def _regex(text: str) -> str:
    r"""A regular expression as a grammar; `\d` is a digit from 0 to 9."""
    library = _library()
    try:
        return str(library.LLMatcher.grammar_from_lark(f"start: /{library.regex_to_lark(text, use_ascii='d')}/"))
    except ValueError as error:
        raise ConfigurationError(f"the grammar cannot be followed: {error}") from error


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
            # The library wants an end token; where the model has none, its last token stands for one and is not drawn.
            self.inner = library.LLTokenizer(tokenizer, n_vocab=size, eos_token=sorted(ends) or [size - 1])
        except ValueError as error:
            raise BackendError(f"this model's tokenizer cannot follow a grammar: {error}") from error
        self.never = None if ends else size - 1
        self.size, self.words = size, (self.inner.vocab_size + 31) // 32
        # Lower ends a text sooner: the end, then closing marks, many at once; what goes on comes last.
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
        # Behind these more may be wanted than before them.
        texts = (self.inner.decode_bytes([token]) for token in range(size))
        self.opens = numpy.array([any(mark in text for mark in b'{[,:"') for text in texts])

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
        self._to_end = _tokens_to_the_end(self._inner, vocabulary)
        if self._to_end > most:
            raise BackendError(
                f"the grammar needs {self._to_end} tokens at least; there is room for {most}.",
                hint="Give a higher max_tokens, or a shorter prompt.",
            )
        self._near = 3 * self._to_end + 64
        self._closing = False

    @property
    def complete(self) -> bool:
        """Whether no further token is taken."""
        return bool(self._inner.is_stopped())

    def allowed(self) -> npt.NDArray[np.bool_]:
        """Which tokens may come next, shape (vocabulary,)."""
        import numpy

        if not self._closing:
            return _mask(self._inner, self._vocabulary)
        one = numpy.zeros(self._vocabulary.size, dtype=bool)
        one[_closest(self._inner, self._vocabulary)] = True
        return one

    def take(self, token: int, left: int) -> int:
        """Add a token to the text, or another where behind it the text could not be ended in time.

        Args:
            token: One of those allowed.
            left: How many tokens may be written, this one included.

        Returns:
            The token that was added.
        """
        opens = left <= self._near and self._vocabulary.opens[token]
        if not self._closing and (opens or left <= self._to_end + _SLACK):
            ahead = self._inner.deep_copy()
            ahead.consume_token(token)
            self._to_end = _tokens_to_the_end(ahead, self._vocabulary)
            if self._to_end > left - 1:
                self._closing = True
                token = _closest(self._inner, self._vocabulary)
        if not self._inner.consume_token(token):
            raise BackendError(f"the grammar broke off: {self._inner.get_error()}")
        return token


def _tokens_to_the_end(inner: Any, vocabulary: Vocabulary) -> int:
    """How many tokens the quickest way to the end has."""
    ahead, count = inner.deep_copy(), 0
    while not ahead.is_stopped() and count < _LONGEST_END:
        tokens = ahead.compute_ff_tokens() or [_closest(ahead, vocabulary)]
        ahead.consume_tokens(tokens)
        count += len(tokens)
    return count


def _closest(inner: Any, vocabulary: Vocabulary) -> int:
    """The token that brings a text nearest to its end."""
    import numpy

    mask = _mask(inner, vocabulary)
    forced = inner.compute_ff_tokens()
    if forced and mask[forced[0]]:
        return int(forced[0])
    return int(numpy.where(mask, vocabulary.ranks, numpy.inf).argmin())


def _mask(inner: Any, vocabulary: Vocabulary) -> npt.NDArray[np.bool_]:
    import numpy

    bits = numpy.zeros(vocabulary.words, dtype=numpy.int32)
    inner.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
    if inner.is_error():
        raise BackendError(f"the grammar broke off: {inner.get_error()}")
    mask = numpy.unpackbits(bits.view(numpy.uint8), bitorder="little")[: vocabulary.size].astype(bool)
    if vocabulary.never is not None:
        mask[vocabulary.never] = False
    return mask


@lru_cache(maxsize=1)
def _library() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise MissingExtra("a grammar", "onnx") from error
    return llguidance
