"""What the tools stand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel

from taleward.backends.chat_models import chat_model
from taleward.chains.template import Template, load_template
from taleward.moderation.judges.base import Judge
from taleward.stores.tale_memory import TaleMemory


@dataclass(frozen=True)
class Toolbox:
    """What the tools stand on.

    Args:
        judge: Who judges all that is told.
        writer: The model that tells and revises: a spec, or a LangChain chat model.
        template: The template that stories begin with: its name, or a template.
        memory: Told tales, to search and to add to; without it tales are not searched.
        statistics: Gives the counts of tales and their feedback; without it nobody can ask for them.
        seed: With a seed the same requests give the same stories.
        options: For the writer's model, see `chat_model`.
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
        object.__setattr__(self, "options", {})
        object.__setattr__(self, "template", load_template(self.template))

    @property
    def model(self) -> BaseChatModel:
        """The writer's model."""
        return chat_model(self.writer)

    @property
    def opening(self) -> Template:
        """The template."""
        return load_template(self.template)

    @property
    def follows_orders(self) -> bool:
        """Whether the writer's model follows instructions, instead of continuing text."""
        return not getattr(self.model, "completion_only", False)

    @property
    def takes_wishes(self) -> bool:
        """Whether the writer's model can be asked for a story in somebody's own words."""
        return self.follows_orders or bool(getattr(self.model, "takes_requests", False))
