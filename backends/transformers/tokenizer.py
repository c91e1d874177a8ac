"""Tokenizers in Hugging Face layout, with their chat templates."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from taleward.backends.engine.grammar import Vocabulary
from taleward.backends.engine.safe_tokenization import (
    Instruction,
    PromptRenderer,
    control_token_names,
    encode_prompt,
    encode_text,
)
from taleward.backends.transformers.hub_files import LOAD_ERRORS, loading_options, model_config, model_unavailable
from taleward.core.errors import BackendError, MissingExtra


class HubTokenizer:
    """A tokenizer of transformers, thread-safe, with the model's chat template.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face Hub.
        load: The caller's options of `from_pretrained`; of these, `trust_remote_code` applies to tokenizers too.

    Raises:
        BackendError: If the tokenizer could not be loaded.
        MissingExtra: If the extra `local` is not installed.
    """

    def __init__(self, path: str, load: Mapping[str, Any] | None = None) -> None:
        try:
            import transformers
        except ImportError as error:
            raise MissingExtra("a local model", "local") from error
        transformers.utils.logging.disable_progress_bar()
        self._path = path
        # `split_special_tokens` is a state of the tokenizer, which concurrent calls would change under each other.
        self._lock = threading.RLock()
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path, **loading_options(path, load))
        except LOAD_ERRORS as error:
            raise model_unavailable(path, error) from error

    @property
    def chat_template(self) -> bool:
        """Whether the tokenizer has a chat template."""
        return bool(self._tokenizer.chat_template)

    @cached_property
    def follows_instructions(self) -> bool:
        """Whether the model does what a message asks for.

        True if it has a chat template, unless its `config.json` says `"follows_instructions": false`.
        """
        return self.chat_template and bool(model_config(self._path).get("follows_instructions", True))

    @cached_property
    def story_prompts(self) -> bool:
        """Whether the model's `config.json` says that it was tuned on story prompts, which name an age band."""
        return self.chat_template and bool(model_config(self._path).get("story_prompts", False))

    @cached_property
    def takes_tools(self) -> bool:
        """Whether the chat template renders tool definitions."""
        if not self.chat_template:
            return False
        # Templates declare nothing about tools, so one is rendered with a tool of an unlikely name.
        tool = {"name": "xprobex", "description": "", "parameters": {"type": "object", "properties": {}}}
        tools = [{"type": "function", "function": tool}]
        try:
            turns = [{"role": "user", "content": "x"}]
            return "xprobex" in str(self._tokenizer.apply_chat_template(turns, tools=tools, tokenize=False))
        except Exception:  # noqa: BLE001  a template may raise anything; then it does not support tools
            return False

    @property
    def start(self) -> int | None:
        """The token that begins a text, see `taleward.backends.engine.likelihood`."""
        bos: int | None = self._tokenizer.bos_token_id
        eos: int | None = self._tokenizer.eos_token_id
        return eos if bos is None else bos

    def encode(self, text: str) -> list[int]:
        """Tokenize text; what looks like a control token stays ordinary text."""
        with self._lock:
            return encode_text(self._tokenizer, text)

    def decode(self, tokens: Sequence[int], *, control: bool = False) -> str:
        """Decode tokens; bytes that do not form a whole character become U+FFFD.

        Args:
            tokens: Token ids.
            control: Whether control tokens are included in the text.
        """
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=not control))

    def vocabulary(self, size: int, eos_token_ids: Sequence[int]) -> Vocabulary:
        """Build the vocabulary for grammars; see `Vocabulary` for the arguments.

        Raises:
            BackendError: If the tokenizer is of a kind that grammars do not support.
        """
        fast_tokenizer = getattr(self._tokenizer, "backend_tokenizer", None)
        if fast_tokenizer is None:
            raise BackendError(
                f"grammars do not support a {type(self._tokenizer).__name__}: it has no tokenizer.json.",
                hint="Use a model whose folder has a tokenizer.json.",
            )
        return Vocabulary(fast_tokenizer.to_str(), size, eos_token_ids)

    def prompt(self, turns: Sequence[Mapping[str, Any]], **template: Any) -> list[int]:
        """Tokenize a conversation with the chat template; without one, the contents joined by blank lines.

        No content can add a control token.

        Args:
            turns: Messages with `role` and `content`.
            template: Variables for the chat template, such as `guideline` or `tools`. With
                `continue_final_message=True` the last message, the model's own, stays open.

        Raises:
            BackendError: If the template cannot be rendered with these messages.
        """
        if self.chat_template:
            begins_turn = not template.get("continue_final_message")
            with self._lock:
                return self._render_template(turns, {"add_generation_prompt": begins_turn, **template})
        tokens = self.encode("\n\n".join(str(turn["content"]) for turn in turns))
        bos = self._tokenizer.bos_token_id
        # GPT-2 and its descendants have one token for both ends of a text, and never saw it before a prompt.
        return tokens if bos is None or bos == self._tokenizer.eos_token_id else [bos, *tokens]

    def encode_prompt(self, render: PromptRenderer, contents: Sequence[str]) -> list[int]:
        """Tokenize a prompt in a format of your own, for a model without a chat template; see `encode_prompt`."""
        with self._lock:
            return encode_prompt(self._tokenizer, render, contents)

    def _render_template(self, turns: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> list[int]:
        from jinja2 import TemplateError

        # Templates may leave out empty contents, which `encode_prompt` rejects; they cannot inject anything.
        is_trusted = [isinstance(turn["content"], Instruction) or not turn["content"] for turn in turns]
        untrusted = [str(turn["content"]) for turn, trusted in zip(turns, is_trusted, strict=True) if not trusted]

        def render(contents: Sequence[str], *, as_parts: bool) -> str:
            remaining = iter(contents)
            rendered_turns: list[dict[str, Any]] = []
            for turn, trusted in zip(turns, is_trusted, strict=True):
                content = turn["content"] or "" if trusted else next(remaining)
                rendered_turn = {**turn, "content": [{"type": "text", "text": content}] if as_parts else content}
                if "tool_calls" in turn:
                    rendered_turn["tool_calls"] = self._break_control_tokens(turn["tool_calls"])
                rendered_turns.append(rendered_turn)
            return str(self._tokenizer.apply_chat_template(rendered_turns, tokenize=False, **options))

        try:
            return encode_prompt(self._tokenizer, lambda contents: render(contents, as_parts=False), untrusted)
        except (BackendError, TemplateError, TypeError) as error:
            # The templates of Llama Guard 3 1B and Llama Guard 4 accept contents as lists of parts only.
            try:
                return encode_prompt(self._tokenizer, lambda contents: render(contents, as_parts=True), untrusted)
            except (BackendError, TemplateError, TypeError):
                raise BackendError(f"the chat template cannot be rendered: {error}") from error

    def _break_control_tokens(self, value: Any) -> Any:
        """Break up names of control tokens in a tool call by an invisible space.

        Templates serialize tool calls themselves, so their strings cannot be replaced by placeholders.
        """
        if isinstance(value, Mapping):
            return {key: self._break_control_tokens(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._break_control_tokens(part) for part in value]
        if not isinstance(value, str) or not (names := control_token_names(self._tokenizer)):
            return value
        return re.sub("|".join(map(re.escape, names)), lambda match: f"{match[0][0]}\u200b{match[0][1:]}", value)
