"""What every way of choosing a tool shares: a Runnable from a request to a choice that says how sure it was."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any, Literal

from langchain_core.runnables import Runnable, RunnableConfig

from taleward.core.concurrency.threads import run_in_thread
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.core.policy import Probability

Found = Literal["tool", "none", "unsure"]


class RoutingRequest(FrozenModel):
    """What somebody wants.

    Attributes:
        text: Their words.
        before: The request that a clarifying question was asked about, where this answers it.
        options: The tools that the question named.
        tale: The text that was told or revised last, which "it" may mean; empty where there is none.
    """

    text: str
    before: str = ""
    options: tuple[str, ...] = ()
    tale: str = ""


class RoutingAttempt(FrozenModel):
    """What one way made of a request.

    Attributes:
        way: Its name.
        found: `tool`, `none` (no tool is for this) or `unsure`, which leaves it to the next way.
        tool: The tool it would take, sure or not.
        args: The tool's arguments, where the way gives them; `None` leaves it to the tool to find them.
        scores: Tools with their probabilities, 0..1, where the way has any.
        options: Where it is unsure, the tools it hesitates between.
        detail: Why it is unsure.
    """

    way: str
    found: Found
    tool: str | None = None
    args: FrozenDict[str, Any] | None = None
    scores: FrozenDict[str, Probability] = FrozenDict()
    options: tuple[str, ...] = ()
    detail: str = ""


class ToolSelection(FrozenModel):
    """Which tool a request goes to, and by which way.

    Attributes:
        tool: The tool, `None` where none is called.
        args: Its arguments.
        by: The way that decided: `semantic`, `constrained` or `model`; `None` where all were unsure.
        tried: What each way made of it, in order.
        request: The words that were routed.
        question: What to ask back, where it is not clear.
        options: The tools that the question is about.
        said: What to answer where no tool is called and nothing is asked.
    """

    tool: str | None = None
    args: FrozenDict[str, Any] = FrozenDict()
    by: str | None = None
    tried: tuple[RoutingAttempt, ...] = ()
    request: str = ""
    question: str | None = None
    options: tuple[str, ...] = ()
    said: str | None = None

    @property
    def scores(self) -> FrozenDict[str, float]:
        """The probabilities of the last way that gave any."""
        return next((tried.scores for tried in reversed(self.tried) if tried.scores), FrozenDict())


class RoutingStrategy(Runnable[RoutingRequest | str, RoutingAttempt], ABC):
    """A Runnable from a request to a tool, or to the word that it is not sure.

    A subclass answers `choose`.

    Attributes:
        name: What it is called in a choice.
    """

    name: str

    @abstractmethod
    def choose(self, request: RoutingRequest) -> RoutingAttempt:
        """The tool for a request."""

    async def achoose(self, request: RoutingRequest) -> RoutingAttempt:
        """As `choose`, without blocking the event loop; by default in a thread."""
        return await run_in_thread(partial(self.choose, request))

    def invoke(
        self, input: RoutingRequest | str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> RoutingAttempt:
        """The tool for a request."""
        return self._call_with_config(lambda given: self.choose(as_request(given)), input, config, run_type="chain")

    async def ainvoke(
        self, input: RoutingRequest | str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> RoutingAttempt:
        """As `invoke`, without blocking the event loop."""

        async def choose(given: RoutingRequest | str) -> RoutingAttempt:
            return await self.achoose(as_request(given))

        return await self._acall_with_config(choose, input, config, run_type="chain")


def as_request(input: RoutingRequest | str) -> RoutingRequest:
    """What a way was given, as a request."""
    if isinstance(input, RoutingRequest):
        return input
    if isinstance(input, str):
        return RoutingRequest(text=input)
    raise TypeError(f"a request is a text (str) or a Request; got {type(input).__name__}")
