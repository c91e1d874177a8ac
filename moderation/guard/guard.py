"""The guard: write, judge, revise within a budget, release or refuse."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.runnables import Runnable, RunnableConfig

from taleward.core.concurrency.batch_config import with_max_concurrency
from taleward.core.concurrency.event_loop import iterate_async
from taleward.core.concurrency.sync_async import run_sync
from taleward.core.concurrency.timeout import call_with_timeout
from taleward.core.errors import ConfigurationError
from taleward.core.events import Event
from taleward.core.tale import Attempt, Tale
from taleward.core.verdict import Finding, Passage
from taleward.moderation.guard.call_recorder import CallRecorder
from taleward.moderation.guard.guard_html import guard_html
from taleward.moderation.guard.input_checks import (
    WriterInput,
    as_mapping,
    check_input,
    input_texts,
    masked,
    with_valid_texts,
)
from taleward.moderation.guard.release import TIMED_OUT, Decision, decide, judge_draft, judge_until_answered, release
from taleward.moderation.guard.revision_context import Revision
from taleward.moderation.guard.run import GuardRun, Recorder
from taleward.moderation.guard.steps import (
    JudgePassage,
    Step,
    Steps,
    WriteDraft,
    WriteDrafts,
    WrittenDraft,
    arun_steps,
    run_steps,
)
from taleward.moderation.guard.streaming import GuardedStream
from taleward.moderation.guard.text_size_limits import MAX_DRAFT_CHARS, MAX_INPUT_CHARS, check_max_chars, count_chars
from taleward.moderation.guard.writer import TextWriter, WriterLike
from taleward.moderation.judges.base import Judge, check_judge, check_timeout
from taleward.moderation.tracing.mute_callbacks import mute_callbacks

__all__ = ["Guard", "Recorder"]

_WRITING_SHARE = 0.8
"""Share of the remaining time in which drafts that are written at once must be finished; the rest is for judging."""


class Guard(Runnable[WriterInput, Tale]):
    """A Runnable from a writer's input to a tale: a text that was judged and passed, or a refusal.

    Only a verdict with outcome `pass` releases a text. A draft that fails is written again with the judge's findings as
    instructions; a draft whose judge gave no answer (`unparsable`, `error`) is judged again. An exception of the writer
    reaches the caller; one of the judge becomes a verdict with outcome `error`.

    `invoke`, `ainvoke` and `batch` return tales. `stream` and `astream` yield events while the tale is written: each
    sentence is released after its own verdict, a sentence that fails is dropped and the writer continues from the
    released text, and the complete text is judged once more at the end; see `taleward.events`. As a step of a longer
    chain a guard passes on the tale.

    The input is a mapping of names to values, or a string; the writer gets it as it is.

    Args:
        writer: Any LangChain Runnable, for example a `StoryChain`, a chat model or `prompt | model`, or a function of
            the input (and of `config`, if it has such a parameter). It returns or yields text or messages, sync or
            async. A writer with an attribute `continues = True` reads its `Revision` and continues the released text;
            any other is asked for a new draft only while nothing is released.
        judge: The judge.
        attempts: Drafts at most, 1 or more; a draft that is judged again counts as one too.
        timeout_s: Time limit for everything in seconds; what is not judged by then is refused. `None` for none. A text
            that was released in part gets up to five more seconds to be closed and checked.
        judge_inputs: Whether the strings in the input are judged before any model is called.
        mask_personal_data: Whether personal data in the input (addresses, telephone and card numbers, detected by
            their form) is replaced by its kind before anything reads it.
        keep_drafts: Whether the tale's attempts keep their drafts, and verdict events the words that failed. Those may
            be texts that were refused: keep them away from children.
        max_input_chars: Characters in the input, all its texts together; a longer one is refused.
        max_draft_chars: Characters in a draft; a writer that streams is stopped there, and what it wrote is no tale.
        recorder: Where finished tales are recorded: one recorder or several, for example MLflow and a `TaleMemory`. A
            recorder that fails is logged, and the tale is returned all the same.

    Raises:
        ConfigurationError: If `attempts`, `timeout_s` or a limit is out of range, or `writer` or `judge` is of another
            kind. When the guard runs: if the writer returns anything but text or messages.
        InvalidInputs: When the guard runs: if its input is neither a mapping nor a string.
    """

    def __init__(
        self,
        writer: WriterLike,
        judge: Judge,
        *,
        attempts: int = 3,
        timeout_s: float | None = 120.0,
        judge_inputs: bool = True,
        mask_personal_data: bool = False,
        keep_drafts: bool = False,
        max_input_chars: int = MAX_INPUT_CHARS,
        max_draft_chars: int = MAX_DRAFT_CHARS,
        recorder: Recorder | Sequence[Recorder] | None = None,
    ) -> None:
        check_judge("a guard", judge)
        if attempts < 1:
            raise ConfigurationError(f"attempts must be 1 or more; got {attempts}.")
        check_timeout(timeout_s)
        check_max_chars("max_input_chars", max_input_chars)
        check_max_chars("max_draft_chars", max_draft_chars)
        self.max_input_chars, self.max_draft_chars = max_input_chars, max_draft_chars
        self.writer, self.judge = writer, judge
        self._writer = TextWriter(writer, max_draft_chars)
        self.attempts, self.timeout_s = attempts, timeout_s
        self.judge_inputs, self.mask_personal_data = judge_inputs, mask_personal_data
        self.keep_drafts = keep_drafts
        recorders = () if recorder is None else recorder
        self.recorders: tuple[Recorder, ...] = tuple(recorders) if isinstance(recorders, Sequence) else (recorders,)

    def invoke(self, input: WriterInput, config: RunnableConfig | None = None, **kwargs: Any) -> Tale:
        """Write and judge one tale."""
        return self._call_with_config(self._invoke, input, config, run_type="chain")

    async def ainvoke(self, input: WriterInput, config: RunnableConfig | None = None, **kwargs: Any) -> Tale:
        """Async version of `invoke`."""
        return await self._acall_with_config(self._ainvoke, input, config, run_type="chain")

    def batch(
        self,
        inputs: list[WriterInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Tale]:
        """Write and judge many tales; `max_concurrency` limits how many run at the same time, 64 by default."""
        configs = with_max_concurrency(config, len(inputs))
        return super().batch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    def stream(  # type: ignore[override]
        self, input: WriterInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Event]:
        """Write and judge one tale sentence by sentence; the last event is `done` with the tale."""
        events: Iterator[Any] = self._transform_stream_with_config(
            iter([input]), self._stream, config, run_type="chain"
        )
        yield from events

    async def astream(  # type: ignore[override]
        self, input: WriterInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Event]:
        """Async version of `stream`."""

        async def single_input() -> AsyncIterator[WriterInput]:
            yield input

        generator: Any = self._atransform_stream_with_config(single_input(), self._astream, config, run_type="chain")
        async with aclosing(generator) as events:
            async for event in events:
                yield event

    def transform(
        self, input: Iterator[WriterInput], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Tale]:
        """Yield the finished tale, as a step of a chain that streams."""
        chunks = list(input)  # a guard judges its whole input, so it waits for all of it
        yield self.invoke(_add_chunks(chunks), config)

    async def atransform(
        self, input: AsyncIterator[WriterInput], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Tale]:
        """Async version of `transform`."""
        chunks = [chunk async for chunk in input]
        yield await self.ainvoke(_add_chunks(chunks), config)

    def with_writer(self, writer: WriterLike) -> Self:
        """Return a copy of this guard with another writer and the same judge and settings."""
        guard = copy.copy(self)
        guard.writer, guard._writer = writer, TextWriter(writer, self.max_draft_chars)
        return guard

    def _repr_html_(self) -> str:
        return guard_html(self, self._writer.name)

    def _new_run(self) -> GuardRun:
        return GuardRun(
            self.judge,
            self.attempts,
            self.timeout_s,
            self.keep_drafts,
            self.recorders,
            max_input_chars=self.max_input_chars,
            max_draft_chars=self.max_draft_chars,
        )

    def _prepared(self, value: object) -> WriterInput:
        inputs = check_input(value)
        if count_chars(inputs) > self.max_input_chars:
            return inputs  # refused by the run
        inputs = with_valid_texts(inputs)
        return masked(inputs) if self.mask_personal_data else inputs

    def _text_to_judge(self, inputs: WriterInput) -> str:
        return input_texts(inputs) if self.judge_inputs else ""

    def _stream(
        self, inputs: Iterator[WriterInput], run_manager: CallbackManagerForChainRun, config: RunnableConfig
    ) -> Iterator[Any]:
        # Created before `iterate_async` copies the context: it mutes the callbacks of that context.
        stream, prepared = self._guarded_stream(config), self._prepared(next(inputs))
        try:
            yield from iterate_async(lambda: stream.events(prepared, self._text_to_judge(prepared)), stream.is_overdue)
        except TimeoutError:
            if not stream.is_overdue():
                raise  # the writer's own time limit, not the guard's
            yield from stream.abandon(prepared)

    async def _astream(
        self,
        inputs: AsyncIterator[WriterInput],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
    ) -> AsyncIterator[Any]:
        prepared = self._prepared(await anext(inputs))
        stream = self._guarded_stream(config)
        async with aclosing(stream.events(prepared, self._text_to_judge(prepared))) as events:
            async for event in events:
                yield event

    def _guarded_stream(self, config: RunnableConfig) -> GuardedStream:
        return GuardedStream(self._new_run(), self._writer, config)

    def _invoke(self, inputs: WriterInput, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Tale:
        inputs, config, run = self._prepared(inputs), mute_callbacks(config), self._new_run()

        def perform(step: Step) -> object:
            left_behind = self.judge.left_behind if isinstance(step, JudgePassage) else self._writer.left_behind
            work = partial(self._perform, step, run, inputs, config)
            return call_with_timeout(run.remaining_s(), work, left_behind)

        return run.finish(run_steps(self._tale(run, inputs), perform), as_mapping(inputs))

    async def _ainvoke(
        self, inputs: WriterInput, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> Tale:
        inputs, config, run = self._prepared(inputs), mute_callbacks(config), self._new_run()

        async def perform(step: Step) -> object:
            return await asyncio.wait_for(self._aperform(step, run, inputs, config), run.remaining_s())

        tale = await arun_steps(self._tale(run, inputs), perform)
        # Recorders are synchronous and write to disk or to a server.
        return await asyncio.to_thread(run.finish, tale, as_mapping(inputs))

    def _perform(self, step: Step, run: GuardRun, inputs: WriterInput, config: RunnableConfig) -> object:
        match step:
            case WriteDraft(revision):
                return self._writer.write(inputs, run.writer_config(config, revision), run.remaining_s())
            case WriteDrafts():
                return run_sync(lambda: self._write_drafts(step, run, inputs, config))
            case JudgePassage(passage):
                return self.judge.invoke(passage, config)
            case _:
                return step.embeddings.embed_documents(step.texts)

    async def _aperform(self, step: Step, run: GuardRun, inputs: WriterInput, config: RunnableConfig) -> object:
        match step:
            case WriteDraft(revision):
                return await self._writer.awrite(inputs, run.writer_config(config, revision))
            case WriteDrafts():
                return await self._write_drafts(step, run, inputs, config)
            case JudgePassage(passage):
                return await self.judge.ainvoke(passage, config)
            case _:
                return await step.embeddings.aembed_documents(step.texts)

    async def _write_drafts(
        self, step: WriteDrafts, run: GuardRun, inputs: WriterInput, config: RunnableConfig
    ) -> list[WrittenDraft | None]:
        """Write several drafts at once; `None` for those that are not finished early enough to be judged."""

        async def write(revision: Revision, call_recorder: CallRecorder) -> WrittenDraft:
            started_s = time.monotonic()
            text = await self._writer.awrite(inputs, run.writer_config(config, revision, call_recorder))
            return WrittenDraft(text, time.monotonic() - started_s)

        tasks = [asyncio.ensure_future(write(*each)) for each in zip(step.revisions, step.call_recorders, strict=True)]
        remaining_s = run.remaining_s()
        try:
            done, _ = await asyncio.wait(
                tasks,
                timeout=None if remaining_s is None else _WRITING_SHARE * remaining_s,
                return_when=asyncio.FIRST_EXCEPTION,
            )
        finally:
            for task in tasks:
                task.cancel()  # no effect on those that are done
        for task in tasks:
            # An error of the writer reaches the caller, as that of a single draft does.
            if (
                task in done
                and (error := task.exception())
                and not (isinstance(error, TimeoutError) and run.timed_out())
            ):
                raise error
        return [task.result() if task in done and not task.exception() else None for task in tasks]

    def _tale(self, run: GuardRun, inputs: WriterInput) -> Steps[Tale]:
        """Judge the inputs, then write and judge drafts."""
        if too_long := run.input_too_long(inputs):
            return run.refused_tale("input", (), too_long)
        if text := self._text_to_judge(inputs):
            verdict, decision = yield from judge_until_answered(run, Passage(text=text), if_failed="input")
            if not decision.released:
                return run.refused_tale(decision.reason, (), verdict, text)
        return (yield from self._drafts(run, inputs))

    def _drafts(self, run: GuardRun, inputs: WriterInput) -> Steps[Tale]:
        """Write and judge drafts until one is released or a budget is spent."""
        attempts: list[Attempt] = []
        draft: str | None = None
        decision: Decision = TIMED_OUT
        for number in range(1, self.attempts + 1):
            calls_before, started_s = len(run.call_recorder.calls), time.monotonic()
            if draft is None:
                draft = yield from write_draft(run, number, attempts[-1].verdict.findings if attempts else ())
            if draft is None:
                decision = TIMED_OUT
                break
            writing_s = time.monotonic() - started_s
            verdict = yield from judge_draft(run, draft)
            attempts.append(run.attempt(number, draft, verdict, calls_before=calls_before, writing_s=writing_s))
            left = self.attempts - number
            decision = decide(verdict, timed_out=run.timed_out(), asks_left=left, revisions_left=left)
            if decision.released:
                return run.released_tale(release(draft, verdict), attempts)
            if decision.action == "refuse":
                break
            if decision.action == "revise":
                draft = None
        return run.refused_tale(decision.reason, attempts, attempts[-1].verdict if attempts else None)


def write_draft(run: GuardRun, number: int, findings: tuple[Finding, ...]) -> Generator[WriteDraft, Any, str | None]:
    """Return the writer's next draft; `None` if the deadline passes first."""
    if run.timed_out():
        return None
    try:
        draft: str = yield WriteDraft(Revision(attempt=number, findings=findings))
    except TimeoutError:
        if run.timed_out():
            return None
        raise  # the writer's own time limit, not the guard's
    return draft


def _add_chunks(chunks: list[Any]) -> Any:
    """Return the input that a previous step of a chain has streamed: chunks are added up, as LangChain does."""
    total = chunks[0] if chunks else None
    for chunk in chunks[1:]:
        try:
            total = total + chunk
        except TypeError:  # without `+`, each chunk replaces the one before it
            total = chunk
    return total
