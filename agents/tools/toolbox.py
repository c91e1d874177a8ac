"""Resources that the tools share: judge, writer, template, memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel

from taleward.backends.capabilities import capabilities
from taleward.backends.chat_models import chat_model
from taleward.chains.template import Template, load_template
from taleward.moderation.judges.base import Judge
from taleward.stores.tale_memory import TaleMemory


@dataclass(frozen=True)
class Toolbox:
    """Resources that the tools share.

    Args:
        judge: Judges everything that the tools write.
        writer: The model that writes and revises stories: a model spec, or a LangChain chat model.
        template: The template for the beginning of stories: its name, or a `Template`.
        memory: Earlier tales, to search and to add to; `None` leaves out the search tool.
        statistics: Returns counts of tales and of their feedback; `None` leaves out the statistics tool.
        seed: A seed that makes the same requests give the same stories; `None` for different ones.
        options: Options for the writer's model, see `chat_model`.
    """

    judge: Judge
    writer: str | BaseChatModel = "embedded:storyteller"
    template: str | Template = "adventure"
    memory: TaleMemory | None = None
    statistics: Callable[[], Mapping[str, float]] | None = None
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "writer", chat_model(self.writer, **self.options))
        # The options are part of the model now; `chat_model` rejects options for a ready-made model.
        object.__setattr__(self, "options", {})
        object.__setattr__(self, "template", load_template(self.template))

    @property
    def model(self) -> BaseChatModel:
        """The writer's model."""
        return chat_model(self.writer)

    @property
    def story_template(self) -> Template:
        """The template for the beginning of stories."""
        return load_template(self.template)

    @property
    def follows_instructions(self) -> bool:
        """Whether the writer's model follows instructions, rather than only continuing text."""
        return capabilities(self.model).follows_instructions

    @property
    def accepts_story_requests(self) -> bool:
        """Whether the writer's model can be asked for a story in the user's own words."""
        return capabilities(self.model).takes_requests
