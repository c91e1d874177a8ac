"""Constrained decoding: text that follows a JSON schema, a regular expression, or one of several choices.

Before each token the library `llguidance` computes which tokens the grammar allows, and all others are masked. A text
that comes close to its token limit is steered to its shortest valid ending, so that it always parses.
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
"""A Pydantic model or JSON schema, a regular expression, or a list of choices."""

_MAX_ENDING_TOKENS = 1024
"""Where the search for an ending gives up: a recursive grammar may not lead to one."""
_ENDING_SLACK_TOKENS = 8
"""By how many tokens the same ending can grow if the text before it was split into tokens differently."""


def compile_grammar(grammar: Grammar) -> str:
    """Translate a grammar into the language of llguidance.

    Args:
        grammar: A Pydantic model or a JSON schema; a regular expression, which must match the whole text; or a list of
            choices.

    Raises:
        ConfigurationError: If it is none of these, or llguidance does not support it.
    """
    matcher_class = _llguidance().LLMatcher
    if isinstance(grammar, type) and issubclass(grammar, BaseModel):
        grammar = forbid_extra_properties(grammar.model_json_schema())
    if isinstance(grammar, Mapping):
        # With flexible white space, an unsure model writes line breaks until its tokens run out.
        compiled = matcher_class.grammar_from_json_schema(json.dumps(grammar), overrides={"whitespace_flexible": False})
    elif isinstance(grammar, str):
        compiled = _compile_regex(grammar)
    elif isinstance(grammar, Sequence) and grammar and all(isinstance(choice, str) and choice for choice in grammar):
        compiled = _compile_regex("|".join(f"(?:{_escape(choice)})" for choice in grammar))
    else:
        raise ConfigurationError(
            "grammar must be a Pydantic model, a JSON schema, a regular expression or a list of choices; "
            f"got {grammar!r}."
        )
    if problem := matcher_class.validate_grammar(compiled):
        raise ConfigurationError(f"invalid grammar: {problem.strip()}")
    return str(compiled)


def forbid_extra_properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON schema with `additionalProperties: false` on every object that lists properties.

    JSON schemas leave objects open by default, so a model would add properties of its own.

    Args:
        schema: A JSON schema; an `additionalProperties` that it sets is kept.
    """
    return {keyword: _forbid_in(value, keyword) for keyword, value in _with_additional_properties(schema).items()}


def response_schema(response_format: Any) -> dict[str, Any] | None:
    """Extract the JSON schema from OpenAI's `response_format`.

    Args:
        response_format: `{"type": "json_schema", "json_schema": {"schema": ...}}`, `{"type": "json_object"}`,
            `{"type": "text"}`, a Pydantic model, or `None`.

    Returns:
        The schema, or `None` if any text will do.

    Raises:
        ConfigurationError: If it is none of these.
    """
    if isinstance(response_format, type) and issubclass(response_format, BaseModel):
        return forbid_extra_properties(response_format.model_json_schema())
    format_type = response_format.get("type") if isinstance(response_format, Mapping) else None
    if response_format is None or format_type == "text":
        return None
    if format_type == "json_object":
        return {"type": "object"}
    schema = (response_format.get("json_schema") or {}).get("schema") if isinstance(response_format, Mapping) else None
    if format_type != "json_schema" or not isinstance(schema, Mapping):
        raise ConfigurationError(
            "response_format must be a Pydantic model, or an object of type 'text', 'json_object' or 'json_schema', "
            f"the last with the schema in json_schema.schema; got {response_format!r}."
        )
    return forbid_extra_properties(schema)


def _with_additional_properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**({"additionalProperties": False} if schema.get("properties") else {}), **schema}


def _forbid_in(value: Any, keyword: str) -> Any:
    """Apply `forbid_extra_properties` to the value of a schema keyword."""
    # These hold data, not schemas: an enum may list objects that have a key "properties".
    if keyword in ("const", "default", "enum", "examples"):
        return value
    if isinstance(value, list):
        return [_forbid_in(each, "") for each in value]
    if not isinstance(value, Mapping):
        return value
    # These map names to schemas: a property may itself be called "properties" or "enum".
    if keyword in ("properties", "$defs", "definitions", "patternProperties"):
        return {name: _forbid_in(each, "") for name, each in value.items()}
    return forbid_extra_properties(value)


def _compile_regex(pattern: str) -> str:
    r"""Compile a regular expression; `\d` matches only 0 to 9, as in JSON Schema's dialect (ECMA 262)."""
    library = _llguidance()
    try:
        return str(library.LLMatcher.grammar_from_lark(f"start: /{library.regex_to_lark(pattern, use_ascii='d')}/"))
    except ValueError as error:
        raise ConfigurationError(f"invalid grammar: {error}") from error


def _escape(choice: str) -> str:
    """Escape a text for Rust's regular expressions, which reject the escaped spaces that `re.escape` writes."""
    return re.sub(r"([\\.+*?()|\[\]{}^$#&~/-])", r"\\\1", choice)


class Vocabulary:
    """A model's tokens, prepared for grammars; shared by all requests to the model.

    Args:
        tokenizer: The contents of `tokenizer.json`.
        size: Number of logits, which may exceed the number of tokens.
        eos_token_ids: Tokens that end a text.

    Attributes:
        tokenizer: The tokenizer as llguidance uses it.
        size: Number of logits.
        mask_words: Number of 32-bit words in a token mask.
        masked_token: A token that is never allowed; `None` if there is none.
        ending_costs: How far each token leads away from the end of a text: lower ends it sooner, shape (size,).
        string_ending_costs: The same within a JSON string, where brackets are ordinary characters, shape (size,).
        string_probes: Tokens that can all come next only within a string.
        opening: Whether more may have to follow after a token than before it, shape (size,).

    Raises:
        BackendError: If llguidance cannot read the tokenizer.
    """

    def __init__(self, tokenizer: str, size: int, eos_token_ids: Sequence[int]) -> None:
        import numpy

        library = _llguidance()
        try:
            # llguidance requires an end token. If the model has none, the last token id stands in and is masked.
            self.tokenizer = library.LLTokenizer(tokenizer, n_vocab=size, eos_token=sorted(eos_token_ids) or [size - 1])
        except ValueError as error:
            raise BackendError(f"this model's tokenizer does not support grammars: {error}") from error
        self.masked_token = None if eos_token_ids else size - 1
        self.size, self.mask_words = size, (self.tokenizer.vocab_size + 31) // 32
        # In order: the end token; closing marks, several in one token first; other tokens that begin with a mark;
        # everything else, short before long; at last control tokens and padding, which decode to nothing.
        costs, string_costs = numpy.full(size, 1000.0), numpy.full(size, 1000.0)
        texts = [self.tokenizer.decode_bytes([token]) for token in range(size)]
        for token, text in enumerate(texts):
            if token in eos_token_ids:
                costs[token] = string_costs[token] = 0
            elif text:
                only_marks = not text.strip(b'"}]')
                costs[token] = 100 - len(text) if only_marks else (200 if text[:1] in b'"}],' else 300) + len(text)
                string_costs[token] = costs[token] if text[:1] == b'"' else 300 + len(text)
        self.ending_costs, self.string_ending_costs = costs, string_costs
        self.string_probes = [token for token, text in enumerate(texts) if text in (b"q", b"Z", b"#", b"]", b"}")]
        self.opening = numpy.array([any(mark in text for mark in b'{[,:"') for text in texts])

    def matcher(self, grammar: str, max_tokens: int) -> GrammarMatcher:
        """Create the state of a new text.

        Args:
            grammar: A grammar from `compile_grammar`.
            max_tokens: Maximum number of tokens of the text.

        Raises:
            BackendError: If every text of the grammar needs more tokens.
        """
        return GrammarMatcher(self, grammar, max_tokens)


class GrammarMatcher:
    """The state of one text in its grammar."""

    def __init__(self, vocabulary: Vocabulary, grammar: str, max_tokens: int) -> None:
        self._vocabulary = vocabulary
        self._matcher = _llguidance().LLMatcher(vocabulary.tokenizer, grammar)
        self._tokens_to_end = _count_tokens_to_end(self._matcher, vocabulary)
        if self._tokens_to_end > max_tokens:
            raise BackendError(
                f"the grammar needs at least {self._tokens_to_end} tokens, but only {max_tokens} are available.",
                hint="Use a higher max_tokens, or shorten the prompt.",
            )
        # Looking for the ending costs a copy of the state and a mask for each of its tokens: done near the limit only.
        self._close_to_limit = 3 * self._tokens_to_end + 64
        self._ending = False

    @property
    def complete(self) -> bool:
        """Whether the grammar accepts no further token."""
        return bool(self._matcher.is_stopped())

    def allowed(self) -> npt.NDArray[np.bool_]:
        """Return which tokens may come next, shape (vocabulary,)."""
        import numpy

        if not self._ending:
            return _allowed_tokens(self._matcher, self._vocabulary)
        only_ending = numpy.zeros(self._vocabulary.size, dtype=bool)
        only_ending[_ending_token(self._matcher, self._vocabulary)] = True
        return only_ending

    def accept(self, token: int, remaining: int) -> int:
        """Append a token to the text, or another one if the text could not be ended in time after it.

        Args:
            token: One of the allowed tokens.
            remaining: How many tokens may still be generated, this one included.

        Returns:
            The token that was appended.

        Raises:
            BackendError: If llguidance reports an error.
        """
        # Only a token that opens something can lengthen the ending, so others need no look-ahead until the very end.
        opens = remaining <= self._close_to_limit and self._vocabulary.opening[token]
        if not self._ending and (opens or remaining <= self._tokens_to_end + _ENDING_SLACK_TOKENS):
            ahead = self._matcher.deep_copy()
            ahead.consume_token(token)
            self._tokens_to_end = _count_tokens_to_end(ahead, self._vocabulary)
            if self._tokens_to_end > remaining - 1:
                self._ending = True
                token = _ending_token(self._matcher, self._vocabulary)
        if not self._matcher.consume_token(token):
            raise BackendError(f"the grammar could not be followed: {self._matcher.get_error()}")
        return token


def _count_tokens_to_end(matcher: Any, vocabulary: Vocabulary) -> int:
    """Count the tokens of the ending that `_ending_token` leads to, from a matcher's state on."""
    ahead, count = matcher.deep_copy(), 0
    while not ahead.is_stopped() and count < _MAX_ENDING_TOKENS:
        tokens = ahead.compute_ff_tokens() or [_ending_token(ahead, vocabulary)]
        ahead.consume_tokens(tokens)
        count += len(tokens)
    return count


def _ending_token(matcher: Any, vocabulary: Vocabulary) -> int:
    """Choose the token that brings a text closest to its end: greedy, because the shortest ending is costly to find."""
    import numpy

    allowed = _allowed_tokens(matcher, vocabulary)
    # Tokens that the grammar forces, such as the name of the next required property.
    forced = matcher.compute_ff_tokens()
    if forced and allowed[forced[0]]:
        return int(forced[0])
    probes = vocabulary.string_probes
    in_string = bool(probes) and bool(allowed[probes].all())
    costs = vocabulary.string_ending_costs if in_string else vocabulary.ending_costs
    return int(numpy.where(allowed, costs, numpy.inf).argmin())


def _allowed_tokens(matcher: Any, vocabulary: Vocabulary) -> npt.NDArray[np.bool_]:
    import numpy

    bits = numpy.zeros(vocabulary.mask_words, dtype=numpy.int32)
    # "unsafe" because it writes to the address it is given: `bits` has the size that llguidance's tokenizer asks for.
    matcher.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
    if matcher.is_error():
        raise BackendError(f"the grammar could not be followed: {matcher.get_error()}")
    allowed = numpy.unpackbits(bits.view(numpy.uint8), bitorder="little")[: vocabulary.size].astype(bool)
    if vocabulary.masked_token is not None:
        allowed[vocabulary.masked_token] = False
    return allowed


@lru_cache(maxsize=1)
def _llguidance() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise MissingExtra("a grammar", "onnx") from error
    return llguidance
