"""The protocol of a loaded language model, which every engine implements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from taleward.backends.engine.engine import Engine
from taleward.backends.engine.likelihood import ScoringWindow, TokenScores
from taleward.backends.engine.sampling import Sampling


class LanguageModel(Protocol):
    """A loaded causal language model with its tokenizer; thread-safe.

    Attributes:
        context_length: Maximum number of tokens in prompt and answer together.
        chat_template: Whether the model has a chat template for conversations.
        follows_instructions: Whether the model does what a message asks for; `False` for a model that continues text or
            performs one fixed task.
        story_prompts: Whether the model was tuned on prompts that name an age band and ask for a story, see
            `taleward.chains.story_prompts`.
        takes_tools: Whether the chat template renders tool definitions.
        defaults: The model's own generation settings.
        engine: Generates text, batching requests from all callers.
        start: The token that begins a text, or `None` if the model has none.
    """

    context_length: int
    defaults: Sampling
    engine: Engine

    @property
    def chat_template(self) -> bool: ...  # noqa: D102
    @property
    def follows_instructions(self) -> bool: ...  # noqa: D102
    @property
    def story_prompts(self) -> bool: ...  # noqa: D102
    @property
    def takes_tools(self) -> bool: ...  # noqa: D102
    @property
    def start(self) -> int | None: ...  # noqa: D102

    def encode(self, text: str) -> list[int]:
        """Tokenize text; what looks like a control token stays ordinary text."""

    def decode(self, tokens: Sequence[int], *, control: bool = False) -> str:
        """Decode tokens; bytes that do not form a whole character become U+FFFD.

        Args:
            tokens: Token ids.
            control: Whether control tokens are included in the text.
        """

    def prompt(self, turns: Sequence[Mapping[str, Any]], **template: Any) -> list[int]:
        """Tokenize a conversation, with the chat template if the model has one.

        Args:
            turns: Messages with `role` and `content`.
            template: Variables for the chat template.
        """

    def step(self, tokens: Sequence[int], cache: Any = None) -> tuple[Any, Any]:
        """Run one forward pass over tokens that follow those in `cache`.

        Returns:
            The next token's logits, shape (vocabulary,), and the extended cache.
        """

    def read(self, windows: Sequence[ScoringWindow]) -> list[TokenScores]:
        """Score the tokens of each window."""
