"""The steps of a guarded generation, and how to run them with synchronous or asynchronous calls.

A generation is written once, as a generator that yields steps and receives their results. `run_steps` and `arun_steps`
only differ in how they wait for a step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from langchain_core.embeddings import Embeddings

from taleward.core.verdict import Passage
from taleward.moderation.guard.call_recorder import CallRecorder
from taleward.moderation.guard.revision_context import Revision

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WriteDraft:
    """Run the writer; the result is its output."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class WriteDrafts:
    """Run the writer several times at once; the result is a `WrittenDraft` for each, or `None` where time ran out.

    Attributes:
        revisions: What to tell the writer for each draft.
        call_recorders: What records the model calls of each draft.
    """

    revisions: tuple[Revision, ...]
    call_recorders: tuple[CallRecorder, ...]


@dataclass(frozen=True, slots=True)
class WrittenDraft:
    """A draft, and the seconds that the writer took."""

    text: str
    writing_s: float


@dataclass(frozen=True, slots=True)
class JudgePassage:
    """Ask the judge; the result is its answer."""

    passage: Passage


@dataclass(frozen=True, slots=True)
class EmbedTexts:
    """Embed texts; the result is a list of vectors."""

    texts: list[str]
    embeddings: Embeddings


Step: TypeAlias = WriteDraft | WriteDrafts | JudgePassage | EmbedTexts
Steps: TypeAlias = Generator[Step, Any, T]
"""Yields steps, receives each one's result (or its exception), and returns a `T`."""


def run_steps(steps: Generator[Any, Any, T], perform: Callable[[Any], object]) -> T:
    """Run a generator of steps to its end.

    Args:
        steps: The generator; an exception of a step is raised inside it.
        perform: Performs one step.
    """
    try:
        step = next(steps)
        while True:
            try:
                result = perform(step)
            except Exception as error:  # noqa: BLE001  the generator decides what it means
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        value: T = end.value
        return value


async def arun_steps(steps: Generator[Any, Any, T], perform: Callable[[Any], Awaitable[object]]) -> T:
    """Async version of `run_steps`."""
    # A cancellation is no `Exception`: it passes through and ends the generator.
    try:
        step = next(steps)
        while True:
            try:
                result = await perform(step)
            except Exception as error:  # noqa: BLE001  the generator decides what it means
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
