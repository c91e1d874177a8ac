"""A tokenizer in Hugging Face layout: texts to tokens and back, and conversations in the model's own template."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from taleward.backends.engine.grammar import Vocabulary
from taleward.backends.engine.prompt_encoding import (
    Instruction,
    PromptRenderer,
    control_token_names,
    encode_prompt,
    encode_text,
)
from taleward.backends.transformers.hub import ERRORS, fetching, model_config, unavailable
from taleward.core.errors import BackendError, MissingExtra


class HubTokens:
    """A tokenizer of `transformers`.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face hub.

    Raises:
        BackendError: It could not be loaded.
        MissingExtra: The extra `local` is not installed.
    """

    def __init__(self, path: str) -> None:
        try:
            import transformers
        except ImportError as error:
            raise MissingExtra("a local model", "local") from error
        transformers.utils.logging.disable_progress_bar()
        self._path = path
        # Whether control tokens are read is a state of the tokenizer, which threads would change under each other.
        self._turn = threading.RLock()
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path, **fetching(path))
        except ERRORS as error:
            raise unavailable(path, error) from error

    @property
    def chat_template(self) -> bool:
        """Whether the tokenizer brings one."""
        return bool(self._tokenizer.chat_template)

    @cached_property
    def follows_instructions(self) -> bool:
        """Whether it does what a turn asks for: it has a chat template, and its `config.json` does not deny it."""
        return self.chat_template and bool(model_config(self._path).get("follows_instructions", True))

    @cached_property
    def takes_tools(self) -> bool:
        """Whether the chat template tells the model of tools."""
        if not self.chat_template:
            return False
        tool = {"name": "xprobex", "description": "", "parameters": {"type": "object", "properties": {}}}
        tools = [{"type": "function", "function": tool}]
        try:
            turns = [{"role": "user", "content": "x"}]
            return "xprobex" in str(self._tokenizer.apply_chat_template(turns, tools=tools, tokenize=False))
        except Exception:  # noqa: BLE001  a template may raise anything; this one takes no tools
            return False

    @property
    def start(self) -> int | None:
        """The token before a text, see `taleward.backends.engine.likelihood`."""
        found = self._tokenizer.bos_token_id
        return self._tokenizer.eos_token_id if found is None else found  # type: ignore[no-any-return]

    def encode(self, text: str) -> list[int]:
        """A text's tokens; what looks like a control token is text."""
        with self._turn:
            return encode_text(self._tokenizer, text)

    def decode(self, tokens: Sequence[int], *, control: bool = False) -> str:
        """The text of some tokens; bytes that are no whole character become U+FFFD.

        Args:
            tokens: Numbers of tokens.
            control: Whether control tokens are spelled out; else they are left out.
        """
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=not control))

    def vocabulary(self, size: int, ends: Sequence[int]) -> Vocabulary:
        """What grammars need, for a model of so many logits.

        Raises:
            BackendError: The tokenizer is of a kind that grammars cannot read.
        """
        inner = getattr(self._tokenizer, "backend_tokenizer", None)
        if inner is None:
            raise BackendError(f"a {type(self._tokenizer).__name__} cannot follow a grammar: it has no tokenizer.json.")
        return Vocabulary(inner.to_str(), size, ends)

    def prompt(self, turns: Sequence[Mapping[str, Any]], **template: Any) -> list[int]:
        """The chat template's tokens; without a template, the texts joined by empty lines.

        What the turns say never becomes a control token.

        Args:
            turns: The conversation, with `role` and `content` each.
            template: What the model's own template takes beside the turns, for example `guideline` or `tools`;
                `continue_final_message=True` leaves the last turn, the model's own, open.

        Raises:
            BackendError: The template cannot be filled with these turns.
        """
        if self.chat_template:
            begins = not template.get("continue_final_message")
            with self._turn:
                return self._templated(turns, {"add_generation_prompt": begins, **template})
        ids = self.encode("\n\n".join(str(turn["content"]) for turn in turns))
        start = self._start
        return ids if start is None else [start, *ids]

    def framed(self, render: PromptRenderer, contents: Sequence[str]) -> list[int]:
        """Tokenize a prompt in a format of your own, for a model without a chat template; see `encode_prompt`."""
        with self._turn:
            return encode_prompt(self._tokenizer, render, contents)

    @property
    def _start(self) -> int | None:
        """The token that begins a text; GPT-2 and its kin have one that ends texts, and are not given it."""
        start: int | None = self._tokenizer.bos_token_id
        return start if start != self._tokenizer.eos_token_id else None

    def _templated(self, turns: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> list[int]:
        from jinja2 import TemplateError

        # An empty content cannot steer anything, and templates may leave it out.
        own = [isinstance(t["content"], Instruction) or not t["content"] for t in turns]
        said = [str(turn["content"]) for turn, fixed in zip(turns, own, strict=True) if not fixed]

        def render(contents: Sequence[str], *, parts: bool) -> str:
            rest = iter(contents)
            filled: list[dict[str, Any]] = []
            for turn, fixed in zip(turns, own, strict=True):
                content = turn["content"] or "" if fixed else next(rest)
                told = {**turn, "content": [{"type": "text", "text": content}] if parts else content}
                if "tool_calls" in turn:
                    told["tool_calls"] = self._harmless(turn["tool_calls"])
                filled.append(told)
            return str(self._tokenizer.apply_chat_template(filled, tokenize=False, **options))

        try:
            return encode_prompt(self._tokenizer, lambda c: render(c, parts=False), said)
        except (BackendError, TemplateError, TypeError) as error:
            # Some templates (Llama Guard 3 1B, Llama Guard 4) take contents as lists of parts alone.
            try:
                return encode_prompt(self._tokenizer, lambda c: render(c, parts=True), said)
            except (BackendError, TemplateError, TypeError):
                raise BackendError(f"the chat template cannot be filled: {error}") from error

    def _harmless(self, value: Any) -> Any:
        """What a model wrote into a tool call: names of control tokens in it are broken up by an invisible space."""
        if isinstance(value, Mapping):
            return {key: self._harmless(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._harmless(part) for part in value]
        if not isinstance(value, str) or not (names := control_token_names(self._tokenizer)):
            return value
        return re.sub("|".join(map(re.escape, names)), lambda found: f"{found[0][0]}\u200b{found[0][1:]}", value)
