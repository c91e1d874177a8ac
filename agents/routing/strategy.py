"""Base class and data types for routing strategies, which choose a tool for a request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from langchain_core.runnables import Runnable, RunnableConfig

from taleward.core.concurrency.sync_async import run_in_thread
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.policy import Probability

AttemptOutcome = Literal["tool", "none", "unsure"]
"""`tool`: a tool was chosen; `none`: no tool fits the request; `unsure`: the next strategy should try."""


class RoutingRequest(FrozenModel):
    """A user's request, with the context that routing needs.

    Attributes:
        text: The user's words.
        previous_request: The earlier request that this one clarifies; empty if no clarifying question was asked.
        options: The tools that the clarifying question offered.
        tale: The text that was last told or revised, which "it" may refer to; empty if there is none.
    """

    text: str
    previous_request: str = ""
    options: tuple[str, ...] = ()
    tale: str = ""


class RoutingAttempt(FrozenModel):
    """What one strategy decided about a request.

    Attributes:
        strategy: The strategy's name.
        outcome: `tool`, `none` (no tool fits the request) or `unsure` (the next strategy should try).
        tool: The best tool, even if the strategy is unsure about it.
        args: The tool's arguments; `None` if the strategy does not extract them and the tool has to.
        scores: Probability per tool, 0 to 1, if the strategy computes any.
        options: The tools that an unsure strategy hesitates between.
        detail: Why the strategy is unsure.
    """

    strategy: str
    outcome: AttemptOutcome
    tool: str | None = None
    args: FrozenMapping[str, Any] | None = None
    scores: FrozenMapping[str, Probability] = FrozenDict()
    options: tuple[str, ...] = ()
    detail: str = ""


class ToolSelection(FrozenModel):
    """The tool selected for a request, or the reply if no tool is called.

    Attributes:
        tool: The tool to call; `None` if none is called.
        args: Its arguments.
        strategy: What decided: a strategy's name, such as `semantic` or `constrained`; `model` if the request was
            left to a model with tools; `answer` if the user picked an option; `None` if every strategy was unsure.
        attempts: What each strategy decided, in order.
        request: The words that were routed.
        question: The clarifying question to ask the user, if the request is unclear.
        options: The tools that the question offers.
        reply: What to tell the user if no tool is called and no question is asked.
    """

    tool: str | None = None
    args: FrozenMapping[str, Any] = FrozenDict()
    strategy: str | None = None
    attempts: tuple[RoutingAttempt, ...] = ()
    request: str = ""
    question: str | None = None
    options: tuple[str, ...] = ()
    reply: str | None = None

    @property
    def scores(self) -> Mapping[str, float]:
        """Probability per tool, 0 to 1, from the last strategy that computed any."""
        return next((attempt.scores for attempt in reversed(self.attempts) if attempt.scores), FrozenDict())


class RoutingStrategy(Runnable[RoutingRequest | str, RoutingAttempt], ABC):
    """A Runnable that chooses a tool for a request, or reports that it is unsure.

    Subclasses implement `choose`.

    Attributes:
        name: The strategy's name in a `ToolSelection`.
    """

    name: str

    @abstractmethod
    def choose(self, request: RoutingRequest) -> RoutingAttempt:
        """Choose a tool for a request."""

    async def achoose(self, request: RoutingRequest) -> RoutingAttempt:
        """Async version of `choose`; runs `choose` in a thread by default."""
        return await run_in_thread(partial(self.choose, request))

    def invoke(
        self, input: RoutingRequest | str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> RoutingAttempt:
        """Choose a tool for a request."""
        return self._call_with_config(lambda value: self.choose(as_request(value)), input, config, run_type="chain")

    async def ainvoke(
        self, input: RoutingRequest | str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> RoutingAttempt:
        """Async version of `invoke`."""

        async def choose(value: RoutingRequest | str) -> RoutingAttempt:
            return await self.achoose(as_request(value))

        return await self._acall_with_config(choose, input, config, run_type="chain")


def as_request(input: RoutingRequest | str) -> RoutingRequest:
    """Convert a strategy's input to a `RoutingRequest`.

    Raises:
        TypeError: If `input` is neither a string nor a `RoutingRequest`.
    """
    if isinstance(input, RoutingRequest):
        return input
    if isinstance(input, str):
        return RoutingRequest(text=input)
    raise TypeError(f"Expected a request as str or RoutingRequest; got {type(input).__name__}.")
