"""Call any kind of writer: a Runnable or a function, sync or async, that returns or yields text or messages."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, closing
from functools import partial
from typing import Any, TypeAlias

from langchain_core.messages import BaseMessage
from langchain_core.runnables import (
    RouterRunnable,
    Runnable,
    RunnableBranch,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnableSequence,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase, RunnableEachBase
from langchain_core.runnables.passthrough import RunnableAssign
from langchain_core.runnables.utils import accepts_config

from taleward.core.concurrency.abandoned_calls import LeftBehind
from taleward.core.concurrency.sync_async import iterate_in_thread, run_in_thread, run_sync
from taleward.core.errors import ConfigurationError
from taleward.core.surrogates import join_surrogates
from taleward.moderation.guard.input_checks import WriterInput
from taleward.moderation.guard.text_size_limits import MAX_DRAFT_CHARS, DraftTooLong

WriterLike: TypeAlias = Runnable[Any, Any] | Callable[..., Any]
"""A LangChain Runnable, or a function of the inputs (and of `config`, if it has such a parameter). A function may be
async, and it may be a generator. What it returns or yields is text or messages."""

_ACCEPTED = "a LangChain Runnable, or a function that takes the inputs and returns or yields text or messages"
_COMPOSITIONS: tuple[tuple[type[Runnable[Any, Any]], tuple[str, ...]], ...] = (
    (RunnableSequence, ("steps",)),
    (RunnableParallel, ("steps__",)),
    (RunnableAssign, ("mapper",)),
    (RunnableBranch, ("branches", "default")),
    (RunnableWithFallbacks, ("runnable", "fallbacks")),
    (RunnableBindingBase, ("bound",)),
    (RunnableEachBase, ("bound",)),
    (RouterRunnable, ("runnables",)),
)


class TextWriter:
    """A writer of any accepted kind behind one interface: text, whole or streamed, for sync and async callers.

    LangChain's Runnables raise if they wrap code that only runs sync, or only async, and are called the other way.
    Here such a writer runs in a thread, or on a background event loop.

    Args:
        writer: See `WriterLike`.
        max_chars: Characters after which a writer that streams or yields is stopped.

    Attributes:
        name: The writer's name, for error messages.
        continues: Whether the writer continues the text that its `Revision` has as `released`.

    Raises:
        ConfigurationError: If `writer` is of another kind, or mixes steps that only run sync with some that only run
            async.
    """

    def __init__(self, writer: object, max_chars: int = MAX_DRAFT_CHARS) -> None:
        self.max_chars = max_chars
        self.continues = bool(getattr(writer, "continues", False))
        self._runnable, self.name = _as_runnable(writer), _name_of(writer)
        steps = list(_leaves(self._runnable))
        only_sync, only_async = [s for s in steps if _runs_only_sync(s)], [s for s in steps if _runs_only_async(s)]
        if only_sync and only_async:
            raise ConfigurationError(
                f"the writer {self.name} cannot run: {_name_of(only_sync[0])} only runs sync, and "
                f"{_name_of(only_async[0])} only runs async.",
                hint="Give one of the two steps a version of the other kind.",
            )
        self._only_sync, self._only_async = bool(only_sync), bool(only_async)
        self.left_behind = LeftBehind(f"the writer {self.name}")
        last = self._runnable.last if isinstance(self._runnable, RunnableSequence) else self._runnable
        # LangChain's `invoke` adds up what a generator yields with `+`, which turns messages into a prompt template.
        self._yields = isinstance(last, RunnableGenerator) or _is_generator_lambda(last)

    def write(
        self,
        inputs: WriterInput,
        config: RunnableConfig,
        timeout_s: float | None,
        stopped: threading.Event | None = None,
    ) -> str:
        """Return a text. It has more than `max_chars` characters if the writer wanted to write more.

        Args:
            inputs: The writer's input.
            config: The config of its run.
            timeout_s: Seconds after which a writer that only runs async is canceled, and one that yields is stopped;
                the caller stops waiting for any other one itself.
            stopped: Set it to stop a writer that yields.

        Raises:
            ConfigurationError: If the writer returns anything but text or a message with text.
            TimeoutError: If it was stopped.
        """
        if self._only_async:
            return run_sync(lambda: asyncio.wait_for(self.awrite(inputs, config), timeout_s))
        if self._yields:
            deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
            with closing(self._runnable.stream(inputs, config)) as outputs:  # type: ignore[type-var]
                return _TextCollector(self.name, self.max_chars).join(self._until_stopped(outputs, deadline_s, stopped))
        return _TextCollector(self.name, self.max_chars).join([self._runnable.invoke(inputs, config)])

    async def awrite(self, inputs: WriterInput, config: RunnableConfig) -> str:
        """Async version of `write`."""
        if self._only_sync:
            stopped = threading.Event()
            try:
                return await run_in_thread(partial(self.write, inputs, config, None, stopped), self.left_behind)
            finally:
                stopped.set()
        if self._yields:
            texts: list[str] = []
            try:
                async for text in self.stream(inputs, config):
                    texts.append(text)  # noqa: PERF401  what came before the limit is kept
            except DraftTooLong as error:
                texts.append(error.text)
            return "".join(texts)
        return _TextCollector(self.name, self.max_chars).join([await self._runnable.ainvoke(inputs, config)])

    async def stream(self, inputs: WriterInput, config: RunnableConfig) -> AsyncGenerator[str, None]:
        """Yield a text in chunks; arguments and errors are those of `write`.

        Raises:
            DraftTooLong: If the writer wants to write more than `max_chars` characters.
        """
        collector = _TextCollector(self.name, self.max_chars)
        chunks: AsyncIterator[Any] = (
            iterate_in_thread(self._runnable.stream(inputs, config), self.left_behind)
            if self._only_sync
            else self._runnable.astream(inputs, config)
        )
        try:
            async for chunk in chunks:
                text = collector.text_of(chunk)
                if collector.chars > self.max_chars:
                    raise DraftTooLong(text)
                yield text
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
        collector.check()

    def _until_stopped(
        self, outputs: Iterator[Any], deadline_s: float | None, stopped: threading.Event | None
    ) -> Iterator[Any]:
        for output in outputs:
            if (stopped and stopped.is_set()) or (deadline_s is not None and time.monotonic() > deadline_s):
                msg = f"the writer {self.name} was stopped: nobody waits for its text any more"
                raise TimeoutError(msg)
            yield output


class _TextCollector:
    """Take the text out of what one run of a writer returns or yields.

    Attributes:
        chars: The characters so far.
    """

    def __init__(self, name: str, max_chars: int) -> None:
        self.chars, self._max_chars = 0, max_chars
        self._name, self._has_text, self._tools = name, False, list[str]()

    def join(self, outputs: Iterable[object]) -> str:
        """Return the text of all outputs of a run, up to the one with which it has too many characters."""
        texts: list[str] = []
        for output in outputs:
            texts.append(self.text_of(output))
            if self.chars > self._max_chars:
                break
        self.check()
        return "".join(texts)

    def text_of(self, output: object) -> str:
        """Return the text of one output."""
        if isinstance(output, BaseMessage):
            self._tools += _called_tools(output)
            text = str(output.text)
        elif isinstance(output, str):
            text = output
        else:
            raise self._error(output)
        text = join_surrogates(text)
        self.chars += len(text)
        self._has_text = self._has_text or bool(text.strip())
        return text

    def check(self) -> None:
        """Raise `ConfigurationError` if the run has ended and called tools instead of writing."""
        if self._tools and not self._has_text:
            raise ConfigurationError(
                f"a writer must return text; {self._name} called tools instead: {', '.join(self._tools)}.",
                hint="Use a model without tools as the writer, or an agent behind taleward.GuardMiddleware.",
            )

    def _error(self, output: object) -> ConfigurationError:
        if inspect.iscoroutine(output):
            output.close()  # or Python warns that it was never awaited
            hint = "Pass the async function itself: a lambda around it is taken for a sync function."
        else:
            hint = "End a chain with a step that returns its text, for example `| (lambda output: output['text'])`."
        return ConfigurationError(
            f"a writer must return or yield text (str) or messages; {self._name} gave {type(output).__name__}.",
            hint=hint,
        )


def _as_runnable(writer: object) -> Runnable[Any, Any]:
    if isinstance(writer, Runnable):
        return writer
    if isinstance(writer, type):
        raise ConfigurationError(
            f"a guard's writer must be {_ACCEPTED}; got the class {writer.__name__}.",
            hint=f"Pass an instance: {writer.__name__}(...).",
        )
    if not callable(writer):
        raise ConfigurationError(
            f"a guard's writer must be {_ACCEPTED}; got {type(writer).__name__}.",
            hint="Create one with taleward.StoryChain('embedded:storyteller') or taleward.chat_model(spec).",
        )
    # `inspect` does not see that an object's `__call__` is async or a generator.
    is_function = inspect.isroutine(writer) or isinstance(writer, functools.partial)
    function: Any = writer if is_function else type(writer).__call__.__get__(writer)
    if inspect.isgeneratorfunction(function):
        return RunnableGenerator(_transform_with(function), name=_name_of(writer))
    if inspect.isasyncgenfunction(function):
        return RunnableGenerator(_atransform_with(function), name=_name_of(writer))
    return RunnableLambda(function, name=_name_of(writer))


# LangChain's type of a `RunnableGenerator`'s function leaves out the `config` that it may take; hence `Any`.
def _transform_with(function: Callable[..., Iterator[Any]]) -> Any:
    def transform(inputs: Iterator[Any], config: RunnableConfig) -> Iterator[Any]:
        for value in inputs:
            yield from function(value, **({"config": config} if accepts_config(function) else {}))

    return transform


def _atransform_with(function: Callable[..., AsyncGenerator[Any, None]]) -> Any:
    async def transform(inputs: AsyncIterator[Any], config: RunnableConfig) -> AsyncIterator[Any]:
        async for value in inputs:
            generator = function(value, **({"config": config} if accepts_config(function) else {}))
            async with aclosing(generator) as outputs:
                async for output in outputs:
                    yield output

    return transform


def _name_of(writer: object) -> str:
    if isinstance(writer, Runnable):
        return writer.get_name()
    function = writer.func if isinstance(writer, functools.partial) else writer
    return getattr(function, "__name__", type(function).__name__)


def _called_tools(message: BaseMessage) -> list[str]:
    calls = [
        *getattr(message, "tool_calls", ()),
        *getattr(message, "invalid_tool_calls", ()),
        *getattr(message, "tool_call_chunks", ()),
    ]
    return list(dict.fromkeys(str(call["name"]) for call in calls if call.get("name")))


def _leaves(runnable: Runnable[Any, Any]) -> Iterator[Runnable[Any, Any]]:
    """Yield the steps that a Runnable is composed of with LangChain's own means; any other Runnable is one step."""
    for composition, attributes in _COMPOSITIONS:
        if isinstance(runnable, composition):
            for attribute in attributes:
                for part in _runnables_in(getattr(runnable, attribute, None)):
                    yield from _leaves(part)
            return
    yield runnable


def _runnables_in(value: object) -> Iterable[Runnable[Any, Any]]:
    if isinstance(value, Runnable):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _runnables_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _runnables_in(item)


def _runs_only_async(step: Runnable[Any, Any]) -> bool:
    if isinstance(step, RunnableLambda):
        return not hasattr(step, "func")
    return isinstance(step, RunnableGenerator) and not _is_implemented(lambda: step.transform(iter(())))


def _runs_only_sync(step: Runnable[Any, Any]) -> bool:
    if isinstance(step, RunnableLambda):
        # LangChain runs any other function in a thread by itself.
        return not hasattr(step, "afunc") and inspect.isgeneratorfunction(step.func)
    return isinstance(step, RunnableGenerator) and not _is_implemented(lambda: step.atransform(_no_inputs()))


def _is_generator_lambda(runnable: Runnable[Any, Any]) -> bool:
    if not isinstance(runnable, RunnableLambda):
        return False
    functions = [getattr(runnable, "func", None), getattr(runnable, "afunc", None)]
    return any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in functions)


def _is_implemented(call: Callable[[], object]) -> bool:
    """Whether a `RunnableGenerator` has a method; the call only creates a generator, which is never started."""
    try:
        call()
    except NotImplementedError:
        return False
    return True


async def _no_inputs() -> AsyncIterator[Any]:
    nothing: tuple[Any, ...] = ()
    for value in nothing:
        yield value
